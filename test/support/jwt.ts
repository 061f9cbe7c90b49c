// An issuer of signed tokens, and the ways to forge one.

import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'

export const ISSUER = 'https://id.test/'
export const AUDIENCE = 'mcp-egress'

export interface KeyPair {
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

export const rsaPair = (): KeyPair => generateKeyPairSync('rsa', { modulusLength: 2_048 })
export const ecPair = (): KeyPair => generateKeyPairSync('ec', { namedCurve: 'P-256' })

export function jwkOf({ publicKey }: KeyPair, kid: string): object {
  return { ...publicKey.export({ format: 'jwk' }), kid, use: 'sig' }
}

type Members = Readonly<Record<string, unknown>>

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Good for five minutes, for `robot`. */
export function claims(more: Members = {}): Members {
  const exp = Math.floor(Date.now() / 1_000) + 300
  return { iss: ISSUER, aud: AUDIENCE, sub: 'robot', exp, ...more }
}

export function rs256({ privateKey }: KeyPair, body: Members, header: Members = {}): string {
  const signed = `${part({ alg: 'RS256', kid: 'r', ...header })}.${part(body)}`
  return `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`
}

export function es256(
  { privateKey }: KeyPair,
  body: Members,
  dsaEncoding: 'ieee-p1363' | 'der' = 'ieee-p1363',
): string {
  const signed = `${part({ alg: 'ES256', kid: 'e' })}.${part(body)}`
  return `${signed}.${sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding }).toString('base64url')}`
}

/** Signed with the text of a public key, as a reader would that takes the algorithm from the token. */
export function hs256(secret: string, body: Members, header: Members = {}): string {
  const signed = `${part({ alg: 'HS256', kid: 'r', ...header })}.${part(body)}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

export function unsigned(body: Members, alg = 'none', mark = ''): string {
  return `${part({ alg })}.${part(body)}.${mark}`
}
