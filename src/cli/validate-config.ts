// `mcp-egress validate-config`: checks a configuration file and prints all its problems at once.

import { Command } from 'commander'
import { type Config, findConfig, loadConfig } from '../config/load.ts'
import { formatProblem } from '../config/problem.ts'
import { EXIT, ExitError } from './exit.ts'
import { json, type Output, processOutput } from './output.ts'

interface Flags {
  readonly config?: string
  readonly json?: true
}

export function validateConfigCommand(output: Output = processOutput()): Command {
  return new Command('validate-config')
    .description('check a configuration file: all problems at once, each with its line and the fix')
    .option('-c, --config <file>', 'configuration file (default: ./mcp-egress.yaml)')
    .option('--json', 'print JSON')
    .action((flags: Flags) => {
      validate(flags, output)
    })
}

function validate(flags: Flags, output: Output): void {
  const file = findConfig(flags.config, process.cwd())
  if (file === null) throw new ExitError(EXIT.usage, 'no mcp-egress.yaml here\n  fix: name the file with -c FILE')
  const shown = flags.config ?? 'mcp-egress.yaml'
  const loaded = loadConfig(file, process.env)
  const faults = loaded.ok ? loaded.warnings : loaded.problems
  if (flags.json) {
    const result = loaded.ok ? { hash: loaded.config.hash, warnings: faults } : { problems: faults }
    output.out(json({ file, valid: loaded.ok, ...result }))
  } else {
    const severity = loaded.ok ? 'warning: ' : ''
    for (const fault of faults) output.err(`${severity}${formatProblem(fault, loaded.lines, shown)}\n`)
    if (loaded.ok) output.out(`${shown}: valid: ${summary(loaded.config)}\n`)
  }
  if (loaded.ok) return
  throw new ExitError(EXIT.usage, flags.json ? '' : `${shown}: ${count(loaded.problems, 'problem')}`)
}

function summary({ mode, rules, clients, tests, hash }: Config): string {
  const counted = [count(rules, 'rule'), count(clients, 'client'), count(tests, 'test')].join(', ')
  return `${mode}, ${counted}, hash ${hash.slice(0, 12)}`
}

function count(items: readonly unknown[], noun: string): string {
  return `${items.length} ${noun}${items.length === 1 ? '' : 's'}`
}
