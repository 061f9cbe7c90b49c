// Reads HTTP/2 frames (RFC 9113 §4, §6): bytes in, one of frame, more or bad out; what a frame can not be on its own is refused here.

import { Buffer } from 'node:buffer'
import type { Http2Error } from './http2-error.ts'

/** What a client sends first (RFC 9113 §3.4). */
export const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

export const FRAME_HEADER_BYTES = 9

export const FRAME_TYPE = {
  DATA: 0x0,
  HEADERS: 0x1,
  PRIORITY: 0x2,
  RST_STREAM: 0x3,
  SETTINGS: 0x4,
  PUSH_PROMISE: 0x5,
  PING: 0x6,
  GOAWAY: 0x7,
  WINDOW_UPDATE: 0x8,
  CONTINUATION: 0x9,
} as const

/** END_STREAM and ACK share a bit: no frame knows both. */
export const FRAME_FLAG = { END_STREAM: 0x1, ACK: 0x1, END_HEADERS: 0x4, PADDED: 0x8, PRIORITY: 0x20 } as const

/** RFC 9113 §6.5.2 and RFC 8441 §3. */
export const SETTING = {
  HEADER_TABLE_SIZE: 0x1,
  ENABLE_PUSH: 0x2,
  MAX_CONCURRENT_STREAMS: 0x3,
  INITIAL_WINDOW_SIZE: 0x4,
  MAX_FRAME_SIZE: 0x5,
  MAX_HEADER_LIST_SIZE: 0x6,
  ENABLE_CONNECT_PROTOCOL: 0x8,
} as const

export const MAX_WINDOW_BYTES: number = 2 ** 31 - 1
/** Below it no peer may go, and it is what everybody accepts before SETTINGS say otherwise. */
export const MIN_MAX_FRAME_BYTES: number = 2 ** 14
const MAX_MAX_FRAME_BYTES = 2 ** 24 - 1

const PRIORITY_BYTES = 5
const SETTING_BYTES = 6
const PING_BYTES = 8

/**
 * Buffers are views into the bytes read. `flowBytes`: what flow control counts, padding included. Priorities are read over
 * (RFC 9113 §5.3.2), a stream that depends on itself too. A PUSH_PROMISE is told of, not read: no peer of ours may send one.
 */
export type Frame =
  | {
      readonly type: 'data'
      readonly streamId: number
      readonly data: Buffer
      readonly endStream: boolean
      readonly flowBytes: number
    }
  | {
      readonly type: 'headers'
      readonly streamId: number
      readonly fragment: Buffer
      readonly endStream: boolean
      readonly endHeaders: boolean
    }
  | { readonly type: 'priority' | 'push_promise' | 'unknown'; readonly streamId: number }
  | { readonly type: 'rst_stream'; readonly streamId: number; readonly errorCode: number }
  | { readonly type: 'settings'; readonly ack: boolean; readonly settings: Settings }
  | { readonly type: 'ping'; readonly ack: boolean; readonly opaque: Buffer }
  | { readonly type: 'goaway'; readonly lastStreamId: number; readonly errorCode: number }
  | { readonly type: 'window_update'; readonly streamId: number; readonly increment: number }
  | {
      readonly type: 'continuation'
      readonly streamId: number
      readonly fragment: Buffer
      readonly endHeaders: boolean
    }

/** In the order sent, unknown identifiers and repeated ones included: the last of a kind holds. */
export type Settings = readonly (readonly [id: number, value: number])[]

export type FrameFault =
  | 'H2_FRAME_TOO_LARGE'
  | 'H2_FRAME_LENGTH'
  | 'H2_STREAM_ZERO'
  | 'H2_STREAM_NOT_ZERO'
  | 'H2_PADDING'
  | 'H2_SETTINGS_VALUE'
  | 'H2_WINDOW_INCREMENT_ZERO'

/** What is wrong with one frame. `connection`: GOAWAY and close; `stream`: RST_STREAM, and go on behind it. */
interface BadFrame {
  readonly scope: 'connection' | 'stream'
  readonly error: Http2Error
  readonly code: FrameFault
}

/** `end`: the position behind the frame, also where it is bad; of one that is too large the bytes need not be there. */
export type FrameRead =
  | { readonly kind: 'more' }
  | { readonly kind: 'frame'; readonly frame: Frame; readonly end: number }
  | ({ readonly kind: 'bad'; readonly streamId: number; readonly end: number } & BadFrame)

const TOO_LARGE: BadFrame = { scope: 'connection', error: 'FRAME_SIZE_ERROR', code: 'H2_FRAME_TOO_LARGE' }
const BAD_LENGTH: BadFrame = { scope: 'connection', error: 'FRAME_SIZE_ERROR', code: 'H2_FRAME_LENGTH' }
const STREAM_ZERO: BadFrame = { scope: 'connection', error: 'PROTOCOL_ERROR', code: 'H2_STREAM_ZERO' }
const STREAM_NOT_ZERO: BadFrame = { scope: 'connection', error: 'PROTOCOL_ERROR', code: 'H2_STREAM_NOT_ZERO' }
const BAD_PADDING: BadFrame = { scope: 'connection', error: 'PROTOCOL_ERROR', code: 'H2_PADDING' }
const BAD_SETTING: BadFrame = { scope: 'connection', error: 'PROTOCOL_ERROR', code: 'H2_SETTINGS_VALUE' }
const BAD_WINDOW_SETTING: BadFrame = { scope: 'connection', error: 'FLOW_CONTROL_ERROR', code: 'H2_SETTINGS_VALUE' }
/** RFC 9113 §6.3. */
const BAD_PRIORITY: BadFrame = { scope: 'stream', error: 'FRAME_SIZE_ERROR', code: 'H2_FRAME_LENGTH' }
/** RFC 9113 §6.9. */
const NO_STREAM_INCREMENT: BadFrame = { scope: 'stream', error: 'PROTOCOL_ERROR', code: 'H2_WINDOW_INCREMENT_ZERO' }
const NO_INCREMENT: BadFrame = { scope: 'connection', error: 'PROTOCOL_ERROR', code: 'H2_WINDOW_INCREMENT_ZERO' }

const MORE: FrameRead = { kind: 'more' }

/**
 * The frame at `at`. `maxFrameBytes` is the payload that our SETTINGS allow: a longer one is refused by its header alone.
 * What only the state of the stream or the connection tells is the caller's: idle and closed streams, windows, roles,
 * CONTINUATION out of place.
 */
export function readFrame(bytes: Buffer, at: number, maxFrameBytes: number): FrameRead {
  const start = at + FRAME_HEADER_BYTES
  if (bytes.length < start) return MORE
  const end = start + bytes.readUIntBE(at, 3)
  const streamId = readUInt31(bytes, at + 5)
  if (end - start > maxFrameBytes) return { kind: 'bad', streamId, end, ...TOO_LARGE }
  if (bytes.length < end) return MORE
  const frame = readPayload(bytes.readUInt8(at + 3), { bytes, flags: bytes.readUInt8(at + 4), streamId, start, end })
  return 'code' in frame ? { kind: 'bad', streamId, end, ...frame } : { kind: 'frame', frame, end }
}

/** Where the payload of one frame lies. */
interface Payload {
  readonly bytes: Buffer
  readonly flags: number
  readonly streamId: number
  readonly start: number
  readonly end: number
}

function readPayload(type: number, payload: Payload): Frame | BadFrame {
  switch (type) {
    case FRAME_TYPE.DATA:
      return readData(payload)
    case FRAME_TYPE.HEADERS:
      return readHeaders(payload)
    case FRAME_TYPE.PRIORITY:
      return readPriority(payload)
    case FRAME_TYPE.RST_STREAM:
      return readReset(payload)
    case FRAME_TYPE.SETTINGS:
      return readSettings(payload)
    case FRAME_TYPE.PUSH_PROMISE:
      return payload.streamId === 0 ? STREAM_ZERO : { type: 'push_promise', streamId: payload.streamId }
    case FRAME_TYPE.PING:
      return readPing(payload)
    case FRAME_TYPE.GOAWAY:
      return readGoaway(payload)
    case FRAME_TYPE.WINDOW_UPDATE:
      return readWindowUpdate(payload)
    case FRAME_TYPE.CONTINUATION:
      return readContinuation(payload)
    default:
      // RFC 9113 §4.1: extensions are ignored, whatever they say.
      return { type: 'unknown', streamId: payload.streamId }
  }
}

function readData(payload: Payload): Frame | BadFrame {
  const { streamId, flags, start, end } = payload
  if (streamId === 0) return STREAM_ZERO
  const data = unpadded(payload, 0)
  if (!Buffer.isBuffer(data)) return data
  return { type: 'data', streamId, data, endStream: has(flags, FRAME_FLAG.END_STREAM), flowBytes: end - start }
}

/** A fault here is never the stream's alone: without the field block the HPACK table is out of step (RFC 9113 §4.3). */
function readHeaders(payload: Payload): Frame | BadFrame {
  const { streamId, flags } = payload
  if (streamId === 0) return STREAM_ZERO
  const fragment = unpadded(payload, has(flags, FRAME_FLAG.PRIORITY) ? PRIORITY_BYTES : 0)
  if (!Buffer.isBuffer(fragment)) return fragment
  const endStream = has(flags, FRAME_FLAG.END_STREAM)
  return { type: 'headers', streamId, fragment, endStream, endHeaders: has(flags, FRAME_FLAG.END_HEADERS) }
}

/** The payload without its padding and without `prefix` bytes behind the pad length. */
function unpadded({ bytes, flags, start, end }: Payload, prefix: number): Buffer | BadFrame {
  const padded = has(flags, FRAME_FLAG.PADDED)
  const from = start + (padded ? 1 : 0) + prefix
  if (from > end) return BAD_LENGTH
  const to = padded ? end - bytes.readUInt8(start) : end
  return to < from ? BAD_PADDING : bytes.subarray(from, to)
}

function readPriority({ streamId, start, end }: Payload): Frame | BadFrame {
  if (streamId === 0) return STREAM_ZERO
  return end - start === PRIORITY_BYTES ? { type: 'priority', streamId } : BAD_PRIORITY
}

function readReset({ bytes, streamId, start, end }: Payload): Frame | BadFrame {
  if (streamId === 0) return STREAM_ZERO
  if (end - start !== 4) return BAD_LENGTH
  return { type: 'rst_stream', streamId, errorCode: bytes.readUInt32BE(start) }
}

function readSettings({ bytes, flags, streamId, start, end }: Payload): Frame | BadFrame {
  if (streamId !== 0) return STREAM_NOT_ZERO
  const ack = has(flags, FRAME_FLAG.ACK)
  if ((end - start) % SETTING_BYTES !== 0 || (ack && end > start)) return BAD_LENGTH
  const settings: (readonly [number, number])[] = []
  for (let at = start; at < end; at += SETTING_BYTES) {
    const id = bytes.readUInt16BE(at)
    const value = bytes.readUInt32BE(at + 2)
    const fault = settingFault(id, value)
    if (fault !== null) return fault
    settings.push([id, value])
  }
  return { type: 'settings', ack, settings }
}

function settingFault(id: number, value: number): BadFrame | null {
  if (id === SETTING.ENABLE_PUSH && value > 1) return BAD_SETTING
  if (id === SETTING.INITIAL_WINDOW_SIZE && value > MAX_WINDOW_BYTES) return BAD_WINDOW_SETTING
  if (id !== SETTING.MAX_FRAME_SIZE) return null
  return value < MIN_MAX_FRAME_BYTES || value > MAX_MAX_FRAME_BYTES ? BAD_SETTING : null
}

function readPing({ bytes, flags, streamId, start, end }: Payload): Frame | BadFrame {
  if (streamId !== 0) return STREAM_NOT_ZERO
  if (end - start !== PING_BYTES) return BAD_LENGTH
  return { type: 'ping', ack: has(flags, FRAME_FLAG.ACK), opaque: bytes.subarray(start, end) }
}

function readGoaway({ bytes, streamId, start, end }: Payload): Frame | BadFrame {
  if (streamId !== 0) return STREAM_NOT_ZERO
  if (end - start < 8) return BAD_LENGTH
  return { type: 'goaway', lastStreamId: readUInt31(bytes, start), errorCode: bytes.readUInt32BE(start + 4) }
}

function readWindowUpdate({ bytes, streamId, start, end }: Payload): Frame | BadFrame {
  if (end - start !== 4) return BAD_LENGTH
  const increment = readUInt31(bytes, start)
  if (increment === 0) return streamId === 0 ? NO_INCREMENT : NO_STREAM_INCREMENT
  return { type: 'window_update', streamId, increment }
}

function readContinuation({ bytes, flags, streamId, start, end }: Payload): Frame | BadFrame {
  if (streamId === 0) return STREAM_ZERO
  const fragment = bytes.subarray(start, end)
  return { type: 'continuation', streamId, fragment, endHeaders: has(flags, FRAME_FLAG.END_HEADERS) }
}

function has(flags: number, flag: number): boolean {
  return (flags & flag) !== 0
}

/** The bit before it is reserved and ignored (RFC 9113 §4.1). */
function readUInt31(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) & 0x7fff_ffff
}
