// One request over HTTP/2 to an origin, and what is believed of the answer to it.

import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { FRAME_FLAG, FRAME_TYPE } from '../../../src/core/http2-frame.ts'
import { goaway, rstStream } from '../../../src/core/http2-frame-writer.ts'
import { bufferedBody } from '../../../src/proxy/body-queue.ts'
import { startScriptedOrigin } from '../../support/scripted-origin.ts'
import { type FrameOrigin, type FramePeer, startFrameOrigin } from '../support/frame-origin.ts'
import {
  answered,
  type Asking,
  type Bench,
  Client,
  NAME,
  read,
  ScriptedBody,
  upstreamBench,
} from '../support/upstream-bench.ts'

const OK = [':status', '200']

let bench: Bench
let origin: FrameOrigin

beforeEach(async () => {
  bench = upstreamBench()
  origin = await startFrameOrigin(bench.root, NAME, (peer) => peer.settings())
})
afterEach(async () => {
  vi.useRealTimers()
  await origin.close()
  bench.close()
})

const send = (asking: Partial<Asking> = {}): ReturnType<Bench['send']> => bench.send({ port: origin.port, ...asking })
const sentSoFar = (): NonNullable<Asking['sent']> => ({ bytes: 0, trailerNames: [], address: null })

/** A request under way, and the origin's side of it. */
async function asked(asking: Partial<Asking> = {}): Promise<{
  sent: ReturnType<typeof send>
  peer: FramePeer
  id: number
  fields: readonly string[]
  endStream: boolean
}> {
  const sent = send(asking)
  const peer = await origin.peer()
  const { streamId, fields, endStream } = await peer.asked()
  return { sent, peer, id: streamId, fields, endStream }
}

describe('what is sent', () => {
  it('is the permit, and the fields of the client in lower case without what is not end-to-end', async () => {
    const headers = [
      'Host',
      'other.test',
      'X-A',
      '1',
      'Cookie',
      'a=b',
      'TE',
      'trailers',
      'Connection',
      'x-hop',
      'X-Hop',
      'y',
    ]
    const { fields, endStream } = await asked({ method: 'PATCH', target: '/a/b?c=%2e', headers })
    const authority = `${NAME}:${origin.port}`
    expect([fields, endStream]).toEqual([
      [
        ':method',
        'PATCH',
        ':scheme',
        'https',
        ':authority',
        authority,
        ':path',
        '/a/b?c=%2e',
        'x-a',
        '1',
        'cookie',
        'a=b',
      ],
      true,
    ])
  })

  it.each([5, null])('has the body behind it, its end by END_STREAM: declared length %j', async (length) => {
    const sent = sentSoFar()
    const headers = length === null ? [] : ['Content-Length', String(length)]
    const body = { reader: bufferedBody(Buffer.from('hello')), length }
    const { peer, fields, endStream } = await asked({ method: 'POST', headers, body, sent })
    expect([fields.includes('content-length'), endStream]).toEqual([length !== null, false])
    expect(await peer.body()).toBe('hello')
    expect(sent).toMatchObject({ bytes: 5, trailerNames: [], address: `127.0.0.1:${origin.port}` })
  })

  it.each<[string, readonly string[], boolean, boolean]>([
    ['gRPC passes them, and TE', ['Content-Type', 'application/grpc+proto', 'TE', 'trailers'], true, true],
    ['gRPC without TE passes them alone', ['Content-Type', 'application/grpc'], true, false],
    ['grpc-web is not gRPC', ['Content-Type', 'application/grpc-web', 'TE', 'trailers'], false, false],
    ['nothing else passes them', ['Content-Type', 'application/json', 'TE', 'trailers'], false, false],
  ])('trailers of the request: %s', async (_name, headers, trailers, te) => {
    const sent = sentSoFar()
    const reader = new ScriptedBody().push('x').end('x-sum', '1')
    const { peer, fields } = await asked({ method: 'POST', headers, body: { reader, length: null }, sent })
    expect(fields.includes('te')).toBe(te)
    const ended = trailers ? (await peer.asked()).fields : [await peer.body()]
    expect(ended).toEqual(trailers ? ['x-sum', '1'] : ['x'])
    expect(sent.trailerNames).toEqual(trailers ? [] : ['x-sum'])
  })
})

describe('an answer', () => {
  it('comes with head, body and trailers', async () => {
    const { sent, peer, id } = await asked()
    peer.head(id, [':status', '418', 'x-a', '1', 'x-a', '2']).data(id, 'tea').head(id, ['x-sum', '3'], true)
    const { head, length, body, address, timings } = answered(await sent)
    expect(head).toMatchObject({ status: 418, headers: ['x-a', '1', 'x-a', '2'] })
    expect([length, address]).toEqual([null, `127.0.0.1:${origin.port}`])
    expect(timings.firstByte).toBeGreaterThan(0)
    expect(await read(body)).toEqual({ text: 'tea', last: { kind: 'end', trailers: ['x-sum', '3'] } })
  })

  it.each<[string, Partial<Asking>, readonly string[], string | null, number | null]>([
    ['to HEAD, with the length of what is not sent', { method: 'HEAD' }, [...OK, 'content-length', '9'], null, 0],
    ['to HEAD, ended by an empty DATA', { method: 'HEAD' }, OK, '', 0],
    ['of 204', {}, [':status', '204'], null, 0],
    ['of 304, with a length', {}, [':status', '304', 'content-length', '9'], null, 0],
    ['that ends with its head', {}, OK, null, null],
    ['of length 0', {}, [...OK, 'content-length', '0'], null, 0],
    ['of known length', {}, [...OK, 'content-length', '2'], 'ok', 2],
  ])('is whole: %s', async (_name, asking, fields, data, length) => {
    const { sent, peer, id } = await asked(asking)
    peer.head(id, fields, data === null)
    if (data !== null) peer.data(id, data, true)
    const response = answered(await sent)
    expect(response.length).toBe(length)
    expect(await read(response.body)).toEqual({ text: data ?? '', last: { kind: 'end', trailers: [] } })
  })

  it('may begin before the end of the request: both go on', async () => {
    const reader = new ScriptedBody()
    const { sent, peer, id } = await asked({ method: 'POST', body: { reader, length: null } })
    peer.head(id, OK)
    const { body } = answered(await sent)
    for (const word of ['one', 'two', 'three']) {
      reader.push(word)
      peer.data(id, (await peer.next('data')).data)
      expect(await body.read()).toMatchObject({ data: Buffer.from(word) })
    }
    reader.end()
    expect(await peer.next('data')).toMatchObject({ endStream: true })
    peer.data(id, '', true)
    expect(await body.read()).toEqual({ kind: 'end', trailers: [] })
  })

  it.each(['RST_STREAM NO_ERROR', 'nothing'])('that is whole stops the upload: the origin sends %s', async (behind) => {
    const reader = new ScriptedBody()
    const { sent, peer, id } = await asked({ method: 'POST', body: { reader, length: null } })
    peer.head(id, OK).data(id, 'enough', true)
    if (behind !== 'nothing') peer.write(rstStream(id, 'NO_ERROR'))
    expect(await read(answered(await sent).body)).toEqual({ text: 'enough', last: { kind: 'end', trailers: [] } })
    if (behind === 'nothing') await peer.next('rst_stream')
    reader.push('more')
    await turn()
    expect(reader.reads).toBe(1)
    expect(peer.seen.filter((type) => type === 'data' || type === 'rst_stream')).toEqual(
      behind === 'nothing' ? ['rst_stream'] : [],
    )
  })

  it('is preceded by interim ones, but 100, which was ours to give', async () => {
    const heard: unknown[] = []
    const { sent, peer, id } = await asked({ onInformational: (status, headers) => heard.push([status, headers]) })
    peer.head(id, [':status', '100']).head(id, [':status', '103', 'link', '</a>']).head(id, OK, true)
    expect(answered(await sent).head.status).toBe(200)
    expect(heard).toEqual([[103, ['link', '</a>']]])
  })

  it.each([
    [32, 'response'],
    [33, 'failed'],
  ])('is preceded by %d interim ones: %s', async (count, kind) => {
    const { sent, peer, id } = await asked()
    for (let sentAlready = 0; sentAlready < count; sentAlready++) peer.head(id, [':status', '103'])
    peer.head(id, OK, true)
    expect(await sent).toMatchObject({ kind })
  })
})

describe('an answer that is none fails as upstream_malformed, and takes only its own stream with it', () => {
  it.each<[string, readonly string[], boolean, string]>([
    ['without :status', ['x-a', '1'], true, 'H2_PSEUDO_MISSING'],
    ['with :status twice', [...OK, ':status', '200'], true, 'H2_PSEUDO_DUPLICATE'],
    ['with a pseudo-field of requests', [...OK, ':path', '/'], true, 'H2_PSEUDO_UNKNOWN'],
    ['with :status behind a field', ['x-a', '1', ...OK], true, 'H2_PSEUDO_MISPLACED'],
    ['of status 99', [':status', '99'], true, 'BAD_STATUS'],
    ['of status +200', [':status', '+200'], true, 'BAD_STATUS'],
    ['of status 101', [':status', '101'], false, 'UNSOLICITED_101'],
    ['of 103 that ends the stream', [':status', '103'], true, 'H2_INTERIM_END'],
    ['with Transfer-Encoding', [...OK, 'transfer-encoding', 'chunked'], true, 'H2_CONNECTION_FIELD'],
    ['with a name in upper case', [...OK, 'X-A', '1'], true, 'H2_UPPERCASE_NAME'],
    ['with a line break in a value', [...OK, 'x-a', '1\r\nx-b: 2'], true, 'BAD_VALUE'],
    ['with two lengths', [...OK, 'content-length', '1', 'content-length', '1'], false, 'DUPLICATE_CONTENT_LENGTH'],
    ['with a length and no body', [...OK, 'content-length', '1'], true, 'H2_LENGTH_WITHOUT_BODY'],
    ['with more fields than there may be', [...OK, ...Array.from({ length: 500 }, () => 'x')], true, 'HEAD_TOO_LARGE'],
  ])('%s', async (_name, fields, endStream, code) => {
    const { sent, peer, id } = await asked()
    const second = await asked()
    peer.head(id, fields, endStream)
    expect(await sent).toMatchObject({ kind: 'failed', reason: 'upstream_malformed', detail: code })
    expect(await peer.next('rst_stream')).toMatchObject({ streamId: id, errorCode: 1 })
    peer.head(second.id, OK, true)
    expect(answered(await second.sent).head.status).toBe(200)
  })

  it('DATA before any head', async () => {
    const { sent, peer, id } = await asked()
    peer.data(id, 'x')
    expect(await sent).toMatchObject({ reason: 'upstream_malformed', detail: 'H2_DATA_BEFORE_HEAD' })
  })

  const broken = { kind: 'failed', reason: 'upstream_malformed' }
  it.each<[string, Partial<Asking>, readonly string[], (peer: FramePeer, id: number) => unknown]>([
    ['longer than it said', {}, [...OK, 'content-length', '2'], (peer, id) => peer.data(id, 'abc', true)],
    ['shorter than it said', {}, [...OK, 'content-length', '4'], (peer, id) => peer.data(id, 'abc', true)],
    [
      'shorter than it said, with trailers',
      {},
      [...OK, 'content-length', '4'],
      (p, id) => p.data(id, 'a').head(id, ['x', 'y'], true),
    ],
    ['of a HEAD', { method: 'HEAD' }, OK, (peer, id) => peer.data(id, 'abc', true)],
    ['of a 204', {}, [':status', '204'], (peer, id) => peer.data(id, 'abc', true)],
    ['of a 304', {}, [':status', '304'], (peer, id) => peer.data(id, 'abc', true)],
    ['with a second head', {}, OK, (peer, id) => peer.data(id, 'a').head(id, OK)],
    ['with a head for trailers', {}, OK, (peer, id) => peer.data(id, 'a').head(id, OK, true)],
    ['with trailers that do not end it', {}, OK, (peer, id) => peer.data(id, 'a').head(id, ['x-sum', '1'])],
    ['with a length for a trailer', {}, OK, (peer, id) => peer.data(id, 'a').head(id, ['content-length', '1'], true)],
  ])('a body %s breaks, and never ends', async (_name, asking, fields, rest) => {
    const { sent, peer, id } = await asked(asking)
    peer.head(id, fields)
    const { body } = answered(await sent)
    rest(peer, id)
    expect((await read(body)).last).toMatchObject(broken)
  })
})

describe('[I12] an answer that does not come', () => {
  it.each<[string, (peer: FramePeer, id: number) => unknown]>([
    ['the stream is reset', (peer, id) => peer.write(rstStream(id, 'INTERNAL_ERROR'))],
    ['the stream is reset without an error', (peer, id) => peer.write(rstStream(id, 'NO_ERROR'))],
    ['the connection is closed', (peer) => peer.socket.end()],
    ['the connection is cut off', (peer) => peer.socket.destroy()],
    ['the origin goes away and closes', (peer, id) => (peer.write(goaway(id, 'NO_ERROR', '')), peer.socket.end())],
  ])('fails as upstream_unreachable, and is not sent again, when %s', async (_name, act) => {
    const { sent, peer, id } = await asked({ method: 'POST' })
    act(peer, id)
    expect(await sent).toMatchObject({ kind: 'failed', reason: 'upstream_unreachable' })
    expect(origin.peers).toHaveLength(1)
  })

  it.each<[string, (peer: FramePeer, id: number) => unknown]>([
    ['the stream is reset', (peer, id) => peer.write(rstStream(id, 'CANCEL'))],
    ['the stream is reset without an error', (peer, id) => peer.write(rstStream(id, 'NO_ERROR'))],
    ['the connection is closed', (peer) => peer.socket.end()],
  ])('[P6] in the middle of the body breaks it: %s', async (_name, act) => {
    const { sent, peer, id } = await asked()
    peer.head(id, OK).data(id, 'half')
    const { body } = answered(await sent)
    expect(await body.read()).toMatchObject({ kind: 'data' })
    act(peer, id)
    expect(await body.read()).toMatchObject({ kind: 'failed', reason: 'upstream_unreachable' })
  })

  it('in 900 s after the last sign of life fails as upstream_timeout, and the session stays', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const { sent, peer, id } = await asked()
    // Ours of theirs: what waits for SETTINGS waits no longer.
    await peer.next('settings')
    vi.advanceTimersByTime(899_999)
    peer.head(id, [':status', '103'])
    for (let turns = 0; turns < 50; turns++) await turn()
    vi.advanceTimersByTime(899_999)
    for (let turns = 0; turns < 10; turns++) await turn()
    expect(await Promise.race([sent, Promise.resolve('still waiting')])).toBe('still waiting')
    vi.advanceTimersByTime(1)
    expect(await sent).toMatchObject({ reason: 'upstream_timeout' })
    vi.useRealTimers()
    expect(await peer.next('rst_stream')).toMatchObject({ streamId: id, errorCode: 8 })
    expect(peer.closed).toBe(false)
  })
})

describe('[P8] a client that goes away', () => {
  it('has its stream reset at once, and no other', async () => {
    const client = new Client()
    const { sent, peer, id } = await asked({ client })
    const other = await asked()
    const left = performance.now()
    client.leave()
    expect(await peer.next('rst_stream')).toMatchObject({ streamId: id, errorCode: 8 })
    expect(performance.now() - left).toBeLessThan(100)
    expect((await sent).kind).toBe('failed')
    peer.head(other.id, OK, true)
    expect(answered(await other.sent).head.status).toBe(200)
  })

  it('in the middle of the answer, likewise, and what is unread is dropped', async () => {
    const client = new Client()
    const { sent, peer, id } = await asked({ client })
    peer.head(id, OK).data(id, 'half')
    const { body } = answered(await sent)
    client.leave()
    expect(await peer.next('rst_stream')).toMatchObject({ streamId: id, errorCode: 8 })
    expect(await read(body)).toMatchObject({ text: '', last: { kind: 'failed' } })
  })

  it('before it is sent leaves nothing to be sent', async () => {
    const { sent, peer, id } = await asked()
    peer.head(id, OK, true)
    await sent
    const client = new Client()
    client.leave()
    expect(await send({ client })).toMatchObject({ kind: 'failed', reason: 'client_aborted' })
    const next = await asked()
    next.peer.head(next.id, OK, true)
    await next.sent
    expect(peer.seen.filter((type) => type === 'headers')).toHaveLength(2)
  })

  it('before it is sent leaves nothing to be sent over HTTP/1.1 either', async () => {
    const plain = await startScriptedOrigin(null)
    const asking = { port: plain.port, scheme: 'http' } as const
    await read(answered(await send(asking)).body)
    const client = new Client()
    client.leave()
    expect(await send({ ...asking, client })).toMatchObject({ kind: 'failed', reason: 'client_aborted' })
    await read(answered(await send(asking)).body)
    expect(plain.asked).toHaveLength(2)
    await plain.close()
  })

  it('and answers that are not wanted are cancelled likewise', async () => {
    const { sent, peer, id } = await asked()
    peer.head(id, OK).data(id, 'half')
    answered(await sent).cancel('too large')
    expect(await peer.next('rst_stream')).toMatchObject({ streamId: id, errorCode: 8 })
  })
})

it('a body that the client breaks resets the stream, and breaks the answer', async () => {
  const reader = new ScriptedBody()
  const { sent, peer, id } = await asked({ method: 'POST', body: { reader, length: 9 } })
  peer.head(id, OK)
  const { body } = answered(await sent)
  reader.push({ kind: 'failed', reason: 'malformed', detail: 'BAD_CHUNK' })
  expect(await peer.next('rst_stream')).toMatchObject({ streamId: id, errorCode: 8 })
  expect(await body.read()).toEqual({ kind: 'failed', reason: 'malformed', detail: 'BAD_CHUNK' })
})

describe('[P5] backpressure', () => {
  it('an origin that does not read stops the reader of the request', async () => {
    const reader = new ScriptedBody()
    const block = 'x'.repeat(16_384)
    for (let blocks = 0; blocks < 64; blocks++) reader.push(block)
    const { peer } = await asked({ method: 'POST', body: { reader, length: null } })
    // The initial window, one high-water mark, and the part that went over it.
    for (let turns = 0; turns < 200; turns++) await turn()
    const before = reader.reads
    expect(before * block.length).toBeLessThanOrEqual(65_535 + 64 * 1024 + 2 * block.length)
    peer.frame(FRAME_TYPE.WINDOW_UPDATE, 0, 0, Buffer.from([0, 1, 0, 0]))
    peer.frame(FRAME_TYPE.WINDOW_UPDATE, 0, 1, Buffer.from([0, 1, 0, 0]))
    await vi.waitUntil(() => reader.reads > before)
  })

  it('a client that does not read stops the origin, and no other stream of the session', async () => {
    const slow = await asked()
    const { peer } = slow
    const other = await asked()
    peer.head(slow.id, OK)
    const { body } = answered(await slow.sent)
    const window = 256 * 1024
    for (let sent = 0; sent < window; sent += 16_384) peer.data(slow.id, Buffer.alloc(16_384, 'x'))
    peer.head(other.id, OK)
    for (let sent = 0; sent < 2 * window; sent += 16_384) {
      const { body: its } = answered(await other.sent)
      peer.data(other.id, Buffer.alloc(16_384, 'y'), sent === 2 * window - 16_384)
      await its.read()
    }
    expect(await answered(await other.sent).body.read()).toMatchObject({ kind: 'end' })
    const updates = peer.seen.filter((type) => type === 'window_update').length
    await body.read()
    let taken = 16_384
    while (taken < window) {
      const part = await body.read()
      if (part.kind !== 'data') throw new Error(part.kind)
      taken += part.data.length
    }
    await vi.waitUntil(() => peer.seen.filter((type) => type === 'window_update').length > updates)
  })

  it('more than the window is a fault of the stream', async () => {
    const { sent, peer, id } = await asked()
    peer.head(id, OK)
    const { body } = answered(await sent)
    for (let count = 0; count <= 16; count++) peer.data(id, Buffer.alloc(16_384, 'x'))
    expect((await peer.next('rst_stream')).errorCode).toBe(3)
    expect((await read(body)).last).toMatchObject({ reason: 'upstream_malformed' })
  })
})

it('an answer with padding is read without it', async () => {
  const { sent, peer, id } = await asked()
  peer.head(id, OK)
  peer.frame(FRAME_TYPE.DATA, FRAME_FLAG.PADDED | FRAME_FLAG.END_STREAM, id, Buffer.from('\u0003ok\0\0\0', 'latin1'))
  expect(await read(answered(await sent).body)).toMatchObject({ text: 'ok', last: { kind: 'end' } })
})
