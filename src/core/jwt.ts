// Signed tokens (RFC 7519 in RFC 7515 compact form): taken apart, and their claims judged. What verifies the signature stands elsewhere.

import { Buffer } from 'node:buffer'
import { type JsonValue, readJson } from './json-strict.ts'

/** Signatures by a private key alone: whoever can check one can not make one, so neither `none` nor a shared secret (RFC 8725 §3.1). */
export const JWT_ALGORITHMS: readonly ['RS256', 'ES256'] = ['RS256', 'ES256']
export type JwtAlgorithm = (typeof JWT_ALGORITHMS)[number]

/** Seconds by which the clocks of the issuer and of the proxy may differ. */
export const JWT_LEEWAY_SECONDS = 30
/** Milliseconds as a number hold it; a date behind that is none. */
const MAX_SECONDS = 8_640_000_000_000
const BASE64URL = /^[A-Za-z0-9_-]+$/
/** RFC 8725 §3.11: a token that says to be something else is no proof of who asks. RFC 9068 §2.1: `at+jwt`. */
const TYPES: ReadonlySet<string> = new Set(['jwt', 'at+jwt', 'application/jwt', 'application/at+jwt'])

/** Why a signed token is refused, as flags and docs call it. */
export type JwtFault =
  | 'malformed'
  | 'algorithm'
  | 'no_keys'
  | 'unknown_key'
  | 'signature'
  | 'issuer'
  | 'audience'
  | 'missing_claim'
  | 'expired'
  | 'not_yet_valid'
  | 'replayed'
  | 'client'

/** What a token must say. `claim`: the one that names the client. */
export interface JwtExpectation {
  readonly issuer: string
  /** Any of them. */
  readonly audience: readonly string[]
  readonly claim: string
  readonly algorithms: readonly JwtAlgorithm[]
}

type Members = ReadonlyMap<string, JsonValue>

/** `signed`: the bytes that the signature is over. Nothing of it is proven yet. */
export interface Jwt {
  readonly algorithm: JwtAlgorithm
  readonly keyId: string | null
  readonly signed: string
  readonly signature: Buffer
  readonly claims: Members
}

export type JwtRead =
  | { readonly kind: 'ok'; readonly jwt: Jwt }
  | { readonly kind: 'refused'; readonly fault: JwtFault }

/** Seconds since the epoch; `id` null: the token has no `jti`. */
export interface Claims {
  readonly name: string
  readonly expires: number
  readonly notBefore: number
  readonly id: string | null
}

export type ClaimsRead =
  | { readonly kind: 'ok'; readonly claims: Claims }
  | { readonly kind: 'refused'; readonly fault: JwtFault }

const refused = (fault: JwtFault): { readonly kind: 'refused'; readonly fault: JwtFault } => ({
  kind: 'refused',
  fault,
})

export function readJwt(token: string, { algorithms }: JwtExpectation): JwtRead {
  const parts = token.split('.', 4)
  const [head = '', payload = '', mark = ''] = parts
  if (parts.length !== 3) return refused('malformed')
  const header = membersOf(head)
  const claims = membersOf(payload)
  if (header === null || claims === null) return refused('malformed')
  const written = header.get('alg')
  const algorithm = algorithms.find((allowed) => allowed === written)
  if (algorithm === undefined) return refused('algorithm')
  // RFC 7515 §4.1.11: what must be understood and is not. `jku`, `jwk` and `x5u`, a token's own word for its keys, are never looked at.
  if (header.has('crit') || !isType(header.get('typ'))) return refused('malformed')
  const signature = bytesOf(mark)
  const keyId = header.get('kid')
  if (signature === null || (keyId !== undefined && typeof keyId !== 'string')) return refused('malformed')
  return { kind: 'ok', jwt: { algorithm, keyId: keyId ?? null, signed: `${head}.${payload}`, signature, claims } }
}

/** Only of a token whose signature holds. What the time has to say is `judgeTime`'s. */
export function readClaims({ claims }: Jwt, { issuer, audience, claim }: JwtExpectation): ClaimsRead {
  const name = claims.get(claim)
  const expires = claims.get('exp')
  const notBefore = claims.has('nbf') ? claims.get('nbf') : 0
  const id = claims.get('jti')
  const missing = ['exp', 'iss', 'aud', 'sub', claim].some((wanted) => !claims.has(wanted))
  if (missing) return refused('missing_claim')
  if (claims.get('iss') !== issuer) return refused('issuer')
  if (!isFor(claims.get('aud'), audience)) return refused('audience')
  if (!isDate(expires) || !isDate(notBefore) || (id !== undefined && typeof id !== 'string'))
    return refused('malformed')
  if (typeof name !== 'string' || !isName(claims.get('sub'))) return refused('malformed')
  return { kind: 'ok', claims: { name, expires, notBefore, id: id ?? null } }
}

/** Null: it holds at `now`, seconds since the epoch. */
export function judgeTime({ expires, notBefore }: Claims, now: number): JwtFault | null {
  if (now >= expires + JWT_LEEWAY_SECONDS) return 'expired'
  return now < notBefore - JWT_LEEWAY_SECONDS ? 'not_yet_valid' : null
}

/** RFC 7519 §4.1.3: one text, or a list of them. */
function isFor(written: JsonValue | undefined, audience: readonly string[]): boolean {
  const given = Array.isArray(written) ? (written as readonly JsonValue[]) : [written]
  return given.some((one) => typeof one === 'string' && audience.includes(one))
}

function isType(written: JsonValue | undefined): boolean {
  return written === undefined || (typeof written === 'string' && TYPES.has(written.toLowerCase()))
}

function isName(written: JsonValue | undefined): boolean {
  return typeof written === 'string' && written !== ''
}

function isDate(written: JsonValue | undefined): written is number {
  return typeof written === 'number' && written >= 0 && written <= MAX_SECONDS
}

/** Null: not a JSON object, or one that says a member twice, of which a reader would take either. */
function membersOf(part: string): Members | null {
  const bytes = bytesOf(part)
  if (bytes === null) return null
  const read = readJson(bytes)
  return read.kind === 'ok' && read.value instanceof Map ? read.value : null
}

/** RFC 7515 §2: without padding; of the spellings of some bytes only the one that has no bits to spare. */
function bytesOf(part: string): Buffer | null {
  if (!BASE64URL.test(part)) return null
  const bytes = Buffer.from(part, 'base64url')
  return bytes.toString('base64url') === part ? bytes : null
}
