// Sessions to origins: shared by many requests, made once where many ask, renewed where the origin says so, and not for ever.

import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { FRAME_TYPE, SETTING } from '../../../src/core/http2-frame.ts'
import { goaway, rstStream, settingsFrame } from '../../../src/core/http2-frame-writer.ts'
import { bufferedBody } from '../../../src/proxy/body-queue.ts'
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
const origins: FrameOrigin[] = []

beforeEach(() => {
  bench = upstreamBench()
})
afterEach(async () => {
  vi.useRealTimers()
  for (const open of origins.splice(0)) await open.close()
  bench.close()
})

async function start(script: (peer: FramePeer) => unknown, alpn?: readonly string[]): Promise<FrameOrigin> {
  origin = await startFrameOrigin(bench.root, NAME, script, alpn)
  origins.push(origin)
  return origin
}

const send = (asking: Partial<Asking> = {}): ReturnType<Bench['send']> => bench.send({ port: origin.port, ...asking })

async function ok(asking: Partial<Asking> = {}): Promise<string> {
  const { text, last } = await read(answered(await send(asking)).body)
  expect(last.kind).toBe('end')
  return text
}

/** Answers every request with the number of its stream. */
async function serve(peer: FramePeer, settings: Parameters<FramePeer['settings']>[0] = []): Promise<void> {
  peer.settings(settings)
  for (;;) {
    const { streamId } = await peer.asked()
    peer.head(streamId, OK).data(streamId, String(streamId), true)
  }
}

const MAX_STREAMS = (count: number): Parameters<FramePeer['settings']>[0] => [[SETTING.MAX_CONCURRENT_STREAMS, count]]

async function until(condition: () => boolean): Promise<void> {
  for (const started = performance.now(); !condition(); ) {
    if (performance.now() - started > 5_000) throw new Error('in vain')
    await turn()
  }
}

describe('one session', () => {
  it('serves one request after the other', async () => {
    await start((peer) => serve(peer))
    expect([await ok(), await ok(), await ok()]).toEqual(['1', '3', '5'])
    expect(origin.peers).toHaveLength(1)
  })

  it('serves as many at once as the origin and our bound of 100 allow, dialled once for all of them', async () => {
    await start(async (peer) => {
      peer.settings(MAX_STREAMS(1_000))
      const asked = []
      while (asked.length < 100) asked.push((await peer.asked()).streamId)
      for (const id of asked) peer.head(id, OK, true)
      await serve(peer)
    })
    await Promise.all(Array.from({ length: 100 }, () => ok()))
    expect(origin.peers).toHaveLength(1)
  })

  it('is not waited for by the one that dialled it: its request leaves before the SETTINGS of the origin', async () => {
    await start(() => undefined)
    const first = send()
    const peer = await origin.peer()
    const { streamId } = await peer.asked()
    const second = send()
    for (let turns = 0; turns < 50; turns++) await turn()
    expect(peer.seen.filter((type) => type === 'headers')).toHaveLength(1)
    peer.settings()
    const other = await peer.asked()
    peer.head(streamId, OK, true).head(other.streamId, OK, true)
    expect([(await first).kind, (await second).kind, origin.peers.length]).toEqual(['response', 'response', 1])
  })

  it('that never begins fails all who wait for it, and is dialled once', async () => {
    await start((peer) => peer.socket.end())
    const all = await Promise.all(Array.from({ length: 20 }, () => send({ method: 'POST' })))
    expect(new Set(all.map((sent) => (sent.kind === 'failed' ? sent.reason : sent.kind)))).toEqual(
      new Set(['upstream_unreachable']),
    )
    expect(origin.peers).toHaveLength(1)
  })

  it('that is no HTTP/2 fails all who wait for it', async () => {
    await start((peer) => peer.socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
    const all = await Promise.all(Array.from({ length: 5 }, () => send()))
    for (const sent of all) expect(sent).toMatchObject({ kind: 'failed', reason: 'upstream_malformed' })
    expect(origin.peers).toHaveLength(1)
  })

  it('on which the origin says nothing fails all who wait for it in 10 s', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    await start(() => undefined)
    const all = Array.from({ length: 3 }, () => send())
    await (await origin.peer()).asked()
    vi.advanceTimersByTime(9_999)
    expect(bench.upstream.openConnections).toBe(1)
    vi.advanceTimersByTime(1)
    for (const sent of await Promise.all(all))
      expect(sent).toMatchObject({ kind: 'failed', reason: 'upstream_timeout' })
    expect(origin.peers).toHaveLength(1)
  })

  it('has at most 1,024 waiting for it', async () => {
    await start(() => undefined)
    const client = new Client()
    const all = Array.from({ length: 1_026 }, () => send({ client }))
    expect(await Promise.race(all)).toMatchObject({ kind: 'failed', reason: 'overloaded' })
    client.leave()
    await Promise.all(all)
  })

  it('is not dialled again for those who have gone while they waited', async () => {
    await start((peer) => peer.settings(MAX_STREAMS(1)))
    const held = send()
    const first = await origin.peer()
    await first.asked()
    await first.next('settings')
    const client = new Client()
    const leaving = Array.from({ length: 5 }, () => send({ client }))
    client.leave()
    await Promise.all(leaving)
    const second = await origin.peer(1)
    await second.next('settings')
    await second.next('settings')
    for (let turns = 0; turns < 50; turns++) await turn()
    expect([bench.upstream.openConnections, origin.peers.length]).toEqual([2, 2])
    first.head(1, OK, true)
    await held
  })

  it('that comes about while the proxy shuts down serves what it was made for, and closes', async () => {
    await start((peer) => serve(peer))
    const sending = ok()
    bench.upstream.close()
    expect(await sending).toBe('1')
    await (await origin.peer()).end()
  })

  it('that nobody waits for any more is there for the next request', async () => {
    await start((peer) => serve(peer, MAX_STREAMS(1)))
    const client = new Client()
    const sent = send({ client })
    client.leave()
    expect(await sent).toMatchObject({ kind: 'failed', reason: 'client_aborted' })
    const peer = await origin.peer()
    await until(() => peer.seen.includes('settings'))
    expect(peer.seen).not.toContain('headers')
    expect([await ok(), origin.peers.length]).toEqual(['1', 1])
  })

  it('has room for others again when those it was claimed for have gone', async () => {
    await start((peer) => serve(peer, MAX_STREAMS(1)))
    await ok()
    const client = new Client()
    const leaving = Array.from({ length: 5 }, () => send({ client }))
    client.leave()
    await Promise.all(leaving)
    const before = origin.peers.length
    await ok()
    expect(origin.peers).toHaveLength(before)
  })
})

describe('another session is made', () => {
  it('for what the origin does not take at once', async () => {
    const held: [FramePeer, number][] = []
    await start(async (peer) => {
      peer.settings(MAX_STREAMS(2))
      for (;;) held.push([peer, (await peer.asked()).streamId])
    })
    const all = Array.from({ length: 6 }, () => ok())
    await until(() => held.length === 6)
    expect(origin.peers).toHaveLength(3)
    for (const [peer, id] of held) peer.head(id, OK, true)
    await Promise.all(all)
  })

  it('for another client: what one stalls holds up nobody else', async () => {
    await start((peer) => serve(peer))
    for (const source of ['192.0.2.1', '192.0.2.2', '192.0.2.1', '192.0.2.2']) await ok({ source })
    expect(origin.peers).toHaveLength(2)
  })

  it('not while one of those that are there has room again', async () => {
    await start((peer) => serve(peer, MAX_STREAMS(1)))
    for (let requests = 0; requests < 10; requests++) await ok()
    expect(origin.peers).toHaveLength(1)
  })

  it('after GOAWAY, while the old one ends what it has', async () => {
    await start(async (peer) => {
      const first = origin.peers.length === 1
      if (!first) return serve(peer)
      peer.settings()
      const { streamId } = await peer.asked()
      peer.write(goaway(streamId, 'NO_ERROR', ''))
    })
    const old = send()
    const peer = await origin.peer()
    await until(() => peer.seen.includes('headers'))
    await until(() => peer.seen.filter((type) => type === 'settings').length > 1)
    expect(await ok()).toBe('1')
    expect(origin.peers).toHaveLength(2)
    peer.head(1, OK).data(1, 'old', true)
    expect(await read(answered(await old).body)).toMatchObject({ text: 'old' })
    await peer.end()
  })

  it('when it is older than five minutes; what it still serves goes on', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    await start((peer) => peer.settings())
    const slow = send()
    const first = await origin.peer()
    const { streamId } = await first.asked()
    await first.next('settings')
    vi.advanceTimersByTime(300_000)
    const still = send()
    first.head((await first.asked()).streamId, OK, true)
    expect((await still).kind).toBe('response')
    vi.advanceTimersByTime(1)
    const next = send()
    const second = await origin.peer(1)
    second.head((await second.asked()).streamId, OK, true)
    expect((await next).kind).toBe('response')
    first.head(streamId, OK, true)
    expect((await slow).kind).toBe('response')
    await first.next('goaway')
    await first.end()
  })

  it('[P39] after a change of the address policy; what the old one still serves goes on', async () => {
    await start((peer) => peer.settings())
    const slow = send()
    const first = await origin.peer()
    const { streamId } = await first.asked()
    await first.next('settings')
    bench.allowAnew()
    const next = send()
    const second = await origin.peer(1)
    second.head((await second.asked()).streamId, OK, true)
    expect((await next).kind).toBe('response')
    first.head(streamId, OK, true)
    expect((await slow).kind).toBe('response')
    await first.end()
  })

  it.each<[string, Partial<Asking>]>([
    ['another host', { host: 'b.a.test' }],
    ['the other scheme', { scheme: 'http' }],
  ])('for %s', async (_name, asking) => {
    await start((peer) => serve(peer))
    await ok()
    expect(bench.upstream.openConnections).toBe(1)
    const sent = send(asking)
    await until(() => bench.upstream.openConnections === 2)
    await origin.close()
    expect((await sent).kind).toBe('failed')
  })
})

describe('a session', () => {
  it('that is idle is closed with a GOAWAY after half a minute', async () => {
    await start((peer) => serve(peer))
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    await ok()
    const peer = await origin.peer()
    await until(() => peer.seen.filter((type) => type === 'settings').length > 1)
    vi.advanceTimersByTime(29_999)
    for (let turns = 0; turns < 20; turns++) await turn()
    expect(peer.seen).not.toContain('goaway')
    await ok()
    vi.advanceTimersByTime(29_999)
    for (let turns = 0; turns < 20; turns++) await turn()
    expect(peer.seen).not.toContain('goaway')
    vi.advanceTimersByTime(1)
    vi.useRealTimers()
    await peer.next('goaway')
    await peer.end()
    await until(() => bench.upstream.openConnections === 0)
  })

  it('that serves a request for longer than that is not idle', async () => {
    const held: number[] = []
    await start(async (peer) => {
      peer.settings()
      for (;;) held.push((await peer.asked()).streamId)
    })
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const first = send()
    const peer = await origin.peer()
    await until(() => held.length === 1)
    peer.head(1, OK, true)
    await first
    const long = send()
    await until(() => held.length === 2)
    vi.advanceTimersByTime(60_000)
    const next = send()
    await until(() => held.length === 3)
    peer.head(3, OK, true).head(5, OK, true)
    expect([(await long).kind, (await next).kind, origin.peers.length]).toEqual(['response', 'response', 1])
  })

  it('that is idle is closed at once by a change of the policy and by the end of the proxy', async () => {
    await start((peer) => serve(peer))
    await ok()
    bench.upstream.closeIdle()
    await (await origin.peer()).end()
    await ok()
    expect(bench.upstream.openConnections).toBe(1)
    bench.upstream.close()
    await (await origin.peer(1)).end()
    await until(() => bench.upstream.openConnections === 0)
  })

  it('in use is closed by neither of these before it has ended what it has, and takes nothing new', async () => {
    await start((peer) => peer.settings())
    const slow = send()
    const peer = await origin.peer()
    const { streamId } = await peer.asked()
    await peer.next('settings')
    bench.upstream.closeIdle()
    const next = send()
    const second = await origin.peer(1)
    peer.head(streamId, OK).data(streamId, 'whole', true)
    expect(await read(answered(await slow).body)).toMatchObject({ text: 'whole' })
    await peer.end()
    second.head((await second.asked()).streamId, OK, true)
    await next
  })
})

describe('[P46] what the origin certainly did not process is sent once more', () => {
  const refusals: [string, (peer: FramePeer, id: number) => unknown][] = [
    ['REFUSED_STREAM', (peer, id) => peer.write(rstStream(id, 'REFUSED_STREAM'))],
    ['a GOAWAY that leaves it out', (peer) => peer.write(goaway(0, 'NO_ERROR', ''))],
    ['a GOAWAY and the end', (peer) => (peer.write(goaway(0, 'ENHANCE_YOUR_CALM', '')), peer.socket.end())],
  ]

  /** The first session refuses what it is asked, the others serve. */
  async function refusing(refuse: (peer: FramePeer, id: number) => unknown, times = 1): Promise<void> {
    await start(async (peer) => {
      if (origin.peers.length > times) return serve(peer)
      peer.settings()
      for (;;) refuse(peer, (await peer.asked()).streamId)
    })
  }

  it.each(refusals)('a POST without a body, on another session: %s', async (_name, refuse) => {
    await refusing(refuse)
    expect(await ok({ method: 'POST' })).toBe('1')
    expect(origin.peers).toHaveLength(2)
  })

  it.each(refusals)('a POST with a body of which little was read: %s', async (_name, refuse) => {
    await start(async (peer) => {
      peer.settings()
      const { streamId } = await peer.asked()
      const body = await peer.body()
      if (origin.peers.length === 1) refuse(peer, streamId)
      else peer.head(streamId, OK).data(streamId, body, true)
    })
    const sent = { bytes: 0, trailerNames: [], address: null }
    const reader = new ScriptedBody().push('one ', 'two').end('x-sum', '1')
    expect(await ok({ method: 'POST', body: { reader, length: null }, sent })).toBe('one two')
    expect([origin.peers.length, reader.reads, sent.bytes, sent.trailerNames]).toEqual([2, 3, 7, ['x-sum']])
  })

  it('a body of which more is still to come', async () => {
    await start(async (peer) => {
      peer.settings()
      const { streamId } = await peer.asked()
      await peer.next('data')
      if (origin.peers.length === 1) peer.write(rstStream(streamId, 'REFUSED_STREAM'))
      else peer.head(streamId, OK).data(streamId, await peer.body(), true)
    })
    const sent = { bytes: 0, trailerNames: [], address: null }
    const reader = new ScriptedBody().push('one ')
    const sending = ok({ method: 'POST', body: { reader, length: null }, sent })
    const second = await origin.peer(1)
    await until(() => second.seen.includes('data'))
    reader.push('two').end()
    expect(await sending).toBe('two')
    expect([reader.reads, sent.bytes]).toEqual([3, 7])
  })

  it('not a body of which much was read', async () => {
    await start(async (peer) => {
      peer.settings()
      const { streamId } = await peer.asked()
      for (let bytes = 0; bytes < 65_535; ) bytes += (await peer.next('data')).flowBytes
      peer.write(rstStream(streamId, 'REFUSED_STREAM'))
    })
    const body = { reader: bufferedBody(Buffer.alloc(100_000, 'x')), length: null }
    expect(await send({ method: 'POST', body })).toMatchObject({ kind: 'failed', reason: 'upstream_unreachable' })
    expect(origin.peers).toHaveLength(1)
  })

  it('not a second time', async () => {
    await refusing((peer, id) => peer.write(rstStream(id, 'REFUSED_STREAM')), 10)
    expect(await send()).toMatchObject({ kind: 'failed', reason: 'upstream_unreachable' })
    expect(origin.peers).toHaveLength(2)
  })

  it('not for a client that has gone', async () => {
    const client = new Client()
    await refusing((peer, id) => {
      client.leave()
      peer.write(rstStream(id, 'REFUSED_STREAM'))
    })
    expect((await send({ client })).kind).toBe('failed')
    expect(origin.peers).toHaveLength(1)
  })

  it.each<[string, string, Partial<Asking>, number]>([
    ['a GET is', 'served', {}, 2],
    ['a POST is not', 'served', { method: 'POST' }, 1],
    ['a GET with a body is not', 'served', { body: { reader: bufferedBody(Buffer.from('x')), length: 1 } }, 1],
    ['a GET is not', 'not served', {}, 1],
  ])('%s, when a session that had %s before is closed without a word', async (_name, before, asking, sessions) => {
    await start(async (peer) => {
      if (origin.peers.length > 1) return serve(peer)
      peer.settings()
      if (before === 'served') peer.head((await peer.asked()).streamId, OK, true)
      await peer.asked()
      peer.socket.end()
    })
    if (before === 'served') await ok()
    expect((await send(asking)).kind).toBe(sessions === 2 ? 'response' : 'failed')
    expect(origin.peers).toHaveLength(sessions)
  })

  it('not after any other reset, on a session that had served before either', async () => {
    await start(async (peer) => {
      peer.settings()
      peer.head((await peer.asked()).streamId, OK, true)
      peer.write(rstStream((await peer.asked()).streamId, 'INTERNAL_ERROR'))
    })
    await ok()
    expect((await send()).kind).toBe('failed')
    expect(origin.peers).toHaveLength(1)
  })
})

describe('an origin that requires HTTP/1.1', () => {
  it('is asked again in it, and from then on', async () => {
    await start(
      async (peer) => {
        peer.settings()
        peer.write(rstStream((await peer.asked()).streamId, 'HTTP_1_1_REQUIRED'))
      },
      ['h2', 'http/1.1'],
    )
    expect(await ok({ method: 'POST' })).toBe('ok')
    expect(await ok()).toBe('ok')
    expect(origin.peers).toHaveLength(1)
  })
})

describe('[C18] [C20] a hostile origin ends its session, and every request on it fails as upstream_malformed', () => {
  const flood = (peer: FramePeer, type: number, flags: number, id: number, payload: Buffer): void => {
    for (let frames = 0; frames < 3_000; frames++) peer.frame(type, flags, id, payload)
  }
  it.each<[string, string, (peer: FramePeer, id: number) => unknown]>([
    ['PING', 'H2_PING_FLOOD', (peer) => flood(peer, FRAME_TYPE.PING, 0, 0, Buffer.alloc(8))],
    ['SETTINGS', 'H2_SETTINGS_FLOOD', (peer) => flood(peer, FRAME_TYPE.SETTINGS, 0, 0, Buffer.alloc(0))],
    [
      'empty DATA',
      'H2_EMPTY_DATA_FLOOD',
      (peer, id) => flood(peer.head(id, OK), FRAME_TYPE.DATA, 0, id, Buffer.alloc(0)),
    ],
    ['unknown frames', 'H2_UNKNOWN_FRAME_FLOOD', (peer) => flood(peer, 0xaa, 0, 0, Buffer.alloc(0))],
    [
      'CONTINUATION',
      'H2_CONTINUATION_FLOOD',
      (peer, id) => flood(peer.frame(FRAME_TYPE.HEADERS, 0, id), FRAME_TYPE.CONTINUATION, 0, id, Buffer.alloc(1)),
    ],
    [
      'PUSH_PROMISE',
      'H2_PUSH_PROMISE',
      (peer, id) => peer.frame(FRAME_TYPE.PUSH_PROMISE, 4, id, Buffer.from([0, 0, 0, 2])),
    ],
    ['a stream of its own', 'H2_STREAM_ID', (peer) => peer.head(2, OK)],
    [
      'a frame that is too long',
      'H2_FRAME_TOO_LARGE',
      (peer, id) => peer.frame(FRAME_TYPE.DATA, 0, id, Buffer.alloc(16_385)),
    ],
    ['bad HPACK', 'H2_HPACK_INDEX', (peer, id) => peer.frame(FRAME_TYPE.HEADERS, 4, id, Buffer.from([0x80]))],
    [
      'a window that overflows',
      'H2_WINDOW_OVERFLOW',
      (peer) => peer.frame(FRAME_TYPE.WINDOW_UPDATE, 0, 0, Buffer.from([0x7f, 0xff, 0xff, 0xff])),
    ],
    ['ENABLE_PUSH', 'H2_SETTINGS_VALUE', (peer) => peer.write(settingsFrame([[SETTING.ENABLE_PUSH, 1]]))],
  ])('%s', async (_name, code, attack) => {
    await start((peer) => peer.settings())
    const all = [send({ method: 'POST' }), send({ method: 'POST' })]
    const peer = await origin.peer()
    const { streamId } = await peer.asked()
    await peer.asked()
    attack(peer, streamId)
    const failed = await Promise.all(
      all.map(async (sending) => {
        const sent = await sending
        return sent.kind === 'failed' ? sent : (await read(sent.body)).last
      }),
    )
    for (const sent of failed) expect(sent).toMatchObject({ kind: 'failed', reason: 'upstream_malformed' })
    expect(failed[1]).toMatchObject({ detail: code })
    expect((await peer.next('goaway')).errorCode).not.toBe(0)
    await peer.end()
    await until(() => bench.upstream.openConnections === 0)
  })

  it('[C19] a field block that unpacks to more than it may costs a bounded time', async () => {
    await start((peer) => peer.settings())
    const sending = send()
    const peer = await origin.peer()
    const { streamId } = await peer.asked()
    // One field of 4 KB into the table, and 16,000 references to it.
    const field = Buffer.concat([
      Buffer.from([0x40, 1, 0x78, 0x7f, 0x80 + ((4_000 - 127) & 0x7f), (4_000 - 127) >> 7]),
      Buffer.alloc(4_000, 'a'),
    ])
    const started = performance.now()
    peer.frame(FRAME_TYPE.HEADERS, 4, streamId, Buffer.concat([Buffer.from([0x88]), field, Buffer.alloc(12_000, 0xbe)]))
    expect(await sending).toMatchObject({ kind: 'failed', reason: 'upstream_malformed' })
    expect(performance.now() - started).toBeLessThan(1_000)
  })
})
