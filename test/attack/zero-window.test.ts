// Clients that ask for much and open no window for it: what waits for them is bounded, and the others are served.

import { afterEach, expect, it } from 'vitest'
import { settingsFrame } from '../../src/core/http2-frame-writer.ts'
import { eachCell } from './support/http2-bed.ts'
import type { Version } from './support/http2-canary.ts'
import { type Http2LoadBed, startHttp2LoadBed } from './support/http2-load-bed.ts'
import { data, outcomeOn, type RawPeer, SETTING, streamOf } from './support/http2-wire.ts'
import { anonymous, FULL, MIB, report, times } from './support/load-bed.ts'

const STREAMS = 100
const ANSWER = Buffer.alloc(MIB, 'a')
/** What is on its way in (of HTTP/1.1 a queue and a connection with its buffers, of HTTP/2 a window), and a high-water mark on its way out. */
const BYTES_EACH: Readonly<Record<Version, number>> = { 'http/1.1': 384 * 1_024, h2: 512 * 1_024 }
const CONNECTIONS = FULL ? 200 : 20
const IDLE_STREAMS = FULL ? 100 : 20
const IDLE_BYTES_EACH = 48 * 1_024

let bed: Http2LoadBed | undefined
afterEach(async () => {
  await bed?.close()
  bed = undefined
})

const mib = (bytes: number): number => Math.round((bytes / MIB) * 10) / 10

it.each<[string, Version, (peer: RawPeer, id: number) => Buffer[]]>([
  ['and never open a window', 'http/1.1', () => []],
  ['and open the window of each by one octet', 'http/1.1', (peer, id) => [peer.widen(id, 1)]],
  ['and never open a window', 'h2', () => []],
])(
  `[C21] ${STREAMS} streams that ask for a MiB each %s, of an origin of %s`,
  { timeout: 60_000 },
  async (_what, version, more) => {
    bed = await startHttp2LoadBed(
      {
        '/mib': (incoming, response) => {
          incoming.resume()
          response.setHeader('Content-Length', ANSWER.length)
          response.end(ANSWER)
        },
      },
      version,
    )
    const { asked, connect, memory, proxy, servesHttp2, servesOthers, again } = bed
    await again(async () => {
      const before = await memory()
      const resident = anonymous(proxy.pid)
      const peer = await connect()
      peer.begin([[SETTING.INITIAL_WINDOW_SIZE, 0]])
      for (let at = 0; at < STREAMS; at += 1) peer.write(peer.headers(streamOf(at), asked('GET', '/mib')))
      await peer.until(() => peer.blocks.size === STREAMS, 'the heads of the answers')
      for (let at = 0; at < STREAMS; at += 1) peer.write(...more(peer, streamOf(at)))
      await peer.alive()
      await servesOthers()
      await servesHttp2()
      const during = await memory()
      report({
        bytesEach: Math.round((during.reachable - before.reachable) / STREAMS),
        grown: mib(anonymous(proxy.pid) - resident),
      })
      expect(during.reachable - before.reachable).toBeLessThan(STREAMS * BYTES_EACH[version])
      expect(peer.of('data').reduce((sum, frame) => sum + frame.data.length, 0)).toBeLessThanOrEqual(STREAMS)
      peer.stream.destroy()
    })
  },
)

it(`[C21] ${CONNECTIONS} connections with ${IDLE_STREAMS} requests each that are never finished`, {
  timeout: FULL ? 240_000 : 60_000,
}, async () => {
  bed = await startHttp2LoadBed({}, 'h2')
  const { asked, connect, memory, proxy, servesHttp2, servesOthers, again } = bed
  await again(async () => {
    const before = await memory()
    const resident = anonymous(proxy.pid)
    const peers = await times(
      CONNECTIONS,
      async () => {
        const peer = await connect()
        peer.begin()
        for (let at = 0; at < IDLE_STREAMS; at += 1)
          peer.write(peer.headers(streamOf(at), asked('POST', '/idle'), false))
        await peer.alive()
        return peer
      },
      8,
    )
    await servesOthers()
    await servesHttp2()
    const during = await memory()
    const each = (during.reachable - before.reachable) / (CONNECTIONS * IDLE_STREAMS)
    report({ bytesEach: Math.round(each), grown: mib(anonymous(proxy.pid) - resident), sockets: during.sockets })
    expect(each).toBeLessThan(IDLE_BYTES_EACH)
    for (const peer of peers) peer.stream.destroy()
  })
})

it('[C21] a client that never reads: not its answers, not its acknowledgements', { timeout: 60_000 }, async () => {
  bed = await startHttp2LoadBed()
  const { asked, connect, malformed, again } = bed
  let attacks = 0
  await again(async () => {
    const peer = await connect()
    peer.stream.pause()
    peer.begin([[SETTING.INITIAL_WINDOW_SIZE, 2 ** 31 - 1]])
    for (let at = 0; at < 1_000; at += 1) {
      peer.write(peer.headers(streamOf(at), asked('GET', `//${'a'.repeat(8_000)}`)), peer.ping(), peer.widen(0, 1))
    }
    attacks += 1
    await expect
      .poll(() => malformed('H2_RESET_FLOOD').length + malformed('H2_PING_FLOOD').length, { timeout: 8_000 })
      .toBe(attacks)
    peer.stream.destroy()
  })
})

eachCell((lab) => {
  it('[C21] a stream without a window holds up no other, and has its answer when it gets one', async () => {
    const { asked, attack } = lab()
    await attack(2, async (peer) => {
      peer.write(settingsFrame([[SETTING.INITIAL_WINDOW_SIZE, 0]]))
      peer.write(peer.headers(1, asked('GET', '/held')), peer.headers(3, asked('GET', '/free')), peer.widen(3, 10))
      expect(await outcomeOn(peer, 3)).toEqual({ status: '200', reset: undefined })
      expect([peer.status(1), peer.body(1).length, peer.ended(1)]).toEqual(['200', 0, false])
      peer.write(peer.widen(1, 1))
      await peer.until(() => peer.body(1).length === 1)
      peer.write(peer.widen(1, 1))
      expect(await outcomeOn(peer, 1)).toEqual({ status: '200', reset: undefined })
      expect(peer.body(1).toString()).toBe('ok')
    })
  })

  it('[C21] a window that SETTINGS take away holds up what is to come, and nothing else', async () => {
    const { asked, attack } = lab()
    await attack(2, async (peer) => {
      peer.write(peer.headers(1, asked('POST', '/one'), false))
      peer.write(settingsFrame([[SETTING.INITIAL_WINDOW_SIZE, 0]]))
      peer.write(data(1, 'x', true))
      await peer.until(() => peer.status(1) === '200')
      peer.write(peer.headers(3, asked('HEAD', '/bodiless')))
      expect((await outcomeOn(peer, 3)).status).toBe('200')
      expect(peer.ended(1)).toBe(false)
      peer.write(peer.widen(1, 100))
      expect(await outcomeOn(peer, 1)).toEqual({ status: '200', reset: undefined })
    })
  })
})
