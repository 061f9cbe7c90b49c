// One name: turns a request head and what its connection is bound to into the one subject that policy judges.

import { type Authority, parseAuthority, sameHost } from './address.ts'
import type { RequestFraming } from './framing.ts'
import type { RequestHead } from './http1.ts'
import { overrideHeaders } from './override-header.ts'
import { parseAbsoluteForm, parseOriginForm, type Target } from './path.ts'
import type { Reason } from './refusal.ts'
import type { Subject } from './rule.ts'

const DEFAULT_PORT = { http: 80, https: 443 } as const

/** What a connection has already said about its destination. */
export interface ConnectionNames {
  readonly scheme: 'http' | 'https'
  /** Bound by CONNECT, or by SNI and the original port: every request on the connection must name it. */
  readonly expected: Authority | null
  /** The original port of a plain connection whose name comes from Host; null where the request names its port itself. */
  readonly port: number | null
  /** A proxy request: the target must be an absolute URL (RFC 9112 §3.2.2). */
  readonly absolute: boolean
}

/** What is known of the request even when it is refused, for the record and for the answer. */
export interface RequestFacts {
  readonly method: string
  readonly scheme: 'http' | 'https'
  readonly host: string | null
  readonly port: number | null
  /** As the client spelled it; null when the target has no readable path. */
  readonly path: string | null
  readonly query: string | null
  /** Every name heard: what Host said and what an absolute URL said. */
  readonly hostHeader: string | null
  readonly url: string | null
}

export type SubjectResult =
  | { readonly kind: 'subject'; readonly subject: Omit<Subject, 'client'>; readonly facts: RequestFacts }
  | { readonly kind: 'refused'; readonly reason: Reason; readonly why: string; readonly facts: RequestFacts }

type TargetResult =
  | {
      readonly kind: 'ok'
      readonly url: Authority | null
      readonly scheme: 'http' | 'https' | null
      readonly path: string
      readonly encodedSlash: boolean
      readonly target: string
      readonly query: string | null
    }
  | { readonly kind: 'bad'; readonly reason: Reason; readonly why: string }

/** Pure. Refuses with 400 what has more than one reading and with 421 what disagrees (CONTRACT §2 "One name"). */
export function readSubject(names: ConnectionNames, head: RequestHead, framing: RequestFraming): SubjectResult {
  const target = readTarget(head)
  const host = framing.kind === 'ok' ? readHost(names, framing.hostValue) : null
  const facts = factsOf(names, head, framing, target, host)
  if (framing.kind === 'refused') return refused(facts, framing.reason, framing.code)
  if (target.kind === 'bad') return refused(facts, target.reason, target.why)
  if (names.absolute && target.url === null) return refused(facts, 'malformed', 'a proxy request needs an absolute URL')
  if (host === null) return refused(facts, 'host_not_canonical', 'the Host header is not a canonical authority')
  if (target.scheme !== null && target.scheme !== names.scheme) {
    const reason = names.absolute ? 'malformed' : 'identity_mismatch'
    return refused(facts, reason, `the URL says ${target.scheme}, the connection is ${names.scheme}`)
  }
  // SECURITY: every name a request carries must be the one that is judged, dialled and verified (domain fronting).
  if (target.url !== null && !sameAuthority(target.url, host)) {
    return refused(facts, 'identity_mismatch', 'the URL and Host differ')
  }
  if (names.expected !== null && !sameAuthority(names.expected, host)) {
    return refused(facts, 'identity_mismatch', 'Host is not what the connection was opened for')
  }
  if (names.expected === null && names.port !== null && host.port !== names.port) {
    return refused(facts, 'identity_mismatch', 'the port of Host is not the port that was connected to')
  }
  return {
    kind: 'subject',
    facts,
    subject: {
      scheme: names.scheme,
      method: head.method,
      host: host.host,
      port: host.port,
      path: target.path,
      encodedSlash: target.encodedSlash,
      target: target.target,
      upgrade: upgradeOf(framing.upgrade),
      overrideHeaders: overrideHeaders(head.headers),
    },
  }
}

function refused(facts: RequestFacts, reason: Reason, why: string): SubjectResult {
  return { kind: 'refused', reason, why, facts }
}

/** What Host says, null where it is no canonical authority. Nearly every request spells what its connection was opened for. */
function readHost({ scheme, expected }: ConnectionNames, value: string): Authority | null {
  const defaultPort = DEFAULT_PORT[scheme]
  // A canonical name is its own reading. An IPv6 address is not: in Host it stands in brackets.
  const asExpected = expected !== null && expected.port === defaultPort && expected.host.kind !== 'ipv6'
  return asExpected && value === expected.host.text ? expected : parseAuthority(value, defaultPort)
}

function sameAuthority(a: Authority, b: Authority): boolean {
  return a.port === b.port && sameHost(a.host, b.host)
}

function readTarget(head: RequestHead): TargetResult {
  // RFC 9110 §9.3.7: the asterisk means the origin itself, and only OPTIONS may ask for it.
  if (head.target === '*' && head.method === 'OPTIONS') {
    return { kind: 'ok', url: null, scheme: null, path: '*', encodedSlash: false, target: '*', query: null }
  }
  if (head.target.startsWith('/')) {
    const origin = parseOriginForm(head.target)
    return origin.kind === 'bad' ? origin : named(origin, null, null)
  }
  const absolute = parseAbsoluteForm(head.target)
  return absolute.kind === 'bad' ? absolute : named(absolute.origin, absolute.authority, absolute.scheme)
}

function named(origin: Target & { kind: 'ok' }, url: Authority | null, scheme: 'http' | 'https' | null): TargetResult {
  const { path, encodedSlash, target, query } = origin
  return { kind: 'ok', url, scheme, path, encodedSlash, target, query }
}

function factsOf(
  names: ConnectionNames,
  head: RequestHead,
  framing: RequestFraming,
  target: TargetResult,
  host: Authority | null,
): RequestFacts {
  const hostHeader = framing.kind === 'ok' ? framing.hostValue : null
  const url = target.kind === 'ok' ? target.url : null
  const bound = names.expected ?? url ?? host
  return {
    method: head.method,
    scheme: names.scheme,
    host: bound?.host.text ?? null,
    port: bound?.port ?? names.port,
    path: spelledPath(target, head),
    query: target.kind === 'ok' ? target.query : null,
    hostHeader,
    url: url === null ? null : url.host.text,
  }
}

/** An ambiguous path is recorded as it was spelled: it is the evidence. */
function spelledPath(target: TargetResult, head: RequestHead): string | null {
  const spelled = target.kind === 'ok' ? target.target : behindAuthority(head.target)
  if (!spelled.startsWith('/') && spelled !== '*') return null
  const end = spelled.indexOf('?')
  return end < 0 ? spelled : spelled.slice(0, end)
}

/** Of an absolute URL what follows its authority; a target of any other form as it is. */
function behindAuthority(target: string): string {
  const scheme = target.indexOf('://')
  if (target.startsWith('/') || scheme < 0) return target
  const path = target.indexOf('/', scheme + '://'.length)
  return path < 0 ? '' : target.slice(path)
}

/**
 * The upgrade to judge. SECURITY: of several offers the origin picks one, so they are judged by one that nothing here carries:
 * h2c, TLS and connect-udp are ways past the inspection, a websocket that a rule names is not.
 */
function upgradeOf(tokens: readonly string[]): string | null {
  if (tokens.length === 0) return null
  return tokens.find((token) => token !== 'websocket') ?? 'websocket'
}
