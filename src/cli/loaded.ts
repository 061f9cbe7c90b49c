// Loads the configuration for a verb, or ends it with every problem printed.

import { type CommandOutput, startCommand } from '../config/command-value.ts'
import { type Config, findConfig, type Loaded, loadConfig, type Overrides } from '../config/load.ts'
import { formatProblem, type Problem } from '../config/problem.ts'
import { EXIT, ExitError } from './exit.ts'

/** Throws an ExitError (1) that lists all problems, each with its line and its fix. */
export function configOf(explicit: string | undefined, overrides: Overrides = { allow: [], observe: false }): Config {
  const file = findConfig(explicit, process.cwd())
  return accepted(file, loadConfig(file, process.env, overrides))
}

/** The same while other things go on: commands whose output is a value (`exec:`) are not waited for with everything standing still. */
export async function configLater(explicit: string | undefined, overrides: Overrides): Promise<Config> {
  const file = findConfig(explicit, process.cwd())
  const outputs = new Map<string, CommandOutput>()
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const wanted = new Map<string, Promise<CommandOutput>>()
    const loaded = loadConfig(file, process.env, overrides, (command, folder) => {
      const output = outputs.get(command)
      if (output === undefined && !wanted.has(command)) wanted.set(command, startCommand(command, folder))
      return output ?? AWAITED
    })
    // The file may have changed while its commands ran, and name others now.
    if (wanted.size === 0) return accepted(file, loaded)
    for (const [command, output] of wanted) outputs.set(command, await output)
  }
  throw new ExitError(EXIT.usage, 'the configuration changes faster than the commands that it names end')
}

const MAX_ROUNDS = 4

/** Stands for what a command will print. */
const AWAITED: CommandOutput = { kind: 'ok', text: 'awaited' }

function accepted(file: string | null, loaded: Loaded): Config {
  const text = (problem: Problem): string => formatProblem(problem, loaded.lines, file)
  if (!loaded.ok) throw new ExitError(EXIT.usage, loaded.problems.map(text).join('\n'))
  for (const warning of loaded.warnings) process.stderr.write(`${text(warning)}\n`)
  return loaded.config
}
