import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { closeFrame, type FrameOptions, FrameReader } from '../../src/core/websocket-frame.ts'
import { BINARY, CLOSE, close, FIN, frame, lengthOf, PING, PONG, type Shape, TEXT, text } from '../support/websocket.ts'

const KEY = Buffer.from('01020304', 'hex')
const KIB = 1_024
const MIB = KIB * KIB

interface Outcome {
  readonly pass: Buffer
  readonly code: string | null
  readonly closeCode: number | null
  readonly frames: number
  readonly payloadBytes: number
  readonly payload: Buffer
}

function options(changes: Partial<FrameOptions> = {}): FrameOptions {
  return { masked: true, reserved: 'none', limit: null, onPayload: null, ...changes }
}

/** Pushes until a fault; what passed of everything, and what was heard of payload. */
function read(pieces: readonly Buffer[], changes: Partial<FrameOptions> = {}): Outcome {
  const heard: Buffer[] = []
  const reader = new FrameReader(options({ onPayload: (data) => heard.push(Buffer.from(data)), ...changes }))
  const passed: Buffer[] = []
  for (const piece of pieces) {
    const { pass, fault } = reader.push(piece)
    passed.push(pass)
    const { frames, payloadBytes } = reader
    const counts = { frames, payloadBytes, payload: Buffer.concat(heard), pass: Buffer.concat(passed) }
    if (fault !== null) return { ...counts, code: fault.code, closeCode: fault.closeCode }
  }
  const { frames, payloadBytes } = reader
  const pass = Buffer.concat(passed)
  return { pass, code: null, closeCode: null, frames, payloadBytes, payload: Buffer.concat(heard) }
}

/** In single bytes as far as headers reach, and the rest at once. */
const bytewise = (bytes: Buffer): Buffer[] => [
  ...Array.from(bytes.subarray(0, 1_000), (byte) => Buffer.of(byte)),
  bytes.subarray(1_000),
]
const both = [
  ['a client', true],
  ['an origin', false],
] as const

describe.each(both)('frames of %s', (_name, masked) => {
  const wire = (...shapes: Shape[]): Buffer => Buffer.concat(shapes.map((shape) => frame(shape, masked)))

  it.each<[string, Shape[], string]>([
    ['an empty message', [text()], ''],
    ['a text', [text('hello')], 'hello'],
    ['bytes', [{ first: FIN | BINARY, payload: '\0\xff' }], '\0\xff'],
    ['125 bytes', [text('x'.repeat(125))], 'x'.repeat(125)],
    ['126 bytes', [text('x'.repeat(126))], 'x'.repeat(126)],
    ['65,535 bytes', [text('x'.repeat(65_535))], 'x'.repeat(65_535)],
    ['65,536 bytes', [text('x'.repeat(65_536))], 'x'.repeat(65_536)],
    [
      'fragments',
      [
        { first: TEXT, payload: 'a' },
        { first: 0, payload: '' },
        { first: FIN, payload: 'b' },
      ],
      'ab',
    ],
    [
      'control frames between fragments',
      [{ first: TEXT, payload: 'a' }, { first: FIN | PING, payload: '!' }, { first: FIN }],
      'a',
    ],
    ['a ping of 125 bytes and its pong', [{ first: FIN | PING, payload: 'x'.repeat(125) }, { first: FIN | PONG }], ''],
    [
      'messages behind each other',
      [text('a'), text('b'), { first: BINARY, payload: 'c' }, { first: FIN, payload: 'd' }],
      'abcd',
    ],
    ['a close without a code', [text('a'), { first: FIN | CLOSE }], 'a'],
    ['a close with a reason', [close(1000, 'done \u{1f44b}')], ''],
  ])('%s pass unchanged, however they arrive', (_what, shapes, payload) => {
    const bytes = wire(...shapes)
    const size = shapes.reduce((sum, shape) => sum + Buffer.from(shape.payload ?? '').length, 0)
    const outcome = { pass: bytes, code: null, closeCode: null, frames: shapes.length, payloadBytes: size }
    const heard = { ...outcome, payload: Buffer.from(payload) }
    expect(read([bytes], { masked })).toEqual(heard)
    expect(read(bytewise(bytes), { masked })).toEqual(heard)
    expect(read([bytes], { masked, onPayload: null })).toMatchObject(outcome)
  })

  it.each<[string, Shape[]]>([
    ['1000', [close(1000)]],
    ['1001', [close(1001)]],
    ['1003', [close(1003)]],
    ['1007', [close(1007)]],
    ['1014', [close(1014)]],
    ['3000', [close(3000)]],
    ['4999', [close(4999)]],
  ])('a close with code %s passes', (_code, shapes) => {
    expect(read([wire(...shapes)], { masked }).code).toBeNull()
  })

  it.each<[string, string, Shape]>([
    ['an unknown data opcode', 'WS_UNKNOWN_OPCODE', { first: FIN | 3 }],
    ['the last of them', 'WS_UNKNOWN_OPCODE', { first: FIN | 7 }],
    ['an unknown control opcode', 'WS_UNKNOWN_OPCODE', { first: FIN | 0xb }],
    ['the last opcode', 'WS_UNKNOWN_OPCODE', { first: FIN | 0xf }],
    ['RSV1', 'WS_RESERVED_BIT', { first: FIN | 0x40 | TEXT }],
    ['RSV2', 'WS_RESERVED_BIT', { first: FIN | 0x20 | TEXT }],
    ['RSV3', 'WS_RESERVED_BIT', { first: FIN | 0x10 | PING }],
    ['a ping in fragments', 'WS_FRAGMENTED_CONTROL', { first: PING }],
    ['a close in fragments', 'WS_FRAGMENTED_CONTROL', { first: CLOSE }],
    ['a ping of 126 bytes', 'WS_CONTROL_TOO_LONG', { first: FIN | PING, payload: 'x'.repeat(126) }],
    ['a close of 70,000 bytes', 'WS_CONTROL_TOO_LONG', { first: FIN | CLOSE, payload: Buffer.alloc(70_000, 3) }],
    ['a continuation of nothing', 'WS_NOTHING_TO_CONTINUE', { first: FIN }],
    ['125 bytes as 16 bits', 'WS_LENGTH_NOT_MINIMAL', { first: FIN | TEXT, length: Buffer.of(126, 0, 125) }],
    [
      '65,535 bytes as 64 bits',
      'WS_LENGTH_NOT_MINIMAL',
      { first: FIN | TEXT, length: Buffer.of(127, 0, 0, 0, 0, 0, 0, 0xff, 0xff) },
    ],
    [
      'the top bit of a length',
      'WS_LENGTH_OVERFLOW',
      { first: FIN | TEXT, length: Buffer.of(127, 0x80, 0, 0, 0, 0, 0, 0, 1) },
    ],
    ['a close of one byte', 'WS_BAD_CLOSE', { first: FIN | CLOSE, payload: '\x03' }],
    ...[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535].map((code): [string, string, Shape] => [
      `a close with code ${code}`,
      'WS_BAD_CLOSE',
      close(code),
    ]),
    [
      'a close with a reason that is no UTF-8',
      'WS_BAD_CLOSE',
      { first: FIN | CLOSE, payload: Buffer.of(3, 232, 0xff) },
    ],
  ])('[G09] %s is a fault, and nothing of the frame passes', (_what, code, shape) => {
    const good = wire(text('before'))
    const bytes = Buffer.concat([good, frame(shape, masked)])
    const outcome = { pass: good, code, closeCode: 1002, frames: 1, payloadBytes: 6 }
    expect(read([bytes], { masked })).toMatchObject(outcome)
    expect(read(bytewise(bytes), { masked })).toMatchObject(outcome)
  })

  it('[G09] a new message before the end of the last is a fault', () => {
    const begun = wire({ first: TEXT, payload: 'a' })
    expect(read([Buffer.concat([begun, wire(text('b'))])], { masked })).toMatchObject({
      pass: begun,
      code: 'WS_CONTINUATION_EXPECTED',
    })
  })

  it('[G09] a frame behind the close is a fault', () => {
    const closed = wire(close(1000))
    expect(read([Buffer.concat([closed, wire(text())])], { masked })).toMatchObject({
      pass: closed,
      code: 'WS_AFTER_CLOSE',
    })
  })

  it('after a fault nothing passes', () => {
    const reader = new FrameReader(options({ masked }))
    const { fault } = reader.push(Buffer.concat([Buffer.of(FIN | 3), wire(text('a'))]))
    expect(fault?.bytes).toEqual(Buffer.concat([Buffer.of(FIN | 3), wire(text('a'))]))
    expect(reader.push(wire(text('a')))).toMatchObject({ pass: Buffer.alloc(0), fault: null })
  })

  it('[G09] a frame that is not masked as it must be is a fault', () => {
    const code = masked ? 'WS_UNMASKED' : 'WS_MASKED'
    expect(read([frame(text('a'), !masked)], { masked })).toMatchObject({ code, closeCode: 1002, frames: 0 })
  })

  it.each<[string, number, string | null]>([
    ['64 MiB', 64 * MIB, null],
    ['a byte more', 64 * MIB + 1, 'WS_FRAME_TOO_LARGE'],
    ['4 GiB', 4 * KIB * MIB, 'WS_FRAME_TOO_LARGE'],
    ['2^62', 2 ** 62, 'WS_FRAME_TOO_LARGE'],
  ])('[G09] a frame of %s', (_what, size, code) => {
    const outcome = read([frame({ first: FIN | BINARY, length: lengthOf(size) }, masked)], { masked })
    expect([outcome.code, outcome.closeCode]).toEqual(code === null ? [null, null] : [code, 1009])
  })

  it('[G09] a message is no larger than 256 MiB in all', () => {
    const reader = new FrameReader(options({ masked }))
    const part = Buffer.alloc(64 * MIB)
    const head = (first: number): Buffer => frame({ first, length: lengthOf(part.length) }, masked)
    for (const first of [BINARY, 0, 0, 0]) {
      expect([reader.push(head(first)).fault, reader.push(part).fault]).toEqual([null, null])
    }
    expect(reader.push(frame({ first: 0, payload: 'x' }, masked)).fault?.code).toBe('WS_MESSAGE_TOO_LARGE')
  })

  it('a message begins its count anew', () => {
    const reader = new FrameReader(options({ masked }))
    const part = Buffer.alloc(64 * MIB)
    for (let round = 0; round < 6; round += 1) {
      const first = round % 2 === 0 ? BINARY : FIN
      expect(reader.push(frame({ first, length: lengthOf(part.length) }, masked)).fault).toBeNull()
      reader.push(part)
    }
    expect([reader.frames, reader.payloadBytes, reader.whole]).toEqual([6, 6 * part.length, true])
  })

  it('[G09] a message that never ends has 65,536 fragments, empty ones too', () => {
    const reader = new FrameReader(options({ masked }))
    const fragments = Buffer.concat([
      frame({ first: TEXT }, masked),
      ...Array.from({ length: 65_535 }, () => frame({ first: 0 }, masked)),
    ])
    expect(reader.push(fragments).fault).toBeNull()
    expect(reader.push(frame({ first: FIN }, masked)).fault).toMatchObject({
      code: 'WS_TOO_MANY_FRAGMENTS',
      closeCode: 1009,
    })
  })

  it.each<[string, Shape[], number]>([
    ['with the frame that goes over it', [text('12345'), text('123456')], 1],
    ['with a ping that does', [text('12345'), text('12345'), { first: FIN | PING, payload: '!' }], 2],
    ['not below it', [text('12345'), text('12345'), text()], 3],
  ])('a limit of 10 bytes in all ends it %s', (_what, shapes, frames) => {
    const outcome = read([wire(...shapes)], { masked, limit: 10 })
    expect(outcome).toMatchObject({
      frames,
      ...(frames < shapes.length ? { code: 'WS_LIMIT', closeCode: 1009 } : { code: null }),
    })
    expect(outcome.pass).toEqual(wire(...shapes.slice(0, frames)))
  })

  it('the outcome does not depend on how the bytes are split', () => {
    const shape = fc.oneof(
      fc.record({
        first: fc.constantFrom(FIN | TEXT, FIN | BINARY, TEXT, 0, FIN, FIN | PING, FIN | PONG),
        payload: fc.string({ maxLength: 200 }),
      }),
      fc.record({ first: fc.integer({ min: 0, max: 255 }), payload: fc.string({ maxLength: 10 }) }),
      fc.constant(close(1000, 'bye')),
    )
    fc.assert(
      fc.property(
        fc.array(shape, { maxLength: 8 }),
        fc.array(fc.nat(60), { minLength: 1, maxLength: 40 }),
        (shapes, cuts) => {
          const bytes = wire(...shapes)
          const pieces: Buffer[] = []
          for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
            const size = (cuts[turn % cuts.length] as number) + 1
            pieces.push(bytes.subarray(at, at + size))
            at += size
          }
          expect(read(pieces, { masked })).toEqual(read([bytes], { masked }))
        },
      ),
      { numRuns: 300 },
    )
  })
})

describe('reserved bits', () => {
  const compressed = FIN | 0x40 | TEXT

  it.each<[string, FrameOptions['reserved'], Shape[], string | null]>([
    ['[P24] RSV1 says that a message is compressed', 'deflate', [{ first: compressed }], null],
    ['[P24] on its first frame', 'deflate', [{ first: 0x40 | BINARY }, { first: FIN }], null],
    ['not on another one', 'deflate', [{ first: 0x40 | BINARY }, { first: FIN | 0x40 }], 'WS_RESERVED_BIT'],
    ['not on a ping', 'deflate', [{ first: FIN | 0x40 | PING }], 'WS_RESERVED_BIT'],
    ['not with another bit', 'deflate', [{ first: compressed | 0x20 }], 'WS_RESERVED_BIT'],
    [
      'an extension that we do not know may say anything',
      'any',
      [{ first: FIN | 0x70 | TEXT }, { first: FIN | 0x10 | PING }],
      null,
    ],
    ['but not with an opcode of its own', 'any', [{ first: FIN | 3 }], 'WS_UNKNOWN_OPCODE'],
  ])('%s', (_name, reserved, shapes, code) => {
    expect(read([Buffer.concat(shapes.map((shape) => frame(shape)))], { reserved }).code).toBe(code)
  })
})

describe('where one can put a frame of one’s own', () => {
  it.each<[string, Buffer, boolean, boolean]>([
    ['before anything', Buffer.alloc(0), true, true],
    ['behind a frame', frame(text('a')), true, true],
    ['not within one', frame(text('abc')).subarray(0, -1), false, false],
    ['behind a fragment, which is not the end', frame({ first: TEXT, payload: 'a' }), true, false],
    ['before a header that was not passed on, which is not the end', frame(text('abc')).subarray(0, 5), true, false],
    ['before a ping that was not passed on', frame({ first: FIN | PING, payload: 'abc' }).subarray(0, -1), true, false],
  ])('%s', (_name, bytes, atBoundary, whole) => {
    const reader = new FrameReader(options())
    reader.push(bytes)
    expect([reader.atBoundary, reader.whole]).toEqual([atBoundary, whole])
  })

  it('stopped, it lets the frame under way end and nothing more', () => {
    const reader = new FrameReader(options())
    const bytes = frame(text('abc'))
    reader.push(bytes.subarray(0, -2))
    reader.stop()
    expect(reader.push(Buffer.concat([bytes.subarray(-2), frame(text('next'))])).pass).toEqual(bytes.subarray(-2))
    expect([reader.atBoundary, reader.frames, reader.payloadBytes]).toEqual([true, 1, 3])
  })

  it('stopped in a header, it forgets it', () => {
    const reader = new FrameReader(options())
    reader.push(frame(text('abc')).subarray(0, 3))
    reader.stop()
    expect(reader.push(frame(text('abc')).subarray(3)).pass).toHaveLength(0)
  })
})

it('an unfinished header does not keep its chunk', () => {
  const reader = new FrameReader(options())
  const chunk = Buffer.concat([frame(text('abc')), frame(text('def')).subarray(0, 3)])
  reader.push(chunk)
  chunk.fill(0)
  expect(reader.push(frame(text('def')).subarray(3)).pass).toEqual(frame(text('def')))
})

describe('closeFrame', () => {
  it('is a frame that passes, masked or not', () => {
    expect(read([closeFrame(1002, 'mcp-egress: why', null)], { masked: false })).toMatchObject({
      code: null,
      frames: 1,
    })
    expect(read([closeFrame(1011, '', KEY)])).toMatchObject({ code: null, frames: 1, payloadBytes: 2 })
  })

  it('says its code and its reason', () => {
    expect(closeFrame(1009, 'big', null)).toEqual(Buffer.concat([Buffer.of(0x88, 5, 3, 0xf1), Buffer.from('big')]))
    expect(closeFrame(1001, '', KEY)).toEqual(Buffer.concat([Buffer.of(0x88, 0x82), KEY, Buffer.of(2, 0xeb)]))
  })
})
