// What is recorded of a body: as much of its beginning as was asked for, as text where it is text, without the secrets in it.

import { Buffer } from 'node:buffer'
import type { Redactor } from './redact.ts'

/** So many bytes beyond the limit are looked at, so that a secret which the limit cuts through is recognised. */
export const SAMPLE_MARGIN = 8_192

/** `bytes`: the first `limit + SAMPLE_MARGIN` bytes, or all. `whole`: these are all. Header values as on the wire, null: none. */
export interface BodyStart {
  readonly bytes: Buffer
  readonly limit: number
  readonly whole: boolean
  readonly contentType: string | null
  readonly contentEncoding: string | null
}

/** `prefix` null: nothing of it can be shown. `encoding` says how the prefix is written, null without one. */
export interface SampledBody {
  readonly prefix: string | null
  readonly encoding: 'text' | 'base64' | null
  readonly redacted: boolean
  readonly truncated: boolean
}

/** gzip, zip, zstd, xz, bzip2, 7z: what compression hides can not be searched. */
const COMPRESSED: readonly string[] = ['1f8b', '504b0304', '28b52ffd', 'fd377a58', '425a68', '377abcaf']
const FORM = 'application/x-www-form-urlencoded'

/** SECURITY: only what could be searched is shown; of encoded and compressed bytes nothing. */
export function sampleBody(body: BodyStart, redactor: Pick<Redactor, 'sample'>): SampledBody {
  const { bytes, limit, whole, contentType } = body
  const truncated = !whole || bytes.length > limit
  if (limit === 0 || isOpaque(body)) return { prefix: null, encoding: null, redacted: false, truncated }
  const context = contentType?.toLowerCase().startsWith(FORM) === true ? 'query' : 'text'
  // Searched byte by byte, as header fields are: one secret has one fingerprint wherever it stands. What is put in is ASCII.
  const sample = redactor.sample(bytes.toString('latin1'), limit, context, !whole)
  const shown = Buffer.from(sample.text, 'latin1')
  const text = readText(shown, !truncated)
  if (text !== null) return { prefix: text, encoding: 'text', redacted: sample.redacted, truncated }
  return { prefix: shown.toString('base64'), encoding: 'base64', redacted: sample.redacted, truncated }
}

function isOpaque({ bytes, contentEncoding }: BodyStart): boolean {
  if (contentEncoding !== null && contentEncoding.trim().toLowerCase() !== 'identity') return true
  const start = bytes.toString('hex', 0, 4)
  return COMPRESSED.some((magic) => start.startsWith(magic))
}

/** Null where it is not UTF-8, or holds zeros. `whole` false: a character may be cut at the end. */
function readText(bytes: Buffer, whole: boolean): string | null {
  if (bytes.includes(0)) return null
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes, { stream: !whole })
  } catch {
    return null
  }
}
