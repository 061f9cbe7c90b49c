// Who asks: a client by its proxy credentials, else by its source address, else `anonymous`.

import { Buffer } from 'node:buffer'
import { createHash, timingSafeEqual } from 'node:crypto'
import { hostFromAddress } from './address.ts'
import { type Cidr, inCidr, parseCidr } from './address-class.ts'
import type { JwtFault } from './jwt.ts'
import type { ClientSpec } from './rule.ts'

/** The name of everybody who is no configured client. */
export const ANONYMOUS = 'anonymous'
/** Longer credentials are refused unread; a signed token with many claims takes 4 KiB, and a third more in Basic. */
const MAX_CREDENTIALS = 8192
/** RFC 7617 §2: a user-id has no colon. */
const NAME = /^[!-9;-~]{1,128}$/
const VISIBLE = /^[!-~]+$/
const DIGEST = /^[0-9a-f]{64}$/
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/
/** Source addresses whose client is remembered; a laptop has one, a gateway a few hundred. */
const MAX_REMEMBERED_SOURCES = 1024

/** Proves signed tokens; asked anew each time, for they expire and keys change. */
export interface TokenVerifier {
  /** `digest`: SHA-256 of the token in hex. `source`: as in `identify`. */
  verify(token: string, digest: string, source: string | null): Verified
}

export type Verified =
  | { readonly kind: 'proven'; readonly name: string }
  | { readonly kind: 'refused'; readonly fault: JwtFault }

export interface Identity {
  /** SHA-256 of the token, by client name, and the name by that digest in hex. */
  readonly digests: ReadonlyMap<string, Buffer>
  readonly names: ReadonlyMap<string, string>
  /** Longest prefix first. */
  readonly sources: readonly { readonly cidr: Cidr; readonly name: string }[]
  /** What `sources` made of the addresses asked for last: the same answer each time, at a tenth of the cost. */
  readonly remembered: Map<string, Identified>
  /** Names that a signed token may prove; and what proves it, null: no such token is taken. */
  readonly claimed: ReadonlySet<string>
  readonly verifier: TokenVerifier | null
}

/**
 * `invalid`: credentials were given and are wrong, which is 407 and never a fall back to the source. `flag`: what of a signed token is
 * wrong, for `security_flags`.
 */
export type Identified =
  | { readonly kind: 'client'; readonly name: string; readonly by: 'token' | 'source' | 'anonymous' }
  | { readonly kind: 'invalid'; readonly flag?: `jwt_${JwtFault}` }

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
  const claimed = new Set<string>()
  for (const client of clients) {
    const { name, source } = client
    const digest = tokenDigestOf(client)
    if (digest !== null) {
      digests.set(name, Buffer.from(digest, 'hex'))
      names.set(digest, name)
    }
    if (client.claimed === true) claimed.add(name)
    for (const text of source ?? []) sources.push({ cidr: parseCidr(text) as Cidr, name })
  }
  sources.sort((a, b) => b.cidr.prefix - a.cidr.prefix)
  return { digests, names, sources, remembered: new Map(), claimed, verifier: null }
}

/**
 * `source`: the peer's address as the socket gives it, null where it has none. `credentials`: the value of
 * Proxy-Authorization, null where the field is absent.
 */
export function identify(
  identity: Identity,
  peer: { readonly source: string | null; readonly credentials: string | null },
): Identified {
  if (peer.credentials !== null) return authenticate(identity, peer.credentials, peer.source)
  return peer.source === null || identity.sources.length === 0 ? NOBODY : identifySource(identity, peer.source)
}

const NOBODY: Identified = { kind: 'client', name: ANONYMOUS, by: 'anonymous' }
const INVALID: Identified = { kind: 'invalid' }

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
export function tokenClients({ digests, claimed }: Identity): readonly string[] {
  return [...digests.keys(), ...claimed]
}

/** Everything wrong with `clients`, in the order of the file. */
export function clientProblems(clients: readonly ClientSpec[]): readonly ClientProblem[] {
  const problems: ClientProblem[] = []
  // What is taken, and by which client: names, tokens and sources must each lead to one.
  const taken = new Map<string, string>()
  clients.forEach((client, index) => {
    const { name, source, token, tokenDigest } = client
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
    if ([source, token, tokenDigest, client.claimed].filter((way) => way !== undefined).length !== 1) {
      complain('source', 'a client is known by source or by token, by exactly one', 'set one of the two')
    }
    if (source?.length === 0) complain('source', 'an empty list matches nobody', 'name an address or a CIDR')
    source?.forEach((text, place) => {
      const cidr = parseCidr(text)
      if (cidr !== null) return claim(`source[${place}]`, 'the source', `source ${cidr.base.join('.')}/${cidr.prefix}`)
      complain(`source[${place}]`, `${JSON.stringify(text)} is not an address or a CIDR`, 'write it as in 10.0.0.0/8')
    })
    // The message does not repeat the token: it ends in logs.
    if (token !== undefined && !VISIBLE.test(token))
      complain('token', 'the token is empty or not visible ASCII', 'use letters, digits, - and _')
    if (tokenDigest !== undefined && !DIGEST.test(tokenDigest))
      complain('token', 'the digest of the token is not SHA-256 in lower-case hex', 'write its 64 digits')
    const digest = tokenDigestOf(client)
    if (digest !== null) claim('token', 'the token', `token ${digest}`)
  })
  return problems
}

/** The client that RFC 7617 Basic or RFC 6750 Bearer credentials prove; invalid for all else. */
function authenticate(identity: Identity, credentials: string, source: string | null): Identified {
  if (credentials.length > MAX_CREDENTIALS) return INVALID
  const space = credentials.indexOf(' ')
  // RFC 9110 §11.1: the name of a scheme is case-insensitive.
  const scheme = credentials.slice(0, Math.max(space, 0)).toLowerCase()
  const value = credentials.slice(space + 1).trim()
  if (scheme === 'bearer') return byToken(identity, value, source)
  return scheme === 'basic' && BASE64.test(value)
    ? byNameAndToken(identity, Buffer.from(value, 'base64').toString(), source)
    : INVALID
}

function byToken(identity: Identity, token: string, source: string | null): Identified {
  // The lookup is by digest: what its time tells of the token is what SHA-256 tells of it.
  const digest = digestOf(token).toString('hex')
  const name = identity.names.get(digest)
  return name === undefined
    ? bySignedToken(identity, null, token, digest, source)
    : { kind: 'client', name, by: 'token' }
}

/** What a proxy URL takes, `http://name:token@proxy`, and all that most clients can send; a signed token too. */
function byNameAndToken(identity: Identity, pair: string, source: string | null): Identified {
  const colon = pair.indexOf(':')
  const name = pair.slice(0, Math.max(colon, 0))
  const token = pair.slice(colon + 1)
  const given = digestOf(token)
  const expected = identity.digests.get(name)
  if (expected === undefined) return bySignedToken(identity, name, token, given.toString('hex'), source)
  return timingSafeEqual(expected, given) ? { kind: 'client', name, by: 'token' } : INVALID
}

/** `claimed`: the name that was given beside the token, null: none was. */
function bySignedToken(
  { verifier, claimed: known }: Identity,
  claimed: string | null,
  token: string,
  digest: string,
  source: string | null,
): Identified {
  if (verifier === null || !isCompact(token)) return INVALID
  const verified = verifier.verify(token, digest, source)
  if (verified.kind === 'refused') return { kind: 'invalid', flag: `jwt_${verified.fault}` }
  const { name } = verified
  // SECURITY: an issuer names only those clients that are left to it, not those of a token or an address of ours.
  if (!known.has(name) || (claimed ?? name) !== name) return { kind: 'invalid', flag: 'jwt_client' }
  return { kind: 'client', name, by: 'token' }
}

/** RFC 7515 §7.1: three parts. */
function isCompact(token: string): boolean {
  return token.split('.', 4).length === 3
}

/** Null: the client is not known by a token. */
function tokenDigestOf({ token, tokenDigest }: ClientSpec): string | null {
  return token === undefined ? (tokenDigest ?? null) : digestOf(token).toString('hex')
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
