// Writes one HTTP/1.x answer to a client socket, so that a broken answer can never be taken for a complete one.

import type { Socket } from 'node:net'
import { encodeChunk, encodeLastChunk } from '../core/chunked.ts'
import { type RawHeaders, serializeHead } from '../core/http1.ts'
import type { ResponseLength, ResponseSink } from './message.ts'

/** A client that takes nothing for this long while bytes wait for it is cut off (slow read). */
const WRITE_STALL_MS = 600_000

export interface SinkRequest {
  readonly version: '1.0' | '1.1'
  /** Whether the connection can serve another request after this answer. */
  readonly reusable: () => boolean
}

const REASON_PHRASE: Readonly<Record<number, string>> = { 100: 'Continue', 102: 'Processing', 103: 'Early Hints' }

export class Http1Sink implements ResponseSink {
  readonly #socket: Socket
  readonly #breakOff: () => void
  readonly #request: SinkRequest
  #coding: 'chunked' | 'identity' | 'none' = 'none'
  #corked = false
  started = false
  finished = false
  aborted = false
  /** What the head of the answer said. */
  keepAlive = false

  /** `breakOff` must end the connection in a way that no client reads as the end of a message (RST). */
  constructor(socket: Socket, request: SinkRequest, breakOff: () => void) {
    this.#socket = socket
    this.#request = request
    this.#breakOff = breakOff
  }

  informational(status: number, headers: RawHeaders): void {
    // RFC 9110 §15.2: a server must not send 1xx to an HTTP/1.0 client.
    if (this.started || this.#request.version === '1.0') return
    this.#socket.write(serializeHead(`HTTP/1.1 ${status} ${REASON_PHRASE[status] ?? ''}`, headers))
  }

  /** The last bytes of HTTP on this connection; `headers` with Connection and Upgrade. */
  switchProtocols(statusText: string, headers: RawHeaders): void {
    this.started = true
    this.finished = true
    this.#socket.write(serializeHead(`HTTP/1.1 101 ${statusText}`, headers))
  }

  head(status: number, statusText: string, headers: RawHeaders, length: ResponseLength): void {
    this.started = true
    this.keepAlive = this.#request.reusable()
    const fields = [...headers]
    if (length.kind === 'stream') {
      // RFC 9112 §6.1: chunked only to HTTP/1.1; for 1.0 the close is the end.
      this.#coding = this.#request.version === '1.1' ? 'chunked' : 'identity'
      if (this.#coding === 'chunked') fields.push('Transfer-Encoding', 'chunked')
      else this.keepAlive = false
    } else if (length.kind === 'length') {
      this.#coding = 'identity'
    }
    if (!this.keepAlive) fields.push('Connection', 'close')
    else if (this.#request.version === '1.0') fields.push('Connection', 'keep-alive')
    this.#cork()
    this.#socket.write(serializeHead(`HTTP/1.1 ${status} ${statusText}`, fields))
  }

  write(data: Buffer): boolean {
    if (this.#coding === 'none' || data.length === 0 || this.#socket.destroyed) return true
    this.#cork()
    if (this.#coding === 'identity') return this.#socket.write(data)
    let more = true
    for (const piece of encodeChunk(data)) more = this.#socket.write(piece)
    return more
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
    if (this.#coding === 'chunked' && !this.#socket.destroyed) this.#socket.write(encodeLastChunk(trailers))
  }

  abort(): void {
    if (this.aborted) return
    this.aborted = true
    this.finished = true
    this.#breakOff()
  }

  /** Head and first bytes go out as one record, and no later than this turn of the loop (an event stream's head is not held back). */
  #cork(): void {
    if (this.#corked) return
    this.#corked = true
    this.#socket.cork()
    process.nextTick(() => {
      this.#corked = false
      this.#socket.uncork()
    })
  }
}
