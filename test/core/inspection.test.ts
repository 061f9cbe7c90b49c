import { describe, expect, it } from 'vitest'
import { compileInspection, demandsBy } from '../../src/core/inspection.ts'
import type { RuleSpec } from '../../src/core/rule.ts'

const rule = (more: Partial<Omit<RuleSpec, 'kind' | 'match'>>): RuleSpec => ({
  id: 'rule',
  ...more,
  kind: 'allow',
  match: { hosts: ['api.example.com'] },
})

function compile(spec: RuleSpec): {
  readonly inspection: ReturnType<typeof compileInspection>
  readonly problems: readonly string[]
} {
  const problems: string[] = []
  const inspection = compileInspection(spec, (at, message, fix) => problems.push(`${at}: ${message}; ${fix}`))
  return { inspection, problems }
}

describe('what is demanded', () => {
  it.each([
    ['of no inspection', null],
    ['by a rule that is gone', undefined],
  ])('%s is nothing', (_what, inspection) => {
    expect(demandsBy(inspection)).toEqual([])
  })
})

describe('a rule', () => {
  it('that says nothing of bodies does not look at them', () => {
    expect(compile(rule({}))).toEqual({ inspection: null, problems: [] })
  })

  it.each([
    [
      'conditions on all kinds of bodies',
      {
        body: {
          json: [{ path: '$.a', must: 'be-absent' }],
          form: [{ in: 'form', path: 'b', must: 'be-absent' }],
          multipart: [{ in: 'multipart', path: 'c', must: 'be-absent' }],
        },
      },
      [
        { path: '$.a', must: 'be-absent' },
        { in: 'form', path: 'b', must: 'be-absent' },
        { in: 'multipart', path: 'c', must: 'be-absent' },
      ],
    ],
    ['MCP', { mcp: { tools: ['list'] } }, [{ in: 'mcp', tools: ['list'] }]],
    ['GraphQL', { graphql: { operations: ['query'] } }, [{ in: 'graphql', operations: ['query'] }]],
    ['a shape that is enforced', { shape: 'enforce' }, [{ in: 'shape' }]],
    ['a shape that is learned', { shape: 'learn' }, []],
    ['a shape that is watched', { shape: 'alert' }, []],
  ] as const)('demands of bodies what it says: %s', (_what, more, demands) => {
    const { inspection, problems } = compile(rule(more))
    expect(problems).toEqual([])
    expect(inspection?.demands).toEqual(demands)
  })

  it('with a condition that can not be checked says where', () => {
    const { problems } = compile(rule({ body: { json: [{ path: 'Bcc', must: 'be-absent' }] } }))
    expect(problems).toEqual([expect.stringMatching(/^body\.json\[0\]: "Bcc" is not a path/)])
  })
})
