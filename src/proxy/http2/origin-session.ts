// One HTTP/2 session to an origin: many requests at once, each on a stream of its own.

import { http2RequestFields } from '../../core/http2-message.ts'
import type { Dialled, DialTimings } from '../dial.ts'
import type { OriginAnswer, OriginRequest, SentSoFar } from '../origin-message.ts'
import type { Http2SessionEnd } from './events.ts'
import { OriginStream } from './origin-stream.ts'
import { Http2Session } from './session.ts'

/** What RFC 9113 §6.5.2 recommends as the least; many origins allow more, and a second session costs little. */
const MAX_STREAMS = 100
/** Until the origin has said how many it takes. */
const STREAMS_BEFORE_SETTINGS = 1

const NOT_SENT: OriginAnswer = {
  kind: 'failed',
  reason: 'upstream_unreachable',
  detail: 'the session was closed',
  retryable: true,
  again: 'unprocessed',
}

type SessionFailure = Extract<Dialled, { kind: 'failed' }>

export class OriginSession {
  readonly address: string
  readonly timings: DialTimings
  /** Resolves when the origin's SETTINGS have been read, or the session is closed. */
  readonly settled: Promise<void>
  /** Why it closed before that; null: it did not. */
  failure: SessionFailure | null = null
  readonly #session: Http2Session
  readonly #idleMs: number
  readonly #streams = new WeakMap<SentSoFar, OriginStream>()
  readonly #closeListeners: (() => void)[] = []
  #onIdle: () => void = () => undefined
  #claimed = 0
  #served = 0
  #idleTimer: NodeJS.Timeout | null = null
  #onSettled: () => void = () => undefined
  /** Takes no new requests. */
  draining = false
  closed = false

  /** `idleMs`: how long it is kept without a request. */
  constructor(dialled: Extract<Dialled, { kind: 'connected' }>, idleMs: number) {
    this.address = dialled.address
    this.timings = dialled.timings
    this.#idleMs = idleMs
    this.settled = new Promise((resolve) => {
      this.#onSettled = resolve
    })
    this.#session = new Http2Session(dialled.socket, dialled.raw, {
      role: 'client',
      maxStreams: MAX_STREAMS,
      events: {
        onRoom: () => this.#onRoom(),
        onClosed: (end) => this.#onClosed(end),
      },
    })
  }

  /** It serves nothing and nobody has a place on it, from now on until it is claimed. */
  get idle(): boolean {
    return this.#idleTimer !== null && !this.draining
  }

  onIdle(listener: () => void): void {
    this.#onIdle = listener
  }

  onClose(listener: () => void): void {
    if (this.closed) listener()
    else this.#closeListeners.push(listener)
  }

  /** Takes a place for one request, to be sent or released. False: there is none. */
  claim(): boolean {
    if (this.draining || this.closed || this.#session.streams + this.#claimed >= this.#places) return false
    this.#claimed += 1
    this.#stopIdle()
    return true
  }

  /** The place is not needed. */
  release(): void {
    this.#claimed -= 1
    this.#whenIdle()
  }

  /** On a place that was claimed. Rejects nothing: every outcome is a value. */
  send(request: OriginRequest): Promise<OriginAnswer> {
    this.#claimed -= 1
    request.sent.address = this.address
    return new Promise((resolve) => {
      const exchange = new OriginStream(request, this.#served > 0, resolve)
      const fields = http2RequestFields({ ...request, trailers: request.te })
      const stream = this.#session.openStream(fields, request.body === null, exchange)
      if (stream === null) {
        this.#whenIdle()
        return resolve(NOT_SENT)
      }
      this.#served += 1
      this.#streams.set(request.sent, exchange)
      exchange.start(stream)
    })
  }

  /** Resets the stream of that request, if it is still open. */
  destroyIfServing(sent: SentSoFar, detail: string): void {
    this.#streams.get(sent)?.cancel(detail)
  }

  /** Takes nothing new, and closes when it has served what it has. */
  drain(): void {
    this.draining = true
    this.#whenIdle()
  }

  get #places(): number {
    return this.#session.settled ? this.#session.maxStreams : STREAMS_BEFORE_SETTINGS
  }

  #onRoom(): void {
    if (this.#session.settled) this.#onSettled()
    this.#whenIdle()
  }

  #whenIdle(): void {
    // Not before: an origin might take a GOAWAY for the end of what it still serves.
    if (this.closed || this.#claimed > 0 || this.#session.streams > 0) return
    if (this.draining) return this.#session.drain()
    this.#stopIdle()
    this.#idleTimer = setTimeout(() => this.drain(), this.#idleMs)
    this.#idleTimer.unref()
    this.#onIdle()
  }

  #stopIdle(): void {
    if (this.#idleTimer !== null) clearTimeout(this.#idleTimer)
    this.#idleTimer = null
  }

  #onClosed({ fault }: Http2SessionEnd): void {
    this.closed = true
    this.#stopIdle()
    if (!this.#session.settled) {
      const late = fault?.timedOut === true ? 'upstream_timeout' : 'upstream_malformed'
      const reason = fault === null ? 'upstream_unreachable' : late
      const detail = fault?.code ?? 'closed before its SETTINGS'
      this.failure = { kind: 'failed', reason, detail, timings: this.timings }
    }
    this.#onSettled()
    for (const listener of this.#closeListeners) listener()
  }
}
