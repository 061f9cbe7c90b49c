// RFC 9113, frame by frame, as a server is asked to hold it: what ends a stream and leaves the connection, and what is borne.

import { afterEach, describe, expect, it } from 'vitest'
import type { Http2Error } from '../../../src/core/http2-error.ts'
import { goaway, pingAck, settingsFrame } from '../../../src/core/http2-frame-writer.ts'
import { type Frames, inOrder, open, openEnded, setting, u32, whole } from './support/frame-cases.ts'
import { asked, data, FRAME_FLAG, FRAME_TYPE, raw, request, SETTING } from './support/raw-peer.ts'
import { answerOk, type Play, readBody, type ServedBed, startServed } from './support/served.ts'

let bed: ServedBed
afterEach(() => bed.close())

const { DATA, HEADERS, PRIORITY, RST_STREAM, PING, WINDOW_UPDATE, CONTINUATION } = FRAME_TYPE
const { END_STREAM, END_HEADERS, PADDED } = FRAME_FLAG
const PRIORITY_FLAG = FRAME_FLAG.PRIORITY
/** `:method: GET`, `:scheme: https`, `:path: /`, all static. */
const GET = Buffer.from([0x82, 0x87, 0x84])
const MAX_WINDOW = 2 ** 31 - 1

const STREAM_FAULTS: readonly (readonly [string, Http2Error, Frames])[] = [
  ['§5.1 half-closed by the client: DATA', 'STREAM_CLOSED', inOrder(whole(1), data(1, 'x'))],
  [
    '§5.1 half-closed by the client: HEADERS',
    'STREAM_CLOSED',
    (peer) => [...whole(1)(peer), peer.headers(1, ['x-a', 'b'])],
  ],
  [
    '§5.1 half-closed by the client, through DATA: DATA',
    'STREAM_CLOSED',
    inOrder(open(1), data(1, '', true), data(1, 'x')),
  ],
  [
    '§6.3 PRIORITY of four octets on an open stream',
    'FRAME_SIZE_ERROR',
    inOrder(open(1), raw(PRIORITY, 0, 1, '\0\0\0\x01')),
  ],
  [
    '§6.3 PRIORITY of six octets on an open stream',
    'FRAME_SIZE_ERROR',
    inOrder(open(1), raw(PRIORITY, 0, 1, '\0\0\0\0\0\x01')),
  ],
  ['§6.9 WINDOW_UPDATE of a stream by 0', 'PROTOCOL_ERROR', inOrder(open(1), raw(WINDOW_UPDATE, 0, 1, u32(0)))],
  ['§6.9 the same, with the reserved bit', 'PROTOCOL_ERROR', inOrder(open(1), raw(WINDOW_UPDATE, 0, 1, u32(2 ** 31)))],
  [
    '§6.9.1 the window of a stream over 2^31-1',
    'FLOW_CONTROL_ERROR',
    (peer) => [...open(1)(peer), peer.widen(1, MAX_WINDOW)],
  ],
  [
    '§6.9.1 DATA over the window of a stream',
    'FLOW_CONTROL_ERROR',
    inOrder(open(1), ...Array.from({ length: 17 }, () => data(1, Buffer.alloc(16_384)))),
  ],
  [
    '§8.1 a second head without an end',
    'PROTOCOL_ERROR',
    (peer) => [...open(1)(peer), peer.headers(1, ['x-a', 'b'], false)],
  ],
  [
    '§8.1.1 content-length 5 and no body',
    'PROTOCOL_ERROR',
    (peer) => [peer.headers(1, asked('POST', '/', 'content-length', '5'))],
  ],
  [
    '§8.1.1 content-length 1 and three octets',
    'PROTOCOL_ERROR',
    (peer) => [peer.headers(1, asked('POST', '/', 'content-length', '1'), false), data(1, 'abc', true)],
  ],
  [
    '§8.1.1 content-length 5 and three octets',
    'PROTOCOL_ERROR',
    (peer) => [peer.headers(1, asked('POST', '/', 'content-length', '5'), false), data(1, 'abc', true)],
  ],
  ['§8.2.2 connection', 'PROTOCOL_ERROR', (peer) => [peer.headers(1, request('/', 'connection', 'close'))]],
  ['§8.2.2 te that is not trailers', 'PROTOCOL_ERROR', (peer) => [peer.headers(1, request('/', 'te', 'gzip'))]],
  [
    '§8.3 a pseudo-field of answers',
    'PROTOCOL_ERROR',
    (peer) => [peer.headers(1, [...request('/'), ':status', '200'])],
  ],
  [
    '§8.3 a pseudo-field behind a field',
    'PROTOCOL_ERROR',
    (peer) => [peer.headers(1, [':method', 'GET', 'x', 'y', ':path', '/'])],
  ],
  [
    '§8.3 a pseudo-field in trailing fields',
    'PROTOCOL_ERROR',
    (peer) => [...open(1)(peer), peer.headers(1, [':path', '/'])],
  ],
  ['§8.3.1 no :path', 'PROTOCOL_ERROR', (peer) => [peer.headers(1, [':method', 'GET', ':scheme', 'https'])]],
  ['§8.3.1 an empty :path', 'PROTOCOL_ERROR', (peer) => [peer.headers(1, request(''))]],
  ['§8.3.1 two :method', 'PROTOCOL_ERROR', (peer) => [peer.headers(1, [':method', 'GET', ...request('/')])]],
  ['§8.5 CONNECT', 'PROTOCOL_ERROR', (peer) => [peer.headers(1, [':method', 'CONNECT', ':authority', 'b.test:443'])]],
]

/** Reads the whole body, then answers: 400 where it failed. */
const answersBody: Play = async (incoming) => {
  const { last } = await readBody(incoming)
  if (last.kind !== 'failed') return openEnded(incoming)
  incoming.sink.head(400, '', [], { kind: 'none' })
  incoming.sink.end([])
}

describe('ends the stream, and the next one on the connection is served', () => {
  it.each(STREAM_FAULTS)('%s: %s', async (_what, error, frames) => {
    let first = true
    bed = startServed((incoming) => {
      if (!first) return answerOk(incoming)
      first = false
      return answersBody(incoming)
    })
    const { peer } = bed
    // A malformed head never becomes a request: the one behind it is the first.
    bed.peer.begin()
    peer.write(...frames(peer))
    await peer.until(() => peer.resetOf(1) !== undefined, 'the reset')
    first = false
    expect(peer.resetOf(1)).toBe(error)
    peer.get(3, '/next')
    await peer.until(() => peer.ended(3), 'the next answer')
    expect([peer.status(3), peer.resetOf(3), peer.goaway]).toEqual(['200', undefined, undefined])
    expect(bed.faults).toEqual([])
  })
})

const BORNE: readonly (readonly [string, Frames])[] = [
  ['§4.1 a frame that nobody knows', () => [raw(0xfa, 0xff, 0, 'whatever')]],
  ['§4.1 a frame that nobody knows, on an idle stream', () => [raw(0xfa, 0, 77, 'whatever')]],
  ['§4.1 flags that mean nothing', () => [raw(PING, 0xfe, 0, '12345678')]],
  ['§4.1 the reserved bit of a stream id', () => [reserved(raw(PING, 0, 0, '12345678'))]],
  ['§5.1 WINDOW_UPDATE for a stream that is over', (peer) => [...open(1)(peer), peer.reset(1), peer.widen(1, 1)]],
  ['§5.1 RST_STREAM for a stream that is over', (peer) => [...open(1)(peer), peer.reset(1), peer.reset(1)]],
  [
    '§5.1 PRIORITY for a stream that is over',
    (peer) => [...open(1)(peer), peer.reset(1), raw(PRIORITY, 0, 1, '\0\0\0\0\0')],
  ],
  ['§5.1 PRIORITY for an idle stream', () => [raw(PRIORITY, 0, 77, '\0\0\0\0\0')]],
  ['§5.1 DATA for a stream that we reset', inOrder(open(1), raw(WINDOW_UPDATE, 0, 1, u32(0)), data(1, 'late', true))],
  [
    '§5.1 HEADERS for a stream that we reset',
    (peer) => [...open(1)(peer), raw(WINDOW_UPDATE, 0, 1, u32(0)), peer.headers(1, ['x-a', 'b'])],
  ],
  ['§5.1.1 streams that are left out', (peer) => [peer.headers(7, request('/'))]],
  ['§5.3.1 a stream that depends on itself', () => [raw(PRIORITY, 0, 7, '\0\0\0\x07\x0f')]],
  ['§6.1 DATA with padding', inOrder(open(1), raw(DATA, PADDED, 1, '\x03abc\0\0\0'))],
  ['§6.1 DATA with padding that is not zero', inOrder(open(1), raw(DATA, PADDED, 1, '\x03abcxyz'))],
  [
    '§6.2 HEADERS with padding and priority',
    () => [raw(HEADERS, END_STREAM | END_HEADERS | PADDED | PRIORITY_FLAG, 1, `\x02\0\0\0\0\x0f\x82\x87\x84\0\0`)],
  ],
  [
    '§6.2 HEADERS in three frames',
    () => [raw(HEADERS, 1, 1, '\x82'), raw(CONTINUATION, 0, 1, '\x87'), raw(CONTINUATION, 4, 1, '\x84')],
  ],
  ['§6.2 HEADERS with an empty CONTINUATION', () => [raw(HEADERS, 1, 1, GET), raw(CONTINUATION, 4, 1)]],
  ['§6.4 RST_STREAM with a code that nobody knows', inOrder(open(1), raw(RST_STREAM, 0, 1, u32(0xffff)))],
  ['§6.5 a setting that nobody knows', () => [setting(0xfafa, 1)]],
  [
    '§6.5 32 settings in one frame',
    () => [settingsFrame(Array.from({ length: 32 }, (_, id) => [id + 100, 1] as const))],
  ],
  [
    '§6.5 a setting twice',
    () => [
      settingsFrame([
        [SETTING.INITIAL_WINDOW_SIZE, 0],
        [SETTING.INITIAL_WINDOW_SIZE, 65_535],
      ]),
    ],
  ],
  ['§6.5.2 ENABLE_PUSH 1 of a client', () => [setting(SETTING.ENABLE_PUSH, 1)]],
  [
    '§6.5.2 the largest values there are',
    () => [
      settingsFrame([
        [SETTING.INITIAL_WINDOW_SIZE, MAX_WINDOW],
        [SETTING.MAX_FRAME_SIZE, 2 ** 24 - 1],
      ]),
    ],
  ],
  ['§6.5.2 a table of no size', () => [setting(SETTING.HEADER_TABLE_SIZE, 0)]],
  ['§6.7 the answer to a PING that nobody sent', () => [pingAck(Buffer.alloc(8))]],
  ['§6.9 WINDOW_UPDATE up to 2^31-1', (peer) => [peer.widen(0, MAX_WINDOW - 65_535)]],
  ['§6.9 WINDOW_UPDATE with the reserved bit', () => [raw(WINDOW_UPDATE, 0, 0, u32(2 ** 31 + 1))]],
  ['§6.9 WINDOW_UPDATE of a stream that the client has ended', (peer) => [...whole(1)(peer), peer.widen(1, 1)]],
]

describe('is borne: the next request on the connection is served', () => {
  it.each(BORNE)('%s', async (_what, frames) => {
    bed = startServed((incoming) => (incoming.head.target === '/next' ? answerOk(incoming) : openEnded(incoming)))
    const { peer } = bed
    peer.begin()
    peer.write(...frames(peer))
    peer.get(99, '/next')
    await peer.until(() => peer.ended(99), 'the next answer')
    expect([peer.status(99), peer.goaway]).toEqual(['200', undefined])
    expect(bed.faults).toEqual([])
  })
})

it('§6.5.3 SETTINGS are acknowledged, §6.7 a PING is answered with its own octets', async () => {
  bed = startServed()
  const { peer } = bed
  peer.begin()
  peer.write(raw(PING, 0, 0, 'abcdefgh'))
  await peer.until(() => peer.of('ping').length > 0)
  expect(peer.of('ping').map(({ ack, opaque }) => [ack, opaque.toString()])).toEqual([[true, 'abcdefgh']])
  expect(peer.of('settings').map(({ ack }) => ack)).toEqual([false, true])
})

it('§6.8 a GOAWAY lets what is under way end, and then the connection', async () => {
  bed = startServed()
  const { peer } = bed
  peer.begin()
  peer.get(1, '/')
  peer.write(goaway(0, 'NO_ERROR', ''))
  await peer.until(() => peer.closed, 'the end')
  expect([peer.status(1), peer.ended(1), bed.faults]).toEqual(['200', true, []])
})

it('§3.4 the first frame that comes is SETTINGS, before anything was said', async () => {
  bed = startServed()
  await bed.peer.until(() => bed.peer.frames.length > 0)
  expect(bed.peer.frames[0]).toMatchObject({ type: 'settings', ack: false })
})

function reserved(frame: Buffer): Buffer {
  frame.writeUInt8(frame.readUInt8(5) | 0x80, 5)
  return frame
}
