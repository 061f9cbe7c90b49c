// The body of a request as its reader waits for it: 100 Continue when it is wanted, a deadline for each silence.

import type { BodyQueue } from './body-queue.ts'
import type { BodyPart, BodyReader, ResponseSink } from './message.ts'

export class ClientBody implements BodyReader {
  readonly #queue: BodyQueue
  readonly #sink: ResponseSink
  readonly #idleMs: number
  #continueOwed: boolean
  #timer: NodeJS.Timeout | null = null

  /** `idleMs`: the longest silence while somebody waits. `expectContinue`: the client waits for our word before it sends. */
  constructor(queue: BodyQueue, sink: ResponseSink, idleMs: number, expectContinue: boolean) {
    this.#queue = queue
    this.#sink = sink
    this.#idleMs = idleMs
    this.#continueOwed = expectContinue
  }

  read(): BodyPart | Promise<BodyPart> {
    const queue = this.#queue
    // RFC 9110 §10.1.1: 100 only when the request may proceed, which is when somebody wants its body.
    if (this.#continueOwed && queue.empty && !queue.finished) this.#sink.informational(100, [])
    this.#continueOwed = false
    const next = queue.read()
    if (!(next instanceof Promise)) return next
    // One timer for all the silences of a body, never stopped between them.
    if (this.#timer === null) this.#timer = setTimeout(this.#onSilence, this.#idleMs)
    else this.#timer.refresh()
    return next
  }

  readonly #onSilence = (): void => {
    this.#timer = null
    if (this.#queue.awaited) this.#queue.fail('client_timeout', 'the client stopped sending its body')
  }

  /** Nobody waits any more. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }
}
