// `mcp-egress test`: runs the tests that a configuration file brings along.

import { Command } from 'commander'
import { printable } from '../config/problem.ts'
import { EXIT, ExitError } from './exit.ts'
import { configOf } from './loaded.ts'
import { type Outcome, said, testOutcomes } from './policy-tests.ts'
import { json, type Output, processOutput, verdict } from './output.ts'

interface Flags {
  readonly config?: string
  readonly json?: true
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
  const outcomes = testOutcomes(config)
  const failed = outcomes.filter(({ ok }) => !ok).length
  if (flags.json) output.out(json({ passed: outcomes.length - failed, failed, tests: outcomes }))
  else output.out(report(outcomes, failed, output))
  if (failed > 0) throw new ExitError(EXIT.no, '')
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
