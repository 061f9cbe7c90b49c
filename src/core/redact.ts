// Keeps secrets out of everything that is recorded: finds their values and puts a keyed fingerprint in their place.

import { Buffer } from 'node:buffer'
import { createHmac } from 'node:crypto'
import { decodeFully } from './percent.ts'
import { sealCredentialField } from './redact-header.ts'
import { eachReading } from './redact-layers.ts'
import {
  type Context,
  findElements,
  findMembers,
  findParameters,
  type SecretName,
  secretHeaders,
  secretParameters,
} from './redact-names.ts'
import { findSecretSegments, type SecretPath } from './redact-paths.ts'
import { type Add, merge, type Range, replace } from './redact-range.ts'
import { type ScanTable, SUSPECT, scanTable, suspicion } from './redact-scan.ts'
import { findFoldedTokens, findTokens, findUserinfo } from './redact-tokens.ts'
import { findKnown, type KnownSecrets, knownSecrets } from './redact-values.ts'

/**
 * Every method keeps names and structure, answers the same string when it finds nothing, and leaves its own output alone.
 * A value becomes `hmac:` and 16 hex digits of HMAC-SHA256(key, the value with its percent escapes decoded).
 */
export interface Redactor {
  /** The path of a target, without `?`. */
  path(path: string): string
  /** The query of a target, without `?`. */
  query(query: string | null): string | null
  headerValue(name: string, value: string): string
  /** A name that may have lost its case on the way: a host, a server name, the name of a field. */
  name(name: string): string
  /** Anything else a peer wrote: a request line, a method, a message. */
  text(value: string): string
  /** The beginning of a longer text, which ends where the secret that stands at `limit` ends. `cut`: `text` is not the whole. */
  sample(text: string, limit: number, context: 'text' | 'query', cut: boolean): Sample
  /** The fingerprint of a whole value, as it is. */
  fingerprint(value: Buffer | string): string
}

export interface Sample {
  readonly text: string
  /** Something was replaced. */
  readonly redacted: boolean
}

/** What is secret besides the built-in. Of names case does not count; `values` are secrets that are found anywhere. */
export interface Secrets {
  readonly parameters?: readonly string[]
  readonly headers?: readonly string[]
  readonly paths?: readonly SecretPath[]
  readonly values?: readonly string[]
}

const REDACTION_KEY_BYTES = 32
const FINGERPRINT = /^hmac:[0-9a-f]{16}$/
const FINGERPRINT_LENGTH = 21

/** What is left after a redaction is looked at again, since a new neighbour can complete a form. */
const MAX_PASSES = 4

/** Names in which nothing was found, in which nothing has to be looked for again. Each may hold on to the request head that it was cut from. */
const MAX_CLEAN_NAMES = 128

/** How one text is searched. */
interface Search {
  /** The one pass over the text tells of everything there is to look for. */
  readonly told: boolean
  readonly context: Context
  readonly folded: boolean
  readonly cut: boolean
  readonly isSecret: SecretName
  readonly paths: readonly SecretPath[]
  readonly known: KnownSecrets
  readonly table: ScanTable
}

export function createRedactor(key: Buffer, secrets: Secrets = {}): Redactor {
  if (key.length !== REDACTION_KEY_BYTES)
    throw new RangeError(`a redaction key has ${REDACTION_KEY_BYTES} bytes, not ${key.length}`)
  const { parameters = [], headers = [], paths = [], values = [] } = secrets
  const isSecretHeader = secretHeaders(headers)
  const known = knownSecrets(values)
  const isSecret = secretParameters(parameters)
  const inText: Search = {
    told: paths.length === 0,
    context: 'text',
    folded: false,
    cut: false,
    isSecret,
    paths,
    known,
    table: scanTable(known.begins),
  }
  const inPath: Search = { ...inText, context: 'path' }
  const inQuery: Search = { ...inText, context: 'query' }
  const inName: Search = { ...inText, told: paths.length === 0 && known.folded.size === 0, folded: true }

  const fingerprint = (value: Buffer | string): string => {
    const bytes = typeof value === 'string' ? Buffer.from(value, isLatin1(value) ? 'latin1' : 'utf8') : value
    return `hmac:${createHmac('sha256', key).update(bytes).digest('hex').slice(0, 16)}`
  }
  const sealed = (value: string): string =>
    FINGERPRINT.test(value) || value === '' ? value : fingerprint(decodeFully(value))
  const redact = (raw: string, search: Search): string => {
    let value = raw
    for (let pass = 0; pass < MAX_PASSES; pass++) {
      const found = findSecrets(value, search)
      if (found.length === 0) break
      value = replace(value, found, sealed)
    }
    return value
  }
  // SECURITY: of what is secret now: other secrets make another redactor. Nothing that held a secret is kept.
  const clean = new Set<string>()
  const redactName = (name: string): string => {
    if (clean.has(name)) return name
    const redacted = redact(name, inName)
    if (redacted !== name) return redacted
    if (clean.size >= MAX_CLEAN_NAMES) clean.clear()
    clean.add(name)
    return name
  }
  return {
    path: (path) => redact(path, inPath),
    query: (query) => (query === null ? null : redact(query, inQuery)),
    text: (value) => redact(value, inText),
    name: redactName,
    fingerprint,
    sample: (text, limit, context, cut) => {
      const search = { ...(context === 'query' ? inQuery : inText), cut }
      const found = findSecrets(text, search)
      const end = found.find((range) => range.start < limit && range.end > limit)?.end ?? limit
      const within = found.filter((range) => range.end <= end)
      return { text: redact(replace(text.slice(0, end), within, sealed), search), redacted: within.length > 0 }
    },
    headerValue: (name, value) => {
      const lower = name.toLowerCase()
      const credentials = sealCredentialField(lower, value, { sealed, kept: (text) => redact(text, inText) })
      return credentials ?? (isSecretHeader(lower) ? sealed(value) : redact(value, inText))
    },
  }
}

/** Sorted, disjoint ranges of `raw`. */
function findSecrets(raw: string, search: Search): readonly Range[] {
  const bits = suspicion(raw, search.table)
  if (bits === 0 && search.told) return NONE
  if ((bits & SUSPECT.escape) !== 0) return findInReadings(raw, search)
  const found: Range[] = []
  findIn(raw, bits, search, (start, end, value) => {
    if (isSecretAt(raw, start, end)) found.push(value === undefined ? { start, end } : { start, end, value })
  })
  return merge(found)
}

const NONE: readonly Range[] = []

/** SECURITY: every layer of escapes is searched, or `%67hp_…` would pass. */
function findInReadings(raw: string, search: Search): Range[] {
  const found: Range[] = []
  const readable = eachReading(raw, ({ text, offsets }) => {
    findIn(text, suspicion(text, search.table), search, (start, end, value) => {
      if (!isSecretAt(text, start, end)) return
      if (offsets === null) {
        found.push(value === undefined ? { start, end } : { start, end, value })
        return
      }
      // What it reads as, not how it was escaped: one secret has one fingerprint.
      const reads = value ?? text.slice(start, end)
      found.push({ start: offsets[start] as number, end: offsets[end] as number, value: reads })
    })
  })
  // Escaped more often than any origin decodes: nobody can say what is in it, so nothing of it is kept.
  return readable ? merge(found) : [{ start: 0, end: raw.length }]
}

/** There is something there, and it is not a fingerprint. */
function isSecretAt(text: string, start: number, end: number): boolean {
  return end > start && !(end - start === FINGERPRINT_LENGTH && FINGERPRINT.test(text.slice(start, end)))
}

/** `bits`: what `suspicion` says of `text`. */
function findIn(text: string, bits: number, { context, folded, cut, isSecret, paths, known }: Search, add: Add): void {
  if ((bits & SUSPECT.known) !== 0 || (folded && known.folded.size > 0)) findKnown(text, known, folded, add)
  if ((bits & SUSPECT.token) !== 0) findTokens(text, cut, add)
  if (folded && (bits & SUSPECT.folded) !== 0) findFoldedTokens(text, add)
  if ((bits & SUSPECT.slashes) !== 0) findUserinfo(text, add)
  if ((bits & SUSPECT.equals) !== 0) findParameters(text, context, isSecret, add)
  if ((bits & SUSPECT.colon) !== 0) findMembers(text, context, isSecret, add)
  if ((bits & SUSPECT.element) !== 0 && context === 'text') findElements(text, isSecret, add)
  findSecretSegments(text, context === 'path', paths, add)
}

function isLatin1(value: string): boolean {
  return !/[^\0-\xff]/.test(value)
}
