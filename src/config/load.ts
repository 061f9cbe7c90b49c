// Loads a configuration: reads the file, replaces references, checks everything, and answers with the whole of it or every problem.

import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { Overrides } from './check.ts'
import { checkFile, literalSecrets, withheldVariables } from './check.ts'
import { type CommandOutput, runCommand } from './command-value.ts'
import { overlayEnvironment } from './environment.ts'
import { assemble, type Config } from './effective.ts'
import { MAX_JWKS_BYTES } from './jwks.ts'
import { MAX_DESCRIPTION_BYTES } from './openapi.ts'
import { corrected } from './correction.ts'
import type { Finding, Problem } from './problem.ts'
import { formatPlace } from './problem.ts'
import type { Source } from './source.ts'
import { NO_SOURCE, parseSource } from './source.ts'
import { readPrivate } from './private-file.ts'
import { substitute } from './substitute.ts'
import { MIN_TOKEN_LENGTH } from './token-file.ts'

export type { Overrides } from './check.ts'
export type { Config } from './effective.ts'
export { formatListenAddress, type ListenAddress } from './quantity.ts'

/**
 * `written`: the file as it stands, undefined where there is none; `value`: with references replaced and variables in it; `variables`: by
 * the place that each has set.
 */
export interface Origin {
  readonly written: unknown
  readonly value: unknown
  readonly variables: ReadonlyMap<string, string>
}

/** `lines`: the text of the file, for printing problems; empty where there is none. `locate`: where in it findings stand. */
export type Loaded =
  | {
      readonly ok: true
      readonly config: Config
      readonly warnings: readonly Problem[]
      readonly locate: (findings: readonly Finding[]) => readonly Problem[]
      readonly lines: readonly string[]
      readonly origin: Origin
    }
  | { readonly ok: false; readonly problems: readonly Problem[]; readonly lines: readonly string[] }

const MAX_CONFIG_BYTES = 4 * 2 ** 20
const MAX_SECRET_BYTES = 64 * 2 ** 10
/** Ten thousand lines of names and digests. */
const MAX_TOKENS_BYTES = 2 ** 20
const NO_OVERRIDES: Overrides = { allow: [], observe: false }

/** The file to use: the one asked for, else `mcp-egress.yaml` in `cwd` if it is there, else none. */
export function findConfig(explicit: string | undefined, cwd: string): string | null {
  if (explicit !== undefined) return resolve(cwd, explicit)
  const found = join(cwd, 'mcp-egress.yaml')
  return existsSync(found) ? found : null
}

/** What a command prints, and in which folder it runs. */
export type RunCommand = (command: string, folder: string) => CommandOutput

/** Null: no file, which is enforce with no rules on the default listeners, paths counting from the working directory. */
export function loadConfig(
  file: string | null,
  env: NodeJS.ProcessEnv,
  overrides: Overrides = NO_OVERRIDES,
  run: RunCommand = runCommand,
): Loaded {
  const folder = file === null ? process.cwd() : dirname(resolve(file))
  const text = file === null ? '' : readText(resolve(file), MAX_CONFIG_BYTES)
  if (text === null) return unreadable(file ?? '')
  const source = file === null ? NO_SOURCE : parseSource(text)
  const lines = text.split(/\r?\n/)
  if (source.value === undefined) return { ok: false, problems: source.problems, lines }
  const read: string[] = file === null ? [] : [resolve(file)]
  const located = (path: string): string => {
    read.push(resolve(folder, path))
    return resolve(folder, path)
  }
  const readFile = (path: string): string | null => readText(located(path), MAX_SECRET_BYTES)
  const substituted = substitute(source.value, { env, readFile, runCommand: (command) => run(command, folder) })
  const { value, findings, origins } = overlayEnvironment(substituted.value, env)
  const checked = checkFile(value, overrides, {
    description: (path) => readText(located(path), MAX_DESCRIPTION_BYTES),
    tokens: (path) => readPrivate(located(path), path, MAX_TOKENS_BYTES),
    keys: (path) => readText(located(path), MAX_JWKS_BYTES),
  })
  const faults = checked.ok ? [] : checked.findings.map((finding) => fromVariable(finding, origins))
  const all = [...literalSecrets(source.value), ...substituted.findings, ...findings, ...faults]
  const problems = [...source.problems, ...locateAll(corrected(all, source.value), source)]
  if (!checked.ok || problems.length > 0) return { ok: false, problems: problems.sort(byPosition), lines }
  const config = {
    ...assemble(checked.effective, file === null ? null : resolve(file), folder, read),
    withheld: withheldVariables(source.value),
  }
  const locate = (found: readonly Finding[]): readonly Problem[] => locateAll(found, source).sort(byPosition)
  const origin = { written: file === null ? undefined : source.value, value, variables: origins }
  return { ok: true, config, warnings: locate(warningsOf(config)), locate, lines, origin }
}

/** Null: not there, not readable, too big, or not UTF-8. */
function readText(path: string, limit: number): string | null {
  try {
    if (statSync(path).size > limit) return null
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path))
  } catch {
    return null
  }
}

function unreadable(file: string): Loaded {
  const message = existsSync(file) ? 'the file can not be read as UTF-8 text of at most 4 MiB' : 'there is no such file'
  const fix = existsSync(file) ? 'check its permissions and its encoding' : 'mcp-egress init writes a first one'
  return { ok: false, problems: [{ line: null, column: null, at: '', message, fix }], lines: [] }
}

/** The first finding of a place is the cause of what else is found there. */
function locateAll(findings: readonly Finding[], source: Source): Problem[] {
  const seen = new Set<string>()
  return findings.flatMap((finding) => {
    const at = formatPlace(finding.place)
    const elsewhere = at.startsWith('--') || at.startsWith('MCP_EGRESS_')
    const isConsequence = seen.has(at) && !at.startsWith('--')
    seen.add(at)
    if (isConsequence) return []
    return [elsewhere ? NO_SOURCE.locate(finding) : source.locate(finding)]
  })
}

/** A finding in what a variable has set is one of the variable. */
function fromVariable(finding: Finding, origins: ReadonlyMap<string, string>): Finding {
  for (let length = finding.place.length; length > 0 && origins.size > 0; length -= 1) {
    const name = origins.get(formatPlace(finding.place.slice(0, length)))
    if (name !== undefined) return { ...finding, place: [name, ...finding.place.slice(length)] }
  }
  return finding
}

function byPosition(a: Problem, b: Problem): number {
  return (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0)
}

function warningsOf({ upstream, clients, admin }: Config): Finding[] {
  const warnings: Finding[] = []
  for (const [index, path] of upstream.trust.entries()) {
    if (path === 'system' || existsSync(path)) continue
    warnings.push({
      place: ['upstream', 'trust', index],
      message: `there is no file ${path}`,
      fix: 'put it there before starting',
    })
  }
  const tokens: [Finding['place'], string | null | undefined][] = [
    ...clients.map(({ token }, index): [Finding['place'], string | undefined] => [['clients', index, 'token'], token]),
    [['admin', 'token'], admin.token],
  ]
  for (const [place, token] of tokens) {
    if (token === null || token === undefined || token.length >= MIN_TOKEN_LENGTH) continue
    const fix = 'make one with: openssl rand -hex 24'
    warnings.push({ place, message: `a token of under ${MIN_TOKEN_LENGTH} characters can be guessed`, fix })
  }
  return warnings
}
