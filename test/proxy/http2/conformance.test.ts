// RFC 9113, frame by frame, as a server is asked to hold it: what ends a connection. What ends a stream, and what is borne: conformance-streams.

import { afterEach, describe, expect, it } from 'vitest'
import type { Http2Error } from '../../../src/core/http2-error.ts'
import { settingsAck, settingsFrame } from '../../../src/core/http2-frame-writer.ts'
import { type Frames, inOrder, open, openEnded, setting, u32, whole } from './support/frame-cases.ts'
import { data, FRAME_FLAG, FRAME_TYPE, PREFACE, raw, request, SETTING } from './support/raw-peer.ts'
import { type ServedBed, startServed } from './support/served.ts'

let bed: ServedBed
afterEach(() => bed.close())

const { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION } =
  FRAME_TYPE
const { END_HEADERS, PADDED } = FRAME_FLAG
const PRIORITY_FLAG = FRAME_FLAG.PRIORITY
const EMPTY_SETTINGS = settingsFrame([])
const BEGUN = Buffer.concat([PREFACE, EMPTY_SETTINGS, settingsAck()])
/** `:method: GET`, `:scheme: https`, `:path: /`, all static. */
const GET = Buffer.from([0x82, 0x87, 0x84])
const MAX_WINDOW = 2 ** 31 - 1

const CONNECTION_FAULTS: readonly (readonly [string, Http2Error, Frames])[] = [
  ['§3.4 a preface that is none', 'PROTOCOL_ERROR', () => [Buffer.from('PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n')]],
  ['§3.4 HTTP/1.1', 'PROTOCOL_ERROR', () => [Buffer.from('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n')]],
  ['§3.4 HEADERS as the first frame', 'PROTOCOL_ERROR', (peer) => [PREFACE, peer.headers(1, request('/'))]],
  ['§3.4 WINDOW_UPDATE as the first frame', 'PROTOCOL_ERROR', (peer) => [PREFACE, peer.widen(0, 1)]],
  ['§4.2 DATA over the maximum', 'FRAME_SIZE_ERROR', inOrder(BEGUN, open(1), raw(DATA, 0, 1, Buffer.alloc(16_385)))],
  ['§4.2 HEADERS over the maximum', 'FRAME_SIZE_ERROR', () => [BEGUN, raw(HEADERS, 5, 1, Buffer.alloc(16_385))]],
  [
    '§4.2 a frame nobody knows over the maximum',
    'FRAME_SIZE_ERROR',
    () => [BEGUN, raw(0xfa, 0, 0, Buffer.alloc(16_385))],
  ],
  ['§4.3 a block with an index of 0', 'COMPRESSION_ERROR', () => [BEGUN, raw(HEADERS, 5, 1, '\x80')]],
  ['§4.3 a block that is cut off', 'COMPRESSION_ERROR', () => [BEGUN, raw(HEADERS, 5, 1, '\x00\x05a')]],
  [
    '§4.3 a block of trailing fields that is none',
    'COMPRESSION_ERROR',
    inOrder(BEGUN, open(1), raw(HEADERS, 5, 1, '\x80')),
  ],
  [
    '§4.3 a block that is none, for a stream that was reset',
    'COMPRESSION_ERROR',
    inOrder(BEGUN, open(1), raw(WINDOW_UPDATE, 0, 1, u32(0)), raw(HEADERS, 5, 1, '\x80')),
  ],
  ['§5.1 idle: DATA', 'PROTOCOL_ERROR', () => [BEGUN, data(1, 'x')]],
  ['§5.1 idle: RST_STREAM', 'PROTOCOL_ERROR', (peer) => [BEGUN, peer.reset(1)]],
  ['§5.1 idle: WINDOW_UPDATE', 'PROTOCOL_ERROR', (peer) => [BEGUN, peer.widen(1, 1)]],
  ['§5.1 idle: CONTINUATION', 'PROTOCOL_ERROR', () => [BEGUN, raw(CONTINUATION, END_HEADERS, 1, GET)]],
  ['§5.1 idle, above one that is open: DATA', 'PROTOCOL_ERROR', inOrder(BEGUN, open(1), data(3, 'x'))],
  [
    '§5.1 closed by RST_STREAM: DATA',
    'STREAM_CLOSED',
    (peer) => [BEGUN, ...open(1)(peer), peer.reset(1), data(1, 'x')],
  ],
  [
    '§5.1 closed by RST_STREAM: HEADERS',
    'STREAM_CLOSED',
    (peer) => [BEGUN, ...open(1)(peer), peer.reset(1), peer.headers(1, request('/'))],
  ],
  [
    '§5.1 closed by RST_STREAM: CONTINUATION',
    'PROTOCOL_ERROR',
    (peer) => [BEGUN, ...open(1)(peer), peer.reset(1), raw(CONTINUATION, END_HEADERS, 1)],
  ],
  ['§5.1.1 an even stream', 'PROTOCOL_ERROR', whole(2)],
  ['§5.1.1 a stream below one that was used', 'STREAM_CLOSED', inOrder(whole(5), whole(3))],
  ['§5.1.1 stream 0', 'PROTOCOL_ERROR', () => [raw(HEADERS, 5, 0, GET)]],
  ['§6.1 DATA on stream 0', 'PROTOCOL_ERROR', () => [data(0, 'x')]],
  ['§6.1 DATA with padding longer than it', 'PROTOCOL_ERROR', inOrder(open(1), raw(DATA, PADDED, 1, '\x05abcd'))],
  ['§6.1 DATA with padding as long as it', 'PROTOCOL_ERROR', inOrder(open(1), raw(DATA, PADDED, 1, '\x04abc'))],
  ['§6.1 DATA with PADDED and nothing', 'FRAME_SIZE_ERROR', inOrder(open(1), raw(DATA, PADDED, 1))],
  [
    '§6.2 HEADERS with padding longer than it',
    'PROTOCOL_ERROR',
    () => [raw(HEADERS, 5 | PADDED, 1, '\x09\x82\x87\x84')],
  ],
  ['§6.2 HEADERS with PADDED and nothing', 'FRAME_SIZE_ERROR', () => [raw(HEADERS, 5 | PADDED, 1)]],
  ['§6.2 HEADERS too short for its priority', 'FRAME_SIZE_ERROR', () => [raw(HEADERS, 5 | PRIORITY_FLAG, 1, '\0\0\0')]],
  ['§6.2 HEADERS within a field block', 'PROTOCOL_ERROR', () => [raw(HEADERS, 1, 1, GET), raw(HEADERS, 5, 3, GET)]],
  ['§6.2 DATA within a field block', 'PROTOCOL_ERROR', () => [raw(HEADERS, 1, 1, GET), data(1, 'x')]],
  ['§6.2 SETTINGS within a field block', 'PROTOCOL_ERROR', () => [raw(HEADERS, 1, 1, GET), EMPTY_SETTINGS]],
  ['§6.2 WINDOW_UPDATE within a field block', 'PROTOCOL_ERROR', (peer) => [raw(HEADERS, 1, 1, GET), peer.widen(0, 1)]],
  ['§6.2 RST_STREAM within a field block', 'PROTOCOL_ERROR', (peer) => [raw(HEADERS, 1, 1, GET), peer.reset(1)]],
  ['§6.2 an unknown frame within a field block', 'PROTOCOL_ERROR', () => [raw(HEADERS, 1, 1, GET), raw(0xfa, 0, 1)]],
  ['§6.3 PRIORITY on stream 0', 'PROTOCOL_ERROR', () => [raw(PRIORITY, 0, 0, '\0\0\0\x01\x0f')]],
  ['§6.3 PRIORITY of four octets on an idle stream', 'FRAME_SIZE_ERROR', () => [raw(PRIORITY, 0, 1, '\0\0\0\x01')]],
  ['§6.4 RST_STREAM on stream 0', 'PROTOCOL_ERROR', () => [raw(RST_STREAM, 0, 0, u32(8))]],
  ['§6.4 RST_STREAM of three octets', 'FRAME_SIZE_ERROR', inOrder(open(1), raw(RST_STREAM, 0, 1, '\0\0\0'))],
  ['§6.4 RST_STREAM of five octets', 'FRAME_SIZE_ERROR', inOrder(open(1), raw(RST_STREAM, 0, 1, '\0\0\0\0\0'))],
  ['§6.5 SETTINGS on a stream', 'PROTOCOL_ERROR', () => [raw(SETTINGS, 0, 1)]],
  ['§6.5 SETTINGS of five octets', 'FRAME_SIZE_ERROR', () => [raw(SETTINGS, 0, 0, '\0\x03\0\0\0')]],
  ['§6.5 an acknowledgement that says something', 'FRAME_SIZE_ERROR', () => [raw(SETTINGS, 1, 0, '\0\x03\0\0\0\x64')]],
  ['§6.5.2 ENABLE_PUSH 2', 'PROTOCOL_ERROR', () => [setting(SETTING.ENABLE_PUSH, 2)]],
  ['§6.5.2 INITIAL_WINDOW_SIZE 2^31', 'FLOW_CONTROL_ERROR', () => [setting(SETTING.INITIAL_WINDOW_SIZE, 2 ** 31)]],
  ['§6.5.2 MAX_FRAME_SIZE 16,383', 'PROTOCOL_ERROR', () => [setting(SETTING.MAX_FRAME_SIZE, 16_383)]],
  ['§6.5.2 MAX_FRAME_SIZE 2^24', 'PROTOCOL_ERROR', () => [setting(SETTING.MAX_FRAME_SIZE, 2 ** 24)]],
  [
    '§6.5 33 settings in one frame',
    'ENHANCE_YOUR_CALM',
    () => [settingsFrame(Array.from({ length: 33 }, (_, id) => [id + 100, 1] as const))],
  ],
  ['§6.6 PUSH_PROMISE', 'PROTOCOL_ERROR', inOrder(open(1), raw(PUSH_PROMISE, END_HEADERS, 1, `${u32(2)}\x82\x87\x84`))],
  ['§6.6 PUSH_PROMISE on stream 0', 'PROTOCOL_ERROR', () => [raw(PUSH_PROMISE, END_HEADERS, 0, u32(2))]],
  ['§6.7 PING on a stream', 'PROTOCOL_ERROR', () => [raw(PING, 0, 1, '12345678')]],
  ['§6.7 PING of seven octets', 'FRAME_SIZE_ERROR', () => [raw(PING, 0, 0, '1234567')]],
  ['§6.7 PING of nine octets', 'FRAME_SIZE_ERROR', () => [raw(PING, 0, 0, '123456789')]],
  ['§6.8 GOAWAY on a stream', 'PROTOCOL_ERROR', () => [raw(GOAWAY, 0, 1, u32(0) + u32(0))]],
  ['§6.8 GOAWAY of seven octets', 'FRAME_SIZE_ERROR', () => [raw(GOAWAY, 0, 0, '1234567')]],
  ['§6.9 WINDOW_UPDATE of the connection by 0', 'PROTOCOL_ERROR', () => [raw(WINDOW_UPDATE, 0, 0, u32(0))]],
  ['§6.9 WINDOW_UPDATE of three octets', 'FRAME_SIZE_ERROR', () => [raw(WINDOW_UPDATE, 0, 0, '\0\0\x01')]],
  [
    '§6.9 WINDOW_UPDATE of five octets on a stream',
    'FRAME_SIZE_ERROR',
    inOrder(open(1), raw(WINDOW_UPDATE, 0, 1, '\0\0\0\0\x01')),
  ],
  ['§6.9.1 the window of the connection over 2^31-1', 'FLOW_CONTROL_ERROR', (peer) => [peer.widen(0, MAX_WINDOW)]],
  [
    '§6.10 CONTINUATION behind a block that is whole',
    'PROTOCOL_ERROR',
    inOrder(whole(1), raw(CONTINUATION, END_HEADERS, 1)),
  ],
  ['§6.10 CONTINUATION on stream 0', 'PROTOCOL_ERROR', () => [raw(CONTINUATION, END_HEADERS, 0)]],
  ['§6.10 CONTINUATION of another stream', 'PROTOCOL_ERROR', () => [raw(HEADERS, 1, 1, GET), raw(CONTINUATION, 4, 3)]],
  [
    '§6.10 CONTINUATION behind DATA',
    'PROTOCOL_ERROR',
    inOrder(open(1), data(1, 'x'), raw(CONTINUATION, END_HEADERS, 1)),
  ],
]

describe('ends the connection, is recorded once, and nothing behind it is read', () => {
  it.each(CONNECTION_FAULTS)('%s: %s', async (what, error, frames) => {
    bed = startServed(openEnded)
    const { peer } = bed
    const attack = frames(peer)
    const begins = attack[0]?.equals(BEGUN) === true || attack[0]?.equals(PREFACE) === true || what.startsWith('§3.4')
    // HEADERS would end what is still a field block by itself.
    const behind = what.includes('within a field block') ? [] : [peer.headers(99, request('/behind'))]
    peer.write(...(begins ? [] : [BEGUN]), ...attack, ...behind)
    await peer.until(() => peer.closed, 'the end')
    expect(peer.goaway).toBe(error)
    bed.far.end()
    await bed.done
    expect(bed.faults.map(({ reason }) => reason)).toEqual(['malformed'])
    expect(bed.faults[0]?.code).toMatch(/^H2_[A-Z_]+$/)
    expect(bed.requests.map(({ head }) => head.target)).not.toContain('/behind')
  })
})
