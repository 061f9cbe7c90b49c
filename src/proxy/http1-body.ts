// Takes the body of one HTTP/1.x message off a byte stream and puts it into a queue, by length, by chunks or until the close.

import { ChunkedDecoder } from '../core/chunked.ts'
import type { BodyFraming } from '../core/framing.ts'
import type { Reason } from '../core/refusal.ts'
import type { BodyQueue } from './body-queue.ts'

const EMPTY = Buffer.alloc(0)

/** What is left after the bytes were taken: `rest` follows the body; null while the body goes on. */
export type Taken = { readonly rest: Buffer | null }

export class Http1Body {
  readonly queue: BodyQueue
  readonly #framing: BodyFraming
  readonly #decoder: ChunkedDecoder | null
  readonly #badReason: Reason
  #remaining: number

  /** `badReason` is what bad chunking means on this side: the client's fault or the origin's. */
  constructor(framing: BodyFraming, queue: BodyQueue, badReason: Reason) {
    this.#framing = framing
    this.queue = queue
    this.#badReason = badReason
    this.#decoder = framing.kind === 'chunked' ? new ChunkedDecoder() : null
    this.#remaining = framing.kind === 'length' ? framing.length : 0
    if (framing.kind === 'none' || (framing.kind === 'length' && framing.length === 0)) queue.end([])
  }

  get finished(): boolean {
    return this.queue.finished
  }

  take(bytes: Buffer): Taken {
    if (this.finished) return { rest: bytes }
    if (this.#decoder !== null) return this.#takeChunked(this.#decoder, bytes)
    if (this.#framing.kind === 'close') {
      this.queue.push(bytes)
      return { rest: null }
    }
    if (bytes.length < this.#remaining) {
      this.#remaining -= bytes.length
      this.queue.push(bytes)
      return { rest: null }
    }
    this.queue.push(bytes.subarray(0, this.#remaining))
    const rest = bytes.subarray(this.#remaining)
    this.#remaining = 0
    this.queue.end([])
    return { rest }
  }

  /** The stream ended in order. Only a body that runs until the close is whole then (RFC 9112 §8). */
  end(reason: Reason, detail: string): void {
    if (this.finished) return
    if (this.#framing.kind === 'close') this.queue.end([])
    else this.queue.fail(reason, detail)
  }

  /** The stream broke: whatever the framing, this body is not whole. */
  fail(reason: Reason, detail: string): void {
    if (!this.finished) this.queue.fail(reason, detail)
  }

  #takeChunked(decoder: ChunkedDecoder, bytes: Buffer): Taken {
    const result = decoder.push(bytes)
    if (result.kind === 'bad') {
      this.queue.fail(this.#badReason, result.code)
      return { rest: EMPTY }
    }
    for (const data of result.data) this.queue.push(data)
    if (result.kind === 'data') return { rest: null }
    this.queue.end(result.trailers)
    return { rest: result.rest }
  }
}
