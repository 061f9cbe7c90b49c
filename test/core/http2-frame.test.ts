import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  FRAME_FLAG,
  FRAME_TYPE,
  MAX_WINDOW_BYTES,
  MIN_MAX_FRAME_BYTES,
  PREFACE,
  readFrame,
  SETTING,
} from '../../src/core/http2-frame.ts'

const { END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY } = FRAME_FLAG

/** A frame as it stands on the wire, written without the code under test. */
function wire(type: number, flags: number, streamId: number, payload: readonly number[] | Buffer = []): Buffer {
  const length = payload.length
  return Buffer.from([
    length >> 16,
    (length >> 8) & 0xff,
    length & 0xff,
    type,
    flags,
    streamId >>> 24,
    (streamId >> 16) & 0xff,
    (streamId >> 8) & 0xff,
    streamId & 0xff,
    ...payload,
  ])
}

const setting = (id: number, value: number): number[] => [
  id >> 8,
  id & 0xff,
  value >>> 24,
  (value >> 16) & 0xff,
  (value >> 8) & 0xff,
  value & 0xff,
]
const read = (bytes: Buffer): ReturnType<typeof readFrame> => readFrame(bytes, 0, MIN_MAX_FRAME_BYTES)
const bytes = (text: string): Buffer => Buffer.from(text, 'latin1')
const OPAQUE = [1, 2, 3, 4, 5, 6, 7, 8]

const VALID: [string, Buffer, object][] = [
  [
    'DATA',
    wire(0, 0, 1, bytes('abc')),
    { type: 'data', streamId: 1, data: bytes('abc'), endStream: false, flowBytes: 3 },
  ],
  [
    'the last DATA',
    wire(0, END_STREAM, 3),
    { type: 'data', streamId: 3, data: bytes(''), endStream: true, flowBytes: 0 },
  ],
  [
    'padded DATA: flow control counts the padding',
    wire(0, PADDED, 1, [2, 0x61, 0, 0]),
    { type: 'data', streamId: 1, data: bytes('a'), endStream: false, flowBytes: 4 },
  ],
  [
    'DATA that is padding only',
    wire(0, PADDED, 1, [3, 0, 0, 0]),
    { type: 'data', streamId: 1, data: bytes(''), endStream: false, flowBytes: 4 },
  ],
  [
    'HEADERS of a whole request',
    wire(1, END_STREAM | END_HEADERS, 1, [0x82]),
    { type: 'headers', streamId: 1, fragment: Buffer.from([0x82]), endStream: true, endHeaders: true },
  ],
  [
    'HEADERS that go on',
    wire(1, 0, 1, [0x82]),
    { type: 'headers', streamId: 1, fragment: Buffer.from([0x82]), endStream: false, endHeaders: false },
  ],
  [
    'HEADERS with priority',
    wire(1, END_HEADERS | PRIORITY, 5, [0, 0, 0, 3, 15, 0x82]),
    { type: 'headers', streamId: 5, fragment: Buffer.from([0x82]), endStream: false, endHeaders: true },
  ],
  [
    'HEADERS that depend on themselves, as priorities are ignored',
    wire(1, END_HEADERS | PRIORITY, 5, [0, 0, 0, 5, 15, 0x82]),
    { type: 'headers', streamId: 5, fragment: Buffer.from([0x82]), endStream: false, endHeaders: true },
  ],
  [
    'HEADERS with priority and padding',
    wire(1, END_HEADERS | PRIORITY | PADDED, 5, [2, 0, 0, 0, 3, 15, 0x82, 0, 0]),
    { type: 'headers', streamId: 5, fragment: Buffer.from([0x82]), endStream: false, endHeaders: true },
  ],
  [
    'HEADERS whose padding leaves an empty fragment',
    wire(1, PRIORITY | PADDED, 5, [1, 0, 0, 0, 3, 15, 0]),
    { type: 'headers', streamId: 5, fragment: bytes(''), endStream: false, endHeaders: false },
  ],
  ['PRIORITY', wire(2, 0, 7, [0, 0, 0, 3, 15]), { type: 'priority', streamId: 7 }],
  ['PRIORITY on itself', wire(2, 0, 7, [0, 0, 0, 7, 15]), { type: 'priority', streamId: 7 }],
  ['RST_STREAM', wire(3, 0, 1, [0, 0, 0, 8]), { type: 'rst_stream', streamId: 1, errorCode: 8 }],
  [
    'RST_STREAM with a code nobody knows',
    wire(3, 0, 1, [0xff, 0xff, 0xff, 0xff]),
    { type: 'rst_stream', streamId: 1, errorCode: 0xffff_ffff },
  ],
  ['empty SETTINGS', wire(4, 0, 0), { type: 'settings', ack: false, settings: [] }],
  ['the acknowledgement of SETTINGS', wire(4, ACK, 0), { type: 'settings', ack: true, settings: [] }],
  [
    'SETTINGS in the order sent, unknown and repeated ones too',
    wire(4, 0, 0, [...setting(0x3, 100), ...setting(0xf0f0, 0xffff_ffff), ...setting(0x3, 1)]),
    {
      type: 'settings',
      ack: false,
      settings: [
        [3, 100],
        [0xf0f0, 0xffff_ffff],
        [3, 1],
      ],
    },
  ],
  [
    'SETTINGS at their bounds',
    wire(4, 0, 0, [
      ...setting(SETTING.ENABLE_PUSH, 0),
      ...setting(SETTING.ENABLE_PUSH, 1),
      ...setting(SETTING.INITIAL_WINDOW_SIZE, MAX_WINDOW_BYTES),
      ...setting(SETTING.MAX_FRAME_SIZE, 16_384),
      ...setting(SETTING.MAX_FRAME_SIZE, 16_777_215),
    ]),
    {
      type: 'settings',
      ack: false,
      settings: [
        [2, 0],
        [2, 1],
        [4, 0x7fff_ffff],
        [5, 16_384],
        [5, 16_777_215],
      ],
    },
  ],
  ['PUSH_PROMISE', wire(5, END_HEADERS, 1, [0, 0, 0, 2]), { type: 'push_promise', streamId: 1 }],
  ['PING', wire(6, 0, 0, OPAQUE), { type: 'ping', ack: false, opaque: Buffer.from(OPAQUE) }],
  ['the acknowledgement of PING', wire(6, ACK, 0, OPAQUE), { type: 'ping', ack: true, opaque: Buffer.from(OPAQUE) }],
  [
    'GOAWAY with debug data',
    wire(7, 0, 0, [0x80, 0, 0, 5, 0, 0, 0, 11, 0x63, 0x61, 0x6c, 0x6d]),
    { type: 'goaway', lastStreamId: 5, errorCode: 11 },
  ],
  ['GOAWAY', wire(7, 0, 0, [0, 0, 0, 0, 0, 0, 0, 0]), { type: 'goaway', lastStreamId: 0, errorCode: 0 }],
  [
    'WINDOW_UPDATE of the connection',
    wire(8, 0, 0, [0, 0, 0, 1]),
    { type: 'window_update', streamId: 0, increment: 1 },
  ],
  [
    'WINDOW_UPDATE with the reserved bit',
    wire(8, 0, 9, [0xff, 0xff, 0xff, 0xff]),
    { type: 'window_update', streamId: 9, increment: 0x7fff_ffff },
  ],
  [
    'CONTINUATION that goes on',
    wire(9, 0, 1, [0x82]),
    { type: 'continuation', streamId: 1, fragment: Buffer.from([0x82]), endHeaders: false },
  ],
  [
    'the last CONTINUATION, empty',
    wire(9, END_HEADERS, 1),
    { type: 'continuation', streamId: 1, fragment: bytes(''), endHeaders: true },
  ],
  ['an extension', wire(0xc, 0xff, 0, bytes('altsvc')), { type: 'unknown', streamId: 0 }],
  ['an extension on a stream', wire(0xff, 0, 3), { type: 'unknown', streamId: 3 }],
  ['unknown flags', wire(6, 0xfe, 0, OPAQUE), { type: 'ping', ack: false, opaque: Buffer.from(OPAQUE) }],
  [
    'a stream id with the reserved bit',
    wire(0, 0, 0x8000_0001 | 0, bytes('a')),
    { type: 'data', streamId: 1, data: bytes('a'), endStream: false, flowBytes: 1 },
  ],
]

/** Name, bytes, scope, error and code. */
const BAD: [string, Buffer, 'connection' | 'stream', string, string][] = [
  ['DATA on stream 0', wire(0, 0, 0, [1]), 'connection', 'PROTOCOL_ERROR', 'H2_STREAM_ZERO'],
  ['DATA padded over its end', wire(0, PADDED, 1, [3, 0, 0]), 'connection', 'PROTOCOL_ERROR', 'H2_PADDING'],
  ['padded DATA without a pad length', wire(0, PADDED, 1), 'connection', 'FRAME_SIZE_ERROR', 'H2_FRAME_LENGTH'],
  ['HEADERS on stream 0', wire(1, END_HEADERS, 0, [0x82]), 'connection', 'PROTOCOL_ERROR', 'H2_STREAM_ZERO'],
  ['HEADERS padded over their end', wire(1, PADDED, 1, [2, 0x82]), 'connection', 'PROTOCOL_ERROR', 'H2_PADDING'],
  [
    'HEADERS padded into their priority',
    wire(1, PADDED | PRIORITY, 1, [1, 0, 0, 0, 3, 15]),
    'connection',
    'PROTOCOL_ERROR',
    'H2_PADDING',
  ],
  [
    'HEADERS too short for their priority',
    wire(1, PRIORITY, 1, [0, 0, 0, 3]),
    'connection',
    'FRAME_SIZE_ERROR',
    'H2_FRAME_LENGTH',
  ],
  ['PRIORITY on stream 0', wire(2, 0, 0, [0, 0, 0, 3, 15]), 'connection', 'PROTOCOL_ERROR', 'H2_STREAM_ZERO'],
  ['PRIORITY of 4 bytes', wire(2, 0, 1, [0, 0, 0, 3]), 'stream', 'FRAME_SIZE_ERROR', 'H2_FRAME_LENGTH'],
  ['PRIORITY of 6 bytes', wire(2, 0, 1, [0, 0, 0, 3, 0, 0]), 'stream', 'FRAME_SIZE_ERROR', 'H2_FRAME_LENGTH'],
  ['RST_STREAM on stream 0', wire(3, 0, 0, [0, 0, 0, 8]), 'connection', 'PROTOCOL_ERROR', 'H2_STREAM_ZERO'],
  ['RST_STREAM of 3 bytes', wire(3, 0, 1, [0, 0, 8]), 'connection', 'FRAME_SIZE_ERROR', 'H2_FRAME_LENGTH'],
  ['RST_STREAM of 5 bytes', wire(3, 0, 1, [0, 0, 0, 0, 8]), 'connection', 'FRAME_SIZE_ERROR', 'H2_FRAME_LENGTH'],
  ['SETTINGS on a stream', wire(4, 0, 1), 'connection', 'PROTOCOL_ERROR', 'H2_STREAM_NOT_ZERO'],
  ['SETTINGS of 5 bytes', wire(4, 0, 0, [0, 1, 0, 0, 0]), 'connection', 'FRAME_SIZE_ERROR', 'H2_FRAME_LENGTH'],
  [
    'an acknowledgement of SETTINGS with settings',
    wire(4, ACK, 0, setting(1, 1)),
    'connection',
    'FRAME_SIZE_ERROR',
    'H2_FRAME_LENGTH',
  ],
  ['ENABLE_PUSH of 2', wire(4, 0, 0, setting(2, 2)), 'connection', 'PROTOCOL_ERROR', 'H2_SETTINGS_VALUE'],
  [
    'INITIAL_WINDOW_SIZE of 2^31',
    wire(4, 0, 0, setting(4, 0x8000_0000)),
    'connection',
    'FLOW_CONTROL_ERROR',
    'H2_SETTINGS_VALUE',
  ],
  ['MAX_FRAME_SIZE of 16383', wire(4, 0, 0, setting(5, 16_383)), 'connection', 'PROTOCOL_ERROR', 'H2_SETTINGS_VALUE'],
  ['MAX_FRAME_SIZE of 2^24', wire(4, 0, 0, setting(5, 2 ** 24)), 'connection', 'PROTOCOL_ERROR', 'H2_SETTINGS_VALUE'],
  [
    'a bad setting behind good ones',
    wire(4, 0, 0, [...setting(1, 4_096), ...setting(2, 7)]),
    'connection',
    'PROTOCOL_ERROR',
    'H2_SETTINGS_VALUE',
  ],
  ['PUSH_PROMISE on stream 0', wire(5, 0, 0, [0, 0, 0, 2]), 'connection', 'PROTOCOL_ERROR', 'H2_STREAM_ZERO'],
  ['PING on a stream', wire(6, 0, 1, OPAQUE), 'connection', 'PROTOCOL_ERROR', 'H2_STREAM_NOT_ZERO'],
  ['PING of 7 bytes', wire(6, 0, 0, OPAQUE.slice(1)), 'connection', 'FRAME_SIZE_ERROR', 'H2_FRAME_LENGTH'],
  ['GOAWAY on a stream', wire(7, 0, 1, OPAQUE), 'connection', 'PROTOCOL_ERROR', 'H2_STREAM_NOT_ZERO'],
  ['GOAWAY of 7 bytes', wire(7, 0, 0, OPAQUE.slice(1)), 'connection', 'FRAME_SIZE_ERROR', 'H2_FRAME_LENGTH'],
  [
    'WINDOW_UPDATE of a stream by nothing',
    wire(8, 0, 1, [0, 0, 0, 0]),
    'stream',
    'PROTOCOL_ERROR',
    'H2_WINDOW_INCREMENT_ZERO',
  ],
  [
    'WINDOW_UPDATE of a stream by the reserved bit alone',
    wire(8, 0, 1, [0x80, 0, 0, 0]),
    'stream',
    'PROTOCOL_ERROR',
    'H2_WINDOW_INCREMENT_ZERO',
  ],
  [
    'WINDOW_UPDATE of the connection by nothing',
    wire(8, 0, 0, [0, 0, 0, 0]),
    'connection',
    'PROTOCOL_ERROR',
    'H2_WINDOW_INCREMENT_ZERO',
  ],
  ['WINDOW_UPDATE of 5 bytes', wire(8, 0, 1, [0, 0, 0, 0, 1]), 'connection', 'FRAME_SIZE_ERROR', 'H2_FRAME_LENGTH'],
  ['CONTINUATION on stream 0', wire(9, END_HEADERS, 0), 'connection', 'PROTOCOL_ERROR', 'H2_STREAM_ZERO'],
]

describe('one frame', () => {
  it.each(VALID)('reads %s', (_name, frame, expected) => {
    expect(read(frame)).toEqual({ kind: 'frame', frame: expected, end: frame.length })
  })

  it.each(BAD)('refuses %s', (_name, frame, scope, error, code) => {
    const streamId = frame.readUInt32BE(5)
    expect(read(frame)).toEqual({ kind: 'bad', scope, streamId, error, code, end: frame.length })
  })

  it.each([...VALID, ...BAD].map(([name, frame]): [string, Buffer] => [name, frame]))(
    'asks for more at every prefix of %s',
    (_name, frame) => {
      for (let length = 0; length < frame.length; length++) {
        expect(read(frame.subarray(0, length))).toEqual({ kind: 'more' })
      }
    },
  )

  it('gives a view of the bytes and no copy', () => {
    const frame = wire(FRAME_TYPE.DATA, 0, 1, bytes('abc'))
    const result = read(frame)
    if (result.kind !== 'frame' || result.frame.type !== 'data') throw new Error(result.kind)
    expect(result.frame.data.buffer).toBe(frame.buffer)
  })
})

describe('a frame that is too large', () => {
  it.each(Object.entries(FRAME_TYPE))('is refused by its header alone: %s', (_name, type) => {
    const header = Buffer.from([0, 0x40, 0x01, type, 0, 0, 0, 0, 1])
    expect(readFrame(header, 0, 16_384)).toEqual({
      kind: 'bad',
      scope: 'connection',
      streamId: 1,
      error: 'FRAME_SIZE_ERROR',
      code: 'H2_FRAME_TOO_LARGE',
      end: 9 + 16_385,
    })
  })

  it('begins one byte over the limit', () => {
    expect(readFrame(Buffer.from([0, 0x40, 0x00, 0, 0, 0, 0, 0, 1]), 0, 16_384)).toEqual({ kind: 'more' })
    expect(read(wire(0, 0, 1, Buffer.alloc(16_384)))).toMatchObject({ kind: 'frame', frame: { flowBytes: 16_384 } })
  })

  it('is so for extensions, which nobody reads', () => {
    expect(read(Buffer.from([0xff, 0xff, 0xff, 0xee, 0, 0, 0, 0, 1]))).toMatchObject({ code: 'H2_FRAME_TOO_LARGE' })
  })
})

describe('many frames', () => {
  it('the preface is no frame that anybody would accept', () => {
    expect(PREFACE.toString('latin1')).toBe('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    expect(read(PREFACE)).toMatchObject({ kind: 'bad', code: 'H2_FRAME_TOO_LARGE' })
  })

  it('are read one behind the other', () => {
    const stream = Buffer.concat(VALID.map(([, frame]) => frame))
    const seen: object[] = []
    for (let at = 0; at < stream.length; ) {
      const result = readFrame(stream, at, MIN_MAX_FRAME_BYTES)
      if (result.kind !== 'frame') throw new Error(result.kind)
      seen.push(result.frame)
      at = result.end
    }
    expect(seen).toEqual(VALID.map(([, , frame]) => frame))
  })

  it('whatever the bytes, nothing throws and every step goes forward by a whole frame', () => {
    const start = fc.constantFrom(...[...VALID, ...BAD].map(([, frame]) => frame))
    const mutated = fc
      .tuple(start, fc.array(fc.tuple(fc.nat({ max: 24 }), fc.nat({ max: 255 })), { maxLength: 4 }))
      .map(([frame, changes]) => {
        const copy = Buffer.from(frame)
        for (const [at, byte] of changes) if (at < copy.length) copy[at] = byte
        return copy
      })
    const streams = fc.array(fc.oneof(mutated, fc.uint8Array({ maxLength: 40 }).map(Buffer.from)), { maxLength: 6 })
    const walked = fc.property(streams, (parts) => {
      const stream = Buffer.concat(parts)
      for (let at = 0; at <= stream.length; ) {
        const result = readFrame(stream, at, MIN_MAX_FRAME_BYTES)
        if (result.kind === 'more') return true
        const length = stream.readUIntBE(at, 3)
        if (result.end !== at + 9 + length) return false
        if (result.kind === 'bad' && result.code === 'H2_FRAME_TOO_LARGE') return length > MIN_MAX_FRAME_BYTES
        at = result.end
      }
      return false
    })
    expect(fc.check(walked, { numRuns: 2_000 }).counterexample).toBeNull()
  })
})
