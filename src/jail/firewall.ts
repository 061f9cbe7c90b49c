// Puts planned rules into the running kernel and takes them out again, through iptables and ip6tables.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

import type { Family, RuleSet } from './iptables.ts'
import {
  applyText,
  COMMANDS,
  LIST_ARGUMENTS,
  type OwnState,
  ownState,
  removeText,
  RESTORE_ARGUMENTS,
  TABLES,
} from './restore.ts'

/** The kernel or its tools said no; `message` names the command, what it answered, and the fix where one is known. */
export class FirewallError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'FirewallError'
  }
}

const COMMAND_TIMEOUT_MS = 30_000
const COMMAND_OUTPUT_BYTES = 16 * 1024 * 1024

/** IPv4 always; IPv6 unless this kernel was started without it, and then nothing can leave by it. */
export function kernelFamilies(): Family[] {
  return existsSync('/proc/self/net/if_inet6') ? ['v4', 'v6'] : ['v4']
}

/** Makes the kernel's rules of ours exactly `sets`; once or many times, the result is the same. Throws FirewallError. */
export function applyRules(sets: readonly RuleSet[]): void {
  const texts = sets.map((set) => ({ family: set.family, text: applyText(set, states(set.family)) }))
  // All families are tried before any is changed: rules for IPv4 alone would leave IPv6 open and look finished.
  for (const { family, text } of texts) restore(family, text, ['--test'])
  for (const { family, text } of texts) restore(family, text, [])
}

/** Removes every chain and jump of ours, in whatever mode they were made; gives the names removed. Throws FirewallError. */
export function removeRules(families: readonly Family[]): { family: Family; chains: string[] }[] {
  return families.map((family) => {
    const own = states(family)
    const text = removeText(own)
    if (text !== '') restore(family, text, [])
    return { family, chains: own.flatMap(({ chains }) => chains) }
  })
}

function states(family: Family): OwnState[] {
  return TABLES.map((table) => ownState(table, run(COMMANDS[family].list, [...LIST_ARGUMENTS, '-t', table, '-S'], '')))
}

function restore(family: Family, text: string, extra: readonly string[]): void {
  run(COMMANDS[family].restore, [...RESTORE_ARGUMENTS, ...extra], text)
}

function run(command: string, args: readonly string[], input: string): string {
  const { error, status, stdout, stderr } = spawnSync(command, args, {
    input,
    encoding: 'utf8',
    timeout: COMMAND_TIMEOUT_MS,
    maxBuffer: COMMAND_OUTPUT_BYTES,
    // The tools live where an ordinary user's PATH, and cron's, does not look.
    env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
  })
  if (error !== undefined) {
    const missing = 'code' in error && error.code === 'ENOENT'
    throw new FirewallError(
      missing
        ? `${command} is not installed: apt-get install iptables`
        : `${command} could not be run: ${error.message}`,
    )
  }
  if (status === 0) return stdout
  const root = process.getuid?.() === 0 ? '' : ' (changing rules needs root: run it with sudo)'
  throw new FirewallError(`${[command, ...args].join(' ')}: ${stderr.trim() || `exit code ${status}`}${root}`)
}
