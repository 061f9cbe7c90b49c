// Whether the client of one stream is still there: the stream may go, and the connection stay.

import type { ClientLink, Interruption } from '../message.ts'
import type { Http2StreamEvents } from './events.ts'
import type { Http2Stream } from './stream.ts'

export class StreamLink implements ClientLink, Http2StreamEvents {
  readonly #stream: Http2Stream
  #listeners: (() => void)[] = []
  gone = false
  interrupted: Interruption | null = null

  constructor(stream: Http2Stream) {
    this.#stream = stream
    stream.listen(this)
  }

  onGone(listener: () => void): void {
    if (this.gone) listener()
    else this.#listeners.push(listener)
  }

  interrupt(why: Interruption): void {
    if (this.gone) return
    this.interrupted = why
    // RFC 9113 §8.1.1: without END_STREAM no client takes what it has for a whole answer.
    this.#stream.reset(why === 'audit_unavailable' ? 'INTERNAL_ERROR' : 'CANCEL', why)
    this.onReset()
  }

  onReset(): void {
    if (this.gone) return
    this.gone = true
    for (const listener of this.#listeners) listener()
    this.#listeners = []
  }
}
