// Windows that are opened wider than they can be (RFC 9113 §6.9.1). Data that no window allows is in test/proxy/http2.

import { expect, it } from 'vitest'
import { FRAME_HEADER_BYTES } from '../../src/core/http2-frame.ts'
import { settingsFrame } from '../../src/core/http2-frame-writer.ts'
import { eachCell } from './support/http2-bed.ts'
import { floods } from './support/http2-flood.ts'
import { data, FRAME_FLAG, FRAME_TYPE, outcomeOn, raw, type RawPeer, SETTING, streamOf } from './support/http2-wire.ts'

const MAX = 2 ** 31 - 1
const DEFAULT = 65_535
const CONNECTION_BYTES = 1_024 * 1_024
const STREAM_BYTES = 256 * 1_024
const PIECE = Buffer.alloc(16_000)
const padded = (id: number): Buffer =>
  raw(FRAME_TYPE.DATA, FRAME_FLAG.PADDED, id, Buffer.concat([Buffer.from([255]), Buffer.alloc(255)]))

floods([
  {
    what: '[C20] the window of the connection over 2^31-1',
    error: 'FLOW_CONTROL_ERROR',
    code: 'H2_WINDOW_OVERFLOW',
    counted: null,
    volume: { fast: 1, full: 1 },
    requests: 0,
    frames: (_asking, _volume, peer) => [peer.widen(0, MAX)],
  },
  {
    what: '[C20] the window of the connection over 2^31-1, in two steps',
    error: 'FLOW_CONTROL_ERROR',
    code: 'H2_WINDOW_OVERFLOW',
    counted: null,
    volume: { fast: 1, full: 1 },
    requests: 0,
    frames: (_asking, _volume, peer) => [peer.widen(0, MAX - DEFAULT), peer.widen(0, 1)],
  },
  {
    what: '[C20] WINDOW_UPDATE of the connection by nothing',
    error: 'PROTOCOL_ERROR',
    code: 'H2_WINDOW_INCREMENT_ZERO',
    counted: null,
    volume: { fast: 1, full: 1 },
    requests: 0,
    frames: () => [raw(FRAME_TYPE.WINDOW_UPDATE, 0, 0, '\0\0\0\0')],
  },
  {
    what: '[C20] WINDOW_UPDATE by one, without end',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_WINDOW_UPDATE_FLOOD',
    counted: 'window_update',
    volume: { fast: 5_000, full: 100_000 },
    requests: 0,
    frames: function* (_asking, volume, peer) {
      for (let at = 0; at < volume; at += 1) yield peer.widen(0, 1)
    },
  },
  {
    what: '[C20] SETTINGS that open the window of a stream over 2^31-1',
    error: 'FLOW_CONTROL_ERROR',
    code: 'H2_WINDOW_OVERFLOW',
    counted: null,
    volume: { fast: 1, full: 1 },
    requests: 1,
    frames: (asking, _volume, peer) => [
      peer.headers(1, asking('POST', '/open'), false),
      peer.widen(1, MAX - DEFAULT),
      settingsFrame([[SETTING.INITIAL_WINDOW_SIZE, DEFAULT + 1]]),
    ],
  },
])

eachCell((bed) => {
  it.each<[string, number[], string]>([
    ['at once', [MAX], 'FLOW_CONTROL_ERROR'],
    ['in two steps', [MAX - DEFAULT, 1], 'FLOW_CONTROL_ERROR'],
    ['by nothing', [0], 'PROTOCOL_ERROR'],
  ])('[C20] the window of a stream over 2^31-1, %s, ends that stream alone', async (_what, steps, error) => {
    const { asked, attack, authority } = bed()
    const left = await attack(2, async (peer) => {
      peer.write(peer.headers(1, asked('POST', '/open'), false))
      for (const step of steps) peer.write(peer.widen(1, step))
      expect((await outcomeOn(peer, 1)).reset).toBe(error)
      peer.write(peer.headers(3, asked('GET', '/honest')))
      expect(await outcomeOn(peer, 3)).toEqual({ status: '200', reset: undefined })
    })
    expect(left.got).toMatchObject([{ target: '/honest', authority, body: '' }])
    expect(left.malformed).toEqual([])
    expect(left.completed).toHaveLength(2)
  })

  it.each<[string, (peer: RawPeer, id: number) => Buffer[]]>([
    ['a body that its client takes back', (peer, id) => [data(id, PIECE), peer.reset(id)]],
    ['a body that is all padding and that its client takes back', (peer, id) => [padded(id), peer.reset(id)]],
    ['a body of more than was said', (_peer, id) => [data(id, PIECE), data(id, PIECE, true)]],
    [
      'a body behind the reset of its stream',
      (peer, id) => [peer.widen(id, MAX), data(id, PIECE), data(id, PIECE, true)],
    ],
    ['a body behind its own end', (_peer, id) => [data(id, PIECE, true), data(id, PIECE)]],
  ])('[C20] %s leaves no hole in the window of the connection', async (what, frames) => {
    const { asked, attack } = bed()
    const more = what.endsWith('was said') ? ['content-length', '1'] : []
    const left = await attack(null, async (peer) => {
      let sent = 0
      const write = async (...parts: Buffer[]): Promise<void> => {
        sent += flowBytes(parts)
        // What came back is all that there is to send by; where it does not, this waits in vain.
        await peer.until(() => sent <= DEFAULT + credited(peer, 0), 'room in the window of the connection')
        peer.write(...parts)
      }
      // Twice the window of the connection.
      for (let at = 0; at < 2 * (CONNECTION_BYTES / PIECE.length); at += 1) {
        const id = streamOf(at)
        await write(peer.headers(id, asked('POST', `/piece/${at}`, ...more), false), ...frames(peer, id))
        if (!what.endsWith('takes back')) await peer.until(() => peer.resetOf(id) !== undefined || peer.ended(id))
      }
      const last = 9_999
      peer.write(peer.headers(last, asked('POST', '/whole'), false))
      for (let at = PIECE.length; at <= CONNECTION_BYTES; at += PIECE.length) {
        await peer.until(() => at <= STREAM_BYTES + credited(peer, last), 'room in the window of the stream')
        await write(data(last, PIECE))
      }
      peer.write(data(last, '', true))
      expect(await outcomeOn(peer, last)).toEqual({ status: '200', reset: undefined })
      expect(peer.goaway).toBeUndefined()
    })
    expect(left.got.find(({ target }) => target === '/whole')?.body.length).toBe(65 * PIECE.length)
  })
})

/** What the proxy has given back of a window, or added to it; 0 is the connection. */
function credited(peer: RawPeer, id: number): number {
  return peer.of('window_update').reduce((sum, { streamId, increment }) => sum + (streamId === id ? increment : 0), 0)
}

function flowBytes(frames: readonly Buffer[]): number {
  const bodies = frames.filter((frame) => frame.readUInt8(3) === FRAME_TYPE.DATA)
  return bodies.reduce((sum, frame) => sum + frame.length - FRAME_HEADER_BYTES, 0)
}
