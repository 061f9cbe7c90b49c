import { describe, expect, it } from 'vitest'
import type { MatchSpec, RuleSpec } from '../../src/core/rule.ts'
import { compileRule } from '../../src/core/rule-compile.ts'
import { overlapProblems } from '../../src/core/rule-overlap.ts'

const rule = (kind: RuleSpec['kind'], match: Partial<MatchSpec>, more: Partial<RuleSpec> = {}): RuleSpec => ({
  id: kind,
  kind,
  match: { hosts: ['pinned.example.com'], ...match },
  ...more,
})

const problems = (...specs: readonly RuleSpec[]): readonly unknown[] =>
  overlapProblems(specs.map((spec, order) => compileRule(spec, order, new Set(['a', 'b']), () => {})))

const body: Partial<RuleSpec> = { body: { json: [{ path: '$.a', must: 'be-absent' }] } }

describe('passthrough beside another rule for the same host', () => {
  it.each<[string, Partial<RuleSpec>, RuleSpec]>([
    ['an allow with methods', {}, rule('allow', { methods: ['GET'] })],
    ['an allow with access', {}, rule('allow', { access: 'read-only' })],
    ['an allow with paths, by wildcard', {}, rule('allow', { hosts: ['*.example.com'], paths: ['/a'] })],
    ['an allow with a body', {}, rule('allow', {}, body)],
    ['a deny with methods everywhere', {}, rule('deny', { hosts: ['*'], methods: ['DELETE'] })],
    ['a deny with paths for https', {}, rule('deny', { schemes: ['https'], paths: ['/a'] })],
    ['a deny with paths on its port', {}, rule('deny', { ports: [443], paths: ['/a'] })],
    ['a deny with an upgrade', {}, rule('deny', { upgrade: ['websocket'] })],
    ['a rule for the same client', { clients: ['a', 'b'] }, rule('allow', { methods: ['GET'] }, { clients: ['b'] })],
    ['a rule for every client', { clients: ['a'] }, rule('allow', { methods: ['GET'] })],
  ])('is wrong with %s', (_, more, other) => {
    const expected = { ruleIndex: 1, at: 'passthrough.hosts', message: expect.stringContaining(other.kind) }
    expect(problems(other, rule('passthrough', {}, more))).toMatchObject([expected])
  })

  it.each<[string, Partial<RuleSpec>, RuleSpec]>([
    ['an allow of the whole host', {}, rule('allow', {})],
    ['an allow with an upgrade', {}, rule('allow', { upgrade: ['websocket'] })],
    ['a deny of the whole host', {}, rule('deny', {})],
    ['another passthrough', {}, rule('passthrough', {})],
    ['a rule for another host', {}, rule('allow', { hosts: ['example.com'], methods: ['GET'] })],
    ['a rule for another port', {}, rule('allow', { ports: [8443], methods: ['GET'] })],
    ['a rule for another scheme', {}, rule('allow', { schemes: ['http'], methods: ['GET'] })],
    ['a deny for http', {}, rule('deny', { schemes: ['http'], methods: ['GET'] })],
    ['a rule for another client', { clients: ['a'] }, rule('allow', { methods: ['GET'] }, { clients: ['b'] })],
  ])('is right with %s', (_, more, other) => {
    expect(problems(other, rule('passthrough', {}, more))).toEqual([])
  })
})
