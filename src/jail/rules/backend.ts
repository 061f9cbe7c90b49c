// Finds the programs that set rules on this machine, and runs them.

import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { toolPath } from '../system-path.ts'
import { type Tools, toolsOf } from './restore.ts'
import type { Family } from './rule.ts'

/** `iptables`: whichever kind that command is here; `legacy`: iptables-legacy; `nft`: nftables itself. */
export type Backend = 'iptables' | 'legacy' | 'nft'
export type BackendChoice = Backend | 'auto'

/** The kernel or its tools said no; `message` names the command, what it answered, and the fix where one is known. */
export class FirewallError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'FirewallError'
  }
}

/** One kind of iptables, as installed for one family. */
export interface Iptables {
  readonly backend: 'iptables' | 'legacy'
  readonly family: Family
  readonly tools: Tools
  /** Which of the kernel's two rule engines it writes to; the same program is often there under several names. */
  readonly engine: 'nf_tables' | 'legacy'
}

const COMMAND_TIMEOUT_MS = 30_000
const COMMAND_OUTPUT_BYTES = 16 * 1024 * 1024
const LOCK_FILE = '/run/xtables.lock'
const SUFFIXES = ['', '-nft', '-legacy'] as const

/** `auto`: iptables if it is there for every family, else nft. Throws FirewallError where there is neither. */
export function chooseBackend(choice: BackendChoice, families: readonly Family[]): Backend {
  if (choice !== 'auto') return choice
  if (families.every((family) => iptablesAs('iptables', family) !== null)) return 'iptables'
  if (nftInstalled()) return 'nft'
  throw new FirewallError('neither iptables nor nft is installed: apt-get install iptables')
}

/** The tools of a back end for one family. Throws FirewallError if they are not installed. */
export function iptablesFor(backend: 'iptables' | 'legacy', family: Family): Iptables {
  const found = iptablesAs(backend, family)
  if (found !== null) return found
  const { list } = toolsOf(family, backend === 'legacy' ? '-legacy' : '')
  throw new FirewallError(`${list} is not installed: apt-get install iptables`)
}

/** Every kind of iptables here, each engine once. */
export function installedIptables(family: Family): Iptables[] {
  const kinds: Iptables[] = []
  for (const suffix of SUFFIXES) {
    const kind = identify(family, suffix)
    if (kind !== null && kinds.every(({ engine }) => engine !== kind.engine)) kinds.push(kind)
  }
  return kinds
}

export function nftInstalled(): boolean {
  return attempt('nft', ['--version'], '') !== null
}

function iptablesAs(backend: 'iptables' | 'legacy', family: Family): Iptables | null {
  if (backend === 'iptables') return identify(family, '')
  const named = identify(family, '-legacy')
  if (named !== null) return named
  // Before 1.8 there was one kind only, and it was called iptables.
  const plain = identify(family, '')
  return plain?.engine === 'legacy' ? { ...plain, backend } : null
}

function identify(family: Family, suffix: '' | '-nft' | '-legacy'): Iptables | null {
  const tools = toolsOf(family, suffix)
  const version = attempt(tools.list, ['--version'], '')
  if (version === null) return null
  const engine = version.stdout.includes('(nf_tables)') ? 'nf_tables' : 'legacy'
  return { backend: suffix === '-legacy' ? 'legacy' : 'iptables', family, tools, engine }
}

/** What the command printed. Throws FirewallError with what it said where it failed. */
export function run(command: string, args: readonly string[], input: string): string {
  const ended = attempt(command, args, input)
  if (ended === null) {
    throw new FirewallError(
      `${command} is not installed: apt-get install ${command === 'nft' ? 'nftables' : 'iptables'}`,
    )
  }
  const { status, stdout, stderr } = ended
  if (status === 0) return stdout
  const root = process.getuid?.() === 0 ? '' : ' (changing rules needs root: run it with sudo)'
  throw new FirewallError(`${[command, ...args].join(' ')}: ${stderr.trim() || `exit code ${status}`}${root}`)
}

interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** null: not installed. */
function attempt(command: string, args: readonly string[], input: string): Ended | null {
  const lock = lockFolder()
  try {
    const { error, ...ended } = spawnSync(command, args, {
      input,
      encoding: 'utf8',
      timeout: COMMAND_TIMEOUT_MS,
      maxBuffer: COMMAND_OUTPUT_BYTES,
      env: {
        ...process.env,
        PATH: toolPath(process.env),
        ...(lock === null ? {} : { XTABLES_LOCKFILE: join(lock, 'xtables.lock') }),
      },
    })
    if (error === undefined) return ended
    if ('code' in error && error.code === 'ENOENT') return null
    throw new FirewallError(`${command} could not be run: ${error.message}`)
  } finally {
    if (lock !== null) rmSync(lock, { recursive: true, force: true })
  }
}

/**
 * A folder for the lock of iptables-legacy where the usual one can not be had: in a user namespace, root's files are somebody else's. Nobody
 * else sets rules in such a namespace. null: the usual one will do.
 */
function lockFolder(): string | null {
  if (process.getuid?.() === 0 || process.env['XTABLES_LOCKFILE'] !== undefined) return null
  try {
    accessSync(existsSync(LOCK_FILE) ? LOCK_FILE : '/run', constants.W_OK)
    return null
  } catch {
    return mkdtempSync(join(tmpdir(), 'mcp-egress-lock-'))
  }
}
