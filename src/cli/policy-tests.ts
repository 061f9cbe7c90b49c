// The tests that a configuration brings along, run: for `mcp-egress test`, and before a reload.

import { type JudgedRequest, judgeRequest } from '../config/judge-request.ts'
import type { Config } from '../config/load.ts'
import type { PolicyTest } from '../config/schema.ts'
import { ANONYMOUS, identify } from '../core/identity.ts'
import { writtenRuleId } from '../core/rule-id.ts'

export interface Outcome {
  readonly ok: boolean
  readonly expected: { readonly decision: string; readonly rule?: string; readonly reason?: string }
  readonly actual: JudgedRequest
}

/** One for each test, in their order. */
export function testOutcomes(config: Config): readonly Outcome[] {
  return config.tests.map((test) => outcomeOf(config, test))
}

/** A line for each test that fails. */
export function failedTests(config: Config): readonly string[] {
  return testOutcomes(config).flatMap(({ ok, expected, actual }, index) => {
    if (ok) return []
    const { client, method, url } = actual
    return [`tests[${index}]: ${client} ${method} ${url}: expected ${said(expected)}, got ${said(actual)}`]
  })
}

function outcomeOf(config: Config, test: PolicyTest): Outcome {
  const space = test.request.indexOf(' ')
  const [method, url] = [test.request.slice(0, space), test.request.slice(space + 1)]
  const actual = judgeRequest(config, clientOf(config, test.client), method, url)
  const { expect: decision, rule, reason } = test
  const expected = { decision, ...(rule === undefined ? {} : { rule }), ...(reason === undefined ? {} : { reason }) }
  const ok =
    actual.decision === decision &&
    (rule === undefined || actual.rule === rule || writtenRuleId(actual.rule ?? '') === rule) &&
    (reason === undefined || actual.reason === reason)
  return { ok, expected, actual }
}

/** By name, or whoever requests from that source address are. */
function clientOf({ identity }: Config, asked: PolicyTest['client']): string {
  if (typeof asked === 'string') return asked
  if (asked?.source === undefined) return asked?.name ?? ANONYMOUS
  const found = identify(identity, { source: asked.source, credentials: null })
  return found.kind === 'client' ? found.name : ANONYMOUS
}

/** As in `deny no_matching_rule by github-read`. */
export function said(decided: {
  readonly decision: string
  readonly rule?: string | null
  readonly reason?: string | null
}): string {
  const { decision, rule, reason } = decided
  return [decision, ...(reason ? [reason] : []), ...(rule ? [`by ${rule}`] : [])].join(' ')
}
