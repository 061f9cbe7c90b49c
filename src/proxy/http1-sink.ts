// Writes one HTTP/1.x answer to a client socket, so that a broken answer can never be taken for a complete one.

import type { Socket } from 'node:net'
import { encodeChunk, encodeLastChunk } from '../core/chunked.ts'
import { type RawHeaders, serializeHeadText } from '../core/http1.ts'
import type { ResponseLength, ResponseSink } from './message.ts'
import { OutgoingBytes } from './outgoing-bytes.ts'

/** A client that takes nothing for this long while bytes wait for it is cut off (slow read). */
const WRITE_STALL_MS = 600_000

/** The connection that an answer goes out on. */
export interface SinkOwner {
  /** Whether nothing but the request itself stands against another one behind it. */
  readonly reusable: boolean
  /** Ends the connection in a way that no client reads as the end of a message (RST). */
  breakOff(): void
}

const REASON_PHRASE: Readonly<Record<number, string>> = { 100: 'Continue', 102: 'Processing', 103: 'Early Hints' }

export class Http1Sink implements ResponseSink {
  readonly #socket: Socket
  readonly #out: OutgoingBytes
  readonly #owner: SinkOwner
  readonly #version: '1.0' | '1.1'
  readonly #mayKeep: boolean
  #coding: 'chunked' | 'identity' | 'none' = 'none'
  started = false
  finished = false
  aborted = false
  /** What the head of the answer said. */
  keepAlive = false

  /** `mayKeep`: the request would have the connection stay open. */
  constructor(socket: Socket, version: '1.0' | '1.1', mayKeep: boolean, owner: SinkOwner) {
    this.#socket = socket
    this.#out = new OutgoingBytes(socket)
    this.#version = version
    this.#mayKeep = mayKeep
    this.#owner = owner
  }

  informational(status: number, headers: RawHeaders): void {
    // RFC 9110 §15.2: a server must not send 1xx to an HTTP/1.0 client.
    if (this.started || this.#version === '1.0') return
    this.#socket.write(serializeHeadText(`HTTP/1.1 ${status} ${REASON_PHRASE[status] ?? ''}`, headers), 'latin1')
  }

  /** The last bytes of HTTP on this connection; `headers` with Connection and Upgrade. */
  switchProtocols(statusText: string, headers: RawHeaders): void {
    this.started = true
    this.finished = true
    this.#socket.write(serializeHeadText(`HTTP/1.1 101 ${statusText}`, headers), 'latin1')
  }

  head(status: number, statusText: string, headers: RawHeaders, length: ResponseLength): void {
    this.started = true
    // Asked when the head is written: by then the drain may have begun, and an answer may come before the end of the upload.
    this.keepAlive = this.#mayKeep && this.#owner.reusable
    if (length.kind === 'stream') {
      // RFC 9112 §6.1: chunked only to HTTP/1.1; for 1.0 the close is the end.
      this.#coding = this.#version === '1.1' ? 'chunked' : 'identity'
      if (this.#coding === 'identity') this.keepAlive = false
    } else if (length.kind === 'length') {
      this.#coding = 'identity'
    }
    const own = this.#ownFields()
    const fields = own.length === 0 ? headers : [...headers, ...own]
    this.#out.begin(serializeHeadText(`HTTP/1.1 ${status} ${statusText}`, fields))
  }

  write(data: Buffer): boolean {
    if (this.#coding === 'none' || data.length === 0 || this.#socket.destroyed) return true
    if (this.#coding === 'identity') this.#out.hold(data)
    else for (const piece of encodeChunk(data)) this.#out.hold(piece)
    return this.#out.sendIfFull()
  }

  flush(): boolean {
    return this.#out.send()
  }

  /** It has ended, and its owner has still to `flush` it. */
  get held(): boolean {
    return this.finished && this.#out.held
  }

  drained(): Promise<void> {
    const socket = this.#socket
    return new Promise((resolve) => {
      if (socket.destroyed || !socket.writableNeedDrain) return resolve()
      const stalled = setTimeout(() => this.abort(), WRITE_STALL_MS)
      const done = (): void => {
        clearTimeout(stalled)
        socket.removeListener('drain', done)
        socket.removeListener('close', done)
        resolve()
      }
      socket.on('drain', done)
      socket.on('close', done)
    })
  }

  end(trailers: RawHeaders): void {
    if (this.finished) return
    this.finished = true
    if (this.#coding === 'chunked') this.#out.hold(encodeLastChunk(trailers))
    // Behind the last answer comes the close.
    if (!this.keepAlive) this.#out.send()
  }

  abort(): void {
    if (this.aborted) return
    this.aborted = true
    this.finished = true
    this.#out.drop()
    this.#owner.breakOff()
  }

  /** What an answer says of this connection: nothing, most of the time. */
  #ownFields(): RawHeaders {
    const fields = this.#coding === 'chunked' ? ['Transfer-Encoding', 'chunked'] : []
    if (!this.keepAlive) fields.push('Connection', 'close')
    else if (this.#version === '1.0') fields.push('Connection', 'keep-alive')
    return fields
  }
}
