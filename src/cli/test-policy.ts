// `mcp-egress test`: runs the tests that a configuration file brings along.

import { Command } from 'commander'
import { type JudgedRequest, judgeRequest } from '../config/judge-request.ts'
import type { Config } from '../config/load.ts'
import { printable } from '../config/problem.ts'
import type { PolicyTest } from '../config/schema.ts'
import { ANONYMOUS, identify } from '../core/identity.ts'
import { EXIT, ExitError } from './exit.ts'
import { configOf } from './loaded.ts'
import { json, type Output, processOutput, verdict } from './output.ts'

interface Flags {
  readonly config?: string
  readonly json?: true
}

interface Outcome {
  readonly ok: boolean
  readonly expected: { readonly decision: string; readonly rule?: string; readonly reason?: string }
  readonly actual: JudgedRequest
}

export function testCommand(output: Output = processOutput()): Command {
  return new Command('test')
    .description("run the configuration file's own tests (exit 3: one fails)")
    .option('-c, --config <file>', 'configuration file (default: ./mcp-egress.yaml if it is there)')
    .option('--json', 'print JSON')
    .action((flags: Flags) => {
      runTests(flags, output)
    })
}

function runTests(flags: Flags, output: Output): void {
  const config = configOf(flags.config)
  const outcomes = config.tests.map((test) => outcomeOf(config, test))
  const failed = outcomes.filter(({ ok }) => !ok).length
  if (flags.json) output.out(json({ passed: outcomes.length - failed, failed, tests: outcomes }))
  else output.out(report(outcomes, failed, output))
  if (failed > 0) throw new ExitError(EXIT.no, '')
}

function outcomeOf(config: Config, test: PolicyTest): Outcome {
  const space = test.request.indexOf(' ')
  const [method, url] = [test.request.slice(0, space), test.request.slice(space + 1)]
  const actual = judgeRequest(config, clientOf(config, test.client), method, url)
  const { expect: decision, rule, reason } = test
  const expected = { decision, ...(rule === undefined ? {} : { rule }), ...(reason === undefined ? {} : { reason }) }
  const ok =
    actual.decision === decision &&
    (rule === undefined || actual.rule === rule) &&
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

function report(outcomes: readonly Outcome[], failed: number, output: Output): string {
  if (outcomes.length === 0) return 'no tests: the file has no `tests:`\n'
  const lines = outcomes.flatMap(({ ok, expected, actual }, index) => {
    const head = `${verdict(output, ok ? 'ok' : 'not ok', ok)} ${index + 1} - `
    const request = printable(`${actual.client} ${actual.method} ${actual.url}`)
    if (ok) return [`${head}${request}: ${said(actual)}`]
    const hint = actual.hint === '' ? [] : [`  hint      ${printable(actual.hint)}`]
    return [`${head}${request}`, `  expected  ${said(expected)}`, `  actual    ${said(actual)}`, ...hint]
  })
  return `${lines.join('\n')}\n${outcomes.length - failed} passed, ${failed} failed\n`
}

function said(decided: {
  readonly decision: string
  readonly rule?: string | null
  readonly reason?: string | null
}): string {
  const { decision, rule, reason } = decided
  return [decision, ...(reason ? [reason] : []), ...(rule ? [`by ${rule}`] : [])].join(' ')
}
