// An HTTP/2 client that says whatever it is told to, frame by frame and octet by octet, over any connection.

import type { Http2Error } from '../../../src/core/http2-error.ts'
import { FRAME_FLAG, FRAME_TYPE, raw, type RawPeer } from '../../proxy/http2/support/raw-peer.ts'

export { data, FRAME_FLAG, FRAME_TYPE, PREFACE, raw, RawPeer, SETTING } from '../../proxy/http2/support/raw-peer.ts'

const MAX_FRAME_BYTES = 16_384
/** RFC 7541 §5.1: what a prefix of seven bits holds by itself. */
const PREFIX_7 = 127

/** Flat: name, value… latin1, with any octet in either. */
export type Block = readonly string[]

/** A field block as literals that nobody indexes (RFC 7541 §6.2.2), spelt out: our own encoder would refuse some of these. */
export function literals(fields: Block): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < fields.length; at += 2) {
    parts.push(Buffer.from([0]), text(fields[at] ?? ''), text(fields[at + 1] ?? ''))
  }
  return Buffer.concat(parts)
}

/** RFC 7541 §5.2, without Huffman. */
function text(value: string): Buffer {
  return Buffer.concat([integer(0, PREFIX_7, value.length), Buffer.from(value, 'latin1')])
}

/** RFC 7541 §5.1; `full`: what the prefix holds. */
export function integer(first: number, full: number, value: number): Buffer {
  if (value < full) return Buffer.from([first | value])
  const octets = [first | full]
  let rest = value - full
  for (; rest >= 128; rest = Math.floor(rest / 128)) octets.push((rest % 128) | 128)
  return Buffer.from([...octets, rest])
}

/** HEADERS, and as many CONTINUATIONs as it takes. */
export function blockFrames(streamId: number, block: Buffer, endStream = true): Buffer {
  const frames: Buffer[] = []
  for (let at = 0; at === 0 || at < block.length; at += MAX_FRAME_BYTES) {
    const last = at + MAX_FRAME_BYTES >= block.length ? FRAME_FLAG.END_HEADERS : 0
    const flags = last | (at === 0 && endStream ? FRAME_FLAG.END_STREAM : 0)
    const type = at === 0 ? FRAME_TYPE.HEADERS : FRAME_TYPE.CONTINUATION
    frames.push(raw(type, flags, streamId, block.subarray(at, at + MAX_FRAME_BYTES)))
  }
  return Buffer.concat(frames)
}

/** A head whose fields may be none. */
export function head(streamId: number, fields: Block, endStream = true): Buffer {
  return blockFrames(streamId, literals(fields), endStream)
}

export const repeated = (count: number, frame: Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, () => frame))

/** The stream of the request that comes in this place, counted from 0. */
export const streamOf = (index: number): number => 2 * index + 1

/** How a stream went for its client: the status, if there was one, and the error it was reset with. */
export interface StreamOutcome {
  readonly status: string | undefined
  readonly reset: Http2Error | null | undefined
}

/** Resolves when the stream was reset, or ended in order. */
export async function outcomeOn(peer: RawPeer, streamId: number): Promise<StreamOutcome> {
  const over = (): boolean => peer.resetOf(streamId) !== undefined || peer.ended(streamId)
  await peer.until(() => over() || peer.closed, `the end of stream ${streamId}`)
  // RST_STREAM follows END_STREAM in the same write, if it does.
  if (!peer.closed) await peer.alive()
  return { status: peer.status(streamId), reset: peer.resetOf(streamId) }
}

/** The error of the GOAWAY that ended the connection; undefined: it just ended. */
export async function goawayOn(peer: RawPeer): Promise<Http2Error | null | undefined> {
  await peer.until(() => peer.closed, 'the end of the connection')
  return peer.goaway
}
