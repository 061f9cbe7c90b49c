// The frames that cases of conformance are put together of, and a server that answers nothing.

import { settingsFrame } from '../../../../src/core/http2-frame-writer.ts'
import { asked, type RawPeer, request } from './raw-peer.ts'
import { type Play, readBody } from './served.ts'

export type Frames = (peer: RawPeer) => readonly Buffer[]

/** Takes up requests, reads their bodies and answers nothing, until their stream is over. */
export const openEnded: Play = async (incoming) => {
  const gone = new Promise<void>((resolve) => incoming.link.onGone(resolve))
  void readBody(incoming)
  await gone
}

/** A POST whose body is still to come. */
export function open(id: number): Frames {
  return (peer) => [peer.headers(id, asked('POST', '/'), false)]
}

/** A GET that is whole. */
export function whole(id: number): Frames {
  return (peer) => [peer.headers(id, request('/'))]
}

/** One behind the other. */
export function inOrder(...all: readonly (Frames | Buffer)[]): Frames {
  return (peer) => all.flatMap((one) => (typeof one === 'function' ? one(peer) : [one]))
}

/** Four octets, latin1. */
export function u32(value: number): string {
  return String.fromCharCode(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255)
}

export function setting(id: number, value: number): Buffer {
  return settingsFrame([[id, value]])
}
