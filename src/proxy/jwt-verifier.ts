// Proves signed tokens: the signature by the issuer's keys, the claims by core, the time by the clock, and whether it was seen elsewhere.

import { createHash, type KeyObject, verify } from 'node:crypto'
import { keyFor, type VerificationKey } from '../config/jwks.ts'
import type { TokenVerifier, Verified } from '../core/identity.ts'
import {
  type Claims,
  type Jwt,
  JWT_LEEWAY_SECONDS,
  type JwtExpectation,
  type JwtFault,
  judgeTime,
  readClaims,
  readJwt,
} from '../core/jwt.ts'

/** A request that brings a known token costs a look-up; another one a verification, some 50 to 100 µs. */
const MAX_PROVEN = 4_096
/** Token identifiers whose first sender is remembered: 100 bytes each. */
const MAX_SEEN = 65_536

/** The keys of now; the same array as long as they are the same. `missing` is told that a token names none of them. */
export interface KeySource {
  readonly keys: () => readonly VerificationKey[]
  readonly missing: () => void
}

interface Seen {
  readonly sender: string
  /** Seconds since the epoch. */
  readonly until: number
}

/** Who first showed each token that has a `jti`. It outlives a reload; each process has its own. */
export class SeenTokens {
  readonly #seen = new Map<string, Seen>()

  /** Whether the token is with the sender that it was with before. Only proven tokens come here, so only the issuer can fill it. */
  isWithSender(id: string, source: string | null, { expires }: Claims, now: number): boolean {
    const key = createHash('sha256').update(id).digest('base64')
    const sender = senderOf(source)
    const known = this.#seen.get(key)
    if (known !== undefined && known.until > now) return known.sender === sender
    this.#seen.delete(key)
    if (this.#seen.size === MAX_SEEN) this.#forgetOldest()
    this.#seen.set(key, { sender, until: expires + JWT_LEEWAY_SECONDS })
    return true
  }

  #forgetOldest(): void {
    for (const key of this.#seen.keys()) return void this.#seen.delete(key)
  }
}

/** A client of this machine may come by IPv4, IPv6 or a Unix socket, as its libraries like. */
function senderOf(source: string | null): string {
  return source === null || source === '::1' || source === '127.0.0.1' ? 'local' : source
}

export class JwtVerifier implements TokenVerifier {
  readonly #expected: JwtExpectation
  readonly #source: KeySource
  readonly #seen: SeenTokens
  readonly #now: () => number
  /** By the token's digest; all of it was made with `#keys`. */
  readonly #proven = new Map<string, Claims>()
  #keys: readonly VerificationKey[] = []

  /** `now`: milliseconds since the epoch. */
  constructor(expected: JwtExpectation, source: KeySource, seen: SeenTokens, now: () => number) {
    this.#expected = expected
    this.#source = source
    this.#seen = seen
    this.#now = now
  }

  verify(token: string, digest: string, source: string | null): Verified {
    const claims = this.#claimsOf(token, digest)
    if (typeof claims === 'string') return { kind: 'refused', fault: claims }
    const now = this.#now() / 1_000
    const fault = judgeTime(claims, now)
    if (fault !== null) return { kind: 'refused', fault }
    const { id, name } = claims
    if (id !== null && !this.#seen.isWithSender(id, source, claims, now)) return { kind: 'refused', fault: 'replayed' }
    return { kind: 'proven', name }
  }

  /** What a token says that the issuer has signed, whenever it holds. Nothing is remembered of one that it has not. */
  #claimsOf(token: string, digest: string): Claims | JwtFault {
    const keys = this.#source.keys()
    // SECURITY: a key that the issuer has withdrawn proves nothing any more, and neither does what it has signed.
    if (keys !== this.#keys) this.#proven.clear()
    this.#keys = keys
    const known = this.#proven.get(digest)
    if (known !== undefined) return known
    const read = readJwt(token, this.#expected)
    if (read.kind === 'refused') return read.fault
    const key = keyFor(keys, read.jwt)
    if (key === null) {
      this.#source.missing()
      return keys.length === 0 ? 'no_keys' : 'unknown_key'
    }
    // SECURITY: before any claim is looked at: what is not signed is not read.
    if (!isSigned(read.jwt, key)) return 'signature'
    const claims = readClaims(read.jwt, this.#expected)
    if (claims.kind === 'refused') return claims.fault
    if (this.#proven.size === MAX_PROVEN) this.#proven.clear()
    this.#proven.set(digest, claims.claims)
    return claims.claims
  }
}

function isSigned({ signed, signature }: Jwt, key: KeyObject): boolean {
  // RFC 7518 §3.4: R and S one behind the other, not in DER. It says nothing to an RSA key.
  return verify('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }, signature)
}
