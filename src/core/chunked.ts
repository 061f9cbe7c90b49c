// The chunked transfer coding (RFC 9112 §7.1): a strict bounded decoder, and the writer of chunks and of the last chunk.

import { Buffer } from 'node:buffer'
import { CR, isByteOf, LF, scanFieldLine, TOKEN, VALUE } from './field-line.ts'
import { type RawHeaders, serializeHead } from './http1.ts'

/** `data`: views into the pushed bytes. `rest`: what follows the body. After `done` or `bad` every push is `bad`. */
export type ChunkedResult =
  | { readonly kind: 'data'; readonly data: Buffer[] }
  | { readonly kind: 'done'; readonly data: Buffer[]; readonly trailers: RawHeaders; readonly rest: Buffer }
  | { readonly kind: 'bad'; readonly code: string }

/** Leading zeros included; the value itself must also stay a safe integer. */
const MAX_SIZE_DIGITS = 15
/** SECURITY: extensions cost the sender one byte and us one; unbounded they are a body that no size limit sees. */
const MAX_EXTENSION_BYTES = 4 * 1024
const MAX_EXTENSION_BYTES_IN_BODY = 16 * 1024
const MAX_TRAILER_BYTES = 16 * 1024
const MAX_TRAILER_COUNT = 100

/** SECURITY: trailers that would change framing, routing or the connection if someone merged them (RFC 9110 §6.5.1). */
const FORBIDDEN_TRAILERS: ReadonlySet<string> = new Set([
  'transfer-encoding',
  'content-length',
  'host',
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authorization',
  'proxy-authenticate',
  'te',
  'trailer',
  'upgrade',
  'expect',
])

const SEMICOLON = 0x3b
const EQUALS = 0x3d
const QUOTE = 0x22
const BACKSLASH = 0x5c
const CRLF: Buffer = Buffer.from('\r\n', 'latin1')

type ExtensionState =
  | 'extension-start'
  | 'extension-name'
  | 'extension-value'
  | 'extension-token'
  | 'extension-quoted'
  | 'extension-escape'
  | 'extension-end'

type State = 'size' | ExtensionState | 'size-lf' | 'data' | 'data-cr' | 'data-lf' | 'trailers'

/** Decodes one chunked body. The outcome does not depend on how the bytes are split over pushes; nothing is kept but a trailer line. */
export class ChunkedDecoder {
  #state: State = 'size'
  /** Of the chunk: its declared size while the size line is read, then what is still to come. */
  #left = 0
  #digits = 0
  #extensionBytes = 0
  #extensionBytesInBody = 0
  #trailerLine = ''
  #trailerBytes = 0
  readonly #trailers: string[] = []
  /** Set once the body is over: what every further push answers. */
  #closed: string | null = null

  push(bytes: Buffer): ChunkedResult {
    if (this.#closed !== null) return { kind: 'bad', code: this.#closed }
    const data: Buffer[] = []
    let at = 0
    while (at < bytes.length) {
      if (this.#state === 'data') {
        const end = Math.min(at + this.#left, bytes.length)
        data.push(bytes.subarray(at, end))
        this.#left -= end - at
        at = end
        if (this.#left === 0) this.#state = 'data-cr'
        continue
      }
      if (this.#state === 'trailers') {
        const feed = bytes.indexOf(LF, at)
        const end = feed === -1 ? bytes.length : feed + 1
        const outcome = this.#readTrailer(bytes.toString('latin1', at, end))
        if (outcome === 'END') return this.#done(data, bytes.subarray(end))
        if (outcome !== null) return this.#bad(outcome)
        at = end
        continue
      }
      const fault = this.#step(this.#state, bytes.readUInt8(at))
      if (fault !== null) return this.#bad(fault)
      at++
    }
    return { kind: 'data', data }
  }

  #bad(code: string): ChunkedResult {
    // SECURITY: what follows a broken chunk is never read again, or it would become a request of its own.
    this.#closed = code
    return { kind: 'bad', code }
  }

  #done(data: Buffer[], rest: Buffer): ChunkedResult {
    this.#closed = 'AFTER_LAST_CHUNK'
    return { kind: 'done', data, trailers: this.#trailers, rest }
  }

  /** Reads one byte of a size line or of the CRLF after the data; answers a fault or null. */
  #step(state: Exclude<State, 'data' | 'trailers'>, byte: number): string | null {
    if (state === 'size') return this.#readSize(byte)
    if (state === 'size-lf') {
      if (byte !== LF) return 'BAD_CHUNK_SIZE'
      this.#state = this.#left === 0 ? 'trailers' : 'data'
      return null
    }
    if (state === 'data-cr') {
      if (byte !== CR) return 'BAD_CHUNK_END'
      this.#state = 'data-lf'
      return null
    }
    if (state === 'data-lf') {
      if (byte !== LF) return 'BAD_CHUNK_END'
      this.#state = 'size'
      this.#digits = 0
      this.#extensionBytes = 0
      return null
    }
    return this.#readExtension(state, byte)
  }

  #readSize(byte: number): string | null {
    const digit = hexDigit(byte)
    if (digit !== -1) {
      if (this.#digits === MAX_SIZE_DIGITS) return 'BAD_CHUNK_SIZE'
      this.#digits++
      this.#left = this.#left * 16 + digit
      return Number.isSafeInteger(this.#left) ? null : 'BAD_CHUNK_SIZE'
    }
    if (this.#digits === 0) return 'BAD_CHUNK_SIZE'
    if (byte === CR) this.#state = 'size-lf'
    else if (byte === SEMICOLON) this.#state = 'extension-start'
    else return 'BAD_CHUNK_SIZE'
    return null
  }

  #readExtension(state: ExtensionState, byte: number): string | null {
    this.#extensionBytes++
    this.#extensionBytesInBody++
    if (this.#extensionBytes > MAX_EXTENSION_BYTES) return 'CHUNK_EXTENSION_TOO_LARGE'
    if (this.#extensionBytesInBody > MAX_EXTENSION_BYTES_IN_BODY) return 'CHUNK_EXTENSION_TOO_LARGE'
    const next = afterExtensionByte(state, byte)
    if (next === null) return 'BAD_CHUNK_EXTENSION'
    this.#state = next
    return null
  }

  /** Takes text up to and including the next LF, or all there is; answers END after the empty line, a fault, or null. */
  #readTrailer(part: string): string | null {
    this.#trailerBytes += part.length
    if (this.#trailerBytes > MAX_TRAILER_BYTES) return 'TRAILERS_TOO_LARGE'
    const line = this.#trailerLine + part
    this.#trailerLine = line
    if (!part.endsWith('\n')) return null
    if (line === '\r\n') return 'END'
    if (this.#trailers.length === MAX_TRAILER_COUNT * 2) return 'TOO_MANY_TRAILERS'
    const end = scanFieldLine(line, 0, this.#trailers)
    if (typeof end === 'string') return end
    if (FORBIDDEN_TRAILERS.has(line.slice(0, line.indexOf(':')).toLowerCase())) return 'FORBIDDEN_TRAILER'
    this.#trailerLine = ''
    return null
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}

/** RFC 9112 §7.1.1 without its optional whitespace, which llhttp refuses too; null: not an extension. */
function afterExtensionByte(state: ExtensionState, byte: number): State | null {
  if (state === 'extension-quoted') {
    if (byte === QUOTE) return 'extension-end'
    if (byte === BACKSLASH) return 'extension-escape'
    return isByteOf(byte, VALUE) ? state : null
  }
  if (state === 'extension-escape') return isByteOf(byte, VALUE) ? 'extension-quoted' : null
  if (state === 'extension-end') return afterExtension(byte)
  if (state === 'extension-value' && byte === QUOTE) return 'extension-quoted'
  if (state === 'extension-name' && byte === EQUALS) return 'extension-value'
  if (isByteOf(byte, TOKEN)) {
    if (state === 'extension-start') return 'extension-name'
    return state === 'extension-value' ? 'extension-token' : state
  }
  return state === 'extension-name' || state === 'extension-token' ? afterExtension(byte) : null
}

function afterExtension(byte: number): State | null {
  if (byte === SEMICOLON) return 'extension-start'
  return byte === CR ? 'size-lf' : null
}

/** One chunk as size line, data, CRLF; `data` is not copied. Nothing for no data: a chunk of size 0 would end the body. */
export function encodeChunk(data: Buffer): Buffer[] {
  if (data.length === 0) return []
  return [Buffer.from(`${data.length.toString(16)}\r\n`, 'latin1'), data, CRLF]
}

/** The last chunk with its trailer fields. Throws as `serializeHead` does. */
export function encodeLastChunk(trailers: RawHeaders): Buffer {
  return serializeHead('0', trailers)
}
