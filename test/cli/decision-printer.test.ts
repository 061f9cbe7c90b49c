import { describe, expect, it } from 'vitest'
import { decisionPrinter, formatDecision } from '../../src/cli/decision-printer.ts'
import type { DecisionLine } from '../../src/proxy/decision-line.ts'

const LINE: DecisionLine = {
  decision: 'allow',
  enforced: true,
  reason: null,
  rule: 'github-read',
  client: 'github-mcp',
  method: 'GET',
  url: 'https://api.github.com/user',
  requestId: '01J',
}

describe('formatDecision', () => {
  it.each<[string, Partial<DecisionLine>, string]>([
    ['an allowed request', {}, 'allow github-mcp GET https://api.github.com/user github-read'],
    [
      'a denial',
      { decision: 'deny', rule: null, reason: 'no_matching_rule' },
      'deny github-mcp GET https://api.github.com/user no_matching_rule',
    ],
    [
      'a denial that is only recorded',
      { decision: 'deny', enforced: false, rule: null, reason: 'no_matching_rule' },
      'would-deny github-mcp GET https://api.github.com/user no_matching_rule',
    ],
    [
      'a connection of which no request was read',
      { method: null },
      'allow github-mcp - https://api.github.com/user github-read',
    ],
  ])('%s', (_name, change, expected) => {
    expect(formatDecision({ ...LINE, ...change }, false)).toBe(expected)
  })

  it('colours the decision, and nothing that a client wrote', () => {
    const text = formatDecision({ ...LINE, url: 'https://x/\u001b[2J\u009b' }, true)
    expect(text).toContain('\u001b[32mallow\u001b[0m')
    expect(text).toContain('https://x/\\u001b[2J\\u009b')
  })
})

it('prints nothing where nobody watches, and no colour where NO_COLOR is set', () => {
  const written: string[] = []
  const stream = { isTTY: true, write: (text: string) => written.push(text) } as unknown as NodeJS.WriteStream
  decisionPrinter(stream, { NO_COLOR: '1' })?.(LINE)
  expect(written).toEqual(['allow github-mcp GET https://api.github.com/user github-read\n'])
  expect(decisionPrinter({ ...stream, isTTY: false } as NodeJS.WriteStream, {})).toBeNull()
})
