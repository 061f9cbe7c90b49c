// The TLS ClientHello, read without a socket: names and protocols asked for, over any number of segments and records.

import { Buffer } from 'node:buffer'

/**
 * Bytes a hello may take, record headers included; no less and no more than the listener peeks. Hellos with
 * post-quantum key shares are near 2 KiB, resumption tickets add a few more.
 */
export const MAX_HELLO_BYTES = 16_384

/**
 * `sni` is latin1 as sent, and attacker text; null without the extension. `alpn` and `supportedVersions` are in the
 * client's order, without GREASE (RFC 8701). `ech`: an Encrypted ClientHello is there, whose inner name may differ.
 */
export type Hello =
  | { readonly kind: 'more' }
  | { readonly kind: 'bad'; readonly why: string }
  | {
      readonly kind: 'hello'
      readonly sni: string | null
      readonly alpn: readonly string[]
      readonly ech: boolean
      readonly supportedVersions: readonly number[]
    }

/** What each byte of a record header may be (RFC 8446 §5.1): handshake, version 3.0 to 3.4, at most 2^14 bytes. */
const RECORD_HEADER: readonly (readonly [low: number, high: number])[] = [
  [0x16, 0x16],
  [0x03, 0x03],
  [0x00, 0x04],
  [0x00, 0x40],
  [0x00, 0xff],
]
const MAX_RECORD = 16_384
const HANDSHAKE_HEADER = 4
const CLIENT_HELLO = 1
const RANDOM = 32
const MAX_SESSION_ID = 32
const HOST_NAME = 0
const EXTENSION = { serverName: 0x0000, alpn: 0x0010, supportedVersions: 0x002b, encryptedClientHello: 0xfe0d } as const

/**
 * Reads the ClientHello at the start of `bytes`. `more`: no fault so far, and not whole yet. A fault of the framing is
 * found at the first byte that shows it, a fault inside the message once that is whole. Bytes behind are not looked at.
 */
export function parseHello(bytes: Uint8Array): Hello {
  const peeked = bytes.subarray(0, MAX_HELLO_BYTES)
  const message = new Uint8Array(HANDSHAKE_HEADER + peeked.length)
  const view = new DataView(message.buffer)
  let length = 0
  for (let at = 0; at < peeked.length; ) {
    const header = peeked.subarray(at, at + RECORD_HEADER.length)
    if (!isRecordHeader(header)) return bad('not a TLS handshake record')
    if (header.length < RECORD_HEADER.length) break
    const announced = uint(header, 3, RECORD_HEADER.length)
    // RFC 8446 §5.1: no empty fragments of handshake messages.
    if (announced === 0 || announced > MAX_RECORD) return bad('a record of forbidden length')
    at += RECORD_HEADER.length
    const fragment = peeked.subarray(at, at + announced)
    message.set(fragment, length)
    at += announced
    length += fragment.length
    if (length > 0 && message[0] !== CLIENT_HELLO) return bad('not a ClientHello')
    // Bytes that have not come yet are zero: until the header is whole this is a lower bound.
    const total = HANDSHAKE_HEADER + (view.getUint32(0) & 0xff_ffff)
    if (RECORD_HEADER.length + total > MAX_HELLO_BYTES) return bad('a ClientHello over the limit')
    if (length < HANDSHAKE_HEADER) continue
    // RFC 8446 §5.1: nothing follows a message before a change of keys, least of all a second hello.
    if (length - fragment.length + announced > total) return bad('bytes after the ClientHello in its record')
    if (length === total) return readBody(message.subarray(HANDSHAKE_HEADER, total))
  }
  return bytes.length < MAX_HELLO_BYTES ? { kind: 'more' } : bad('a ClientHello over the limit')
}

function bad(why: string): Hello {
  return { kind: 'bad', why }
}

function isRecordHeader(header: Uint8Array): boolean {
  for (let at = 0; at < header.length; at++) {
    const [low, high] = RECORD_HEADER[at] as readonly [number, number]
    const byte = header[at] as number
    if (byte < low || byte > high) return false
  }
  return true
}

/** RFC 8446 §4.1.2; extensions may be missing, as in TLS 1.2. */
function readBody(body: Uint8Array): Hello {
  const hello = new Cursor(body)
  const version = hello.uint(2)
  hello.take(RANDOM)
  const sessionId = hello.vector(1, 0)
  const cipherSuites = hello.vector(2, 2)
  hello.vector(1, 1)
  if (hello.failed || version < 0x0300 || version > 0x0303) return bad('a ClientHello of another shape')
  if (sessionId.length > MAX_SESSION_ID || cipherSuites.length % 2 === 1) return bad('a ClientHello of another shape')
  const extensions = hello.ended ? new Map<number, Uint8Array>() : readExtensions(hello.vector(2, 0))
  if (extensions === null || !hello.ended) return bad('extensions that are cut off, repeated or followed by bytes')

  const name = extensions.get(EXTENSION.serverName)
  const sni = name === undefined ? null : readServerName(name)
  if (sni === undefined) return bad('a server_name that is not one host name')
  const protocols = extensions.get(EXTENSION.alpn)
  const alpn = protocols === undefined ? [] : readProtocols(protocols)
  if (alpn === null) return bad('a malformed list of application protocols')
  const versions = extensions.get(EXTENSION.supportedVersions)
  const supportedVersions = versions === undefined ? [] : readVersions(versions)
  if (supportedVersions === null) return bad('a malformed list of versions')
  return { kind: 'hello', sni, alpn, ech: extensions.has(EXTENSION.encryptedClientHello), supportedVersions }
}

/** Null when malformed, or when a type comes twice (RFC 8446 §4.2). */
function readExtensions(bytes: Uint8Array): Map<number, Uint8Array> | null {
  const cursor = new Cursor(bytes)
  const extensions = new Map<number, Uint8Array>()
  while (cursor.unread) {
    const type = cursor.uint(2)
    const data = cursor.vector(2, 0)
    if (extensions.has(type)) return null
    extensions.set(type, data)
  }
  return cursor.failed ? null : extensions
}

/** RFC 6066 §3; undefined when malformed. */
function readServerName(bytes: Uint8Array): string | undefined {
  const outer = new Cursor(bytes)
  const list = new Cursor(outer.vector(2, 1))
  const type = list.uint(1)
  const name = list.vector(2, 1)
  // SECURITY: a second name, or a type that only another reader knows, would be a second destination.
  return outer.ended && list.ended && type === HOST_NAME ? latin1(name) : undefined
}

/** RFC 7301 §3.1; null when malformed. */
function readProtocols(bytes: Uint8Array): string[] | null {
  const outer = new Cursor(bytes)
  const list = new Cursor(outer.vector(2, 2))
  const protocols: string[] = []
  while (list.unread) {
    const name = list.vector(1, 1)
    if (name.length !== 2 || !isGrease(uint(name, 0, 2))) protocols.push(latin1(name))
  }
  return outer.ended && list.ended ? protocols : null
}

/** RFC 8446 §4.2.1; null when malformed. */
function readVersions(bytes: Uint8Array): number[] | null {
  const outer = new Cursor(bytes)
  const list = new Cursor(outer.vector(1, 2))
  const versions: number[] = []
  while (list.unread) versions.push(list.uint(2))
  return outer.ended && list.ended ? versions.filter((version) => !isGrease(version)) : null
}

/** RFC 8701 §2: 0x0A0A, 0x1A1A, … 0xFAFA. */
function isGrease(value: number): boolean {
  return (value & 0x0f0f) === 0x0a0a && value >> 8 === (value & 0xff)
}

/** Big-endian, of the bytes from `from` up to `to`. */
function uint(bytes: Uint8Array, from: number, to: number): number {
  let value = 0
  for (let at = from; at < to; at++) value = value * 256 + (bytes[at] as number)
  return value
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1')
}

/** Reads forward. A read past the end fails the cursor for good and yields nothing: it is enough to ask at the end. */
class Cursor {
  readonly #bytes: Uint8Array
  #at = 0
  #failed = false

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get failed(): boolean {
    return this.#failed
  }

  get unread(): boolean {
    return !this.#failed && this.#at < this.#bytes.length
  }

  /** Everything was read, and nothing failed. */
  get ended(): boolean {
    return !this.#failed && this.#at === this.#bytes.length
  }

  take(length: number): Uint8Array {
    const from = this.#at
    this.#at = from + length
    this.#failed ||= this.#at > this.#bytes.length
    return this.#failed ? new Uint8Array() : this.#bytes.subarray(from, this.#at)
  }

  uint(width: number): number {
    const from = this.#at
    this.#at = from + width
    this.#failed ||= this.#at > this.#bytes.length
    return this.#failed ? 0 : uint(this.#bytes, from, this.#at)
  }

  /** A vector of RFC 8446 §3.4: its length in `width` bytes, at least `min`, then the bytes. */
  vector(width: number, min: number): Uint8Array {
    const bytes = this.take(this.uint(width))
    this.#failed ||= bytes.length < min
    return bytes
  }
}
