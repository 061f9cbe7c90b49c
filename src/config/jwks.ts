// A set of public keys (RFC 7517), read: those that can verify a signed token, the rest left out.

import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import type { JwtAlgorithm } from '../core/jwt.ts'

/** `id` null: the key has no `kid`. */
export interface VerificationKey {
  readonly id: string | null
  readonly algorithm: JwtAlgorithm
  readonly key: KeyObject
}

export type Jwks =
  | { readonly kind: 'ok'; readonly keys: readonly VerificationKey[] }
  | { readonly kind: 'bad'; readonly why: string }

export const MAX_JWKS_BYTES: number = 256 * 2 ** 10
const MAX_KEYS = 64
/** NIST SP 800-131A: 2048 and up; OpenSSL takes seconds for keys that are long enough. */
const MIN_RSA_BITS = 2_048
const MAX_RSA_BITS = 8_192

/** Never throws. A set without a key for us is bad, and so is one with two keys that a token could mean by one `kid`. */
export function readJwks(text: string): Jwks {
  const given = keysOf(text)
  if (given === null) return { kind: 'bad', why: 'it is not a JSON object with a list of keys' }
  if (given.length > MAX_KEYS) return { kind: 'bad', why: `it has more than ${MAX_KEYS} keys` }
  const keys = given.map(verificationKey).filter((key) => key !== null)
  if (keys.length === 0)
    return { kind: 'bad', why: 'it has no RSA key of 2048 bits or more and no P-256 key for signatures' }
  const names = keys.map(({ id, algorithm }) => `${algorithm} ${id}`)
  const twice = keys.find(({ id }, index) => id !== null && names.indexOf(names[index] ?? '') !== index)
  if (twice !== undefined) return { kind: 'bad', why: `two of its keys are called ${JSON.stringify(twice.id)}` }
  return { kind: 'ok', keys }
}

/**
 * The key that verifies a token with that header; null: there is none, or more than one could. RFC 8725 §3.1: a key is used with its own
 * algorithm alone, so that a public key is never taken for a shared secret.
 */
export function keyFor(
  keys: readonly VerificationKey[],
  { algorithm, keyId }: { readonly algorithm: JwtAlgorithm; readonly keyId: string | null },
): KeyObject | null {
  const fitting = keys.filter((key) => key.algorithm === algorithm && (keyId === null || key.id === keyId))
  return fitting.length === 1 ? (fitting[0]?.key ?? null) : null
}

function keysOf(text: string): readonly unknown[] | null {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || !('keys' in value)) return null
    return Array.isArray(value.keys) ? (value.keys as unknown[]) : null
  } catch {
    return null
  }
}

/** Null: of another use, of another kind, too weak, or no key at all. A set may hold such for others. */
function verificationKey(given: unknown): VerificationKey | null {
  if (typeof given !== 'object' || given === null) return null
  const jwk = given as JsonWebKey & Record<string, unknown>
  const algorithm = algorithmOf(jwk)
  if (algorithm === null || (jwk['alg'] ?? algorithm) !== algorithm || (jwk['use'] ?? 'sig') !== 'sig') return null
  if (jwk['key_ops'] !== undefined && !(Array.isArray(jwk['key_ops']) && jwk['key_ops'].includes('verify'))) return null
  // SECURITY: who publishes a private key has lost it: everybody could sign.
  if (jwk.d !== undefined) return null
  try {
    const key = createPublicKey({ key: jwk, format: 'jwk' })
    const bits = key.asymmetricKeyDetails?.modulusLength
    if (bits !== undefined && (bits < MIN_RSA_BITS || bits > MAX_RSA_BITS)) return null
    return { id: typeof jwk['kid'] === 'string' ? jwk['kid'] : null, algorithm, key }
  } catch {
    return null
  }
}

function algorithmOf({ kty, crv }: JsonWebKey): JwtAlgorithm | null {
  if (kty === 'RSA') return 'RS256'
  return kty === 'EC' && crv === 'P-256' ? 'ES256' : null
}
