import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HTTP2_ERROR_CODE, type Http2Error } from '../../src/core/http2-error.ts'
import { FRAME_FLAG, FRAME_TYPE, type Frame, MIN_MAX_FRAME_BYTES, readFrame } from '../../src/core/http2-frame.ts'
import {
  frameHeader,
  goaway,
  headerFrames,
  ping,
  pingAck,
  rstStream,
  settingsAck,
  settingsFrame,
  windowUpdate,
} from '../../src/core/http2-frame-writer.ts'

const OPAQUE = Buffer.from([1, 2, 3, 4, 5, 6, 7, 8])

function readAll(stream: Buffer, maxFrameBytes: number): Frame[] {
  const frames: Frame[] = []
  for (let at = 0; at < stream.length; ) {
    const result = readFrame(stream, at, maxFrameBytes)
    if (result.kind !== 'frame') throw new Error(JSON.stringify(result))
    frames.push(result.frame)
    at = result.end
  }
  return frames
}

describe('the bytes of a frame', () => {
  it.each<[string, Buffer, string]>([
    ['the header of DATA', frameHeader(FRAME_TYPE.DATA, FRAME_FLAG.END_STREAM, 3, 0x01_02_03), '010203000100000003'],
    [
      'SETTINGS',
      settingsFrame([
        [3, 100],
        [4, 0x7fff_ffff],
      ]),
      '00000c040000000000 000300000064 00047fffffff',
    ],
    ['empty SETTINGS', settingsFrame([]), '000000040000000000'],
    ['the acknowledgement of SETTINGS', settingsAck(), '000000040100000000'],
    ['PING', ping(OPAQUE), '000008060000000000 0102030405060708'],
    ['the acknowledgement of PING', pingAck(OPAQUE), '000008060100000000 0102030405060708'],
    ['GOAWAY', goaway(5, 'ENHANCE_YOUR_CALM', 'calm'), '00000c070000000000 000000050000000b 63616c6d'],
    ['GOAWAY without a text', goaway(0, 'NO_ERROR', ''), '000008070000000000 0000000000000000'],
    ['RST_STREAM', rstStream(0x7fff_ffff, 'CANCEL'), '00000403007fffffff 00000008'],
    ['WINDOW_UPDATE', windowUpdate(0, 0x7fff_ffff), '000004080000000000 7fffffff'],
    ['HEADERS', headerFrames(1, Buffer.from([0x82]), false, 16_384), '000001010400000001 82'],
    ['HEADERS of a whole request', headerFrames(1, Buffer.from([0x82]), true, 16_384), '000001010500000001 82'],
    ['an empty field block', headerFrames(1, Buffer.alloc(0), true, 16_384), '000000010500000001'],
    [
      'a field block in three frames',
      headerFrames(1, Buffer.from([1, 2, 3, 4, 5]), true, 2),
      '000002010100000001 0102 000002090000000001 0304 000001090400000001 05',
    ],
    [
      'a field block that fills its frames',
      headerFrames(1, Buffer.from([1, 2, 3, 4]), false, 2),
      '000002010000000001 0102 000002090400000001 0304',
    ],
  ])('%s', (_name, frame, expected) => {
    expect(frame.toString('hex')).toBe(expected.replaceAll(' ', ''))
  })
})

describe('what is written is read', () => {
  const streamId = fc.integer({ min: 1, max: 0x7fff_ffff })
  const error = fc.constantFrom(...(Object.keys(HTTP2_ERROR_CODE) as Http2Error[]))
  const opaque = fc.uint8Array({ minLength: 8, maxLength: 8 }).map(Buffer.from)

  it('a field block, cut to any frame size, in one HEADERS and the CONTINUATIONs behind it', () => {
    const block = fc.uint8Array({ maxLength: 200 }).map(Buffer.from)
    fc.assert(
      fc.property(streamId, block, fc.boolean(), fc.integer({ min: 1, max: 64 }), (id, sent, endStream, max) => {
        const frames = readAll(headerFrames(id, sent, endStream, max), max)
        const fragments: Buffer[] = []
        const count = Math.max(1, Math.ceil(sent.length / max))
        expect(frames).toHaveLength(count)
        frames.forEach((frame, index) => {
          if (frame.type !== 'headers' && frame.type !== 'continuation') throw new Error(frame.type)
          const { fragment, ...rest } = frame
          const endHeaders = index === count - 1
          const first = { type: 'headers', streamId: id, endStream, endHeaders }
          expect(rest).toEqual(index === 0 ? first : { type: 'continuation', streamId: id, endHeaders })
          fragments.push(fragment)
        })
        expect(Buffer.concat(fragments).equals(sent)).toBe(true)
      }),
    )
  })

  it('every other frame', () => {
    const setting = fc.tuple(fc.integer({ min: 0x10, max: 0xffff }), fc.integer({ min: 0, max: 0xffff_ffff }))
    const written = fc.oneof(
      fc
        .tuple(streamId, fc.uint8Array({ maxLength: 50 }).map(Buffer.from), fc.boolean())
        .map(([id, data, endStream]): [Buffer, object] => [
          Buffer.concat([frameHeader(FRAME_TYPE.DATA, endStream ? FRAME_FLAG.END_STREAM : 0, id, data.length), data]),
          { type: 'data', streamId: id, data, endStream, flowBytes: data.length },
        ]),
      fc
        .array(setting, { maxLength: 5 })
        .map((settings): [Buffer, object] => [settingsFrame(settings), { type: 'settings', ack: false, settings }]),
      opaque.map((sent): [Buffer, object] => [ping(sent), { type: 'ping', ack: false, opaque: sent }]),
      opaque.map((sent): [Buffer, object] => [pingAck(sent), { type: 'ping', ack: true, opaque: sent }]),
      fc
        .tuple(streamId, error)
        .map(([id, name]): [Buffer, object] => [
          rstStream(id, name),
          { type: 'rst_stream', streamId: id, errorCode: HTTP2_ERROR_CODE[name] },
        ]),
      fc
        .tuple(streamId, error)
        .map(([id, name]): [Buffer, object] => [
          goaway(id, name, name),
          { type: 'goaway', lastStreamId: id, errorCode: HTTP2_ERROR_CODE[name] },
        ]),
      fc
        .tuple(streamId, streamId)
        .map(([id, increment]): [Buffer, object] => [
          windowUpdate(id, increment),
          { type: 'window_update', streamId: id, increment },
        ]),
    )
    fc.assert(
      fc.property(fc.array(written, { maxLength: 8 }), (frames) => {
        const stream = Buffer.concat(frames.map(([bytes]) => bytes))
        expect(readAll(stream, MIN_MAX_FRAME_BYTES)).toEqual(frames.map(([, frame]) => frame))
      }),
    )
  })
})
