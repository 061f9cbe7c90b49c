// Loads the configuration for a verb, or ends it with every problem printed.

import { type Config, findConfig, loadConfig, type Overrides } from '../config/load.ts'
import { formatProblem, type Problem } from '../config/problem.ts'
import { EXIT, ExitError } from './exit.ts'

/** Throws an ExitError (1) that lists all problems, each with its line and its fix. */
export function configOf(explicit: string | undefined, overrides: Overrides = { allow: [], observe: false }): Config {
  const file = findConfig(explicit, process.cwd())
  const loaded = loadConfig(file, process.env, overrides)
  const text = (problem: Problem): string => formatProblem(problem, loaded.lines, file)
  if (!loaded.ok) throw new ExitError(EXIT.usage, loaded.problems.map(text).join('\n'))
  for (const warning of loaded.warnings) process.stderr.write(`${text(warning)}\n`)
  return loaded.config
}
