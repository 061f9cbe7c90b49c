// The DATA of one stream on its way to a reader that pulls: bounded by the stream's window, credited as it is taken.

import type { RawHeaders } from '../../core/http1.ts'
import type { Reason } from '../../core/refusal.ts'
import type { BodyPart, BodyReader } from '../message.ts'
import { bodyBytesReceived } from '../young-buffers.ts'
import { ByteQueue, detached } from './byte-queue.ts'

export interface BodyOwner {
  /** So many bytes are held no longer: the peer may send as many more. */
  credit(bytes: number): void
}

export class ReceivedBody implements BodyReader {
  readonly #owner: BodyOwner
  #idleMs: number | undefined
  readonly #queue = new ByteQueue()
  #last: BodyPart | null = null
  #waiter: ((part: BodyPart) => void) | null = null
  #timer: NodeJS.Timeout | null = null

  /** `idleMs`: how long a reader waits before the body has failed with `client_timeout`; no such bound without it. */
  constructor(owner: BodyOwner, idleMs: number | undefined) {
    this.#owner = owner
    this.#idleMs = idleMs
  }

  /** It ended or failed: nothing more is taken in. */
  get finished(): boolean {
    return this.#last !== null
  }

  /** Everything arrived: it ended and did not fail. */
  get whole(): boolean {
    return this.#last?.kind === 'end'
  }

  /** Nothing waits to be read. */
  get empty(): boolean {
    return this.#queue.bytes === 0
  }

  /** Only before the end. */
  push(data: Buffer): void {
    if (data.length === 0) return
    bodyBytesReceived(data.length)
    if (this.#waiter === null) return this.#queue.push(data)
    this.#deliver({ kind: 'data', data: detached(data) })
    this.#owner.credit(data.length)
  }

  end(trailers: RawHeaders): void {
    this.#finish({ kind: 'end', trailers })
  }

  /** What was queued and not yet read is dropped: a body that failed is not handed out as if it went on. */
  fail(reason: Reason, detail: string): void {
    if (this.#last?.kind === 'failed') return
    const held = this.#queue.bytes
    this.#queue.clear()
    this.#last = null
    this.#finish({ kind: 'failed', reason, detail })
    if (held > 0) this.#owner.credit(held)
  }

  read(): BodyPart | Promise<BodyPart> {
    const data = this.#queue.shift()
    if (data !== undefined) {
      this.#owner.credit(data.length)
      return { kind: 'data', data }
    }
    if (this.#last !== null) return this.#last
    return new Promise((resolve) => {
      this.#waiter = resolve
      this.#startTimer()
    })
  }

  mayPause(): void {
    this.#idleMs = undefined
  }

  #finish(part: BodyPart): void {
    if (this.#last !== null) return
    this.#last = part
    if (this.#waiter !== null) this.#deliver(part)
  }

  #deliver(part: BodyPart): void {
    const waiter = this.#waiter
    this.#waiter = null
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    waiter?.(part)
  }

  #startTimer(): void {
    if (this.#idleMs === undefined) return
    const timedOut = (): void => this.fail('client_timeout', 'the client stopped sending its body')
    this.#timer = setTimeout(timedOut, this.#idleMs)
  }
}
