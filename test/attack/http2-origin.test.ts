// A hostile origin of HTTP/2: what it sends reaches no client as an answer that it is not, costs no other request its own, and is told in the trail.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { goaway, ping, rstStream, settingsFrame, windowUpdate } from '../../src/core/http2-frame-writer.ts'
import type { FramePeer } from '../proxy/support/frame-origin.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'
import { DOORS, type DoorName } from '../support/standard.ts'
import type { Version } from './support/http2-canary.ts'
import { ask, askHead, type OriginBed, type Said, startOriginBed } from './support/http2-origin-bed.ts'
import {
  blockFrames,
  data,
  FRAME_FLAG,
  FRAME_TYPE,
  head,
  integer,
  literals,
  raw,
  RawPeer,
  repeated,
  SETTING,
} from './support/http2-wire.ts'

const OK = [':status', '200']
const FLOOD = 5_000
const HALF = 'half'

const continued = (id: number, count: number, payload: Buffer): Buffer =>
  Buffer.concat([raw(FRAME_TYPE.HEADERS, 0, id), repeated(count, raw(FRAME_TYPE.CONTINUATION, 0, id, payload))])
const bomb = Buffer.concat([
  Buffer.from([0x88, 0x40, 1, 0x61]),
  integer(0, 127, 4_000),
  Buffer.alloc(4_000, 0x62),
  Buffer.alloc(16_000, 0xbe),
])

/** No head of an answer that could be believed: 502 `upstream_malformed`. */
const NO_ANSWER: readonly (readonly [string, Said])[] = [
  ['[B37] CRLF in a value', (id) => head(id, [...OK, 'x-a', 'a\r\nSet-Cookie: evil=1'])],
  ['[B37] LF in a value', (id) => head(id, [...OK, 'x-a', 'a\nb'])],
  ['[B37] NUL in a value', (id) => head(id, [...OK, 'x-a', 'a\0b'])],
  ['[B37] CRLF in a name', (id) => head(id, [...OK, 'x: y\r\nset-cookie', 'evil=1'])],
  ['[B37] a capital in a name', (id) => head(id, [...OK, 'Set-Cookie', 'evil=1'])],
  ['[B37] an empty name', (id) => head(id, [...OK, '', 'x'])],
  ['[B37] connection', (id) => head(id, [...OK, 'connection', 'close'])],
  ['[B37] transfer-encoding', (id) => head(id, [...OK, 'transfer-encoding', 'chunked'])],
  ['[B37] transfer_encoding', (id) => head(id, [...OK, 'transfer_encoding', 'chunked'])],
  ['[B37] an upgrade', (id) => head(id, [...OK, 'upgrade', 'websocket'])],
  ['[B37] two lengths', (id) => head(id, [...OK, 'content-length', '5', 'content-length', '6'], false)],
  ['[B37] a length that is none', (id) => head(id, [...OK, 'content-length', '-5'], false)],
  ['[C11] a length and no body', (id) => head(id, [...OK, 'content-length', '5'])],
  ['[C08] no status', (id) => head(id, ['x-a', 'b'])],
  ['[C08] no fields', (id) => head(id, [])],
  ['[C08] two statuses', (id) => head(id, [...OK, ...OK])],
  ['[C08] a status behind a field', (id) => head(id, ['x-a', 'b', ...OK])],
  ['[C08] a pseudo-field of requests', (id) => head(id, [...OK, ':path', '/'])],
  ['[C08] a pseudo-field of nobody', (id) => head(id, [...OK, ':evil', 'x'])],
  ...['', '20', '2000', '2oo', '099', '600', '-200', '200 OK', '200\r\nX: y', '\xb200'].map(
    (status): [string, Said] => [`[B37] the status ${JSON.stringify(status)}`, (id) => head(id, [':status', status])],
  ),
  ['[B37] 101', (id) => head(id, [':status', '101'], false)],
  ['[B37] 101 with an end', (id) => head(id, [':status', '101'])],
  ['[B37] an interim answer with an end', (id) => head(id, [':status', '103'])],
  ['[B37] an interim answer with a body', (id) => [head(id, [':status', '103'], false), data(id, 'x', true)]],
  ['[B37] ten thousand interim answers', (id) => repeated(10_000, head(id, [':status', '103', 'x-a', 'b'], false))],
  ['[B37] DATA before HEADERS', (id) => data(id, 'early', true)],
  ['[B37] DATA for a stream that there is not', (id) => data(id + 100, 'x')],
  ['[B37] an answer on a stream that there is not', (id) => head(id + 100, OK)],
  ['[B37] an answer on an even stream', () => head(2, OK)],
  ['[B37] DATA on stream 0', () => data(0, 'x')],
  ['[B37] HTTP/1.1', () => Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')],
  ['[C20] a frame over the maximum', (id) => raw(FRAME_TYPE.DATA, 0, id, Buffer.alloc(16_385))],
  [
    '[C20] PUSH_PROMISE',
    (id) => raw(FRAME_TYPE.PUSH_PROMISE, 4, id, Buffer.concat([Buffer.from([0, 0, 0, 2]), literals(OK)])),
  ],
  ['[C20] SETTINGS that allow pushes', () => settingsFrame([[SETTING.ENABLE_PUSH, 1]])],
  ['[C20] SETTINGS with a window over 2^31-1', () => settingsFrame([[SETTING.INITIAL_WINDOW_SIZE, 2 ** 31]])],
  ['[C20] a window of the connection over 2^31-1', () => windowUpdate(0, 2 ** 31 - 1)],
  ['[C20] a window of the stream over 2^31-1', (id) => windowUpdate(id, 2 ** 31 - 1)],
  ['[C20] a flood of PING', () => repeated(FLOOD, ping(Buffer.alloc(8)))],
  ['[C20] a flood of SETTINGS', () => repeated(FLOOD, settingsFrame([]))],
  ['[C20] a flood of PRIORITY', (id) => repeated(FLOOD, raw(FRAME_TYPE.PRIORITY, 0, id, '\0\0\0\0\0'))],
  ['[C20] a flood of WINDOW_UPDATE', () => repeated(FLOOD, windowUpdate(0, 1))],
  ['[C20] a flood of frames that nobody knows', () => repeated(FLOOD, raw(0xfa, 0, 0, 'x'))],
  ['[C18] CONTINUATION without end', (id) => continued(id, 100, Buffer.alloc(16_384, 0x88))],
  ['[C18] empty CONTINUATION without end', (id) => continued(id, FLOOD, Buffer.alloc(0))],
  ['[C18] PING within a field block', (id) => [raw(FRAME_TYPE.HEADERS, 0, id), ping(Buffer.alloc(8))]],
  ['[C19] an HPACK bomb', (id) => blockFrames(id, bomb)],
  ['[C19] a block that is none', (id) => raw(FRAME_TYPE.HEADERS, 5, id, '\x80')],
  [
    '[I05] fields of 64 KiB in all',
    (id) => head(id, [...OK, ...Array.from({ length: 64 }, () => ['x-a', 'b'.repeat(1_024)]).flat()]),
  ],
  ['[I05] 300 fields', (id) => head(id, [...OK, ...Array.from({ length: 300 }, () => ['x', '1']).flat()])],
]

const begun = (id: number): Buffer[] => [head(id, OK, false), data(id, HALF)]

/** An answer has begun and can not end: the client has the half of it, and knows that it is a half. */
const BROKEN: readonly (readonly [string, string, Said])[] = [
  ['[I12] RST_STREAM', 'upstream_unreachable', (id) => rstStream(id, 'INTERNAL_ERROR')],
  ['[I12] RST_STREAM without an error', 'upstream_unreachable', (id) => rstStream(id, 'NO_ERROR')],
  ['[I12] RST_STREAM that says it was not processed', 'upstream_unreachable', (id) => rstStream(id, 'REFUSED_STREAM')],
  ['[I12] RST_STREAM that asks for HTTP/1.1', 'upstream_unreachable', (id) => rstStream(id, 'HTTP_1_1_REQUIRED')],
  ['[C11] a trailing block without an end', 'upstream_malformed', (id) => head(id, ['x-a', 'b'], false)],
  ['[C08] a pseudo-field in trailing fields', 'upstream_malformed', (id) => head(id, [':status', '200'])],
  ['[C01] CRLF in a trailing field', 'upstream_malformed', (id) => head(id, ['x-a', 'a\r\nb'])],
  ['[B34] a length in trailing fields', 'upstream_malformed', (id) => head(id, ['content-length', '4'])],
  ['[B37] a second answer', 'upstream_malformed', (id) => head(id, [':status', '404'], false)],
  ['[C20] a flood of empty DATA', 'upstream_malformed', (id) => repeated(FLOOD, data(id, ''))],
  ['[C20] a flood of PING', 'upstream_malformed', () => repeated(FLOOD, ping(Buffer.alloc(8)))],
  ['[C20] a window over 2^31-1', 'upstream_malformed', (id) => windowUpdate(id, 2 ** 31 - 1)],
  [
    '[C20] padding longer than its frame',
    'upstream_malformed',
    (id) => raw(FRAME_TYPE.DATA, FRAME_FLAG.PADDED, id, '\x09x'),
  ],
  ['[B37] HTTP/1.1', 'upstream_malformed', () => Buffer.from('HTTP/1.1 200 OK\r\n\r\n')],
]

/** A whole answer, and something behind it. */
const MORE: readonly (readonly [string, Said])[] = [
  ['a second answer', (id) => [head(id, OK, false), data(id, 'poison', true)]],
  ['more of the body', (id) => data(id, 'poison', true)],
  ['trailing fields', (id) => head(id, ['x-a', 'poison'])],
  ['RST_STREAM', (id) => rstStream(id, 'INTERNAL_ERROR')],
  [
    'an answer to the next request, which was not made yet',
    (id) => [head(id + 2, OK, false), data(id + 2, 'poison', true)],
  ],
]

const WAYS: { door: DoorName; client: Version }[] = DOORS.flatMap((door) => [
  { door, client: 'h2' },
  { door, client: 'http/1.1' },
])

describe.each(WAYS)('through the door $door, for a client of $client', ({ door, client }) => {
  let root: TestRoot
  let bed: OriginBed
  let close: () => Promise<void>
  let cases = 0
  beforeAll(async () => {
    root = createTestRoot()
    ;({ bed, close } = await startOriginBed(root, door, client))
  })
  afterAll(async () => {
    await close?.()
    root?.close()
  })
  const played = (said: Said, then?: (peer: FramePeer) => unknown): string => {
    cases += 1
    const path = `/hostile/${cases}`
    bed.on(path, said, then)
    return path
  }
  const nextIsServed = async (): Promise<void> => {
    cases += 1
    expect(await bed.ask(`/next/${cases}`), 'the next client').toEqual({ status: 200, body: 'ok', whole: true })
  }

  it.each(NO_ANSWER)('%s is 502', async (_what, said) => {
    const path = played(said)
    const answer = await bed.ask(path)
    expect([answer.status, answer.whole]).toEqual([502, true])
    expect(answer.body).toMatch(/"reason":"upstream_malformed"/)
    expect(await bed.ends(path)).toMatchObject({
      outcome: 'failed',
      reason: 'upstream_malformed',
      status: 502,
      bytes_received: 0,
    })
    await nextIsServed()
  })

  it.each(BROKEN)('%s in the body is no end of it', async (_what, reason, said) => {
    const path = played((id) => [...begun(id), said(id)].flat())
    const answer = await bed.ask(path)
    expect(answer).toMatchObject({ whole: false })
    expect(HALF.startsWith(answer.body)).toBe(true)
    expect(await bed.ends(path)).toMatchObject({ outcome: 'upstream_aborted', reason, status: 200 })
    await nextIsServed()
  })

  it.each<[string, string, Buffer[]]>([
    ['less than it said', '9', [Buffer.from(HALF)]],
    ['more than it said', '2', [Buffer.from('ha'), Buffer.from('lf')]],
  ])('[C11] a body of %s is no end of it', async (_what, length, pieces) => {
    const path = played((id) => [
      head(id, [...OK, 'content-length', length], false),
      ...pieces.map((piece, at) => data(id, piece, at === pieces.length - 1)),
    ])
    const answer = await bed.ask(path)
    // A client of HTTP/1.1 was told the length and may have as much, when there was too much.
    expect(answer.whole && (client === 'h2' || length === '9')).toBe(false)
    expect(await bed.ends(path)).toMatchObject({ outcome: 'upstream_aborted', reason: 'upstream_malformed' })
    await nextIsServed()
  })

  it.each<[string, (peer: FramePeer) => unknown]>([
    ['is reset', (peer) => void peer.socket.destroy()],
    ['ends', (peer) => void peer.socket.end()],
    ['ends behind a GOAWAY', (peer) => void peer.socket.end(goaway(2 ** 31 - 1, 'NO_ERROR', ''))],
  ])('[I12] a connection that %s in the body is no end of it', async (_what, then) => {
    const path = played(begun, then)
    const answer = await bed.ask(path)
    expect(answer).toMatchObject({ whole: false })
    expect(await bed.ends(path)).toMatchObject({ outcome: 'upstream_aborted', reason: 'upstream_unreachable' })
    await nextIsServed()
  })

  it('[I12] a GOAWAY in the body lets it come to its end, and the next request goes elsewhere', async () => {
    const connections = bed.origin.peers.length
    const path = played((id) => [...begun(id), goaway(id, 'NO_ERROR', ''), data(id, '!', true)])
    expect(await bed.ask(path)).toEqual({ status: 200, body: `${HALF}!`, whole: true })
    await nextIsServed()
    expect(bed.origin.peers.length).toBeGreaterThan(connections)
  })

  it.each(MORE)('[B37] %s behind an answer reaches nobody', async (_what, said) => {
    const path = played((id) => [head(id, OK, false), data(id, 'mine', true), said(id)].flat())
    expect(await bed.ask(path)).toEqual({ status: 200, body: 'mine', whole: true })
    expect(await bed.ends(path)).toMatchObject({ outcome: 'completed', status: 200, bytes_received: 4 })
    await nextIsServed()
    await nextIsServed()
  })

  it.each<[string, number, Said]>([
    ['a HEAD that is answered with a body', 200, (id) => [head(id, OK, false), data(id, 'poison', true)]],
    ['a 204 with a body', 204, (id) => [head(id, [':status', '204'], false), data(id, 'poison', true)]],
    ['a 304 with a body', 304, (id) => [head(id, [':status', '304'], false), data(id, 'poison', true)]],
  ])('[B37] %s brings no body to the client', async (what, status, said) => {
    const path = played(said)
    const answer = await (what.startsWith('a HEAD') ? askHead(bed, client, path) : bed.ask(path))
    // The head may have been sent before the body came that it can not have.
    expect([status, 502, null]).toContain(answer.status)
    expect(answer.body).not.toContain('poison')
    await bed.ends(path)
    await nextIsServed()
  })

  it('[C20] an origin that takes no byte of a request holds up its client, not the memory of the proxy', async () => {
    if (client === 'http/1.1') return
    const path = played(() => [settingsFrame([[SETTING.INITIAL_WINDOW_SIZE, 0]])])
    const peer = new RawPeer(await bed.open())
    peer.begin()
    peer.write(peer.headers(1, ask('POST', bed.authority, path), false))
    let sent = 0
    let allowed = 65_535
    const credited = (id: number): number =>
      peer.of('window_update').reduce((sum, frame) => sum + (frame.streamId === id ? frame.increment : 0), 0)
    for (let idle = 0; idle < 20; ) {
      allowed = Math.min(65_535 + credited(0), 262_144 + credited(1)) - sent
      if (allowed < 16_384) {
        idle += 1
        await peer.alive()
        continue
      }
      peer.write(data(1, Buffer.alloc(16_384)))
      sent += 16_384
      await peer.alive()
    }
    // Its own window, and what waits on either side of the proxy.
    expect(sent).toBeLessThan(1_024 * 1_024)
    peer.write(peer.reset(1))
    expect(await bed.ends(path)).toMatchObject({ outcome: 'client_aborted' })
    peer.stream.destroy()
  })
})
