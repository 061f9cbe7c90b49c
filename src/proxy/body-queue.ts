// A bounded hand-over of body bytes from a socket that pushes to a reader that pulls.

import type { RawHeaders } from '../core/http1.ts'
import type { Reason } from '../core/refusal.ts'
import type { BodyPart, BodyReader } from './message.ts'
import { bodyBytesReceived } from './young-buffers.ts'

/** Bytes held for a slow reader before the socket is told to stop; one TLS record fits several times. */
const HIGH_WATER_BYTES = 64 * 1024

export class BodyQueue implements BodyReader {
  readonly #onDemand: () => void
  #chunks: Buffer[] = []
  #bytes = 0
  #last: BodyPart | null = null
  #waiter: ((part: BodyPart) => void) | null = null

  /** `onDemand` is called when the reader waits for more or has made room. */
  constructor(onDemand: () => void) {
    this.#onDemand = onDemand
  }

  get finished(): boolean {
    return this.#last !== null
  }

  /** Everything arrived: it ended and did not fail. */
  get whole(): boolean {
    return this.#last?.kind === 'end'
  }

  get empty(): boolean {
    return this.#bytes === 0
  }

  get full(): boolean {
    return this.#bytes >= HIGH_WATER_BYTES
  }

  /** Somebody waits for the next part. */
  get awaited(): boolean {
    return this.#waiter !== null
  }

  push(data: Buffer): void {
    if (this.#last !== null || data.length === 0) return
    bodyBytesReceived(data.length)
    if (this.#waiter !== null) return this.#deliver({ kind: 'data', data })
    this.#chunks.push(data)
    this.#bytes += data.length
  }

  end(trailers: RawHeaders): void {
    this.#finish({ kind: 'end', trailers })
  }

  /** What was queued and not yet read is dropped: a body that failed is not handed out as if it went on. */
  fail(reason: Reason, detail: string): void {
    if (this.#last?.kind === 'failed') return
    this.#chunks = []
    this.#bytes = 0
    this.#last = null
    this.#finish({ kind: 'failed', reason, detail })
  }

  read(): BodyPart | Promise<BodyPart> {
    const data = this.#chunks.shift()
    if (data !== undefined) {
      this.#bytes -= data.length
      if (!this.full) this.#onDemand()
      return { kind: 'data', data }
    }
    if (this.#last !== null) return this.#last
    return new Promise((resolve) => {
      this.#waiter = resolve
      this.#onDemand()
    })
  }

  #finish(part: BodyPart): void {
    if (this.#last !== null) return
    this.#last = part
    if (this.#waiter !== null) this.#deliver(part)
  }

  #deliver(part: BodyPart): void {
    const waiter = this.#waiter
    this.#waiter = null
    waiter?.(part)
  }
}

/** A body that is already in memory, as one part. */
export function bufferedBody(bytes: Buffer, trailers: RawHeaders = []): BodyReader {
  const queue = new BodyQueue(() => undefined)
  queue.push(bytes)
  queue.end(trailers)
  return queue
}
