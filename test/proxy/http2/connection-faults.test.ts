// What a client can do to a connection: one fault, one record, GOAWAY, and nothing more is read.

import { afterEach, describe, expect, it } from 'vitest'
import type { Http2Error } from '../../../src/core/http2-error.ts'
import { settingsAck, settingsFrame } from '../../../src/core/http2-frame-writer.ts'
import {
  asked,
  data,
  FRAME_FLAG,
  FRAME_TYPE,
  PREFACE,
  raw,
  type RawPeer,
  request,
  SETTING,
} from './support/raw-peer.ts'
import { answerOk, type Play, type ServedBed, startServed } from './support/served.ts'

let bed: ServedBed
afterEach(() => bed.close())

const untilGone: Play = (incoming) => new Promise((resolve) => incoming.link.onGone(resolve))

type Attack = (peer: RawPeer) => Buffer[]

const begun = (...frames: Buffer[]): Buffer[] => [PREFACE, settingsFrame([]), settingsAck(), ...frames]
const times = (count: number, frame: Buffer): Buffer => Buffer.concat(Array.from({ length: count }, () => frame))
const odd = (index: number): number => 2 * index + 1

/** Requests that are reset as soon as they are sent. */
const rapidResets =
  (count: number): Attack =>
  (peer) => [
    ...begun(),
    ...Array.from({ length: count }, (_, i) => [peer.headers(odd(i), request('/')), peer.reset(odd(i))]).flat(),
  ]

const FAULTS: readonly (readonly [string, Http2Error, string, Attack])[] = [
  ['another protocol', 'PROTOCOL_ERROR', 'H2_PREFACE', () => [Buffer.from('GET / HTTP/1.1\r\n\r\n')]],
  ['a preface without SETTINGS', 'PROTOCOL_ERROR', 'H2_PREFACE', (peer) => [PREFACE, peer.ping()]],
  ['an acknowledgement for SETTINGS', 'PROTOCOL_ERROR', 'H2_PREFACE', () => [PREFACE, settingsAck()]],
  ['DATA on stream 0', 'PROTOCOL_ERROR', 'H2_STREAM_ZERO', () => begun(data(0, 'x'))],
  ['DATA on an idle stream', 'PROTOCOL_ERROR', 'H2_STREAM_IDLE', () => begun(data(1, 'x'))],
  ['RST_STREAM on an idle stream', 'PROTOCOL_ERROR', 'H2_STREAM_IDLE', (peer) => begun(peer.reset(1))],
  ['WINDOW_UPDATE on an idle stream', 'PROTOCOL_ERROR', 'H2_STREAM_IDLE', (peer) => begun(peer.widen(1, 1))],
  ['a request on an even stream', 'PROTOCOL_ERROR', 'H2_STREAM_ID', (peer) => begun(peer.headers(2, request('/')))],
  [
    'a request on a lower stream',
    'STREAM_CLOSED',
    'H2_STREAM_CLOSED',
    (peer) => begun(peer.headers(3, request('/')), peer.headers(1, request('/'))),
  ],
  [
    'CONTINUATION without HEADERS',
    'PROTOCOL_ERROR',
    'H2_CONTINUATION_UNEXPECTED',
    () => begun(raw(FRAME_TYPE.CONTINUATION, FRAME_FLAG.END_HEADERS, 1)),
  ],
  [
    'CONTINUATION of another stream',
    'PROTOCOL_ERROR',
    'H2_CONTINUATION_UNEXPECTED',
    () => begun(raw(FRAME_TYPE.HEADERS, 0, 1), raw(FRAME_TYPE.CONTINUATION, FRAME_FLAG.END_HEADERS, 3)),
  ],
  [
    'HEADERS within a field block',
    'PROTOCOL_ERROR',
    'H2_CONTINUATION_EXPECTED',
    () => begun(raw(FRAME_TYPE.HEADERS, 0, 1), raw(FRAME_TYPE.HEADERS, 0, 3)),
  ],
  [
    'PING within a field block',
    'PROTOCOL_ERROR',
    'H2_CONTINUATION_EXPECTED',
    (peer) => begun(raw(FRAME_TYPE.HEADERS, 0, 1), peer.ping()),
  ],
  [
    'a frame within a field block that would be an error of its stream alone',
    'PROTOCOL_ERROR',
    'H2_WINDOW_INCREMENT_ZERO',
    (peer) =>
      begun(
        peer.headers(1, asked('POST', '/'), false),
        raw(FRAME_TYPE.HEADERS, 0, 1),
        raw(FRAME_TYPE.WINDOW_UPDATE, 0, 1, '\0\0\0\0'),
      ),
  ],
  ['PUSH_PROMISE', 'PROTOCOL_ERROR', 'H2_PUSH_PROMISE', () => begun(raw(FRAME_TYPE.PUSH_PROMISE, 4, 1, '\0\0\0\x02'))],
  [
    'a field block that is none',
    'COMPRESSION_ERROR',
    'H2_HPACK_INDEX',
    () => begun(raw(FRAME_TYPE.HEADERS, 5, 1, Buffer.from([0x80]))),
  ],
  ['a frame that is too large', 'FRAME_SIZE_ERROR', 'H2_FRAME_TOO_LARGE', () => begun(data(1, Buffer.alloc(16_385)))],
  [
    '[C20] a connection window over 2^31-1',
    'FLOW_CONTROL_ERROR',
    'H2_WINDOW_OVERFLOW',
    (peer) => begun(peer.widen(0, 2 ** 31 - 1)),
  ],
  [
    'DATA behind the end of a closed stream',
    'STREAM_CLOSED',
    'H2_STREAM_CLOSED',
    (peer) => begun(peer.headers(1, request('/')), peer.reset(1), data(1, 'x')),
  ],
  [
    '[C18] a field block without end, in large frames',
    'ENHANCE_YOUR_CALM',
    'H2_CONTINUATION_FLOOD',
    () =>
      begun(raw(FRAME_TYPE.HEADERS, 0, 1), times(9, raw(FRAME_TYPE.CONTINUATION, 0, 1, Buffer.alloc(16_384, 0x82)))),
  ],
  [
    '[C18] a field block without end, in empty frames',
    'ENHANCE_YOUR_CALM',
    'H2_CONTINUATION_FLOOD',
    () => begun(raw(FRAME_TYPE.HEADERS, 0, 1), times(100_000, raw(FRAME_TYPE.CONTINUATION, 0, 1))),
  ],
  ['[C20] a flood of PING', 'ENHANCE_YOUR_CALM', 'H2_PING_FLOOD ping=N', (peer) => begun(times(5_000, peer.ping()))],
  [
    '[C20] a flood of SETTINGS',
    'ENHANCE_YOUR_CALM',
    'H2_SETTINGS_FLOOD settings=N',
    () => begun(times(5_000, settingsFrame([]))),
  ],
  [
    '[C20] a flood of acknowledgements that nobody waits for',
    'ENHANCE_YOUR_CALM',
    'H2_SETTINGS_FLOOD settings=N',
    () => begun(times(5_000, settingsAck())),
  ],
  [
    '[C20] a flood of PRIORITY',
    'ENHANCE_YOUR_CALM',
    'H2_PRIORITY_FLOOD priority=N',
    () => begun(times(5_000, raw(FRAME_TYPE.PRIORITY, 0, 1, '\0\0\0\0\0'))),
  ],
  [
    '[C20] a flood of frames that nobody knows',
    'ENHANCE_YOUR_CALM',
    'H2_UNKNOWN_FRAME_FLOOD unknown=N',
    () => begun(times(5_000, raw(0xfa, 0, 0, 'x'))),
  ],
  [
    '[C20] a flood of WINDOW_UPDATE',
    'ENHANCE_YOUR_CALM',
    'H2_WINDOW_UPDATE_FLOOD window_update=N',
    (peer) => begun(times(5_000, peer.widen(0, 1))),
  ],
  [
    '[C20] a flood of empty DATA',
    'ENHANCE_YOUR_CALM',
    'H2_EMPTY_DATA_FLOOD empty_data=N',
    (peer) => begun(peer.headers(1, asked('POST', '/'), false), times(5_000, data(1, ''))),
  ],
  ['[C17] rapid reset', 'ENHANCE_YOUR_CALM', 'H2_RESET_FLOOD rst_stream=N stream_error=N', rapidResets(10_000)],
  [
    '[C23] resets of ours that bad frames bring forth',
    'ENHANCE_YOUR_CALM',
    'H2_RESET_FLOOD stream_error=N',
    (peer) => [
      ...begun(),
      ...Array.from({ length: 1_000 }, (_, i) => [
        peer.headers(odd(i), asked('POST', '/'), false),
        raw(FRAME_TYPE.WINDOW_UPDATE, 0, odd(i), '\0\0\0\0'),
      ]).flat(),
    ],
  ],
  [
    'requests that are none, without end',
    'ENHANCE_YOUR_CALM',
    'H2_RESET_FLOOD stream_error=N',
    (peer) => [...begun(), ...Array.from({ length: 1_000 }, (_, i) => peer.headers(odd(i), [':method', 'GET']))],
  ],
]

it.each(FAULTS)('%s: GOAWAY %s, recorded as %s', { timeout: 10_000 }, async (_what, error, code, attack) => {
  bed = startServed(untilGone)
  bed.peer.write(...attack(bed.peer))
  await bed.peer.until(() => bed.peer.closed, 'the end')
  expect(bed.peer.goaway).toBe(error)
  bed.far.end()
  await bed.done
  const recorded = bed.faults.map((fault) => [fault.reason, fault.code.replace(/=\d+/g, '=N')])
  expect(recorded).toEqual([['malformed', code]])
})

describe('the table of windows', () => {
  it('a SETTINGS that pushes an open stream over 2^31-1', async () => {
    bed = startServed(untilGone)
    bed.peer.begin()
    bed.peer.write(bed.peer.headers(1, asked('POST', '/'), false), bed.peer.widen(1, 2 ** 31 - 1 - 65_535))
    bed.peer.write(settingsFrame([[SETTING.INITIAL_WINDOW_SIZE, 65_536]]))
    await bed.peer.until(() => bed.peer.closed, 'the end')
    expect(bed.peer.goaway).toBe('FLOW_CONTROL_ERROR')
    expect(bed.faults[0]?.code).toBe('H2_WINDOW_OVERFLOW')
  })

  it('more DATA than the connection was given', async () => {
    bed = startServed(untilGone)
    bed.peer.begin()
    for (const id of [1, 3, 5, 7, 9]) {
      bed.peer.write(bed.peer.headers(id, asked('POST', '/'), false))
      for (let i = 0; i < 16; i += 1) bed.peer.write(data(id, Buffer.alloc(16_384)))
    }
    await bed.peer.until(() => bed.peer.closed, 'the end')
    expect(bed.peer.goaway).toBe('FLOW_CONTROL_ERROR')
    expect(bed.faults[0]?.code).toBe('H2_CONNECTION_WINDOW')
  })

  it('[C19] a field of 4 KB that is asked for sixteen thousand times', async () => {
    bed = startServed()
    bed.peer.begin()
    const literal = Buffer.concat([Buffer.from([0x40, 1, 0x61, 0x7f, 0x81, 0x1e]), Buffer.alloc(4_000, 0x62)])
    bed.peer.write(raw(FRAME_TYPE.HEADERS, 5, 1, Buffer.concat([literal, Buffer.alloc(12_000, 0xbe)])))
    await bed.peer.until(() => bed.peer.closed, 'the end')
    expect(bed.peer.goaway).toBe('COMPRESSION_ERROR')
    expect(bed.faults[0]?.code).toBe('H2_HPACK_WORK')
  })
})

it('every request of a rapid reset that was taken up has its exchange, and none came behind the fault', async () => {
  bed = startServed(untilGone)
  bed.peer.write(...rapidResets(1_000)(bed.peer))
  await bed.peer.until(() => bed.peer.closed, 'the end')
  // A reset of ours follows the first that there is no room for, so the bound on exchanges and that on resets meet.
  expect(bed.requests.length + bed.refused.length).toBe(201)
  expect(bed.faults).toHaveLength(1)
})

it('a reset behind the beginning of its answer is not counted', async () => {
  bed = startServed((incoming) => {
    incoming.sink.head(200, 'OK', [], { kind: 'stream' })
    return untilGone(incoming)
  })
  bed.peer.begin()
  for (let i = 0; i < 500; i += 1) {
    bed.peer.get(odd(i), '/')
    await bed.peer.until(() => bed.peer.status(odd(i)) === '200')
    bed.peer.write(bed.peer.reset(odd(i)))
  }
  await bed.peer.alive()
  expect(bed.faults).toEqual([])
})

it('what a reader of many small answers sends in credits is not counted', async () => {
  const pieces = 1_500
  bed = startServed(async ({ sink }) => {
    sink.head(200, 'OK', [], { kind: 'stream' })
    for (let i = 0; i < pieces; i += 1) {
      if (!sink.write(Buffer.alloc(100))) await sink.drained()
      await new Promise((resolve) => setImmediate(resolve))
    }
    sink.end([])
  })
  const { peer } = bed
  peer.begin()
  peer.get(1, '/')
  for (let credited = 0; credited < pieces; credited += 1) {
    await peer.until(() => peer.of('data').length > credited)
    peer.write(peer.widen(1, 100), peer.widen(0, 100))
  }
  await peer.until(() => peer.ended(1))
  await peer.alive()
  expect([bed.faults, peer.body(1).length]).toEqual([[], pieces * 100])
})

it('GOAWAY waits until the fault is written down, and nothing is read meanwhile', async () => {
  let written = (): void => undefined
  bed = startServed(
    answerOk,
    {},
    {
      record: () =>
        new Promise<void>((resolve) => {
          written = resolve
        }),
    },
  )
  bed.peer.begin()
  bed.peer.write(data(0, 'x'), bed.peer.headers(1, request('/')))
  await bed.peer.until(() => bed.faults.length === 1)
  bed.peer.get(3, '/')
  for (let i = 0; i < 10; i += 1) await new Promise((resolve) => setImmediate(resolve))
  expect([bed.peer.goaway, bed.requests.length]).toEqual([undefined, 0])
  written()
  await bed.peer.until(() => bed.peer.goaway === 'PROTOCOL_ERROR')
  expect(bed.requests).toEqual([])
})

it('a bed answers at all', async () => {
  bed = startServed(answerOk)
  bed.peer.begin()
  bed.peer.get(1, '/')
  await bed.peer.until(() => bed.peer.ended(1))
  expect(bed.peer.body(1).toString()).toBe('ok')
})
