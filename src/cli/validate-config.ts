// `mcp-egress validate-config`: checks a configuration file and prints all its problems at once.

import { Command } from 'commander'
import { lint } from '../config/lint.ts'
import { type Config, findConfig, type Loaded, loadConfig } from '../config/load.ts'
import { formatProblem, type Problem } from '../config/problem.ts'
import { withSource } from './audit-source.ts'
import { EXIT, ExitError } from './exit.ts'
import { json, type Output, processOutput } from './output.ts'
import { lintTrail } from './validate-trail.ts'

interface Flags {
  readonly config?: string
  readonly audit?: readonly string[]
  readonly strict?: true
  readonly json?: true
}

export function validateConfigCommand(output: Output = processOutput()): Command {
  return new Command('validate-config')
    .description('check a configuration file: all problems at once, each with its line and the fix')
    .option('-c, --config <file>', 'configuration file (default: ./mcp-egress.yaml)')
    .option('--audit <files...>', 'warn also of rules that nothing in these segments of a trail matches, .gz too')
    .option('--strict', 'warnings are problems: end with 1')
    .option('--json', 'print JSON')
    .action((flags: Flags) => validate(flags, output))
}

async function validate(flags: Flags, output: Output): Promise<void> {
  const file = findConfig(flags.config, process.cwd())
  const isSet = Object.keys(process.env).some(
    (name) => name.startsWith('MCP_EGRESS_') && name !== 'MCP_EGRESS_LOG_LEVEL',
  )
  if (file === null && !isSet)
    throw new ExitError(EXIT.usage, 'no mcp-egress.yaml here\n  fix: name the file with -c FILE')
  const shown = flags.config ?? (file === null ? 'the environment' : 'mcp-egress.yaml')
  const loaded = loadConfig(file, process.env)
  const faults = loaded.ok ? await warningsOf(loaded, flags.audit, output) : loaded.problems
  if (flags.json) {
    const result = loaded.ok ? { hash: loaded.config.hash, warnings: faults } : { problems: faults }
    output.out(json({ file, valid: loaded.ok, ...result }))
  } else {
    const severity = loaded.ok ? 'warning: ' : ''
    for (const fault of faults) output.err(`${severity}${formatProblem(fault, loaded.lines, shown)}\n`)
    if (loaded.ok) output.out(`${shown}: valid: ${summary(loaded.config)}\n`)
  }
  if (loaded.ok && (faults.length === 0 || flags.strict === undefined)) return
  const found = loaded.ok ? `${count(faults, 'warning')}, and --strict` : count(faults, 'problem')
  throw new ExitError(EXIT.usage, flags.json ? '' : `${shown}: ${found}`)
}

/** What can hardly be meant, in the order of the file. */
async function warningsOf(
  { config, warnings, locate }: Extract<Loaded, { ok: true }>,
  audit: readonly string[] | undefined,
  output: Output,
): Promise<readonly Problem[]> {
  const found = lint(config)
  if (audit === undefined) return [...warnings, ...locate(found)]
  const { requests, findings } = await withSource(audit, {}, output, (batches) => lintTrail(config, batches))
  if (requests === 0) output.err('no request in the trail: nothing can be said of what it matches\n')
  return [...warnings, ...locate([...found, ...findings])]
}

function summary({ mode, rules, clients, tests, hash }: Config): string {
  const counted = [count(rules, 'rule'), count(clients, 'client'), count(tests, 'test')].join(', ')
  return `${mode}, ${counted}, hash ${hash.slice(0, 12)}`
}

function count(items: readonly unknown[], noun: string): string {
  return `${items.length} ${noun}${items.length === 1 ? '' : 's'}`
}
