// Secrets and the hosts that they may go to: which of them a request to a host must not hold.

import { Buffer } from 'node:buffer'
import type { Host } from './address.ts'
import { type HostPattern, overlaps, parseHostPattern } from './host-pattern.ts'
import { slotAt, SLOTS } from './redact-scan.ts'
import { type Needle, needlesOfFormat, needlesOfValue } from './secret-needle.ts'
import { FORMAT_NAMES, NAMED_FORMATS } from './token-formats.ts'

/** Every known format that has no entry of its own. */
export const ANY_TOKEN = 'any_token'

/** `value` null: everything of the known format that `name` is, or of `any_token`. `onlyTo` as the hosts of a rule; empty: nobody. */
export interface SecretSpec {
  readonly name: string
  readonly value: string | null
  readonly onlyTo: readonly string[]
}

/** `value`: null for a format. `folded`: how a value is written in a name that has lost its case, null for a format. */
interface Secret {
  readonly name: string
  readonly value: string | null
  readonly folded: readonly string[] | null
  readonly hosts: readonly HostPattern[]
  readonly onlyTo: readonly string[]
}

/** `needles`: in groups of those that begin alike. `groups`: by slot of three characters, which of them; 0: none begins so. */
export interface SecretPolicy {
  readonly secrets: readonly Secret[]
  readonly needles: readonly (readonly Needle[])[]
  readonly groups: Uint16Array
}

/** What a request to one host must not hold: by the place of a secret in the policy, 1 for those. */
export interface Guard {
  readonly policy: SecretPolicy
  readonly kept: Uint8Array
}

/** What was seen on its way to a host that it may not go to. No part of its value. */
export interface Leak {
  readonly name: string
  readonly hint: string
}

/** What a hint repeats of the hosts. */
const MAX_HOSTS_TEXT = 96

/** Null: there are none. SECURITY: a pattern that is none opens nothing. */
export function compileSecrets(specs: readonly SecretSpec[]): SecretPolicy | null {
  if (specs.length === 0) return null
  const named = new Set(specs.filter(({ value }) => value === null).map(({ name }) => name))
  const others = FORMAT_NAMES.filter((name) => !named.has(name))
  const secrets = specs.flatMap(({ name, value, onlyTo }): Secret[] => {
    const hosts = onlyTo.flatMap((text) => patternOf(text))
    const names = value === null && name === ANY_TOKEN ? others : [name]
    return names.map((each) => ({ name: each, value, folded: foldedOf(value), hosts, onlyTo }))
  })
  const needles: Needle[][] = [[]]
  const groups = new Uint16Array(SLOTS)
  for (const needle of secrets.flatMap(needlesOf)) {
    const slot = slotAt(needle.text, 0)
    if (groups[slot] === 0) groups[slot] = needles.push([]) - 1
    needles[groups[slot] as number]?.push(needle)
  }
  return { secrets, needles, groups }
}

function patternOf(text: string): HostPattern[] {
  const parsed = parseHostPattern(text, true)
  return parsed.kind === 'ok' ? [parsed.pattern] : []
}

function foldedOf(value: string | null): readonly string[] | null {
  return value === null ? null : [value.toLowerCase(), Buffer.from(value, 'utf8').toString('hex')]
}

function needlesOf({ name, value }: Secret, index: number): Needle[] {
  if (value !== null) return needlesOfValue(index, value)
  return NAMED_FORMATS.filter((format) => format.name === name).flatMap((format) => needlesOfFormat(index, format))
}

/** Null: everything may go there. */
export function guardFor(policy: SecretPolicy | null, host: Host): Guard | null {
  if (policy === null) return null
  const { secrets } = policy
  const exact: HostPattern = { kind: 'exact', text: host.text }
  const kept = new Uint8Array(secrets.length)
  let any = false
  for (let at = 0; at < secrets.length; at++) {
    if (secrets[at]?.hosts.some((pattern) => overlaps(pattern, exact)) === true) continue
    kept[at] = 1
    any = true
  }
  return any ? { policy, kept } : null
}

export function leakOf({ policy }: Guard, secret: number): Leak {
  const { name, onlyTo } = policy.secrets[secret] as Secret
  const hosts = onlyTo.join(', ')
  const shown = hosts.length <= MAX_HOSTS_TEXT ? hosts : `${hosts.slice(0, MAX_HOSTS_TEXT)}…`
  return { name, hint: hosts === '' ? `${name} may go nowhere` : `${name} may only go to ${shown}` }
}

/** What nobody can look into may hold anything. `why`: what of the request can not be read. */
export function unreadable(why: string): Leak {
  return { name: 'unreadable', hint: `it could hold a secret that may not go there: ${why}` }
}
