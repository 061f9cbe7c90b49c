// Takes frames off the bytes of a connection: preface first, field blocks put together, and never more held than one of each.

import { type Frame, MIN_MAX_FRAME_BYTES, PREFACE, readFrame } from '../../core/http2-frame.ts'
import type { Http2Error } from '../../core/http2-error.ts'

/** Compressed. Twice what a header section may have decoded: more is never a request that somebody waits to be answered (CVE-2024-27983). */
const MAX_BLOCK_BYTES = 128 * 1024
/** HEADERS and CONTINUATIONs of one block, for those that carry nothing. */
const MAX_BLOCK_FRAMES = 32

const EMPTY = Buffer.alloc(0)
const FRAME_TYPE_AT = 3
const DATA_TYPE = 0

type HeadersFrame = Extract<Frame, { type: 'headers' }>
type BlockPart = HeadersFrame | Extract<Frame, { type: 'continuation' }>
export type BareFrame = Exclude<Frame, BlockPart>

/** After `onFault` nothing more is read. */
export interface FrameHandler {
  onFrame(frame: BareFrame): void
  onBlock(streamId: number, block: Buffer, endStream: boolean): void
  onBadFrame(streamId: number, error: Http2Error, code: string): void
  onFault(error: Http2Error, code: string): void
}

export class FrameInput {
  readonly #handler: FrameHandler
  #pending: Buffer = EMPTY
  #awaitsPreface: boolean
  #awaitsSettings = true
  #block: { readonly head: HeadersFrame; readonly parts: Buffer[]; bytes: number } | null = null
  #stopped = false
  /** How many prefaces, field blocks and frames were complete: when it changes, whatever is incomplete has just begun. */
  completed = 0

  /** `preface`: the peer is a client, which begins with one. */
  constructor(handler: FrameHandler, preface: boolean) {
    this.#handler = handler
    this.#awaitsPreface = preface
  }

  /** The peer owes the rest of something that it has begun, or its preface, SETTINGS included. The rest of DATA is owed to the reader of the body. */
  get owesRest(): boolean {
    if (this.#awaitsPreface || !this.#betweenFrames) return true
    if (this.#pending.length === 0) return false
    return this.#pending.length <= FRAME_TYPE_AT || this.#pending[FRAME_TYPE_AT] !== DATA_TYPE
  }

  /** Bytes of something incomplete. */
  get partial(): boolean {
    return this.#pending.length > 0 || this.#block !== null
  }

  /** A frame of another kind may come. */
  get #betweenFrames(): boolean {
    return !this.#awaitsSettings && this.#block === null
  }

  stop(): void {
    this.#stopped = true
    this.#pending = EMPTY
    this.#block = null
  }

  take(chunk: Buffer): void {
    if (this.#stopped) return
    const bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    let at = this.#awaitsPreface ? this.#takePreface(bytes) : 0
    while (!this.#stopped && at < bytes.length && !this.#awaitsPreface) {
      const read = readFrame(bytes, at, MIN_MAX_FRAME_BYTES)
      if (read.kind === 'more') break
      at = read.end
      if (read.kind === 'frame') this.#takeFrame(read.frame)
      else if (read.scope === 'connection' || !this.#betweenFrames) this.#fault(read.error, read.code)
      else this.#handler.onBadFrame(read.streamId, read.error, read.code)
    }
    this.#pending = this.#stopped ? EMPTY : bytes.subarray(at)
  }

  /** Refused at the first wrong byte (RFC 9113 §3.4). */
  #takePreface(bytes: Buffer): number {
    const length = Math.min(bytes.length, PREFACE.length)
    if (!bytes.subarray(0, length).equals(PREFACE.subarray(0, length))) {
      this.#fault('PROTOCOL_ERROR', 'H2_PREFACE')
      return 0
    }
    if (length < PREFACE.length) return 0
    this.#awaitsPreface = false
    this.completed += 1
    return length
  }

  #takeFrame(frame: Frame): void {
    if (this.#awaitsSettings) {
      if (frame.type !== 'settings' || frame.ack) return this.#fault('PROTOCOL_ERROR', 'H2_PREFACE')
      this.#awaitsSettings = false
    }
    if (frame.type === 'headers' || frame.type === 'continuation') return this.#takeBlockPart(frame)
    // RFC 9113 §6.10: nothing, of whatever stream, comes between the frames of a block.
    if (this.#block !== null) return this.#fault('PROTOCOL_ERROR', 'H2_CONTINUATION_EXPECTED')
    this.completed += 1
    this.#handler.onFrame(frame)
  }

  #takeBlockPart(frame: BlockPart): void {
    const misplaced = frame.type === 'headers' ? this.#block !== null : this.#block?.head.streamId !== frame.streamId
    if (misplaced) {
      const code = frame.type === 'headers' ? 'H2_CONTINUATION_EXPECTED' : 'H2_CONTINUATION_UNEXPECTED'
      return this.#fault('PROTOCOL_ERROR', code)
    }
    if (frame.type === 'headers') {
      if (frame.endHeaders) return this.#endBlock(frame, frame.fragment)
      this.#block = { head: frame, parts: [], bytes: 0 }
    }
    const block = this.#block
    if (block === null) return
    // SECURITY: copied, for the fragment may be one byte of a large record.
    block.parts.push(Buffer.from(frame.fragment))
    block.bytes += frame.fragment.length
    if (block.bytes > MAX_BLOCK_BYTES || block.parts.length > MAX_BLOCK_FRAMES) {
      return this.#fault('ENHANCE_YOUR_CALM', 'H2_CONTINUATION_FLOOD')
    }
    if (!frame.endHeaders) return
    this.#block = null
    this.#endBlock(block.head, Buffer.concat(block.parts))
  }

  #endBlock(head: HeadersFrame, block: Buffer): void {
    this.completed += 1
    this.#handler.onBlock(head.streamId, block, head.endStream)
  }

  #fault(error: Http2Error, code: string): void {
    this.stop()
    this.#handler.onFault(error, code)
  }
}
