// Flow control (RFC 9113 §5.2, §6.9): what may come in, what may go out, and whose turn it is to send.

import { MAX_WINDOW_BYTES } from '../../core/http2-frame.ts'

/** Of a connection and of each stream, until somebody says otherwise (§6.9.2). */
export const DEFAULT_WINDOW_BYTES: number = 65_535

/** What the peer may send us; it is told of new room once half of the window is free. */
export class ReceiveWindow {
  readonly #size: number
  #open: number
  #owed = 0

  /** `open`: how much of `size` the peer knows of. */
  constructor(size: number, open: number = size) {
    this.#size = size
    this.#open = open
    this.#owed = size - open
  }

  get available(): number {
    return this.#open
  }

  /** False: more came than was allowed. */
  receive(bytes: number): boolean {
    this.#open -= bytes
    return this.#open >= 0
  }

  /** `bytes` are held no longer. The result is the increment to be sent now, 0 for none. */
  credit(bytes: number): number {
    this.#owed += bytes
    if (this.#owed * 2 < this.#size) return 0
    const increment = this.#owed
    this.#owed = 0
    this.#open += increment
    return increment
  }
}

/** What we may send. Below zero after a SETTINGS that made it smaller (§6.9.2). */
export class SendWindow {
  #open: number

  constructor(open: number) {
    this.#open = open
  }

  get available(): number {
    return this.#open
  }

  take(bytes: number): void {
    this.#open -= bytes
  }

  /** False: over 2^31-1, which is a FLOW_CONTROL_ERROR. `bytes` is negative where SETTINGS took room away. */
  widen(bytes: number): boolean {
    this.#open += bytes
    return this.#open <= MAX_WINDOW_BYTES
  }
}

/** `more`: it wants another turn. `stream`, `connection`: it waits for that window. */
export type Turn = 'done' | 'more' | 'stream' | 'connection'

export interface Sender {
  /** Sends at most one frame of DATA. */
  sendTurn(): Turn
}

/** Senders with something to send take turns, a frame each, so that a long answer does not hold up a short one. */
export class SendQueue<S extends Sender> {
  #ready: S[] = []
  /** Those that wait for the connection's window, in their order. */
  #parked: S[] = []
  readonly #queued = new Set<S>()

  add(sender: S): void {
    if (this.#queued.has(sender)) return
    this.#queued.add(sender)
    this.#ready.push(sender)
  }

  delete(sender: S): void {
    if (!this.#queued.delete(sender)) return
    this.#ready = this.#ready.filter((other) => other !== sender)
    this.#parked = this.#parked.filter((other) => other !== sender)
  }

  /** The connection's window has become wider. */
  unpark(): void {
    this.#ready.push(...this.#parked)
    this.#parked = []
  }

  /** Until nobody has more, or `blocked` says that the socket has enough. */
  run(blocked: () => boolean): void {
    while (!blocked()) {
      const sender = this.#ready.shift()
      if (sender === undefined) return
      const turn = sender.sendTurn()
      if (!this.#queued.has(sender)) continue
      if (turn === 'more') this.#ready.push(sender)
      else if (turn === 'connection') this.#parked.push(sender)
      else this.#queued.delete(sender)
    }
  }
}
