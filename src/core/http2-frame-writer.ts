// Writes HTTP/2 frames (RFC 9113 §4, §6). What is written is the caller's to get right: lengths and ids are not judged.

import { Buffer } from 'node:buffer'
import { HTTP2_ERROR_CODE, type Http2Error } from './http2-error.ts'
import { FRAME_FLAG, FRAME_HEADER_BYTES, FRAME_TYPE, type Settings } from './http2-frame.ts'

const CONNECTION = 0
const SETTING_BYTES = 6

/** The 9 bytes in front of a payload of `length` bytes, which is then written beside them uncopied. */
export function frameHeader(type: number, flags: number, streamId: number, length: number): Buffer {
  const header = Buffer.allocUnsafe(FRAME_HEADER_BYTES)
  writeHeader(header, 0, type, flags, streamId, length)
  return header
}

export function settingsFrame(settings: Settings): Buffer {
  const frame = frameOf(FRAME_TYPE.SETTINGS, 0, CONNECTION, settings.length * SETTING_BYTES)
  let at = FRAME_HEADER_BYTES
  for (const [id, value] of settings) at = frame.writeUInt32BE(value, frame.writeUInt16BE(id, at))
  return frame
}

export function settingsAck(): Buffer {
  return frameHeader(FRAME_TYPE.SETTINGS, FRAME_FLAG.ACK, CONNECTION, 0)
}

/** `opaque`: the 8 bytes that the acknowledgement repeats. */
export function ping(opaque: Buffer): Buffer {
  return pingFrame(0, opaque)
}

export function pingAck(opaque: Buffer): Buffer {
  return pingFrame(FRAME_FLAG.ACK, opaque)
}

/** `debugText` is for people who read traces; ASCII. */
export function goaway(lastStreamId: number, error: Http2Error, debugText: string): Buffer {
  const frame = frameOf(FRAME_TYPE.GOAWAY, 0, CONNECTION, 8 + debugText.length)
  const at = frame.writeUInt32BE(lastStreamId, FRAME_HEADER_BYTES)
  frame.write(debugText, frame.writeUInt32BE(HTTP2_ERROR_CODE[error], at), 'latin1')
  return frame
}

export function rstStream(streamId: number, error: Http2Error): Buffer {
  const frame = frameOf(FRAME_TYPE.RST_STREAM, 0, streamId, 4)
  frame.writeUInt32BE(HTTP2_ERROR_CODE[error], FRAME_HEADER_BYTES)
  return frame
}

/** `streamId` 0 is the connection. `increment`: 1 to 2^31-1 bytes. */
export function windowUpdate(streamId: number, increment: number): Buffer {
  const frame = frameOf(FRAME_TYPE.WINDOW_UPDATE, 0, streamId, 4)
  frame.writeUInt32BE(increment, FRAME_HEADER_BYTES)
  return frame
}

/**
 * A field block as HEADERS and as many CONTINUATIONs as the peer's `maxFrameBytes` asks for, in one buffer: nothing may
 * come between them (RFC 9113 §6.10).
 */
export function headerFrames(streamId: number, block: Buffer, endStream: boolean, maxFrameBytes: number): Buffer {
  const count = Math.max(1, Math.ceil(block.length / maxFrameBytes))
  const frames = Buffer.allocUnsafe(count * FRAME_HEADER_BYTES + block.length)
  let at = 0
  for (let index = 0; index < count; index++) {
    const from = index * maxFrameBytes
    const length = Math.min(maxFrameBytes, block.length - from)
    const type = index === 0 ? FRAME_TYPE.HEADERS : FRAME_TYPE.CONTINUATION
    const ends = index === count - 1 ? FRAME_FLAG.END_HEADERS : 0
    const flags = index === 0 && endStream ? ends | FRAME_FLAG.END_STREAM : ends
    at = writeHeader(frames, at, type, flags, streamId, length)
    at += block.copy(frames, at, from, from + length)
  }
  return frames
}

function pingFrame(flags: number, opaque: Buffer): Buffer {
  const frame = frameOf(FRAME_TYPE.PING, flags, CONNECTION, opaque.length)
  opaque.copy(frame, FRAME_HEADER_BYTES)
  return frame
}

/** A frame whose payload is still to be written, all of it. */
function frameOf(type: number, flags: number, streamId: number, length: number): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + length)
  writeHeader(frame, 0, type, flags, streamId, length)
  return frame
}

/** Answers the position behind the header. */
function writeHeader(into: Buffer, at: number, type: number, flags: number, streamId: number, length: number): number {
  into.writeUIntBE(length, at, 3)
  into.writeUInt8(type, at + 3)
  into.writeUInt8(flags, at + 4)
  return into.writeUInt32BE(streamId, at + 5)
}
