// Reads the frames of one direction of a WebSocket (RFC 6455 §5) as they pass: judges each, holds back none but an unfinished one.

import { Buffer, isUtf8 } from 'node:buffer'
import type { ReservedBits } from './websocket.ts'

export interface FrameOptions {
  /** Clients mask, origins do not (RFC 6455 §5.1). */
  readonly masked: boolean
  readonly reserved: ReservedBits
  /** Payload bytes that may pass in all; null: any number. */
  readonly limit: number | null
  /** Hears of each piece of the payload of a data frame, unmasked; null: nobody wants it. */
  readonly onPayload: ((data: Buffer) => void) | null
}

type FaultCode =
  | 'WS_AFTER_CLOSE'
  | 'WS_RESERVED_BIT'
  | 'WS_UNKNOWN_OPCODE'
  | 'WS_FRAGMENTED_CONTROL'
  | 'WS_CONTROL_TOO_LONG'
  | 'WS_NOTHING_TO_CONTINUE'
  | 'WS_CONTINUATION_EXPECTED'
  | 'WS_UNMASKED'
  | 'WS_MASKED'
  | 'WS_LENGTH_NOT_MINIMAL'
  | 'WS_LENGTH_OVERFLOW'
  | 'WS_BAD_CLOSE'
  | SizeCode
type SizeCode = 'WS_FRAME_TOO_LARGE' | 'WS_MESSAGE_TOO_LARGE' | 'WS_TOO_MANY_FRAGMENTS' | 'WS_LIMIT'

/** `closeCode`: what RFC 6455 §7.4.1 calls it. `bytes`: what was pushed of the bad frame and behind it. */
export interface FrameFault {
  readonly code: FaultCode
  readonly closeCode: 1002 | 1009
  readonly bytes: Buffer
}

/** `pass`: what may go on, a view where possible; nothing of a frame that is bad. */
export interface FramesRead {
  readonly pass: Buffer
  readonly fault: FrameFault | null
}

const MAX_FRAME_BYTES = 64 * 1024 * 1024
/** Nothing of a message is held here: these bound what its receiver is made to hold, and a message that never ends. */
const MAX_MESSAGE_BYTES = 256 * 1024 * 1024
const MAX_FRAGMENTS = 65_536
const MAX_CONTROL_BYTES = 125

const CONTINUATION = 0x0
const BINARY = 0x2
const CLOSE = 0x8
const PONG = 0xa
const FIN = 0x80
const RESERVED = 0x70
const COMPRESSED = 0x40
const MASKED = 0x80
const LENGTH_16 = 126
const LENGTH_64 = 127
const KEY_BYTES = 4

const EMPTY: Buffer = Buffer.alloc(0)
const TOO_LARGE: ReadonlySet<FaultCode> = new Set<SizeCode>([
  'WS_FRAME_TOO_LARGE',
  'WS_MESSAGE_TOO_LARGE',
  'WS_TOO_MANY_FRAGMENTS',
  'WS_LIMIT',
])

export class FrameReader {
  readonly #options: FrameOptions
  /** The beginning of a frame that can not be judged yet: a header, or a control frame. At most 131 bytes. */
  #held: Buffer = EMPTY
  /** Of the data frame under way: payload still to come, its key, and which byte of the key is next. */
  #left = 0
  #key = 0
  #keyAt = 0
  /** Of the message under way. */
  #fragmented = false
  #fragments = 0
  #messageBytes = 0
  #stopped = false
  /** Frames that have begun to pass, and their payload bytes that have. */
  frames = 0
  payloadBytes = 0
  /** A close frame has passed: the last one. */
  closed = false

  constructor(options: FrameOptions) {
    this.#options = options
  }

  /** What has passed ends with a frame: another one may be put behind it. */
  get atBoundary(): boolean {
    return this.#left === 0
  }

  /** Nothing that was begun is unfinished. */
  get whole(): boolean {
    return this.#left === 0 && this.#held.length === 0 && !this.#fragmented
  }

  /** Lets the frame under way end and passes nothing behind it. */
  stop(): void {
    this.#stopped = true
    this.#held = EMPTY
  }

  /** The outcome does not depend on how the bytes are split over pushes. After a fault nothing passes. */
  push(chunk: Buffer): FramesRead {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk])
    this.#held = EMPTY
    let at = 0
    for (;;) {
      if (this.#left > 0) at = this.#takePayload(bytes, at)
      if (at === bytes.length) return { pass: bytes, fault: null }
      if (this.#stopped) return { pass: bytes.subarray(0, at), fault: null }
      const next = this.#takeHeader(bytes, at)
      if (next === 'MORE') {
        // A copy: the few bytes would keep the chunk alive.
        this.#held = Buffer.from(bytes.subarray(at))
        return { pass: bytes.subarray(0, at), fault: null }
      }
      if (typeof next === 'string') return this.#bad(next, bytes, at)
      at = next
    }
  }

  #bad(code: FaultCode, bytes: Buffer, at: number): FramesRead {
    // SECURITY: behind a broken frame nobody knows where the next one begins.
    this.stop()
    const closeCode = TOO_LARGE.has(code) ? 1009 : 1002
    return { pass: bytes.subarray(0, at), fault: { code, closeCode, bytes: bytes.subarray(at) } }
  }

  #takePayload(bytes: Buffer, at: number): number {
    const { masked, onPayload } = this.#options
    const end = Math.min(at + this.#left, bytes.length)
    if (onPayload !== null) {
      onPayload(masked ? unmasked(bytes.subarray(at, end), this.#key, this.#keyAt) : bytes.subarray(at, end))
      this.#keyAt = (this.#keyAt + end - at) % KEY_BYTES
    }
    this.payloadBytes += end - at
    this.#left -= end - at
    return end
  }

  /** Judges the frame at `at`; answers where its payload begins, for a control frame where it ends. */
  #takeHeader(bytes: Buffer, at: number): number | 'MORE' | FaultCode {
    const { masked } = this.#options
    const first = bytes.readUInt8(at)
    const fault = this.#faultOf(first)
    if (fault !== null) return fault
    if (at + 1 === bytes.length) return 'MORE'
    const second = bytes.readUInt8(at + 1)
    // SECURITY: what is not masked may be made to look like HTTP to somebody on the way (RFC 6455 §10.3).
    if (second >= MASKED !== masked) return masked ? 'WS_UNMASKED' : 'WS_MASKED'
    const marked = second & ~MASKED
    const control = isControl(first)
    if (control && marked > MAX_CONTROL_BYTES) return 'WS_CONTROL_TOO_LONG'
    const lengthEnd = at + 2 + (marked < LENGTH_16 ? 0 : marked === LENGTH_16 ? 2 : 8)
    if (bytes.length < lengthEnd) return 'MORE'
    const length = marked < LENGTH_16 ? marked : longLength(bytes, at + 2, marked)
    if (typeof length === 'string') return length
    const payloadAt = lengthEnd + (masked ? KEY_BYTES : 0)
    const excess = this.#excessOf(length, control)
    if (excess !== null) return excess
    if (bytes.length < payloadAt + (control ? length : 0)) return 'MORE'
    const key = masked ? bytes.readUInt32BE(lengthEnd) : 0
    if (control)
      return this.#takeControl(first, bytes.subarray(payloadAt, payloadAt + length), key) ?? payloadAt + length
    this.frames += 1
    this.#left = length
    this.#key = key
    this.#keyAt = 0
    this.#count(first, length)
    return payloadAt
  }

  /** What is wrong with the first byte of a frame here. */
  #faultOf(first: number): FaultCode | null {
    const opcode = first & 0x0f
    if (this.closed) return 'WS_AFTER_CLOSE'
    if (opcode > PONG || (opcode > BINARY && opcode < CLOSE)) return 'WS_UNKNOWN_OPCODE'
    const reserved = first & RESERVED
    if (reserved !== 0 && !this.#mayReserve(reserved, opcode)) return 'WS_RESERVED_BIT'
    if (isControl(first)) return first >= FIN ? null : 'WS_FRAGMENTED_CONTROL'
    if (opcode === CONTINUATION) return this.#fragmented ? null : 'WS_NOTHING_TO_CONTINUE'
    return this.#fragmented ? 'WS_CONTINUATION_EXPECTED' : null
  }

  /** RFC 7692 §6: the first frame of a message says that it is compressed, and no other. */
  #mayReserve(reserved: number, opcode: number): boolean {
    const agreed = this.#options.reserved
    if (agreed === 'any') return true
    return agreed === 'deflate' && reserved === COMPRESSED && opcode > CONTINUATION && opcode <= BINARY
  }

  #excessOf(length: number, control: boolean): SizeCode | null {
    const { limit } = this.#options
    if (limit !== null && this.payloadBytes + length > limit) return 'WS_LIMIT'
    if (control) return null
    if (length > MAX_FRAME_BYTES) return 'WS_FRAME_TOO_LARGE'
    if (this.#messageBytes + length > MAX_MESSAGE_BYTES) return 'WS_MESSAGE_TOO_LARGE'
    return this.#fragments === MAX_FRAGMENTS ? 'WS_TOO_MANY_FRAGMENTS' : null
  }

  #count(first: number, length: number): void {
    this.#fragmented = first < FIN
    this.#fragments = this.#fragmented ? this.#fragments + 1 : 0
    this.#messageBytes = this.#fragmented ? this.#messageBytes + length : 0
  }

  #takeControl(first: number, payload: Buffer, key: number): FaultCode | null {
    if ((first & 0x0f) === CLOSE) {
      if (!isCloseBody(this.#options.masked ? unmasked(payload, key, 0) : payload)) return 'WS_BAD_CLOSE'
      this.closed = true
    }
    this.frames += 1
    this.payloadBytes += payload.length
    return null
  }
}

function isControl(first: number): boolean {
  return (first & 0x08) !== 0
}

/** RFC 6455 §5.2: in the fewest bytes, and the most significant bit is 0. */
function longLength(bytes: Buffer, at: number, marked: number): number | FaultCode {
  if (marked !== LENGTH_64) {
    const length = bytes.readUInt16BE(at)
    return length < LENGTH_16 ? 'WS_LENGTH_NOT_MINIMAL' : length
  }
  const high = bytes.readUInt32BE(at)
  const low = bytes.readUInt32BE(at + 4)
  if (high >= 0x8000_0000) return 'WS_LENGTH_OVERFLOW'
  if (high > 0) return 'WS_FRAME_TOO_LARGE'
  return low <= 0xffff ? 'WS_LENGTH_NOT_MINIMAL' : low
}

/** Nothing, or a code that may stand on the wire (RFC 6455 §7.4) and a reason in UTF-8. */
function isCloseBody(payload: Buffer): boolean {
  if (payload.length === 0) return true
  return payload.length > 1 && isCloseCode(payload.readUInt16BE(0)) && isUtf8(payload.subarray(2))
}

/** 1004 to 1006 and 1015 are never sent; 1012 to 1014 are registered, the rest below 3000 is not. */
function isCloseCode(code: number): boolean {
  if (code >= 3_000) return code <= 4_999
  return code >= 1_000 && code <= 1_014 && (code < 1_004 || code > 1_006)
}

/** A copy with the key taken off; `keyAt`: which of its bytes the first one has. */
function unmasked(payload: Buffer, key: number, keyAt: number): Buffer {
  const plain = Buffer.allocUnsafe(payload.length)
  for (let at = 0; at < payload.length; at += 1) {
    plain[at] = (payload[at] as number) ^ (key >>> (24 - 8 * ((keyAt + at) % KEY_BYTES)))
  }
  return plain
}

/** A close frame of our own. `key`: 4 random bytes for a frame to an origin, null for one to a client. `reason`: ASCII. */
export function closeFrame(code: number, reason: string, key: Buffer | null): Buffer {
  const payload = Buffer.alloc(2 + reason.length)
  payload.writeUInt16BE(code, 0)
  payload.write(reason, 2, 'latin1')
  const head = Buffer.of(FIN | CLOSE, payload.length | (key === null ? 0 : MASKED))
  if (key === null) return Buffer.concat([head, payload])
  return Buffer.concat([head, key, unmasked(payload, key.readUInt32BE(0), 0)])
}
