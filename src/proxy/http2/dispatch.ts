// What each frame does to a session and its streams (RFC 9113 §5.1, §6).

import { HpackDecoder } from '../../core/hpack.ts'
import { type Frame, SETTING } from '../../core/http2-frame.ts'
import { pingAck, rstStream, settingsAck } from '../../core/http2-frame-writer.ts'
import { type Http2Error, http2ErrorName } from '../../core/http2-error.ts'
import type { Glitch } from './abuse.ts'
import type { FieldBlock, Http2SessionEvents } from './events.ts'
import { DEFAULT_WINDOW_BYTES, type ReceiveWindow } from './flow.ts'
import type { BareFrame, FrameHandler } from './input.ts'
import { HEADER_LIMITS } from './settings.ts'
import { type Http2Stream, STREAM_WINDOW_BYTES, type StreamOwner } from './stream.ts'
import type { StreamTable } from './table.ts'

/** SECURITY: more than anybody has to say: a frame has room for thousands, each to be read (CVE-2020-11080). */
const MAX_SETTINGS = 32

type FrameOf<Type extends Frame['type']> = Extract<Frame, { type: Type }>

/** The session, as its frames see it. */
export interface DispatchOwner extends StreamOwner {
  readonly events: Http2SessionEvents
  readonly table: StreamTable
  readonly receiveWindow: ReceiveWindow
  readonly draining: boolean
  addStream(id: number): Http2Stream
  spend(glitch: Glitch): void
  fault(error: Http2Error, code: string): void
  /** The peer's first SETTINGS have come. */
  begun(): void
  /** Ours were acknowledged. */
  acknowledged(): void
  /** It said GOAWAY. */
  peerLeaves(): void
  /** The connection may send more. */
  unpark(): void
}

export class Dispatch implements FrameHandler {
  readonly #session: DispatchOwner
  readonly #maxStreams: number
  readonly #decoder = new HpackDecoder()
  /** What the peer lets a new stream send at first. */
  peerWindowBytes: number = DEFAULT_WINDOW_BYTES
  /** RFC 9113 §6.5.2: no limit before it is said. */
  peerMaxStreams: number = Number.POSITIVE_INFINITY
  /** The peer's SETTINGS have been read. */
  settled = false

  /** `maxStreams`: of the peer's, server role. */
  constructor(session: DispatchOwner, maxStreams: number) {
    this.#session = session
    this.#maxStreams = maxStreams
  }

  onFault(error: Http2Error, code: string): void {
    this.#session.fault(error, code)
  }

  onBadFrame(streamId: number, error: Http2Error, code: string): void {
    const found = this.#session.table.find(streamId)
    // RFC 9113 §6.3: a PRIORITY may name a stream that is idle; what is wrong with it is still wrong.
    if (found === 'idle') return this.onFault(error, code)
    if (typeof found === 'string') return this.#session.spend('closed_stream')
    this.#session.streamError(found, error, code)
  }

  onFrame(frame: BareFrame): void {
    switch (frame.type) {
      case 'data':
        return this.#onData(frame)
      case 'rst_stream':
        return this.#onReset(frame)
      case 'settings':
        return this.#onSettings(frame)
      case 'ping':
        return this.#onPing(frame)
      case 'goaway':
        return this.#onGoaway(frame)
      case 'window_update':
        return this.#onWindowUpdate(frame)
      case 'push_promise':
        return this.onFault('PROTOCOL_ERROR', 'H2_PUSH_PROMISE')
      case 'priority':
      case 'unknown':
        return this.#session.spend(frame.type)
    }
  }

  onBlock(streamId: number, block: Buffer, endStream: boolean): void {
    // SECURITY: decoded whatever becomes of it, for the next block builds on the same table (RFC 9113 §4.3).
    const decoded = this.#decoder.decode(block, HEADER_LIMITS)
    if (decoded.kind === 'bad') return this.onFault('COMPRESSION_ERROR', `H2_${decoded.code}`)
    const { fields, tooLarge } = decoded
    const found = this.#session.table.find(streamId)
    if (found === 'closed') return this.onFault('STREAM_CLOSED', 'H2_STREAM_CLOSED')
    if (found === 'reset') return this.#session.spend('closed_stream')
    if (found === 'idle') return this.#onRequest(streamId, { fields, tooLarge, endStream })
    found.receiveBlock({ fields, tooLarge, endStream })
  }

  #onRequest(id: number, block: FieldBlock): void {
    const { role, table, draining, events } = this.#session
    if (role === 'client' || id % 2 === 0) return this.onFault('PROTOCOL_ERROR', 'H2_STREAM_ID')
    table.lastPeer = id
    if (draining) return this.#refuse(id, block, 'shutting_down')
    if (table.size >= this.#maxStreams) return this.#refuse(id, block, 'overloaded')
    const stream = this.#session.addStream(id)
    if (block.endStream) stream.endRemote([])
    events.onRequest?.(stream, block)
  }

  #refuse(id: number, block: FieldBlock, reason: 'overloaded' | 'shutting_down'): void {
    const { table, output, events } = this.#session
    table.remember(id, STREAM_WINDOW_BYTES)
    output.reply(rstStream(id, 'REFUSED_STREAM'))
    events.onRefused?.(block, reason)
    this.#session.spend('stream_error')
  }

  #onData(frame: FrameOf<'data'>): void {
    const session = this.#session
    const { streamId, flowBytes } = frame
    if (!session.receiveWindow.receive(flowBytes)) return this.onFault('FLOW_CONTROL_ERROR', 'H2_CONNECTION_WINDOW')
    const found = session.table.find(streamId)
    if (found === 'idle') return this.onFault('PROTOCOL_ERROR', 'H2_STREAM_IDLE')
    if (found === 'closed') return this.onFault('STREAM_CLOSED', 'H2_STREAM_CLOSED')
    // One slow client must not stall the others on a session to an origin: each stream's own window bounds what is held for it.
    if (session.role === 'client' || found === 'reset') session.creditConnection(flowBytes)
    if (frame.data.length === 0 && !frame.endStream) session.spend('empty_data')
    if (found !== 'reset') return found.receiveData(frame)
    if (!session.table.takeLate(streamId, flowBytes)) this.onFault('FLOW_CONTROL_ERROR', 'H2_STREAM_WINDOW')
  }

  #onReset({ streamId, errorCode }: FrameOf<'rst_stream'>): void {
    const found = this.#session.table.find(streamId)
    if (found === 'idle') return this.onFault('PROTOCOL_ERROR', 'H2_STREAM_IDLE')
    if (typeof found === 'string') return this.#session.spend('closed_stream')
    // SECURITY: counted until the answer begins: a request that costs its sender two frames costs us a judgement (CVE-2023-44487).
    const counted = this.#session.role === 'server' && !found.answered
    const error = http2ErrorName(errorCode) ?? 'INTERNAL_ERROR'
    found.over({ by: 'peer', error, code: 'RST_STREAM', unprocessed: error === 'REFUSED_STREAM' })
    if (counted) this.#session.spend('rst_stream')
  }

  #onSettings({ ack, settings }: FrameOf<'settings'>): void {
    if (ack) return this.#session.acknowledged()
    if (settings.length > MAX_SETTINGS) return this.onFault('ENHANCE_YOUR_CALM', 'H2_SETTINGS_FLOOD')
    if (this.settled) this.#session.spend('settings')
    // One change each, the last (§6.5.3): each would go round all streams.
    const last = new Map(settings)
    const table = last.get(SETTING.HEADER_TABLE_SIZE)
    if (table !== undefined) this.#session.output.setMaxTableBytes(table)
    this.peerMaxStreams = last.get(SETTING.MAX_CONCURRENT_STREAMS) ?? this.peerMaxStreams
    if (this.#session.role === 'client' && last.get(SETTING.ENABLE_PUSH) === 1) {
      return this.onFault('PROTOCOL_ERROR', 'H2_SETTINGS_VALUE')
    }
    if (!this.#resizeWindows(last.get(SETTING.INITIAL_WINDOW_SIZE) ?? this.peerWindowBytes)) {
      return this.onFault('FLOW_CONTROL_ERROR', 'H2_WINDOW_OVERFLOW')
    }
    this.#session.output.reply(settingsAck())
    if (!this.settled) this.#session.begun()
    this.settled = true
    this.#session.events.onRoom?.()
  }

  /** RFC 9113 §6.9.2. */
  #resizeWindows(bytes: number): boolean {
    const change = bytes - this.peerWindowBytes
    this.peerWindowBytes = bytes
    if (change === 0) return true
    for (const stream of this.#session.table) if (!stream.widen(change)) return false
    return true
  }

  #onPing({ ack, opaque }: FrameOf<'ping'>): void {
    this.#session.spend('ping')
    if (!ack) this.#session.output.reply(pingAck(opaque))
  }

  #onGoaway({ lastStreamId, errorCode }: FrameOf<'goaway'>): void {
    const { role, table, events } = this.#session
    this.#session.spend('unknown')
    const error = http2ErrorName(errorCode) ?? 'INTERNAL_ERROR'
    if (role === 'client') {
      for (const stream of table) {
        if (stream.id > lastStreamId) stream.over({ by: 'peer', error, code: 'GOAWAY', unprocessed: true })
      }
      events.onGoaway?.(error)
    }
    this.#session.peerLeaves()
  }

  #onWindowUpdate({ streamId, increment }: FrameOf<'window_update'>): void {
    this.#session.spend('window_update')
    if (streamId === 0) {
      if (!this.#session.sendWindow.widen(increment)) return this.onFault('FLOW_CONTROL_ERROR', 'H2_WINDOW_OVERFLOW')
      return this.#session.unpark()
    }
    const found = this.#session.table.find(streamId)
    if (found === 'idle') return this.onFault('PROTOCOL_ERROR', 'H2_STREAM_IDLE')
    if (typeof found === 'string') return
    if (!found.widen(increment)) this.#session.streamError(found, 'FLOW_CONTROL_ERROR', 'H2_WINDOW_OVERFLOW')
  }
}
