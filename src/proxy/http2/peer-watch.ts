// The clocks of a session: what the peer has begun it must finish, what we said it must acknowledge, what we send it must take.

import { DEADLINES } from '../deadlines.ts'
import type { Http2SessionOptions } from './events.ts'
import type { FrameInput } from './input.ts'

/** RFC 9113 §6.5.3: a peer acknowledges SETTINGS as soon as it can. */
const SETTINGS_ACK_MS = 10_000
/** A stream that can send nothing for ten of these is given up: as long as a client of HTTP/1 may take (`Http1Sink`). */
const SWEEP_MS = 60_000

export interface Watched {
  /** A preface, a field block or a frame other than DATA is not whole in time (slowloris). */
  onLateHead(): void
  onLateAck(): void
  /** At regular intervals, for what is stalled. */
  onSweep(): void
}

export class PeerWatch {
  readonly #input: FrameInput
  readonly #watched: Watched
  readonly #headMs: number
  readonly #sweeper: NodeJS.Timeout
  #head: NodeJS.Timeout | null = null
  #ack: NodeJS.Timeout | null = null
  #completed = 0

  constructor(input: FrameInput, watched: Watched, options: Http2SessionOptions) {
    this.#input = input
    this.#watched = watched
    this.#headMs = options.headMs ?? DEADLINES.headMs
    this.#sweeper = setInterval(() => watched.onSweep(), options.sweepMs ?? SWEEP_MS).unref()
  }

  /** To be called whenever something came. The time starts anew with each thing that was finished. */
  check(): void {
    const { completed, owesRest } = this.#input
    if (completed !== this.#completed || !owesRest) this.#stopHead()
    this.#completed = completed
    if (owesRest) this.#head ??= setTimeout(() => this.#watched.onLateHead(), this.#headMs)
  }

  awaitAck(): void {
    this.#ack = setTimeout(() => this.#watched.onLateAck(), SETTINGS_ACK_MS)
  }

  /** False: none was awaited. */
  acknowledged(): boolean {
    if (this.#ack === null) return false
    clearTimeout(this.#ack)
    this.#ack = null
    return true
  }

  stop(): void {
    this.#stopHead()
    this.acknowledged()
    clearInterval(this.#sweeper)
  }

  #stopHead(): void {
    if (this.#head !== null) clearTimeout(this.#head)
    this.#head = null
  }
}
