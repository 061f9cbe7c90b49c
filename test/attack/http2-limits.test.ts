// What a client of HTTP/2 is told that it may do, and what becomes of more: each request too many is refused by itself, and recorded.

import { describe, expect, it } from 'vitest'
import { eachCell } from './support/http2-bed.ts'
import { data, goawayOn, head, outcomeOn, SETTING, streamOf } from './support/http2-wire.ts'

const MAX_STREAMS = 100
const IDLE_MS = 300

eachCell((bed) => {
  it('[C22] the limits are told before anything else, and are no larger than they must be', async () => {
    await bed().attack(1, async (peer) => {
      await peer.until(() => peer.frames.length > 0)
      const [first] = peer.of('settings')
      expect(peer.frames[0]).toBe(first)
      expect(new Map(first?.settings)).toEqual(
        new Map([
          [SETTING.MAX_CONCURRENT_STREAMS, MAX_STREAMS],
          [SETTING.INITIAL_WINDOW_SIZE, 256 * 1_024],
          [SETTING.MAX_HEADER_LIST_SIZE, 64 * 1_024],
        ]),
      )
      peer.write(head(1, bed().asked('GET', '/')))
      await outcomeOn(peer, 1)
    })
  })

  it('[C22] a stream over the limit is refused by itself, recorded, and served when there is room', async () => {
    const { asked, attack } = bed()
    const refused = streamOf(MAX_STREAMS)
    const next = streamOf(MAX_STREAMS + 1)
    const left = await attack(MAX_STREAMS + 2, async (peer) => {
      for (let at = 0; at < MAX_STREAMS; at += 1)
        peer.write(peer.headers(streamOf(at), asked('POST', `/open/${at}`), false))
      peer.write(peer.headers(refused, asked('GET', '/too-many')))
      expect(await outcomeOn(peer, refused)).toEqual({ status: undefined, reset: 'REFUSED_STREAM' })
      peer.write(data(1, 'done', true))
      expect(await outcomeOn(peer, 1)).toEqual({ status: '200', reset: undefined })
      peer.write(peer.headers(next, asked('GET', '/room')))
      expect(await outcomeOn(peer, next)).toEqual({ status: '200', reset: undefined })
    })
    const [decided] = left.decided.filter(({ path }) => path === '/too-many')
    expect(decided).toMatchObject({ decision: 'deny', enforced: true, reason: 'overloaded', method: 'GET' })
    expect(left.completed.find(({ request_id }) => request_id === decided?.request_id)).toMatchObject({
      outcome: 'refused',
      reason: 'overloaded',
      status: null,
      upstream_address: null,
    })
    expect(left.got.map(({ target }) => target).sort()).toEqual(['/open/0', '/room'])
  })

  it.each<[string, string[]]>([
    ['one field of 64 KiB', ['x-a', 'b'.repeat(64 * 1_024)]],
    ['fields of 64 KiB in all', Array.from({ length: 64 }, () => ['x-a', 'b'.repeat(1_024)]).flat()],
    ['a name of 64 KiB', ['b'.repeat(64 * 1_024), 'a']],
    ['a :path of 64 KiB', []],
  ])('[I05] %s: 431, and the next request on the connection is served', async (what, more) => {
    const { asked, attack } = bed()
    const path = what.startsWith('a :path') ? `/${'a'.repeat(64 * 1_024)}` : '/large'
    const left = await attack(2, async (peer) => {
      peer.write(head(1, asked('GET', path, ...more)))
      expect(await outcomeOn(peer, 1)).toEqual({ status: '431', reset: 'PROTOCOL_ERROR' })
      peer.write(head(3, asked('GET', '/next')))
      expect((await outcomeOn(peer, 3)).status).toBe('200')
    })
    expect(left.decided[0]).toMatchObject({ decision: 'deny', reason: 'header_too_large' })
    expect(left.malformed).toMatchObject([{ code: 'H2_HEADER_LIST_TOO_LARGE' }])
    expect(left.got.map(({ target }) => target)).toEqual(['/next'])
  })

  it('[I05] a string of more than is ever read ends the connection', async () => {
    const { asked, attack } = bed()
    const left = await attack(1, async (peer) => {
      peer.write(head(1, asked('GET', '/', 'x-a', 'b'.repeat(129 * 1_024))))
      expect(await goawayOn(peer)).toBe('ENHANCE_YOUR_CALM')
    })
    expect(left.malformed).toMatchObject([{ code: 'H2_CONTINUATION_FLOOD' }])
    expect(left.got).toEqual([])
  })
})

describe('an idle connection', () => {
  eachCell(
    (bed) => {
      it('[I03] is ended in order, and is no attempt', async () => {
        const { lab, open } = bed()
        const decided = lab.recordsOf('request.decided').length
        const peer = await open()
        peer.begin()
        expect(await goawayOn(peer)).toBe('NO_ERROR')
        expect(lab.recordsOf('request.decided')).toHaveLength(decided)
      })

      it('[I03] stays while a request is under way, however long it is silent', async () => {
        const { asked, attack } = bed()
        await attack(1, async (peer) => {
          peer.write(peer.headers(1, asked('POST', '/slow'), false))
          await new Promise((resolve) => setTimeout(resolve, IDLE_MS * 2))
          peer.write(data(1, 'x', true))
          expect(await outcomeOn(peer, 1)).toEqual({ status: '200', reset: undefined })
        })
      })

      it('[I03] does not live on PINGs', async () => {
        const peer = await bed().open()
        peer.begin()
        const pings = setInterval(() => peer.write(peer.ping()), IDLE_MS / 6)
        try {
          expect(await goawayOn(peer)).toBe('NO_ERROR')
        } finally {
          clearInterval(pings)
        }
      })
    },
    { deadlines: { idleMs: IDLE_MS } },
  )
})
