// One HTTP/2 stream: its state (RFC 9113 §5.1), the body that comes in, and what the peer did wrong on it.

import type { RawHeaders } from '../../core/http1.ts'
import type { Http2Error } from '../../core/http2-error.ts'
import type { Frame } from '../../core/http2-frame.ts'
import { rstStream, windowUpdate } from '../../core/http2-frame-writer.ts'
import { readHttp2Trailers } from '../../core/http2-message.ts'
import type { Reason } from '../../core/refusal.ts'
import type { BodyReader } from '../message.ts'
import { type BodyOwner, ReceivedBody } from './body.ts'
import type { FieldBlock, Http2StreamEnd, Http2StreamEvents } from './events.ts'
import { ReceiveWindow } from './flow.ts'
import { type Ending, Outgoing, type SendingSession } from './outgoing.ts'

/** What one stream may have under way to us: a round trip of 20 ms at 100 Mbit/s. */
export const STREAM_WINDOW_BYTES: number = 256 * 1024
/** What a client may go on sending behind its answer (CONTRACT §3): many read the answer only when they have sent everything. */
const LINGER_BYTES = 8 * 1024 * 1024
const LINGER_MS = 2_000
/** How often in a row the session finds that nothing could be sent, before the stream is given up. */
const MAX_STALLED_SWEEPS = 10

/** The session, as its streams see it. */
export interface StreamOwner extends SendingSession {
  readonly role: 'server' | 'client'
  readonly bodyIdleMs: number | undefined
  creditConnection(bytes: number): void
  /** The peer broke a rule of the stream's: counted, and the stream is reset unless it is still to be answered (`answerable`). */
  streamError(stream: Http2Stream, error: Http2Error, code: string, answerable?: 'answerable'): void
  streamClosed(stream: Http2Stream, how: 'in order' | Http2StreamEnd['by']): void
}

const FAILED_BODY: Readonly<Record<'server' | 'client', { readonly gone: Reason; readonly bad: Reason }>> = {
  server: { gone: 'client_aborted', bad: 'malformed' },
  client: { gone: 'upstream_unreachable', bad: 'upstream_malformed' },
}

export class Http2Stream implements BodyOwner, Ending {
  readonly id: number
  readonly #owner: StreamOwner
  readonly #body: ReceivedBody
  readonly #outgoing: Outgoing
  readonly #window = new ReceiveWindow(STREAM_WINDOW_BYTES)
  #events: Http2StreamEvents | null = null
  #resetBehind: Http2Error | null = null
  #headRead: boolean
  #lengthLeft: number | null = null
  #dropped = 0
  #linger: NodeJS.Timeout | null = null
  #stalledSweeps = 0
  #progress = 0
  /** The peer's END_STREAM was read. */
  remoteEnded = false
  /** Both sides ended, or it was reset. */
  closed = false
  /** Server role: a final head was given to us to send. */
  answered = false

  /** `window`: what the peer's SETTINGS let us send at first. */
  constructor(id: number, owner: StreamOwner, window: number) {
    this.id = id
    this.#owner = owner
    this.#body = new ReceivedBody(this, owner.bodyIdleMs)
    this.#outgoing = new Outgoing(id, owner, window, this)
    this.#headRead = owner.role === 'server'
  }

  /** What the peer sends: pulled; credit is returned as it is read. A body that breaks fails with a reason that fits the role. */
  get body(): BodyReader {
    return this.#body
  }

  /** Nothing waits in `body`. */
  get bodyEmpty(): boolean {
    return this.#body.empty && !this.#body.finished
  }

  /** Our END_STREAM was written or waits to be: nothing more can be. */
  get ended(): boolean {
    return this.#outgoing.ending
  }

  /** What is open of the receive window, in bytes. */
  get receivable(): number {
    return this.#window.available
  }

  /** Who hears of it from now on. */
  listen(events: Http2StreamEvents): void {
    this.#events = events
  }

  /** How many bytes of DATA must come, as `content-length` said; any other number fails the body. To be called before the first of them. */
  expectLength(bytes: number): void {
    this.#lengthLeft = bytes
  }

  /** A head; with `endStream` a whole message without a body. Leaves in this turn of the loop. */
  sendHeaders(fields: RawHeaders, endStream: boolean): void {
    if (this.ended) return
    if (fields[1]?.startsWith('1') !== true) this.answered = true
    this.#outgoing.head(fields)
    if (endStream) this.#outgoing.end([])
  }

  /**
   * Leaves in this turn of the loop, as far as the windows allow. False: one high-water mark waits, await `drained`. What is
   * written behind the end of the stream is dropped.
   */
  write(data: Buffer): boolean {
    return this.ended || data.length === 0 || this.#outgoing.write(data)
  }

  /** Resolves when there is room again, and when the stream is over. One caller at a time. */
  drained(): Promise<void> {
    return this.#outgoing.drained()
  }

  /** END_STREAM, behind everything that was written; with a field block of its own where there are trailers. */
  end(trailers: RawHeaders): void {
    if (!this.ended) this.#outgoing.end(trailers)
  }

  /** RST_STREAM at once; what waits to go out is dropped. Nothing happens if it is closed. */
  reset(error: Http2Error, code = 'RESET'): void {
    if (this.closed) return
    // A request that has not left yet needs none: its id is passed over.
    if (this.#owner.role === 'server' || this.#outgoing.progress > 0)
      this.#owner.output.reply(rstStream(this.id, error))
    this.over({ by: 'local', error, code, unprocessed: false })
  }

  /** Nobody reads `body` any more: what is left of it is dropped and credited. */
  discardBody(): void {
    this.#body.fail(FAILED_BODY[this.#owner.role].gone, 'nobody reads it any more')
  }

  /** Server role: there is no room for it. That counts as what a peer brings about that resets its streams. */
  refuse(): void {
    this.#owner.streamError(this, 'REFUSED_STREAM', 'REFUSED')
  }

  /** Server role: it is no request. It gets its answer all the same, and is reset behind it. */
  refuseMessage(code: string): void {
    this.#resetBehind = 'PROTOCOL_ERROR'
    this.#owner.streamError(this, 'PROTOCOL_ERROR', code, 'answerable')
  }

  /** Ends it out of order; no frame is sent. */
  over(end: Http2StreamEnd): void {
    if (this.closed) return
    const reasons = FAILED_BODY[this.#owner.role]
    const ruleBroken = end.by !== 'peer' && end.code.startsWith('H2_')
    this.#close(end.by)
    // RFC 9113 §8.1: what has arrived whole stays whole.
    if (!this.#body.whole) this.#body.fail(ruleBroken ? reasons.bad : reasons.gone, `the stream is over: ${end.code}`)
    this.#events?.onReset(end)
  }

  /** Client role: an interim or final head, or trailers. Server role: trailers. */
  receiveBlock(block: FieldBlock): void {
    if (this.remoteEnded) return this.#owner.streamError(this, 'STREAM_CLOSED', 'H2_STREAM_CLOSED')
    if (this.#headRead) return this.#receiveTrailers(block)
    const status = block.fields[0] === ':status' ? (block.fields[1] ?? '') : ''
    const interim = status.length === 3 && status.startsWith('1')
    if (interim && block.endStream) return this.#owner.streamError(this, 'PROTOCOL_ERROR', 'H2_INTERIM_END')
    this.#headRead = !interim
    this.#events?.onHead?.(block)
    if (block.endStream && !this.closed) this.endRemote([])
  }

  receiveData({ data, endStream, flowBytes }: Extract<Frame, { type: 'data' }>): void {
    const fault = this.#dataFault(flowBytes)
    if (fault !== null) {
      if (this.#owner.role === 'server') this.#owner.creditConnection(flowBytes)
      return this.#owner.streamError(this, ...fault)
    }
    if (flowBytes > data.length) this.credit(flowBytes - data.length)
    this.#takeData(data)
    if (endStream && !this.closed) this.endRemote([])
  }

  endRemote(trailers: RawHeaders): void {
    this.remoteEnded = true
    if (this.#lengthLeft !== null && this.#lengthLeft > 0) this.#badMessage('H2_CONTENT_LENGTH')
    this.#body.end(trailers)
    if (this.#outgoing.ended && !this.closed) this.#close('in order')
  }

  /** False: the window to send is over 2^31-1. */
  widen(bytes: number): boolean {
    return this.#outgoing.widen(bytes)
  }

  /** Called at regular intervals. True: the peer has not let us send anything for too many of them. */
  sweep(): boolean {
    const { pending, progress } = this.#outgoing
    this.#stalledSweeps = pending && progress === this.#progress ? this.#stalledSweeps + 1 : 0
    this.#progress = progress
    return this.#stalledSweeps >= MAX_STALLED_SWEEPS
  }

  /** So many bytes of the body are held no longer. */
  credit(bytes: number): void {
    // SECURITY: the connection gets it when the body is read, so that a client holds one window of it, however many its streams.
    if (this.#owner.role === 'server') this.#owner.creditConnection(bytes)
    if (this.remoteEnded || this.closed) return
    const increment = this.#window.credit(bytes)
    if (increment > 0) this.#owner.output.reply(windowUpdate(this.id, increment))
  }

  /** Our END_STREAM was written. */
  endLocal(): void {
    if (this.#resetBehind !== null) {
      this.#owner.output.reply(rstStream(this.id, this.#resetBehind))
      return this.#close('local')
    }
    if (this.remoteEnded) return this.#close('in order')
    if (this.#owner.role === 'client') return
    this.discardBody()
    this.#linger = setTimeout(() => this.reset('NO_ERROR'), LINGER_MS)
  }

  #dataFault(flowBytes: number): readonly [Http2Error, string] | null {
    if (this.remoteEnded) return ['STREAM_CLOSED', 'H2_STREAM_CLOSED']
    if (!this.#headRead) return ['PROTOCOL_ERROR', 'H2_DATA_BEFORE_HEAD']
    if (!this.#window.receive(flowBytes)) return ['FLOW_CONTROL_ERROR', 'H2_STREAM_WINDOW']
    return null
  }

  #takeData(data: Buffer): void {
    if (this.#lengthLeft !== null) {
      this.#lengthLeft -= data.length
      if (this.#lengthLeft < 0) this.#badMessage('H2_CONTENT_LENGTH')
    }
    if (!this.#body.finished) return this.#body.push(data)
    this.credit(data.length)
    this.#dropped += data.length
    if (this.#dropped > LINGER_BYTES) this.reset(this.#outgoing.ended ? 'NO_ERROR' : 'CANCEL')
  }

  #receiveTrailers({ fields, tooLarge, endStream }: FieldBlock): void {
    const read = readHttp2Trailers(fields)
    if (!endStream) this.#badMessage('H2_TRAILERS_WITHOUT_END')
    else if (tooLarge) this.#badMessage('H2_TRAILERS_TOO_LARGE')
    else if (read.kind === 'bad') this.#badMessage(read.code.startsWith('H2_') ? read.code : `H2_${read.code}`)
    if (!this.closed && endStream) this.endRemote(read.kind === 'bad' ? [] : read.trailers)
  }

  /** A request gets its answer all the same, 400 if nobody was quicker; an answer is given up. */
  #badMessage(code: string): void {
    if (this.#body.finished) return
    if (this.#owner.role === 'client') return this.#owner.streamError(this, 'PROTOCOL_ERROR', code)
    this.#body.fail('malformed', code)
    this.refuseMessage(code)
  }

  #close(how: 'in order' | Http2StreamEnd['by']): void {
    this.closed = true
    if (this.#linger !== null) clearTimeout(this.#linger)
    this.#outgoing.drop()
    this.#owner.streamClosed(this, how)
  }
}
