// Rapid reset (CVE-2023-44487): requests that are taken back as soon as they are made. Their cost is bounded, and each is in the trail.

import { expect, it } from 'vitest'
import { eachCell } from './support/http2-bed.ts'
import { counted, floods, pour } from './support/http2-flood.ts'
import { data, goawayOn, streamOf } from './support/http2-wire.ts'

const VOLUME = { fast: 2_000, full: 10_000 }

floods([
  {
    what: '[C17] a request and its reset',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_RESET_FLOOD',
    counted: 'rst_stream',
    volume: VOLUME,
    requests: null,
    frames: (asking, volume, peer) =>
      counted(volume, (at) =>
        Buffer.concat([peer.headers(streamOf(at), asking('GET', `/${at}`)), peer.reset(streamOf(at))]),
      ),
  },
  {
    what: '[C17] a request with a body, and its reset',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_RESET_FLOOD',
    counted: 'rst_stream',
    volume: VOLUME,
    requests: null,
    frames: (asking, volume, peer) =>
      counted(volume, (at) =>
        Buffer.concat([
          peer.headers(streamOf(at), asking('POST', `/${at}`), false),
          data(streamOf(at), 'x'),
          peer.reset(streamOf(at)),
        ]),
      ),
  },
  {
    what: '[C17] requests that are denied, and their resets',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_RESET_FLOOD',
    counted: 'rst_stream',
    volume: VOLUME,
    requests: null,
    frames: (asking, volume, peer) =>
      counted(volume, (at) =>
        Buffer.concat([peer.headers(streamOf(at), asking('GET', `/${at}//x`)), peer.reset(streamOf(at))]),
      ),
  },
  {
    what: '[C17] a reset of a stream that is over, again and again',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_CLOSED_STREAM_FLOOD',
    counted: 'closed_stream',
    volume: { fast: 5_000, full: 100_000 },
    requests: 1,
    *frames(asking, volume, peer) {
      yield peer.headers(1, asking('POST', '/open'), false)
      yield* counted(volume, () => peer.reset(1))
    },
  },
])

eachCell((bed) => {
  it('[C17] the trail has every request head that was read, in order and without a gap', async () => {
    const { asked, attack } = bed()
    const left = await attack(null, async (peer) => {
      await pour(
        peer,
        counted(2_000, (at) =>
          Buffer.concat([peer.headers(streamOf(at), asked('GET', `/r/${at}`)), peer.reset(streamOf(at))]),
        ),
      )
      expect(await goawayOn(peer)).toBe('ENHANCE_YOUR_CALM')
    })
    const paths = left.decided.map(({ path }) => path).filter((path) => path !== null)
    expect(paths.length).toBeGreaterThan(100)
    expect([...paths].sort(byNumber)).toEqual(paths.map((_path, at) => `/r/${at}`))
    // The aggregate is the only one without a path.
    expect(left.decided).toHaveLength(paths.length + 1)
    const counts = String(left.malformed[0]?.['code'])
    const of = (glitch: string): number => Number(new RegExp(` ${glitch}=(\\d+)`).exec(counts)?.[1] ?? 0)
    expect(of('rst_stream') + of('stream_error')).toBeLessThanOrEqual(paths.length)
    // What there was no room for was refused for that, and counted.
    expect(left.decided.filter(({ reason }) => reason === 'overloaded')).toHaveLength(of('stream_error'))
  })

  it('[C17] a client that takes back a few of its requests is borne', async () => {
    const { asked, attack } = bed()
    const left = await attack(100, async (peer) => {
      for (let at = 0; at < 100; at += 1) {
        peer.write(peer.headers(streamOf(at), asked('GET', `/${at}`)), peer.reset(streamOf(at)))
        await peer.alive()
      }
    })
    expect(left.malformed).toEqual([])
  })
})

const byNumber = (a: unknown, b: unknown): number => numberOf(a) - numberOf(b)
const numberOf = (path: unknown): number => Number(String(path).slice('/r/'.length))
