// Who asks: a client by its proxy credentials, else by its source address, else `anonymous`.

import { Buffer } from 'node:buffer'
import { createHash, timingSafeEqual } from 'node:crypto'
import { hostFromAddress } from './address.ts'
import { type Cidr, inCidr, parseCidr } from './address-class.ts'
import type { ClientSpec } from './rule.ts'

/** The name of everybody who is no configured client. */
export const ANONYMOUS = 'anonymous'
/** Longer credentials are refused unread. */
const MAX_CREDENTIALS = 4096
/** RFC 7617 §2: a user-id has no colon. */
const NAME = /^[!-9;-~]{1,128}$/
const VISIBLE = /^[!-~]+$/
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/
/** Source addresses whose client is remembered; a laptop has one, a gateway a few hundred. */
const MAX_REMEMBERED_SOURCES = 1024

export interface Identity {
  /** SHA-256 of the token, by client name, and the name by that digest in hex. */
  readonly digests: ReadonlyMap<string, Buffer>
  readonly names: ReadonlyMap<string, string>
  /** Longest prefix first. */
  readonly sources: readonly { readonly cidr: Cidr; readonly name: string }[]
  /** What `sources` made of the addresses asked for last: the same answer each time, at a tenth of the cost. */
  readonly remembered: Map<string, Identified>
}

/** `invalid`: credentials were given and are wrong, which is 407 and never a fall back to the source. */
export type Identified =
  | { readonly kind: 'client'; readonly name: string; readonly by: 'token' | 'source' | 'anonymous' }
  | { readonly kind: 'invalid' }

export interface ClientProblem {
  readonly at: string
  readonly message: string
  readonly fix: string
}

/** Throws on a list in which `clientProblems` finds any. */
export function compileIdentity(clients: readonly ClientSpec[]): Identity {
  const [problem] = clientProblems(clients)
  if (problem !== undefined) throw new TypeError(`${problem.at}: ${problem.message}`)
  const digests = new Map<string, Buffer>()
  const names = new Map<string, string>()
  const sources: { cidr: Cidr; name: string }[] = []
  for (const { name, source, token } of clients) {
    if (token !== undefined) {
      digests.set(name, digestOf(token))
      names.set(digestOf(token).toString('hex'), name)
    }
    for (const text of source ?? []) sources.push({ cidr: parseCidr(text) as Cidr, name })
  }
  sources.sort((a, b) => b.cidr.prefix - a.cidr.prefix)
  return { digests, names, sources, remembered: new Map() }
}

/**
 * `source`: the peer's address as the socket gives it, null where it has none. `credentials`: the value of
 * Proxy-Authorization, null where the field is absent.
 */
export function identify(
  identity: Identity,
  peer: { readonly source: string | null; readonly credentials: string | null },
): Identified {
  if (peer.credentials !== null) {
    const name = authenticate(identity, peer.credentials)
    return name === null ? { kind: 'invalid' } : { kind: 'client', name, by: 'token' }
  }
  return peer.source === null || identity.sources.length === 0 ? NOBODY : identifySource(identity, peer.source)
}

const NOBODY: Identified = { kind: 'client', name: ANONYMOUS, by: 'anonymous' }

function identifySource(identity: Identity, source: string): Identified {
  const { sources, remembered } = identity
  const known = remembered.get(source)
  if (known !== undefined) return known
  const address = hostFromAddress(source).text
  const found = sources.find(({ cidr }) => inCidr(cidr, address))
  const identified: Identified = found === undefined ? NOBODY : { kind: 'client', name: found.name, by: 'source' }
  // SECURITY: IPv6 gives one peer more addresses than we have memory.
  if (remembered.size === MAX_REMEMBERED_SOURCES) remembered.clear()
  remembered.set(source, identified)
  return identified
}

/** Names of the clients that are known by a token: those for whom a 407 can change the answer. */
export function tokenClients(identity: Identity): readonly string[] {
  return [...identity.digests.keys()]
}

/** Everything wrong with `clients`, in the order of the file. */
export function clientProblems(clients: readonly ClientSpec[]): readonly ClientProblem[] {
  const problems: ClientProblem[] = []
  // What is taken, and by which client: names, tokens and sources must each lead to one.
  const taken = new Map<string, string>()
  clients.forEach(({ name, source, token }, index) => {
    const complain = (at: string, message: string, fix: string): void => {
      problems.push({ at: `clients[${index}].${at}`, message, fix })
    }
    const claim = (at: string, what: string, key: string): void => {
      const owner = taken.get(key)
      if (owner !== undefined)
        complain(at, `${what} is that of client ${JSON.stringify(owner)} too`, 'give each its own')
      taken.set(key, name)
    }
    if (name === ANONYMOUS) complain('name', `${ANONYMOUS} is everybody without a name`, 'choose another name')
    if (!NAME.test(name)) complain('name', `${JSON.stringify(name)} is not a name`, 'use visible ASCII without a colon')
    claim('name', 'the name', `name ${name}`)
    if ((source === undefined) === (token === undefined)) {
      complain('source', 'a client is known by source or by token, by exactly one', 'set one of the two')
    }
    if (source?.length === 0) complain('source', 'an empty list matches nobody', 'name an address or a CIDR')
    source?.forEach((text, place) => {
      const cidr = parseCidr(text)
      if (cidr !== null) return claim(`source[${place}]`, 'the source', `source ${cidr.base.join('.')}/${cidr.prefix}`)
      complain(`source[${place}]`, `${JSON.stringify(text)} is not an address or a CIDR`, 'write it as in 10.0.0.0/8')
    })
    if (token === undefined) return
    // The message does not repeat the token: it ends in logs.
    if (!VISIBLE.test(token))
      complain('token', 'the token is empty or not visible ASCII', 'use letters, digits, - and _')
    claim('token', 'the token', `token ${token}`)
  })
  return problems
}

/** The client that RFC 7617 Basic or RFC 6750 Bearer credentials prove; null for all else. */
function authenticate(identity: Identity, credentials: string): string | null {
  if (credentials.length > MAX_CREDENTIALS) return null
  const space = credentials.indexOf(' ')
  // RFC 9110 §11.1: the name of a scheme is case-insensitive.
  const scheme = credentials.slice(0, Math.max(space, 0)).toLowerCase()
  const value = credentials.slice(space + 1).trim()
  if (scheme === 'bearer') return byToken(identity, value)
  return scheme === 'basic' && BASE64.test(value)
    ? byNameAndToken(identity, Buffer.from(value, 'base64').toString())
    : null
}

function byToken(identity: Identity, token: string): string | null {
  // The lookup is by digest: what its time tells of the token is what SHA-256 tells of it.
  return identity.names.get(digestOf(token).toString('hex')) ?? null
}

function byNameAndToken(identity: Identity, pair: string): string | null {
  const colon = pair.indexOf(':')
  const name = pair.slice(0, Math.max(colon, 0))
  const expected = identity.digests.get(name)
  const given = digestOf(pair.slice(colon + 1))
  return expected !== undefined && timingSafeEqual(expected, given) ? name : null
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
