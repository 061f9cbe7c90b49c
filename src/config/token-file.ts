// The token file: a line `name:token` or `name:sha256:HEX` for each client, and the clients that they make.

import { createHash } from 'node:crypto'
import type { ClientSpec } from '../core/rule.ts'
import type { PrivateText } from './private-file.ts'
import type { Finding, Place } from './problem.ts'

/** As in `clients[].name`: names stand in records, metrics and command lines. */
const NAME = /^[A-Za-z0-9._-]{1,64}$/
const VISIBLE = /^[!-~]+$/
const HASHED = 'sha256:'
const DIGEST = /^[0-9a-f]{64}$/i
/**
 * SECURITY: SHA-256 is made to be fast, so it keeps a token secret only if nobody can try all there are. 16 random characters are past that;
 * a password is not, and no slow hash is affordable on each request.
 */
export const MIN_TOKEN_LENGTH = 16
/** As long as credentials may be, less the name. */
const MAX_TOKEN_LENGTH = 4_096
const MAX_TOKENS = 10_000

interface TokenLine {
  readonly line: number
  readonly name: string
  /** Null: only its digest is known. */
  readonly token: string | null
  readonly digest: string
}

/** `clients`: those of the file with their tokens, then those that only the token file names, `lines` by their place behind `own`. */
export interface Tokened {
  readonly clients: readonly ClientSpec[]
  readonly own: number
  readonly lines: readonly number[]
  readonly findings: readonly Finding[]
}

const AT: Place = ['identity', 'tokens']

export function placeOfLine(line: number): Place {
  return [...AT, `line ${line}`]
}

/** `read`: null where there is no token file. A client with neither source nor token is known by its line, else by what `claimed` allows. */
export function withTokens(clients: readonly ClientSpec[], read: PrivateText | null, claimed: boolean): Tokened {
  if (read?.kind === 'bad') {
    // Whom the file would name is not known: nobody is blamed for missing there.
    const known = clients.map((client) => (isUnproven(client) ? { ...client, claimed: true as const } : client))
    const finding = { place: AT, message: read.message, fix: read.fix }
    return { clients: known, own: clients.length, lines: [], findings: [finding] }
  }
  const findings: Finding[] = []
  const lines = new Map(read === null ? [] : tokenLines(read.text, findings).map((line) => [line.name, line]))
  const own = clients.map((client): ClientSpec => {
    const line = lines.get(client.name)
    lines.delete(client.name)
    if (line === undefined) return isUnproven(client) && claimed ? { ...client, claimed: true } : client
    if (isUnproven(client)) return clientOf(line)
    const message = `the client ${JSON.stringify(client.name)} has a source or a token in clients`
    findings.push({ place: placeOfLine(line.line), message, fix: 'remove one of the two' })
    return client
  })
  const named = [...lines.values()]
  return {
    clients: [...own, ...named.map(clientOf)],
    own: own.length,
    lines: named.map(({ line }) => line),
    findings,
  }
}

function isUnproven({ source, token }: ClientSpec): boolean {
  return source === undefined && token === undefined
}

function clientOf({ name, token, digest }: TokenLine): ClientSpec {
  return token === null ? { name, tokenDigest: digest } : { name, token }
}

/** SECURITY: no finding repeats any of a line but its name: what stands behind the colon is secret, and so may be a line without one. */
function tokenLines(text: string, findings: Finding[]): TokenLine[] {
  const found: TokenLine[] = []
  const taken = new Map<string, number>()
  for (const [index, written] of text.split('\n').entries()) {
    const line = index + 1
    const content = written.trim()
    if (content === '' || content.startsWith('#')) continue
    const read = readLine(content, line)
    const complain = (message: string, fix: string): void => {
      findings.push({ place: placeOfLine(line), message, fix })
    }
    if ('message' in read) {
      complain(read.message, read.fix)
      continue
    }
    if (found.length === MAX_TOKENS) {
      complain(`there are more than ${MAX_TOKENS} tokens`, 'have an issuer sign tokens: identity.jwt')
      break
    }
    const sameName = taken.get(`name ${read.name}`)
    const sameToken = taken.get(`token ${read.digest}`)
    taken.set(`name ${read.name}`, line).set(`token ${read.digest}`, line)
    if (sameName !== undefined) {
      complain(`${JSON.stringify(read.name)} stands on line ${sameName} too`, 'keep one of the two lines')
    } else if (sameToken !== undefined) {
      complain(`the token is that of line ${sameToken} too`, 'give each client its own')
    } else {
      found.push(read)
    }
  }
  return found
}

function readLine(content: string, line: number): TokenLine | { message: string; fix: string } {
  const colon = content.indexOf(':')
  const name = content.slice(0, Math.max(colon, 0))
  const rest = content.slice(colon + 1)
  if (!NAME.test(name)) {
    return { message: 'the line does not begin with the name of a client', fix: 'write name:token, or name:sha256:HEX' }
  }
  if (rest.startsWith(HASHED)) {
    const digest = rest.slice(HASHED.length)
    if (DIGEST.test(digest)) return { line, name, token: null, digest: digest.toLowerCase() }
    const fix = 'make it with: printf %s TOKEN | sha256sum'
    return { message: `of ${JSON.stringify(name)} the digest is not 64 hexadecimal digits`, fix }
  }
  const fix = 'make one with: openssl rand -hex 24'
  if (!VISIBLE.test(rest) || rest.length > MAX_TOKEN_LENGTH) {
    return { message: `of ${JSON.stringify(name)} the token is empty, too long or not visible ASCII`, fix }
  }
  if (rest.length < MIN_TOKEN_LENGTH) {
    const message = `of ${JSON.stringify(name)} the token has under ${MIN_TOKEN_LENGTH} characters, and can be guessed`
    return { message, fix }
  }
  return { line, name, token: rest, digest: createHash('sha256').update(rest).digest('hex') }
}
