// The shape of `identity:`: what proves who asks, beside `clients:`.

import { z } from 'zod'
import { JWT_ALGORITHMS, type JwtAlgorithm } from '../core/jwt.ts'
import { custom, list, oneOrList, text } from './schema-part.ts'

/** `jwks`: an https URL, or the path of a file as written. */
export interface JwtSection {
  readonly issuer: string
  readonly audience: readonly string[]
  readonly jwks: string
  readonly claim?: string
  readonly algorithms?: readonly JwtAlgorithm[]
}

export interface IdentitySection {
  readonly tokens?: string
  readonly jwt?: JwtSection
}

const jwks = text.transform((value, context): string => {
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(value) || isKeyServer(value)) return value
  context.addIssue(custom(`${JSON.stringify(value)} is no https URL`, 'write https://HOST/PATH, or the path of a file'))
  return z.NEVER
})

const jwt = z.strictObject({
  issuer: text.describe('What `iss` must be'),
  audience: oneOrList(text).describe('One of them must be in `aud`'),
  jwks: jwks.describe('Public keys of the issuer: an https URL, or a file'),
  claim: text.exactOptional().describe('The claim that is the name of the client; default: sub'),
  algorithms: list(z.enum(JWT_ALGORITHMS)).exactOptional().describe('Default: both'),
})

export const identitySchema: z.ZodType<IdentitySection> = z
  .strictObject({
    tokens: text.exactOptional().describe('File of lines name:token or name:sha256:HEX; mode 0600'),
    jwt: jwt.exactOptional().describe('Signed tokens of an issuer'),
  })
  .refine(({ tokens, jwt: signed }) => tokens !== undefined || signed !== undefined, {
    error: 'nothing proves anybody\nname tokens or jwt, or remove identity',
    when: ({ value }) => typeof value === 'object' && value !== null,
  })

/** SECURITY: a key that came unprotected, or a redirect of the name to another scheme, would let anybody sign. */
function isKeyServer(value: string): boolean {
  if (!URL.canParse(value)) return false
  const { protocol, username, password, hash } = new URL(value)
  return protocol === 'https:' && username === '' && password === '' && hash === ''
}
