// One HTTP/2 connection, in either role: how it begins, opens streams, drains and ends. What its frames mean is `dispatch.ts`.

import type { Socket } from 'node:net'
import type { RawHeaders } from '../../core/http1.ts'
import { PREFACE } from '../../core/http2-frame.ts'
import { goaway, settingsFrame, windowUpdate } from '../../core/http2-frame-writer.ts'
import type { Http2Error } from '../../core/http2-error.ts'
import { flushThenClose, lingerThenClose } from '../linger.ts'
import { AbuseBudget, type Glitch } from './abuse.ts'
import { Dispatch, type DispatchOwner } from './dispatch.ts'
import type {
  Http2Fault,
  Http2SessionEvents,
  Http2SessionOptions,
  Http2StreamEnd,
  Http2StreamEvents,
} from './events.ts'
import { DEFAULT_WINDOW_BYTES, ReceiveWindow, SendQueue, SendWindow } from './flow.ts'
import { FrameInput } from './input.ts'
import type { Outgoing } from './outgoing.ts'
import { FrameOutput } from './output.ts'
import { PeerWatch, type Watched } from './peer-watch.ts'
import { ownSettings } from './settings.ts'
import { Http2Stream } from './stream.ts'
import { StreamTable } from './table.ts'

/** All that a connection may have under way to us: four streams' worth. */
const CONNECTION_WINDOW_BYTES = 1024 * 1024

export class Http2Session implements DispatchOwner, Watched {
  readonly role: 'server' | 'client'
  readonly events: Http2SessionEvents
  readonly bodyIdleMs: number | undefined
  readonly output: FrameOutput
  readonly sendWindow: SendWindow = new SendWindow(DEFAULT_WINDOW_BYTES)
  readonly receiveWindow: ReceiveWindow = new ReceiveWindow(CONNECTION_WINDOW_BYTES, DEFAULT_WINDOW_BYTES)
  readonly table: StreamTable
  readonly #socket: Socket
  readonly #raw: Socket
  readonly #watch: PeerWatch
  readonly #ownMaxStreams: number
  readonly #budget = new AbuseBudget()
  readonly #queue = new SendQueue<Outgoing>()
  readonly #dispatch: Dispatch
  readonly #input: FrameInput
  #fault: Http2Fault | null = null
  #peerEnded = false
  #peerLeaves = false
  /** The last stream that is served, once GOAWAY has said so. */
  #lastServed: number | null = null
  #state: 'open' | 'draining' | 'ending' | 'closed' = 'open'

  /** Sends the preface of its role at once. `socket` carries the frames, `raw` is the TCP socket under it. */
  constructor(socket: Socket, raw: Socket, options: Http2SessionOptions) {
    const { role, events, maxStreams } = options
    this.role = role
    this.events = events
    this.bodyIdleMs = options.bodyIdleMs
    this.#socket = socket
    this.#raw = raw
    this.#ownMaxStreams = maxStreams
    this.table = new StreamTable(role)
    this.#dispatch = new Dispatch(this, maxStreams)
    this.#input = new FrameInput(this.#dispatch, role === 'server')
    this.#watch = new PeerWatch(this.#input, this, options)
    this.output = new FrameOutput(
      socket,
      () => this.#onTurnEnd(),
      () => this.fault('ENHANCE_YOUR_CALM', 'H2_REPLIES_UNREAD'),
    )
    this.#attach()
    this.#begin()
  }

  /** Streams that are open. */
  get streams(): number {
    return this.table.size
  }

  /** Client role: how many may be open at once, by our bound and the peer's; 0 once there can be no more. */
  get maxStreams(): number {
    return this.#state === 'open' && !this.#peerLeaves
      ? Math.min(this.#ownMaxStreams, this.#dispatch.peerMaxStreams)
      : 0
  }

  /** Client role: the peer's SETTINGS have been read. */
  get settled(): boolean {
    return this.#dispatch.settled
  }

  /** No streams, and nothing of one has arrived. */
  get idle(): boolean {
    return this.table.size === 0 && !this.#input.partial
  }

  get closed(): boolean {
    return this.#state === 'closed'
  }

  /** No streams are taken or opened any more. */
  get draining(): boolean {
    return this.#state !== 'open'
  }

  /** Client role: null when `maxStreams` is reached. Otherwise the head leaves in this turn of the loop. */
  openStream(fields: RawHeaders, endStream: boolean, events: Http2StreamEvents): Http2Stream | null {
    if (this.table.size >= this.maxStreams) return null
    const id = this.table.nextId()
    if (id === null) return null
    const stream = this.addStream(id)
    stream.listen(events)
    stream.sendHeaders(fields, endStream)
    return stream
  }

  /** GOAWAY, and the end of every stream and of the connection. `debug` is for people who read traces. */
  goaway(error: Http2Error, debug: string): void {
    if (this.#state === 'closed' || this.#state === 'ending') return
    this.#endStreams(error, debug)
    this.#end(error, debug)
  }

  /** GOAWAY with NO_ERROR: no new streams; closes when the last one has ended. */
  drain(): void {
    if (this.#state !== 'open') return
    this.#state = 'draining'
    this.#sayGoaway('NO_ERROR', '')
  }

  /** Closes at once, in a way that nobody reads as an end in order. */
  destroy(): void {
    if (this.#raw.destroyed) this.#socket.destroy()
    else this.#raw.resetAndDestroy()
    this.#close()
  }

  /** The peer broke a rule of the connection (RFC 9113 §5.4.1): GOAWAY, once it is written down where somebody does that. */
  fault(error: Http2Error, code: string, more: Partial<Http2Fault> = {}): void {
    if (this.#fault !== null || this.#state === 'ending' || this.#state === 'closed') return
    this.#fault = { error, code, counts: '', timedOut: false, ...more }
    this.#state = 'ending'
    this.#input.stop()
    this.#watch.stop()
    this.#socket.pause()
    this.#endStreams(error, code)
    if (this.events.onFault === undefined) this.#end(error, code)
    else void this.#endRecorded(this.#fault, this.events.onFault(this.#fault))
  }

  spend(glitch: Glitch): void {
    const code = this.#budget.spend(glitch)
    if (code !== null) this.fault('ENHANCE_YOUR_CALM', code, { counts: this.#budget.counts })
  }

  addStream(id: number): Http2Stream {
    const stream = new Http2Stream(id, this, this.#dispatch.peerWindowBytes)
    this.table.add(stream)
    return stream
  }

  peerLeaves(): void {
    this.#peerLeaves = true
    this.output.flushLater()
  }

  begun(): void {
    if (this.role === 'server') this.#watch.awaitAck()
  }

  acknowledged(): void {
    if (!this.#watch.acknowledged()) this.spend('settings')
  }

  schedule(sender: Outgoing): void {
    this.#queue.add(sender)
    this.output.flushLater()
  }

  unschedule(sender: Outgoing): void {
    this.#queue.delete(sender)
  }

  unpark(): void {
    this.#queue.unpark()
    this.output.flushLater()
  }

  dataSent(): void {
    this.#budget.earn()
  }

  creditConnection(bytes: number): void {
    const increment = this.receiveWindow.credit(bytes)
    if (increment > 0) this.output.reply(windowUpdate(0, increment))
  }

  streamError(stream: Http2Stream, error: Http2Error, code: string, answerable?: 'answerable'): void {
    if (answerable === undefined) stream.reset(error, code)
    this.spend('stream_error')
  }

  streamClosed(stream: Http2Stream, how: 'in order' | Http2StreamEnd['by']): void {
    this.table.delete(stream.id)
    if (how === 'local') this.table.remember(stream.id, stream.receivable)
    if (how === 'connection') return
    this.output.flushLater()
    this.events.onRoom?.()
  }

  onLateHead(): void {
    if (this.#input.partial || this.#input.completed > 0)
      this.fault('PROTOCOL_ERROR', 'H2_HEAD_DEADLINE', { timedOut: true })
    else this.destroy()
  }

  onLateAck(): void {
    this.fault('SETTINGS_TIMEOUT', 'H2_SETTINGS_TIMEOUT', { timedOut: true })
  }

  onSweep(): void {
    for (const stream of this.table) if (stream.sweep()) stream.reset('CANCEL', 'STALLED')
  }

  #begin(): void {
    if (this.role === 'client') this.output.write(PREFACE)
    this.output.write(settingsFrame(ownSettings(this.role, this.#ownMaxStreams)))
    this.creditConnection(0)
    // A client that has said nothing yet owes nothing.
    if (this.role === 'client') this.#watch.awaitAck()
    this.#watch.check()
  }

  #attach(): void {
    this.#socket.on('data', this.#onData)
    this.#socket.on('end', this.#onEnd)
    this.#socket.on('close', this.#close)
    this.#socket.on('error', this.#close)
    if (this.#socket.destroyed) process.nextTick(this.#close)
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#input.take(chunk)
    this.#watch.check()
  }

  readonly #onEnd = (): void => {
    this.#peerEnded = true
    if (this.#state === 'ending' || this.#state === 'closed') return
    this.#input.stop()
    // Nobody half-closes HTTP/2 and waits: with the peer's half, its credits and acknowledgements are gone.
    this.#endStreams('CANCEL', 'the peer closed the connection')
    this.#end('NO_ERROR', '')
  }

  #endStreams(error: Http2Error, code: string): void {
    for (const stream of this.table) stream.over({ by: 'connection', error, code, unprocessed: false })
  }

  /** All that had come was read: only now it is known that nobody is served any more. */
  #onTurnEnd(): void {
    this.#queue.run(this.output.blocked)
    const leaving = this.#state === 'draining' || (this.#state === 'open' && this.#peerLeaves)
    if (leaving && this.table.size === 0) this.#end('NO_ERROR', '')
  }

  /** SECURITY: the last stream never goes up again: what the peer was told is not served it may send elsewhere (§6.8). */
  #sayGoaway(error: Http2Error, debug: string): void {
    this.#lastServed ??= this.table.lastPeer
    this.output.write(goaway(this.#lastServed, error, debug))
  }

  async #endRecorded({ error, code }: Http2Fault, recorded: Promise<void>): Promise<void> {
    await recorded
    this.#end(error, code)
  }

  #end(error: Http2Error, debug: string): void {
    if (this.#socket.destroyed) return this.#close()
    if (error !== 'NO_ERROR' || this.#lastServed === null) this.#sayGoaway(error, debug)
    this.#state = 'ending'
    this.#input.stop()
    this.#watch.stop()
    this.#socket.removeListener('data', this.#onData)
    if (this.role === 'client' || this.#peerEnded) flushThenClose(this.#socket)
    else lingerThenClose(this.#socket, false)
  }

  readonly #close = (): void => {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#watch.stop()
    this.#input.stop()
    this.#endStreams('CANCEL', 'the connection was closed')
    this.events.onClosed({ fault: this.#fault })
  }
}
