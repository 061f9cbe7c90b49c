// What proves who asks: the clients of the file with what the token file adds, and the issuer of signed tokens with its keys.

import { type ClientProblem, clientProblems } from '../core/identity.ts'
import { JWT_ALGORITHMS, type JwtExpectation } from '../core/jwt.ts'
import type { ClientSpec } from '../core/rule.ts'
import { type Jwks, readJwks, type VerificationKey } from './jwks.ts'
import type { ReadFile } from './openapi.ts'
import type { PrivateText } from './private-file.ts'
import { type Finding, parsePlace } from './problem.ts'
import type { ConfigFile } from './schema.ts'
import type { JwtSection } from './schema-identity.ts'
import { placeOfLine, type Tokened, withTokens } from './token-file.ts'

/** Whose signed tokens prove a client. `keys`: those of a file, or the URL that they are fetched from. */
export interface JwtSettings extends JwtExpectation {
  readonly keys: readonly VerificationKey[] | URL
}

export interface Proofs {
  readonly clients: readonly ClientSpec[]
  /** Null: none are taken. */
  readonly jwt: JwtSettings | null
  readonly findings: readonly Finding[]
}

/** Reads what the configuration names, paths as written: API descriptions, the token file, keys. Null: there is nothing to read. */
export interface Reading {
  readonly description: ReadFile
  tokens(path: string): PrivateText
  keys(path: string): string | null
}

/** `indexes`: where the clients of `file` stand in the whole of it. */
export function readProofs({ clients = [], identity }: ConfigFile, indexes: readonly number[], from: Reading): Proofs {
  const signed = identity?.jwt
  const read = identity?.tokens === undefined ? null : from.tokens(identity.tokens)
  const tokened = withTokens(clients, read, signed !== undefined)
  const problems = clientProblems(tokened.clients).map((problem) => findingOf(problem, indexes, tokened))
  const findings = [...tokened.findings, ...problems]
  if (signed === undefined) return { clients: tokened.clients, jwt: null, findings }
  const keys = keysOf(signed, from)
  const { issuer, audience, claim = 'sub', algorithms = JWT_ALGORITHMS } = signed
  if (keys.kind === 'bad') findings.push({ place: ['identity', 'jwt', 'jwks'], message: keys.why, fix: keys.fix })
  if (!tokened.clients.some(({ claimed }) => claimed === true)) {
    const message = 'no client is left for the issuer to name'
    const fix = 'add one to clients, by its name alone'
    findings.push({ place: ['identity', 'jwt'], message, fix })
  }
  const jwt = { issuer, audience, claim, algorithms, keys: keys.kind === 'ok' ? keys.keys : [] }
  return { clients: tokened.clients, jwt, findings }
}

type Keys =
  | { readonly kind: 'ok'; readonly keys: JwtSettings['keys'] }
  | { readonly kind: 'bad'; readonly why: string; readonly fix: string }

function keysOf({ jwks }: JwtSection, from: Reading): Keys {
  if (/^https:\/\//i.test(jwks)) return { kind: 'ok', keys: new URL(jwks) }
  const text = from.keys(jwks)
  const fix = 'put the keys of the issuer there, as its jwks_uri gives them'
  if (text === null) return { kind: 'bad', why: `the file ${JSON.stringify(jwks)} can not be read`, fix }
  const read: Jwks = readJwks(text)
  return read.kind === 'ok' ? read : { kind: 'bad', why: `of the file ${JSON.stringify(jwks)}: ${read.why}`, fix }
}

function findingOf({ at, message, fix }: ClientProblem, indexes: readonly number[], { own, lines }: Tokened): Finding {
  const [, index, ...rest] = parsePlace(at)
  const line = lines[Number(index) - own]
  const place = line === undefined ? ['clients', indexes[Number(index)] ?? 0, ...rest] : placeOfLine(line)
  return { place, message, fix }
}
