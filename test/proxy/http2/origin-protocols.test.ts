// Which version of HTTP an origin is spoken to in: what the client speaks, as far as the origin does too.

import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2'
import { createServer as createHttps } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { parseAuthority } from '../../../src/core/address.ts'
import type { Permit } from '../../../src/core/rule.ts'
import type { HttpProtocol } from '../../../src/proxy/dial.ts'
import { OriginProtocols } from '../../../src/proxy/http2/origin-protocols.ts'
import { startScriptedOrigin } from '../../support/scripted-origin.ts'
import { startFrameOrigin } from '../support/frame-origin.ts'
import { answered, type Bench, NAME, read, upstreamBench } from '../support/upstream-bench.ts'

let bench: Bench
const closing: (() => unknown)[] = []

beforeEach(() => {
  bench = upstreamBench()
})
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
  bench.close()
})

interface Origin {
  readonly port: number
  /** What was spoken on each connection on which something was, in order. */
  readonly spoken: string[]
  readonly resumed: boolean[]
  /** Handshakes, also those that failed. */
  hellos(): number
}

/** Answers with the version of HTTP of the request. */
async function origin(speaks: 'both' | 'h2' | 'http/1.1'): Promise<Origin> {
  const answer = (request: Http2ServerRequest, response: Http2ServerResponse): void => {
    response.setHeader('X-Case', 'kept')
    response.end(request.httpVersion)
  }
  const made =
    speaks === 'http/1.1'
      ? createHttps({ ...bench.root.issue(NAME), ALPNProtocols: ['http/1.1'] }, answer as never)
      : createSecureServer({ ...bench.root.issue(NAME), allowHTTP1: speaks === 'both' }, answer)
  const spoken: string[] = []
  const resumed: boolean[] = []
  let hellos = 0
  made.on('connection', () => {
    hellos += 1
  })
  made.on('tlsClientError', () => undefined)
  made.on('secureConnection', (socket: TLSSocket) => {
    spoken.push(String(socket.alpnProtocol))
    resumed.push(socket.isSessionReused())
    socket.on('error', () => undefined)
    closing.push(() => socket.destroy())
  })
  await new Promise<void>((resolve) => made.listen(0, '127.0.0.1', resolve))
  closing.push(() => made.close())
  return { port: (made.address() as AddressInfo).port, spoken, resumed, hellos: () => hellos }
}

async function version(port: number, prefers: HttpProtocol): Promise<string> {
  const response = answered(await bench.send({ port, prefers }))
  const { text, last } = await read(response.body)
  expect([response.head.status, last.kind]).toEqual([200, 'end'])
  return text
}

describe('an origin that speaks both', () => {
  it.each<[HttpProtocol, string]>([
    ['h2', '2.0'],
    ['http/1.1', '1.1'],
  ])('is spoken to in the version of the client: %s', async (prefers, spoken) => {
    const { port } = await origin('both')
    expect(await version(port, prefers)).toBe(spoken)
  })

  it('keeps the case of its fields and its reason phrase for a client of HTTP/1.1', async () => {
    const { port } = await origin('both')
    const { head } = answered(await bench.send({ port, prefers: 'http/1.1' }))
    expect(head.headers).toContain('X-Case')
  })

  it('resumes the TLS session of the one version in the other', async () => {
    const both = await origin('both')
    expect(await version(both.port, 'http/1.1')).toBe('1.1')
    expect(await version(both.port, 'h2')).toBe('2.0')
    expect([both.spoken, both.resumed]).toEqual([
      ['http/1.1', 'h2'],
      [false, true],
    ])
  })
})

describe('[C27] an origin that speaks HTTP/1.1 only', () => {
  it('is spoken to so, and its idle connection serves the next request of an HTTP/2 client', async () => {
    const only = await origin('http/1.1')
    expect(await version(only.port, 'h2')).toBe('1.1')
    expect(await version(only.port, 'h2')).toBe('1.1')
    expect(only.hellos()).toBe(1)
  })

  it('is dialled by each of many at once, after the first has found out', async () => {
    const only = await origin('http/1.1')
    const all = Array.from({ length: 20 }, () => version(only.port, 'h2'))
    expect(new Set(await Promise.all(all))).toEqual(new Set(['1.1']))
    expect(only.hellos()).toBe(20)
  })

  it('needs no ALPN to be taken for one', async () => {
    const { port, close, asked } = await startScriptedOrigin(bench.root)
    closing.push(close)
    expect(await version(port, 'h2')).toBe('ok')
    expect(asked[0]?.startLine).toBe('GET / HTTP/1.1')
  })
})

describe('[C27] [P17] an origin that speaks HTTP/2 only', () => {
  it('serves a client of HTTP/1.1 all the same, and is known from then on', async () => {
    const only = await origin('h2')
    expect(await version(only.port, 'http/1.1')).toBe('2.0')
    expect(await version(only.port, 'http/1.1')).toBe('2.0')
    expect([only.hellos(), only.spoken]).toEqual([2, ['h2']])
  })

  it('is dialled for the second time once, however many found out at once', async () => {
    const only = await origin('h2')
    const all = Array.from({ length: 20 }, () => version(only.port, 'http/1.1'))
    expect(new Set(await Promise.all(all))).toEqual(new Set(['2.0']))
    expect(only.spoken).toEqual(['h2'])
  })

  it('tells of both dials in its timings', async () => {
    const only = await origin('h2')
    const started = performance.now()
    const { timings } = answered(await bench.send({ port: only.port, prefers: 'http/1.1' }))
    const spent = performance.now() - started
    const alone = answered(await bench.send({ port: only.port, prefers: 'http/1.1' }))
    expect(timings.tls).toBeGreaterThan(0)
    expect((timings.dns ?? 0) + (timings.connect ?? 0) + (timings.tls ?? 0)).toBeLessThanOrEqual(spent)
    expect(alone.timings).toMatchObject({ dns: null, connect: null, tls: null })
  })

  it('that speaks nothing of what we do is not tried a third time', async () => {
    const { port, close, peers } = await startFrameOrigin(bench.root, NAME, undefined, ['acme-tls/1'])
    closing.push(close)
    expect(await bench.send({ port, prefers: 'http/1.1' })).toMatchObject({ kind: 'failed', reason: 'upstream_tls' })
    expect(peers).toHaveLength(0)
  })
})

it('one without TLS is spoken to in HTTP/1.1', async () => {
  const { port, close } = await startScriptedOrigin(null)
  closing.push(close)
  const response = answered(await bench.send({ port, scheme: 'http' }))
  expect(await read(response.body)).toMatchObject({ text: 'ok' })
})

describe('what was learnt of an origin', () => {
  const permit = (authority: string): Permit => ({ scheme: 'https', ...parseAuthority(authority, 443) }) as Permit

  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['performance'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('holds for its port, and for ten minutes', () => {
    const protocols = new OriginProtocols()
    protocols.learn(permit('a.test'), 'h2')
    expect(protocols.expected(permit('a.test'), 'http/1.1')).toBe('h2')
    expect(protocols.expected(permit('a.test:8443'), 'http/1.1')).toBe('http/1.1')
    vi.advanceTimersByTime(599_999)
    expect(protocols.expected(permit('a.test'), 'http/1.1')).toBe('h2')
    vi.advanceTimersByTime(1)
    expect(protocols.expected(permit('a.test'), 'http/1.1')).toBe('http/1.1')
  })

  it('gives way to what it answers later', () => {
    const protocols = new OriginProtocols()
    protocols.learn(permit('a.test'), 'h2')
    protocols.learn(permit('a.test'), 'http/1.1')
    expect(protocols.expected(permit('a.test'), 'h2')).toBe('http/1.1')
  })

  it('is kept of 4,096 origins', () => {
    const protocols = new OriginProtocols()
    for (let index = 0; index <= 4_096; index++) protocols.learn(permit(`h${index}.test`), 'h2')
    expect(protocols.expected(permit('h0.test'), 'http/1.1')).toBe('http/1.1')
    expect(protocols.expected(permit('h1.test'), 'http/1.1')).toBe('h2')
  })
})
