// Flow control both ways: never more than was allowed, never less than could go, everybody in turn.

import type { Duplex } from 'node:stream'
import { afterEach, describe, expect, it } from 'vitest'
import { settingsFrame } from '../../../src/core/http2-frame-writer.ts'
import type { Http2SessionEnd } from '../../../src/proxy/http2/events.ts'
import { Http2Session } from '../../../src/proxy/http2/session.ts'
import type { Http2Stream } from '../../../src/proxy/http2/stream.ts'
import type { ResponseSink } from '../../../src/proxy/message.ts'
import { asked, data, padded, RawPeer, request, SETTING } from './support/raw-peer.ts'
import { answerOk, type Play, readBody, type ServedBed, socketPair, startServed } from './support/served.ts'

let bed: ServedBed
afterEach(() => bed.close())

/** Sends so many bytes as an answer, with backpressure. */
const sending =
  (bytes: number, piece = 10_000): Play =>
  async ({ sink }) => {
    sink.head(200, 'OK', [], { kind: 'stream' })
    for (let left = bytes; left > 0; left -= piece) {
      if (!sink.write(Buffer.alloc(Math.min(piece, left), 'x'))) await sink.drained()
    }
    sink.end([])
  }

describe('what is sent', () => {
  it('stops at the window of the stream and goes on as it grows', async () => {
    bed = startServed(sending(300_000))
    const { peer } = bed
    peer.begin([[SETTING.INITIAL_WINDOW_SIZE, 1_000]])
    peer.get(1, '/')
    await peer.until(() => peer.body(1).length === 1_000)
    await peer.alive()
    expect(peer.body(1)).toHaveLength(1_000)
    peer.write(peer.widen(1, 234))
    await peer.until(() => peer.body(1).length === 1_234)
    peer.write(peer.widen(1, 1_000_000), peer.widen(0, 1_000_000))
    await peer.until(() => peer.ended(1))
    expect(peer.body(1)).toHaveLength(300_000)
    expect(Math.max(...peer.of('data').map(({ data: sent }) => sent.length))).toBeLessThanOrEqual(16_384)
  })

  it('stops at the window of the connection, for all streams together', async () => {
    bed = startServed(sending(100_000))
    const { peer } = bed
    peer.begin([[SETTING.INITIAL_WINDOW_SIZE, 1_000_000]])
    for (const id of [1, 3, 5]) peer.get(id, '/')
    const got = (): number => [1, 3, 5].reduce((sum, id) => sum + peer.body(id).length, 0)
    await peer.until(() => got() === 65_535)
    await peer.alive()
    expect(got()).toBe(65_535)
    peer.write(peer.widen(0, 1_000_000))
    await peer.until(() => [1, 3, 5].every((id) => peer.ended(id)))
    expect(got()).toBe(300_000)
  })

  it('goes by a window that SETTINGS change, below zero too', async () => {
    bed = startServed(sending(50_000))
    const { peer } = bed
    peer.begin([[SETTING.INITIAL_WINDOW_SIZE, 20_000]])
    peer.get(1, '/')
    await peer.until(() => peer.body(1).length === 20_000)
    peer.write(settingsFrame([[SETTING.INITIAL_WINDOW_SIZE, 5_000]]), peer.widen(1, 15_000))
    await peer.alive()
    expect(peer.body(1)).toHaveLength(20_000)
    peer.write(peer.widen(1, 100))
    await peer.until(() => peer.body(1).length === 20_100)
    peer.write(settingsFrame([[SETTING.INITIAL_WINDOW_SIZE, 100_000]]))
    await peer.until(() => peer.ended(1))
    expect(peer.body(1)).toHaveLength(50_000)
  })

  it('a head, an empty answer and trailers need no window', async () => {
    bed = startServed(({ sink, head }) => {
      sink.head(head.target === '/204' ? 204 : 200, '', [], { kind: head.target === '/204' ? 'none' : 'stream' })
      sink.end(head.target === '/204' ? [] : ['Grpc-Status', '0'])
      return Promise.resolve()
    })
    const { peer } = bed
    peer.begin([[SETTING.INITIAL_WINDOW_SIZE, 0]])
    peer.get(1, '/204')
    peer.get(3, '/')
    await peer.until(() => peer.ended(1) && peer.ended(3))
    expect(peer.blocks.get(1)).toEqual([{ fields: [':status', '204'], endStream: true }])
    expect(peer.blocks.get(3)?.[1]).toEqual({ fields: ['grpc-status', '0'], endStream: true })
    expect(peer.of('data')).toEqual([])
  })

  it('takes turns: a short answer is not held up by long ones', async () => {
    bed = startServed((incoming) => sending(incoming.head.target === '/long' ? 2_000_000 : 10)(incoming))
    const { peer } = bed
    peer.begin([[SETTING.INITIAL_WINDOW_SIZE, 10_000_000]])
    peer.write(peer.widen(0, 100_000_000))
    for (const id of [1, 3]) peer.get(id, '/long')
    await peer.until(() => peer.body(1).length > 100_000)
    peer.get(5, '/short')
    await peer.until(() => peer.ended(5))
    expect(peer.ended(1) || peer.ended(3)).toBe(false)
    await peer.until(() => peer.ended(1) && peer.ended(3))
    const order = peer.of('data').map(({ streamId }) => streamId)
    const turns = order.filter((id, i) => id !== order[i - 1]).length
    expect(turns).toBeGreaterThan(100)
  })

  it('a writer is told to wait at one high-water mark, and no more is kept', async () => {
    let sink: ResponseSink | null = null
    let written = 0
    bed = startServed(async (incoming) => {
      sink = incoming.sink
      incoming.sink.head(200, 'OK', [], { kind: 'stream' })
      do written += 1_000
      while (incoming.sink.write(Buffer.alloc(1_000)))
      await incoming.sink.drained()
      incoming.sink.end([])
    })
    const { peer } = bed
    peer.begin([[SETTING.INITIAL_WINDOW_SIZE, 0]])
    peer.get(1, '/')
    await peer.until(() => sink !== null)
    await peer.alive()
    expect(written).toBe(66_000)
    peer.write(peer.widen(1, 1_000))
    await peer.alive()
    expect(peer.ended(1)).toBe(false)
    peer.write(peer.widen(1, 65_000), peer.widen(0, 1_000))
    await peer.until(() => peer.ended(1))
    expect(peer.body(1)).toHaveLength(written)
  })

  it('what is written in one turn leaves in one frame, and in that turn', async () => {
    let sink: ResponseSink | null = null
    bed = startServed((incoming) => {
      sink = incoming.sink
      incoming.sink.head(200, 'OK', [], { kind: 'stream' })
      for (const word of ['one ', 'two ', 'three']) incoming.sink.write(Buffer.from(word))
      return new Promise((resolve) => incoming.link.onGone(resolve))
    })
    const { peer } = bed
    peer.begin()
    await peer.alive()
    peer.get(1, '/')
    await peer.until(() => peer.of('data').length > 0)
    expect(peer.body(1).toString()).toBe('one two three')
    expect(peer.of('data')).toHaveLength(1)
    const wrote = new Promise<void>((resolve) => bed.far.once('data', () => resolve()))
    let turns = 0
    setImmediate(() => {
      turns += 1
    })
    ;(sink as ResponseSink | null)?.write(Buffer.from('!'))
    await wrote
    expect(turns).toBe(0)
  })

  it('[C21] a stream whose window stays shut is given up, and only it', async () => {
    const { near, far } = socketPair()
    const streams: Http2Stream[] = []
    const resets: string[] = []
    const session = new Http2Session(near, near, {
      role: 'server',
      maxStreams: 10,
      sweepMs: 2,
      events: {
        onRequest: (stream) => {
          streams.push(stream)
          stream.listen({ onReset: ({ by, error }) => resets.push(`${stream.id} ${by} ${error}`) })
          stream.sendHeaders([':status', '200'], false)
          stream.write(Buffer.alloc(100))
          if (stream.id === 1) stream.end([])
        },
        onClosed: () => undefined,
      },
    })
    const peer = new RawPeer(far)
    peer.begin([[SETTING.INITIAL_WINDOW_SIZE, 0]])
    peer.get(1, '/')
    peer.get(3, '/')
    peer.write(peer.widen(3, 100))
    await peer.until(() => peer.resetOf(1) !== undefined)
    expect(resets).toEqual(['1 local CANCEL'])
    expect([peer.resetOf(1), peer.body(3).length]).toEqual(['CANCEL', 100])
    session.destroy()
    bed = startServed(answerOk)
  })

  it('a client that reads nothing holds back what is sent to it', async () => {
    let written = 0
    bed = startServed(async ({ sink, link }) => {
      sink.head(200, 'OK', [], { kind: 'stream' })
      while (!link.gone) {
        written += 16_384
        if (!sink.write(Buffer.alloc(16_384))) await sink.drained()
      }
    })
    const { peer, near, far } = bed
    peer.begin([[SETTING.INITIAL_WINDOW_SIZE, 2 ** 31 - 1]])
    peer.write(peer.widen(0, 2 ** 30))
    await peer.alive()
    far.pause()
    peer.get(1, '/')
    await new Promise<void>((resolve) => {
      const look = (): void => void (near.writableLength >= 64 * 1024 ? resolve() : setImmediate(look))
      look()
    })
    const held = written
    for (let i = 0; i < 20; i += 1) await new Promise((resolve) => setImmediate(resolve))
    expect(written).toBe(held)
    expect(near.writableLength).toBeLessThan(128 * 1024)
    far.resume()
    await peer.until(() => peer.body(1).length > 1_000_000)
  })
})

describe('what is received', () => {
  const post = (peer: RawPeer, id: number): Buffer => peer.headers(id, asked('POST', '/'), false)

  it('is credited as it is read: a client can send without end to a reader', async () => {
    let length = 0
    bed = startServed(async (incoming) => {
      const { text } = await readBody(incoming)
      length = text.length
      await answerOk(incoming)
    })
    const { peer } = bed
    peer.begin()
    peer.write(post(peer, 1))
    const granted = (id: number, first: number): number =>
      peer.of('window_update').reduce((sum, { streamId, increment }) => sum + (streamId === id ? increment : 0), first)
    for (let sent = 0; sent < 3_000_000; sent += 10_000) {
      await peer.until(() => granted(1, 262_144) >= sent + 10_000 && granted(0, 65_535) >= sent + 10_000)
      peer.write(data(1, Buffer.alloc(10_000), sent + 10_000 === 3_000_000))
    }
    await peer.until(() => peer.ended(1))
    expect(length).toBe(3_000_000)
  })

  it('is not credited while nobody reads', async () => {
    bed = startServed((incoming) => new Promise((resolve) => incoming.link.onGone(resolve)))
    const { peer } = bed
    peer.begin()
    peer.write(post(peer, 1))
    for (let i = 0; i < 16; i += 1) peer.write(data(1, Buffer.alloc(16_384)))
    await peer.alive()
    expect(peer.of('window_update').filter(({ streamId }) => streamId === 1)).toEqual([])
    expect(peer.of('window_update').filter(({ streamId }) => streamId === 0)).toHaveLength(1)
  })

  it('padding is credited at once', async () => {
    bed = startServed(async (incoming) => {
      await readBody(incoming)
      await answerOk(incoming)
    })
    const { peer } = bed
    peer.begin()
    peer.write(post(peer, 1))
    // Five mebibytes of padding around 20,000 bytes: without credit a window of 256 KiB is soon used up.
    const frames = Buffer.concat(Array.from({ length: 100 }, () => padded(1, 'x', 255)))
    for (let i = 0; i < 200; i += 1) {
      peer.write(frames)
      await peer.alive()
    }
    peer.write(data(1, '', true))
    await peer.until(() => peer.ended(1))
    expect([bed.faults, peer.resetOf(1)]).toEqual([[], undefined])
  })

  it('what was never read is credited when its exchange is over', async () => {
    bed = startServed(async (incoming) => {
      await new Promise((resolve) => setImmediate(resolve))
      await answerOk(incoming)
    })
    const { peer } = bed
    peer.begin()
    for (let id = 1; id < 61; id += 2) {
      peer.write(post(peer, id), ...Array.from({ length: 5 }, (_, i) => data(id, Buffer.alloc(16_384), i === 4)))
      await peer.until(() => peer.ended(id))
      await peer.alive()
    }
    expect(bed.faults).toEqual([])
  })
})

describe('the role of a client', () => {
  function client(maxStreams = 100): {
    session: Http2Session
    peer: RawPeer
    log: string[]
    ends: Http2SessionEnd[]
    open: (path: string, endStream?: boolean) => Http2Stream | null
  } {
    const { near, far } = socketPair()
    const log: string[] = []
    const ends: Http2SessionEnd[] = []
    const session = new Http2Session(near, near, {
      role: 'client',
      maxStreams,
      events: {
        onGoaway: (error) => log.push(`goaway ${error}`),
        onClosed: (end) => ends.push(end),
      },
    })
    const peer = new RawPeer(stripped(far))
    const open = (path: string, endStream = true): Http2Stream | null => {
      const stream = session.openStream(request(path), endStream, {
        onHead: ({ fields, endStream: end }) => log.push(`${path} head ${fields[1]}${end ? ' end' : ''}`),
        onReset: ({ by, error, unprocessed }) => log.push(`${path} ${by} ${error}${unprocessed ? ' unprocessed' : ''}`),
      })
      return stream
    }
    bed = { close: () => Promise.resolve(session.destroy()) } as unknown as ServedBed
    return { session, peer, log, ends, open }
  }

  it('sends its preface, and requests in order', async () => {
    const { peer, open } = client()
    expect([open('/a')?.id, open('/b')?.id]).toEqual([1, 3])
    await peer.until(() => peer.blocks.has(3))
    expect(peer.frames.map(({ type }) => type)).toEqual(['settings', 'window_update', 'headers', 'headers'])
    expect(peer.blocks.get(1)?.[0]).toEqual({ fields: request('/a'), endStream: true })
  })

  it('hears of interim heads, the head, the body and trailers', async () => {
    const { peer, log, open } = client()
    const stream = open('/a')
    peer.write(settingsFrame([]))
    peer.write(peer.headers(1, [':status', '103'], false), peer.headers(1, [':status', '200'], false))
    peer.write(data(1, 'abc'), peer.headers(1, ['grpc-status', '0']))
    expect(await stream?.body.read()).toEqual({ kind: 'data', data: Buffer.from('abc') })
    expect(await stream?.body.read()).toEqual({ kind: 'end', trailers: ['grpc-status', '0'] })
    expect(log).toEqual(['/a head 103', '/a head 200'])
    expect(stream?.closed).toBe(true)
  })

  it('opens no more streams than the peer takes, nor than its own bound', async () => {
    const { session, peer, open } = client(3)
    expect(session.maxStreams).toBe(3)
    peer.write(settingsFrame([[SETTING.MAX_CONCURRENT_STREAMS, 1]]))
    await peer.until(() => peer.of('settings').length === 2)
    expect([open('/a')?.id, open('/b')]).toEqual([1, null])
    peer.write(peer.headers(1, [':status', '204']))
    await peer.until(() => session.streams === 0)
    expect(open('/c')?.id).toBe(3)
  })

  it('GOAWAY: what is above its last stream was not processed, what is below goes on', async () => {
    const { session, peer, log, ends, open } = client()
    for (const path of ['/a', '/b']) open(path)
    peer.write(settingsFrame([]))
    await peer.until(() => peer.blocks.has(3))
    peer.write(Buffer.concat([Buffer.from([0, 0, 8, 7, 0, 0, 0, 0, 0]), Buffer.from([0, 0, 0, 1, 0, 0, 0, 0])]))
    await peer.until(() => log.length === 2)
    expect(log).toEqual(['/b peer NO_ERROR unprocessed', 'goaway NO_ERROR'])
    expect(open('/c')).toBeNull()
    peer.write(peer.headers(1, [':status', '204']))
    await peer.until(() => peer.closed)
    expect(log[2]).toBe('/a head 204 end')
    session.destroy()
    expect(ends).toEqual([{ fault: null }])
  })

  it.each([
    ['REFUSED_STREAM', '/a peer REFUSED_STREAM unprocessed'],
    ['CANCEL', '/a peer CANCEL'],
  ] as const)('RST_STREAM %s', async (error, expected) => {
    const { peer, log, open } = client()
    const stream = open('/a')
    peer.write(settingsFrame([]), peer.reset(1, error))
    expect(await stream?.body.read()).toMatchObject({ kind: 'failed', reason: 'upstream_unreachable' })
    expect(log).toEqual([expected])
  })

  it('an answer that is whole stays whole behind RST_STREAM', async () => {
    const { peer, open } = client()
    const stream = open('/a', false)
    peer.write(
      settingsFrame([]),
      peer.headers(1, [':status', '200'], false),
      data(1, 'abc', true),
      peer.reset(1, 'NO_ERROR'),
    )
    await peer.until(() => stream?.closed === true)
    expect(await stream?.body.read()).toEqual({ kind: 'data', data: Buffer.from('abc') })
    expect(await stream?.body.read()).toEqual({ kind: 'end', trailers: [] })
  })

  it('a request that has not left is dropped without RST_STREAM', async () => {
    const { peer, open } = client()
    open('/a')?.reset('CANCEL')
    expect(open('/b')?.id).toBe(3)
    await peer.until(() => peer.blocks.has(3))
    expect(peer.of('rst_stream')).toEqual([])
    expect(peer.blocks.has(1)).toBe(false)
  })

  const HOSTILE: readonly (readonly [string, (peer: RawPeer) => Buffer, string])[] = [
    ['DATA before the head', () => data(1, 'x'), '/a local PROTOCOL_ERROR'],
    ['an interim head that ends the stream', (peer) => peer.headers(1, [':status', '100']), '/a local PROTOCOL_ERROR'],
    ['DATA of a stream nobody opened', () => data(5, 'x'), '/a connection PROTOCOL_ERROR'],
    ['a request', (peer) => peer.headers(2, request('/')), '/a connection PROTOCOL_ERROR'],
    ['ENABLE_PUSH', () => settingsFrame([[SETTING.ENABLE_PUSH, 1]]), '/a connection PROTOCOL_ERROR'],
  ]

  it.each(HOSTILE)('%s', async (_what, frame, expected) => {
    const { peer, log, open } = client()
    const stream = open('/a')
    peer.write(settingsFrame([]), frame(peer))
    expect(await stream?.body.read()).toMatchObject({ kind: 'failed', reason: 'upstream_malformed' })
    expect(log).toEqual([expected])
  })

  it('one answer that nobody reads does not hold up the next', async () => {
    const { peer, open } = client()
    const [slow, quick] = [open('/slow'), open('/quick')]
    peer.write(
      settingsFrame([]),
      peer.headers(1, [':status', '200'], false),
      peer.headers(3, [':status', '200'], false),
    )
    for (let i = 0; i < 16; i += 1) peer.write(data(1, Buffer.alloc(16_384)))
    const reading = (async () => {
      let bytes = 0
      for (;;) {
        const part = await quick?.body.read()
        if (part?.kind !== 'data') return bytes
        bytes += part.data.length
      }
    })()
    const granted = (id: number, first: number): number =>
      peer.of('window_update').reduce((sum, { streamId, increment }) => sum + (streamId === id ? increment : 0), first)
    for (let sent = 0; sent < 2_000_000; sent += 10_000) {
      await peer.until(() => granted(3, 262_144) >= sent + 10_000 && granted(0, 65_535) >= sent + 10_000 + 262_144)
      peer.write(data(3, Buffer.alloc(10_000), sent + 10_000 === 2_000_000))
    }
    expect(await reading).toBe(2_000_000)
    expect(slow?.closed).toBe(false)
  })
})

/** What a server reads: the frames behind the preface. */
function stripped(far: Duplex): Duplex {
  const on = far.on.bind(far)
  let preface = 24
  far.on = ((event: string, listener: (...args: unknown[]) => void) => {
    if (event !== 'data') return on(event, listener)
    return on(event, (chunk: Buffer) => {
      const rest = chunk.subarray(Math.min(preface, chunk.length))
      preface -= chunk.length - rest.length
      if (rest.length > 0) listener(rest)
    })
  }) as typeof far.on
  return far
}
