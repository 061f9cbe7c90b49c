// One stream at a time: what breaks it, what it is answered all the same, and that its neighbours never notice.

import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Http2Error } from '../../../src/core/http2-error.ts'
import { DEADLINES } from '../../../src/proxy/deadlines.ts'
import { settingsFrame } from '../../../src/core/http2-frame-writer.ts'
import {
  asked,
  data,
  FRAME_FLAG,
  FRAME_TYPE,
  PREFACE,
  raw,
  type RawPeer,
  request,
  SETTING,
} from './support/raw-peer.ts'
import { answerOk, type Play, readBody, type ServedBed, startServed } from './support/served.ts'

let bed: ServedBed
afterEach(async () => {
  vi.useRealTimers()
  await bed.close()
})

/** Time stands still until it is advanced; everything else goes on. */
const stopTime = (): unknown => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })

const untilGone: Play = (incoming) => new Promise((resolve) => incoming.link.onGone(resolve))
const post = (peer: RawPeer, ...more: string[]): Buffer => peer.headers(1, asked('POST', '/', ...more), false)

const BROKEN: readonly (readonly [string, Http2Error, (peer: RawPeer) => Buffer[]])[] = [
  ['DATA behind its END_STREAM', 'STREAM_CLOSED', (peer) => [peer.headers(1, request('/')), data(1, 'x')]],
  [
    'HEADERS behind its END_STREAM',
    'STREAM_CLOSED',
    (peer) => [peer.headers(1, request('/')), peer.headers(1, ['a', 'b'])],
  ],
  [
    'WINDOW_UPDATE of nothing',
    'PROTOCOL_ERROR',
    (peer) => [post(peer), raw(FRAME_TYPE.WINDOW_UPDATE, 0, 1, '\0\0\0\0')],
  ],
  ['a window over 2^31-1', 'FLOW_CONTROL_ERROR', (peer) => [post(peer), peer.widen(1, 2 ** 31 - 1)]],
  [
    'more DATA than its window',
    'FLOW_CONTROL_ERROR',
    (peer) => [post(peer), ...Array.from({ length: 17 }, () => data(1, Buffer.alloc(16_384)))],
  ],
  ['PRIORITY of a wrong length', 'FRAME_SIZE_ERROR', (peer) => [post(peer), raw(FRAME_TYPE.PRIORITY, 0, 1, 'x')]],
]

it.each(BROKEN)('%s: RST_STREAM %s, its client is gone, and the connection goes on', async (_what, error, frames) => {
  bed = startServed(untilGone)
  bed.peer.begin()
  bed.peer.write(...frames(bed.peer))
  await bed.peer.until(() => bed.peer.resetOf(1) !== undefined, 'RST_STREAM')
  expect(bed.peer.resetOf(1)).toBe(error)
  expect(bed.requests[0]?.link).toMatchObject({ gone: true, interrupted: null })
  await bed.peer.alive()
  expect(bed.faults).toEqual([])
})

const LATE: readonly (readonly [string, (peer: RawPeer) => Buffer])[] = [
  ['DATA', () => data(1, Buffer.alloc(16_384))],
  ['trailers', (peer) => peer.headers(1, ['a', 'b'])],
  ['WINDOW_UPDATE', (peer) => peer.widen(1, 5)],
  ['RST_STREAM', (peer) => peer.reset(1)],
]

it.each(LATE)('%s that was on its way when we reset the stream is not held against the client', async (_what, late) => {
  bed = startServed(({ sink }) => Promise.resolve(sink.abort()))
  bed.peer.begin()
  bed.peer.write(post(bed.peer))
  await bed.peer.until(() => bed.peer.resetOf(1) === 'INTERNAL_ERROR')
  bed.peer.write(late(bed.peer))
  await bed.peer.alive()
  expect(bed.faults).toEqual([])
})

it('DATA for a stream that we reset: no more than its window had left', async () => {
  bed = startServed(({ sink }) => Promise.resolve(sink.abort()))
  bed.peer.begin()
  bed.peer.write(post(bed.peer))
  await bed.peer.until(() => bed.peer.resetOf(1) !== undefined)
  for (let i = 0; i < 17; i += 1) bed.peer.write(data(1, Buffer.alloc(16_384)))
  await bed.peer.until(() => bed.peer.closed)
  expect(bed.peer.goaway).toBe('FLOW_CONTROL_ERROR')
})

describe('content-length', () => {
  const CASES: readonly (readonly [string, (peer: RawPeer) => Buffer[], string])[] = [
    [
      '[C11] fewer bytes than it said',
      (peer) => [post(peer, 'content-length', '5'), data(1, 'abc', true)],
      'malformed',
    ],
    ['[C11] more bytes than it said', (peer) => [post(peer, 'content-length', '2'), data(1, 'abc')], 'malformed'],
    [
      '[C11] trailers before all of it',
      (peer) => [post(peer, 'content-length', '5'), data(1, 'abc'), peer.headers(1, ['a', 'b'])],
      'malformed',
    ],
    ['as many bytes as it said', (peer) => [post(peer, 'content-length', '3'), data(1, 'abc', true)], 'end'],
    ['no bytes where it said none', (peer) => [post(peer, 'content-length', '0'), data(1, '', true)], 'end'],
  ]

  it.each(CASES)('%s', async (_what, frames, expected) => {
    const ends: string[] = []
    bed = startServed(async (incoming) => {
      const { last } = await readBody(incoming)
      ends.push(last.kind === 'failed' ? last.reason : last.kind)
      await answerOk(incoming)
    })
    bed.peer.begin()
    bed.peer.write(...frames(bed.peer))
    await bed.peer.until(() => bed.peer.ended(1))
    expect(ends).toEqual([expected])
    if (expected === 'malformed') await bed.peer.until(() => bed.peer.resetOf(1) === 'PROTOCOL_ERROR')
    await bed.peer.alive()
    expect(bed.peer.resetOf(1)).toBe(expected === 'malformed' ? 'PROTOCOL_ERROR' : undefined)
  })

  it('more bytes than it said are not handed to a reader that was waiting', async () => {
    const texts: string[] = []
    bed = startServed(async (incoming) => {
      texts.push((await readBody(incoming)).text)
      await answerOk(incoming)
    })
    bed.peer.begin()
    bed.peer.write(post(bed.peer, 'content-length', '2'))
    bed.peer.write(data(1, 'abGET /smuggled'))
    await bed.peer.until(() => bed.peer.resetOf(1) !== undefined)
    expect(texts).toEqual([''])
  })
})

describe('trailers', () => {
  const CASES: readonly (readonly [string, (peer: RawPeer) => Buffer, string])[] = [
    ['pass', (peer) => peer.headers(1, ['x-sum', '3']), 'x-sum,3'],
    ['[C08] with a pseudo-field', (peer) => peer.headers(1, [':path', '/b']), 'malformed'],
    ['without END_STREAM', (peer) => peer.headers(1, ['x-sum', '3'], false), 'malformed'],
    [
      'over the limit',
      (peer) =>
        peer.headers(
          1,
          Array.from({ length: 500 }, () => 'a'),
        ),
      'malformed',
    ],
  ]

  it.each(CASES)('%s', async (_what, frame, expected) => {
    let got = ''
    bed = startServed(async (incoming) => {
      const { last } = await readBody(incoming)
      if (last.kind === 'end') got = last.trailers.join()
      else if (last.kind === 'failed') got = last.reason
      await answerOk(incoming)
    })
    bed.peer.begin()
    bed.peer.write(post(bed.peer), data(1, 'abc'), frame(bed.peer))
    await bed.peer.until(() => bed.peer.ended(1))
    expect(got).toBe(expected)
    await bed.peer.alive()
  })
})

describe('requests that are none', () => {
  const CASES: readonly (readonly [string, string[], string])[] = [
    ['[C01] a line break in a value', request('/', 'a', 'b\r\nTransfer-Encoding: chunked'), 'GET / HTTP/2'],
    ['[C02] an upper-case name', request('/', 'Foo', 'bar'), 'GET / HTTP/2'],
    ['[C03] a request in :path', request('/a HTTP/1.1\r\nHost: evil'), 'GET /a HTTP/1.1'],
    ['[C06] a request line in :method', asked('GET /evil HTTP/1.1', '/'), 'GET /evil'],
    ['[C12] transfer-encoding', request('/', 'transfer-encoding', 'chunked'), 'GET / HTTP/2'],
    ['[C15] CONNECT', [':method', 'CONNECT', ':authority', 'evil.test:443'], 'CONNECT ?'],
    ['no fields at all', [], '? ?'],
  ]

  it.each(CASES)('%s: 400, then RST_STREAM, and the record shows its line', async (_what, fields, line) => {
    bed = startServed()
    bed.peer.begin()
    bed.peer.write(bed.peer.headers(1, fields))
    await bed.peer.until(() => bed.peer.resetOf(1) !== undefined)
    expect([bed.peer.status(1), bed.peer.ended(1), bed.peer.resetOf(1)]).toEqual(['400', true, 'PROTOCOL_ERROR'])
    expect(bed.requests).toEqual([])
    expect(bed.malformed).toHaveLength(1)
    expect(bed.malformed[0]?.reason).toBe('malformed')
    expect(bed.malformed[0]?.bytes.toString('latin1').startsWith(line)).toBe(true)
    await bed.peer.alive()
  })

  it('no value goes on as the name of a field in what is described', async () => {
    bed = startServed()
    bed.peer.begin()
    bed.peer.write(bed.peer.headers(1, request('/', 'a', 'b\r\nsecret: c')))
    await bed.peer.until(() => bed.malformed.length > 0)
    expect(bed.malformed[0]?.bytes.toString('latin1')).toBe('GET / HTTP/2\r\na: b  secret: c')
  })

  it('too many fields: 431, and the table of the next request is in step', async () => {
    bed = startServed()
    bed.peer.begin()
    bed.peer.write(bed.peer.headers(1, request('/', ...Array.from({ length: 402 }, (_, i) => `x${i}`))))
    bed.peer.write(bed.peer.headers(3, request('/next', 'user-agent', 'probe')))
    await bed.peer.until(() => bed.peer.ended(3))
    expect(bed.peer.status(1)).toBe('431')
    expect(bed.malformed.map(({ reason, code }) => [reason, code])).toEqual([
      ['header_too_large', 'H2_HEADER_LIST_TOO_LARGE'],
    ])
    expect(bed.requests[0]?.head).toMatchObject({ target: '/next', headers: ['user-agent', 'probe'] })
  })
})

describe('room', () => {
  it('[C22] a hundred and first stream is refused and recorded, and the hundred go on', async () => {
    let release = (): void => undefined
    const all = new Promise<void>((resolve) => {
      release = resolve
    })
    bed = startServed(async (incoming) => {
      await all
      await answerOk(incoming)
    })
    bed.peer.begin()
    for (let i = 0; i < 102; i += 1) bed.peer.get(2 * i + 1, `/${i}`)
    await bed.peer.until(() => bed.peer.resetOf(203) !== undefined)
    expect([bed.peer.resetOf(201), bed.peer.resetOf(203)]).toEqual(['REFUSED_STREAM', 'REFUSED_STREAM'])
    expect(bed.refused.map(({ reason, request: refused }) => [reason, refused?.head.target])).toEqual([
      ['overloaded', '/100'],
      ['overloaded', '/101'],
    ])
    release()
    await bed.peer.until(() => bed.peer.ended(199))
    bed.peer.get(205, '/again')
    await bed.peer.until(() => bed.peer.ended(205))
    expect(bed.requests).toHaveLength(101)
  })

  it('[C17] exchanges count when their streams are gone: two hundred, whatever was reset', async () => {
    let end = (): void => undefined
    const ended = new Promise<void>((resolve) => {
      end = resolve
    })
    bed = startServed(async ({ sink }) => {
      // The answer has begun, so that no reset counts; the exchange never ends.
      sink.head(200, 'OK', [], { kind: 'stream' })
      await ended
    })
    bed.peer.begin()
    for (let i = 0; i < 210; i += 1)
      bed.peer.write(bed.peer.headers(2 * i + 1, request('/')), bed.peer.reset(2 * i + 1))
    await bed.peer.until(() => bed.peer.of('rst_stream').length === 10)
    expect(bed.requests).toHaveLength(200)
    expect(bed.refused).toHaveLength(10)
    end()
  })
})

describe('the client of a stream', () => {
  it('is gone when it resets, and only it', async () => {
    bed = startServed(untilGone)
    bed.peer.begin()
    bed.peer.write(post(bed.peer), bed.peer.headers(3, request('/')))
    await bed.peer.until(() => bed.requests.length === 2)
    const failed = readBody(bed.requests[0] ?? never())
    bed.peer.write(bed.peer.reset(1))
    expect((await failed).last).toMatchObject({ kind: 'failed', reason: 'client_aborted' })
    expect(bed.requests.map(({ link }) => link.gone)).toEqual([true, false])
  })

  it('is gone when the connection ends', async () => {
    bed = startServed(untilGone)
    bed.peer.begin()
    bed.peer.get(1, '/')
    await bed.peer.until(() => bed.requests.length === 1)
    bed.far.end()
    await bed.done
    expect(bed.requests[0]?.link).toMatchObject({ gone: true, interrupted: null })
  })

  it.each([
    ['policy_revoked', 'CANCEL'],
    ['audit_unavailable', 'INTERNAL_ERROR'],
  ] as const)('is let go of (%s) with RST_STREAM %s, and only it', async (why, error) => {
    bed = startServed(untilGone)
    bed.peer.begin()
    bed.peer.get(1, '/')
    bed.peer.get(3, '/')
    await bed.peer.until(() => bed.requests.length === 2)
    bed.requests[0]?.link.interrupt(why)
    expect(bed.requests.map(({ link }) => [link.gone, link.interrupted])).toEqual([
      [true, why],
      [false, null],
    ])
    await bed.peer.until(() => bed.peer.resetOf(1) === error)
    await bed.peer.alive()
  })

  it('is told when the whole connection is let go of', async () => {
    bed = startServed(untilGone)
    bed.peer.begin()
    bed.peer.get(1, '/')
    await bed.peer.until(() => bed.requests.length === 1)
    bed.connection.interrupt('shutting_down')
    await bed.peer.until(() => bed.peer.closed)
    expect([bed.peer.resetOf(1), bed.peer.goaway]).toEqual(['CANCEL', 'NO_ERROR'])
    expect(bed.requests[0]?.link.interrupted).toBe('shutting_down')
  })
})

describe('an answer before the end of the request', () => {
  it('lets the client send the rest, which is dropped, and ends in order', async () => {
    bed = startServed()
    bed.peer.begin()
    bed.peer.write(post(bed.peer))
    await bed.peer.until(() => bed.peer.ended(1))
    for (let i = 0; i < 40; i += 1) {
      await bed.peer.until(() => creditOf(bed.peer) >= i * 16_384 - 262_144)
      bed.peer.write(data(1, Buffer.alloc(16_384), i === 39))
    }
    await bed.peer.alive()
    expect(bed.peer.resetOf(1)).toBeUndefined()
    expect(bed.faults).toEqual([])
  })

  it('is followed by RST_STREAM NO_ERROR when the client sends on and on', { timeout: 10_000 }, async () => {
    bed = startServed()
    bed.peer.begin()
    bed.peer.write(post(bed.peer))
    await bed.peer.until(() => bed.peer.ended(1))
    await bed.peer.until(() => bed.peer.resetOf(1) !== undefined, 'RST_STREAM')
    expect(bed.peer.resetOf(1)).toBe('NO_ERROR')
    await bed.peer.alive()
  })
})

describe('going away', () => {
  it('drain: GOAWAY, what is under way ends in order, what comes behind is refused and recorded', async () => {
    let release = (): void => undefined
    bed = startServed(async (incoming) => {
      await new Promise<void>((resolve) => {
        release = resolve
      })
      await answerOk(incoming)
    })
    bed.peer.begin()
    bed.peer.get(1, '/')
    await bed.peer.until(() => bed.requests.length === 1)
    bed.connection.drain()
    await bed.peer.until(() => bed.peer.goaway === 'NO_ERROR')
    expect(bed.peer.of('goaway')[0]?.lastStreamId).toBe(1)
    bed.peer.get(3, '/late')
    await bed.peer.until(() => bed.peer.resetOf(3) === 'REFUSED_STREAM')
    expect(bed.refused.map(({ reason }) => reason)).toEqual(['shutting_down'])
    expect(bed.peer.closed).toBe(false)
    release()
    await bed.peer.until(() => bed.peer.closed)
    expect(bed.peer.ended(1)).toBe(true)
  })

  it('an idle connection is closed with GOAWAY, one that serves is not', async () => {
    stopTime()
    let release = (): void => undefined
    bed = startServed(async (incoming) => {
      await new Promise<void>((resolve) => {
        release = resolve
      })
      await answerOk(incoming)
    })
    bed.peer.begin()
    bed.peer.get(1, '/')
    await bed.peer.until(() => bed.requests.length === 1)
    vi.advanceTimersByTime(DEADLINES.idleMs * 3)
    await bed.peer.alive()
    release()
    await bed.peer.until(() => bed.peer.ended(1))
    vi.advanceTimersByTime(DEADLINES.idleMs - 1)
    await bed.peer.alive()
    vi.advanceTimersByTime(1)
    await bed.peer.until(() => bed.peer.closed)
    expect(bed.peer.goaway).toBe('NO_ERROR')
    expect(bed.faults).toEqual([])
  })

  it("the client's own GOAWAY closes the connection behind the last answer", async () => {
    bed = startServed()
    bed.peer.begin()
    bed.peer.get(1, '/')
    bed.peer.write(raw(FRAME_TYPE.GOAWAY, 0, 0, '\0\0\0\0\0\0\0\0'))
    await bed.peer.until(() => bed.peer.closed)
    expect(bed.peer.body(1).toString()).toBe('ok')
  })
})

describe('time', () => {
  it('a connection on which nothing is said is closed without a record', async () => {
    bed = startServed(answerOk, { headMs: 20 })
    await bed.done
    expect(bed.faults).toEqual([])
  })

  const OWED: readonly (readonly [string, (peer: RawPeer) => Buffer[]])[] = [
    ['half a preface', () => [Buffer.from('PRI * HTTP')]],
    ['a preface without SETTINGS', () => [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')]],
    ['[C18] a field block without its end', (peer) => (peer.begin(), [raw(FRAME_TYPE.HEADERS, 0, 1, 'x')])],
    [
      'half a HEADERS frame',
      (peer) => (peer.begin(), [raw(FRAME_TYPE.HEADERS, FRAME_FLAG.END_HEADERS, 1, 'abcdefg').subarray(0, 12)]),
    ],
  ]

  it.each(OWED)('%s: recorded as client_timeout', async (_what, frames) => {
    bed = startServed(answerOk, { headMs: 20 })
    bed.peer.write(...frames(bed.peer))
    await bed.peer.until(() => bed.peer.closed)
    expect(bed.faults.map(({ reason, code }) => [reason, code])).toEqual([['client_timeout', 'H2_HEAD_DEADLINE']])
  })

  it('frames that come slowly one after the other are in time, each of them', async () => {
    stopTime()
    bed = startServed()
    bed.peer.begin()
    const acks = (): number => bed.peer.of('ping').length
    bed.peer.write(bed.peer.ping().subarray(0, 9))
    for (let i = 1; i <= 4; i += 1) {
      vi.advanceTimersByTime(DEADLINES.headMs - 1)
      // The rest of one, and the beginning of the next.
      bed.peer.write(Buffer.alloc(8), bed.peer.ping().subarray(0, 9))
      await bed.peer.until(() => acks() === i)
    }
    expect(bed.faults).toEqual([])
    vi.advanceTimersByTime(DEADLINES.headMs)
    await bed.peer.until(() => bed.peer.closed)
    expect(bed.faults.map(({ code }) => code)).toEqual(['H2_HEAD_DEADLINE'])
  })

  it('SETTINGS that are not acknowledged: recorded as client_timeout', async () => {
    stopTime()
    bed = startServed()
    bed.peer.write(PREFACE, settingsFrame([]))
    await bed.peer.until(() => bed.peer.of('settings').length === 2)
    vi.advanceTimersByTime(10_000)
    await bed.peer.until(() => bed.peer.closed)
    expect(bed.peer.goaway).toBe('SETTINGS_TIMEOUT')
    expect(bed.faults.map(({ reason, code }) => [reason, code])).toEqual([['client_timeout', 'H2_SETTINGS_TIMEOUT']])
  })

  it('a body that stalls fails its reader', async () => {
    let reason = ''
    bed = startServed(
      async (incoming) => {
        const { last } = await readBody(incoming)
        if (last.kind === 'failed') reason = last.reason
        await answerOk(incoming)
      },
      { bodyIdleMs: 20 },
    )
    bed.peer.begin()
    bed.peer.write(post(bed.peer), data(1, 'x'))
    await bed.peer.until(() => bed.peer.ended(1))
    expect(reason).toBe('client_timeout')
  })
})

it('a peer without a table gets blocks that need none', async () => {
  bed = startServed(({ sink }) => {
    sink.head(200, 'OK', ['server', 'x'], { kind: 'none' })
    sink.end([])
    return Promise.resolve()
  })
  bed.peer.begin([[SETTING.HEADER_TABLE_SIZE, 0]])
  for (const id of [1, 3]) {
    bed.peer.get(id, '/')
    await bed.peer.until(() => bed.peer.ended(id))
    expect(bed.peer.blocks.get(id)?.[0]?.fields).toEqual([':status', '200', 'server', 'x'])
  }
  // RFC 7541 §6.3: the first block says that the table is empty from now on.
  expect(bed.peer.of('headers')[0]?.fragment[0]).toBe(0x20)
})

it('a connection is served until every exchange on it is over', async () => {
  let end = (): void => undefined
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  bed = startServed(() => ended)
  let done = false
  const watched = (async () => {
    await bed.done
    done = true
  })()
  bed.peer.begin()
  bed.peer.get(1, '/')
  await bed.peer.until(() => bed.requests.length === 1)
  bed.far.end()
  await new Promise<void>((resolve) => bed.requests[0]?.link.onGone(resolve))
  await new Promise((resolve) => setImmediate(resolve))
  expect(done).toBe(false)
  end()
  await watched
})

it('[C20] eight mebibytes behind an answer, and no more', async () => {
  bed = startServed()
  bed.peer.begin()
  bed.peer.write(post(bed.peer))
  await bed.peer.until(() => bed.peer.ended(1))
  let sent = 0
  for (; bed.peer.resetOf(1) === undefined && sent < 10 * 1024 * 1024; sent += 16_384) {
    await bed.peer.until(() => creditOf(bed.peer) >= sent + 16_384 - 262_144 || bed.peer.resetOf(1) !== undefined)
    bed.peer.write(data(1, Buffer.alloc(16_384)))
  }
  await bed.peer.until(() => bed.peer.resetOf(1) !== undefined)
  expect(bed.peer.resetOf(1)).toBe('NO_ERROR')
  expect(sent).toBeGreaterThanOrEqual(8 * 1024 * 1024)
  expect(sent).toBeLessThan(9 * 1024 * 1024)
})

function creditOf(peer: RawPeer): number {
  return peer
    .of('window_update')
    .filter(({ streamId }) => streamId === 1)
    .reduce((sum, { increment }) => sum + increment, 0)
}

function never(): never {
  throw new Error('no such request')
}
