// Placeholders in the place of secrets that the workload never holds: what each one stands for, where, and to which host.

import type { Host } from './address.ts'
import { type HostPattern, overlaps, parseHostPattern } from './host-pattern.ts'
import { type RawHeaders, soleValue } from './http1.ts'
import { parseMediaType } from './media-type.ts'
import { secretHeaders, type SecretName } from './redact-names.ts'

/** Shorter ones could be found in other words. */
export const MIN_PLACEHOLDER_LENGTH = 16
/** What the workload holds: it needs no escape in a field, a query, a form or JSON. */
export const PLACEHOLDER: RegExp = /^[A-Za-z0-9_-]{16,128}$/
/** SECURITY: without a line break, a NUL or a blank at an end, so that a value can end no field and begin no other. */
export const INJECTABLE: RegExp = /^[!-~](?:[ -~]*[!-~])?$/

export type InjectionPlace = 'header' | 'query' | 'body'

/** `hosts` as those of a rule. `headers` null: every field that is named like credentials. `clients` null: every client. */
export interface InjectionSpec {
  readonly placeholder: string
  readonly value: string
  readonly hosts: readonly string[]
  readonly in: readonly InjectionPlace[]
  readonly headers: readonly string[] | null
  readonly clients: readonly string[] | null
}

export interface Injection {
  readonly placeholder: string
  readonly value: string
  readonly hosts: readonly HostPattern[]
  readonly places: ReadonlySet<InjectionPlace>
  /** Whether the value may stand in the field of this name. */
  readonly isField: SecretName
  readonly clients: ReadonlySet<string> | null
}

export interface InjectionPolicy {
  readonly injections: readonly Injection[]
  readonly byPlaceholder: ReadonlyMap<string, Injection>
  /** Any of the placeholders, anywhere in a text. */
  readonly pattern: RegExp
}

/** Of a request what says whether a secret may be put into it: a subject, or the permit that it became. */
export interface Recipient {
  readonly client: string
  readonly scheme: 'http' | 'https'
  readonly method: string
  readonly host: Host
}

/** How a body writes a value down. */
export type BodyForm = 'json' | 'form' | 'text'

/** Null: there are none. SECURITY: a pattern of hosts that is none opens nothing. */
export function compileInjections(specs: readonly InjectionSpec[]): InjectionPolicy | null {
  if (specs.length === 0) return null
  const injections = specs.map(
    ({ placeholder, value, hosts, in: places, headers, clients }): Injection => ({
      placeholder,
      value,
      hosts: hosts.flatMap(patternOf),
      places: new Set(places),
      isField: headers === null ? secretHeaders([]) : oneOf(headers),
      clients: clients === null ? null : new Set(clients),
    }),
  )
  return {
    injections,
    byPlaceholder: new Map(injections.map((injection) => [injection.placeholder, injection])),
    // No placeholder holds another one, so their order has no meaning; none holds a character that means anything here.
    pattern: new RegExp(injections.map(({ placeholder }) => placeholder).join('|'), 'g'),
  }
}

function patternOf(text: string): HostPattern[] {
  const parsed = parseHostPattern(text, true)
  return parsed.kind === 'ok' ? [parsed.pattern] : []
}

function oneOf(headers: readonly string[]): SecretName {
  const names = new Set(headers.map((name) => name.toLowerCase()))
  return (name) => names.has(name.toLowerCase())
}

/** Whether the secret is for this client and this host, by whatever scheme. */
export function isRecipient({ clients, hosts }: Injection, { client, method, host }: Recipient): boolean {
  // SECURITY: the answer to a TRACE is the request (RFC 9110 §9.3.8).
  if (method.toUpperCase() === 'TRACE') return false
  if (clients !== null && !clients.has(client)) return false
  const exact: HostPattern = { kind: 'exact', text: host.text }
  return hosts.some((pattern) => overlaps(pattern, exact))
}

/** In which form a body is looked through for placeholders; null: not at all, which is any body of a kind that is not known. */
export function soughtForm(policy: InjectionPolicy, recipient: Recipient, headers: RawHeaders): BodyForm | null {
  if (!policy.injections.some((each) => each.places.has('body') && isRecipient(each, recipient))) return null
  const coding = soleValue(headers, 'content-encoding')
  if (coding !== null && coding.trim().toLowerCase() !== 'identity') return null
  const type = parseMediaType(soleValue(headers, 'content-type'))?.type ?? ''
  if (type === 'application/json' || type.endsWith('+json')) return 'json'
  if (type === 'application/x-www-form-urlencoded') return 'form'
  return type.startsWith('text/') ? 'text' : null
}
