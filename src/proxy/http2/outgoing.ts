// What one stream has to send: heads, then data, then its end, as far as the windows allow and in its turn.

import type { RawHeaders } from '../../core/http1.ts'
import { FRAME_FLAG, FRAME_TYPE, MIN_MAX_FRAME_BYTES } from '../../core/http2-frame.ts'
import { frameHeader } from '../../core/http2-frame-writer.ts'
import { ByteQueue } from './byte-queue.ts'
import { type Sender, SendWindow, type Turn } from './flow.ts'
import type { FrameOutput } from './output.ts'

/** What a writer may leave waiting before it is told to wait itself. */
const HIGH_WATER_BYTES = 64 * 1024

/** The session, as those see it who send on it. */
export interface SendingSession {
  readonly output: FrameOutput
  /** The connection's. */
  readonly sendWindow: SendWindow
  /** `sender` has something to send; its turn comes before this turn of the loop ends. */
  schedule(sender: Outgoing): void
  unschedule(sender: Outgoing): void
  /** A frame with something in it went out. */
  dataSent(): void
}

export interface Ending {
  /** END_STREAM was written. */
  endLocal(): void
}

export class Outgoing implements Sender {
  readonly #id: number
  readonly #session: SendingSession
  readonly #stream: Ending
  readonly #window: SendWindow
  readonly #data = new ByteQueue()
  #heads: RawHeaders[] = []
  #trailers: RawHeaders | null = null
  #ended = false
  #wake: (() => void) | null = null
  #turnsTaken = 0

  /** `window`: what the peer's SETTINGS let a stream send at first. */
  constructor(id: number, session: SendingSession, window: number, stream: Ending) {
    this.#id = id
    this.#session = session
    this.#window = new SendWindow(window)
    this.#stream = stream
  }

  /** Nothing more can be added. */
  get ending(): boolean {
    return this.#trailers !== null
  }

  /** END_STREAM was written. */
  get ended(): boolean {
    return this.#ended
  }

  get pending(): boolean {
    return this.#heads.length > 0 || this.#data.bytes > 0 || (this.ending && !this.#ended)
  }

  /** Grows with everything that was sent. */
  get progress(): number {
    return this.#turnsTaken
  }

  head(fields: RawHeaders): void {
    this.#heads.push(fields)
    this.#session.schedule(this)
  }

  /** False: one high-water mark waits. */
  write(data: Buffer): boolean {
    this.#data.push(data)
    this.#session.schedule(this)
    return this.#data.bytes < HIGH_WATER_BYTES
  }

  end(trailers: RawHeaders): void {
    this.#trailers = trailers
    this.#session.schedule(this)
  }

  drained(): Promise<void> {
    if (this.#data.bytes < HIGH_WATER_BYTES) return Promise.resolve()
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  /** Nothing more is sent. */
  drop(): void {
    this.#heads = []
    this.#data.clear()
    this.#trailers = []
    this.#ended = true
    this.#session.unschedule(this)
    this.#wakeWriter()
  }

  /** False: the window is over 2^31-1. */
  widen(bytes: number): boolean {
    if (!this.#window.widen(bytes)) return false
    if (this.pending) this.#session.schedule(this)
    return true
  }

  sendTurn(): Turn {
    const bare = this.#data.bytes === 0 && this.#trailers?.length === 0
    const heads = this.#heads
    if (heads.length > 0) {
      this.#heads = []
      this.#turnsTaken += 1
      heads.forEach((fields, i) => this.#session.output.headers(this.#id, fields, bare && i === heads.length - 1))
      if (bare) return this.#end()
    }
    if (this.#data.bytes > 0) {
      const { available } = this.#session.sendWindow
      const room = Math.min(this.#window.available, available, MIN_MAX_FRAME_BYTES)
      if (room <= 0) return this.#window.available <= 0 ? 'stream' : 'connection'
      this.#sendData(Math.min(room, this.#data.bytes))
      if (this.#data.bytes > 0) return 'more'
      if (this.#trailers?.length === 0) return this.#end()
    }
    if (this.#trailers === null) return 'done'
    this.#turnsTaken += 1
    if (this.#trailers.length > 0) this.#session.output.headers(this.#id, this.#trailers, true)
    else this.#session.output.write(frameHeader(FRAME_TYPE.DATA, FRAME_FLAG.END_STREAM, this.#id, 0))
    return this.#end()
  }

  #sendData(length: number): void {
    const last = length === this.#data.bytes && this.#trailers?.length === 0
    const { output } = this.#session
    output.write(frameHeader(FRAME_TYPE.DATA, last ? FRAME_FLAG.END_STREAM : 0, this.#id, length))
    for (let left = length; left > 0; ) {
      const piece = this.#data.shift(left)
      if (piece === undefined) break
      left -= piece.length
      output.write(piece)
    }
    this.#window.take(length)
    this.#session.sendWindow.take(length)
    this.#session.dataSent()
    this.#turnsTaken += 1
    if (this.#data.bytes < HIGH_WATER_BYTES) this.#wakeWriter()
  }

  #end(): Turn {
    this.#ended = true
    this.#stream.endLocal()
    return 'done'
  }

  #wakeWriter(): void {
    const wake = this.#wake
    this.#wake = null
    wake?.()
  }
}
