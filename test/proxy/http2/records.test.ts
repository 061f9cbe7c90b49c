// What the trail says of HTTP/2: each request head an attempt, a whole flood one, and always as many ends as decisions.

import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { settingsAck, settingsFrame } from '../../../src/core/http2-frame-writer.ts'
import { type Bed, DENIED, HOST, startBed } from '../../doors/support/bed.ts'
import { assertAccounted } from '../../support/accounting.ts'
import { httpsRedirected, httpsVia } from '../../support/clients.ts'
import type { AuditRecord } from '../../support/lab.ts'
import { ok } from '../../support/scripted-origin.ts'
import { FRAME_TYPE, PREFACE, raw, RawPeer } from './support/raw-peer.ts'

const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n'

describe.each(['connect', 'transparent'] as const)('%s', (door) => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed({ door, tls: true })
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  const open = async (host = HOST): Promise<RawPeer> =>
    new RawPeer(
      door === 'connect'
        ? await httpsVia(bed.lab, bed.authority(host), { alpn: ['h2', 'http/1.1'] })
        : await httpsRedirected(bed.lab, host, { alpn: ['h2', 'http/1.1'] }),
    )
  const request = (path: string, ...more: string[]): string[] => [
    ':method',
    'GET',
    ':scheme',
    'https',
    ':authority',
    bed.authority(),
    ':path',
    path,
    ...more,
  ]
  const completedOf = (path: string): AuditRecord[] => {
    const ids = bed.lab.recordsOf('request.decided').filter((record) => record['path'] === path)
    const wanted = new Set(ids.map(({ request_id }) => request_id))
    return bed.lab.recordsOf('request.completed').filter(({ request_id }) => wanted.has(request_id))
  }
  /** Runs `what` and answers the records that it left, when all of its attempts have their end. */
  const left = async (what: () => Promise<void>): Promise<AuditRecord[]> => {
    const settled = (): Promise<unknown> =>
      bed.lab.waitFor('request.completed', bed.lab.recordsOf('request.decided').length)
    await settled()
    const before = bed.lab.records().length
    await what()
    await settled()
    return bed.lab.records().slice(before)
  }

  it('h2 is what is chosen where it is offered, and http/1.1 where it is not', async () => {
    const peer = await open()
    expect((peer.stream as unknown as { alpnProtocol: string }).alpnProtocol).toBe('h2')
    peer.stream.destroy()
    const answer = await bed.ask('/over-h1')
    expect(answer.startLine).toBe('HTTP/1.1 200 OK')
    expect((await bed.attempt('/over-h1')).decided).toMatchObject({ protocol: 'http/1.1' })
  })

  it('[C17] a rapid reset of 10,000 streams: bounded attempts, one for the flood, and the next client is served', async () => {
    const records = await left(async () => {
      const peer = await open()
      peer.begin()
      const pairs = Array.from({ length: 10_000 }, (_, i) => [
        peer.headers(2 * i + 1, request('/rapid')),
        peer.reset(2 * i + 1),
      ])
      peer.write(...pairs.flat())
      await peer.until(() => peer.closed)
      expect(peer.goaway).toBe('ENHANCE_YOUR_CALM')
      peer.stream.destroy()
    })
    const decided = records.filter(({ event }) => event === 'request.decided')
    expect(decided.length).toBeGreaterThan(100)
    expect(decided.length).toBeLessThan(400)
    const malformed = records.filter(({ event }) => event === 'request.malformed')
    expect(malformed.map(({ code }) => code)).toEqual([expect.stringMatching(/^H2_RESET_FLOOD [a-z_=0-9 ]+$/)])
    const flood = decided.find(({ request_id }) => request_id === malformed[0]?.request_id)
    expect(flood).toMatchObject({ decision: 'deny', reason: 'malformed', protocol: 'h2', path: null })
    const next = await open()
    next.begin()
    next.write(next.headers(1, request('/next')))
    await next.until(() => next.ended(1))
    expect(next.status(1)).toBe('200')
    next.stream.destroy()
  })

  it('[C18] a field block without end: one attempt, GOAWAY', async () => {
    const records = await left(async () => {
      const peer = await open()
      peer.begin()
      const more = raw(FRAME_TYPE.CONTINUATION, 0, 1, Buffer.alloc(16_000, 0x82))
      peer.write(raw(FRAME_TYPE.HEADERS, 0, 1), ...Array.from({ length: 100 }, () => more))
      await peer.until(() => peer.closed)
      expect(peer.goaway).toBe('ENHANCE_YOUR_CALM')
      peer.stream.destroy()
    })
    expect(records.map(({ event }) => event)).toEqual(['request.decided', 'request.malformed', 'request.completed'])
    expect(records[1]).toMatchObject({ code: 'H2_CONTINUATION_FLOOD', request_line: null, headers: [] })
  })

  it('[C12] [C15] a request that is none: one attempt with its line, and nothing of it leaves', async () => {
    const records = await left(async () => {
      const peer = await open()
      peer.begin()
      peer.write(peer.headers(1, request('/framed', 'transfer-encoding', 'chunked', 'x-secret', 'abc')))
      peer.write(peer.headers(3, [':method', 'CONNECT', ':authority', 'evil.test:443']))
      await peer.until(() => peer.resetOf(1) !== undefined && peer.resetOf(3) !== undefined)
      expect([peer.status(1), peer.status(3)]).toEqual(['400', '400'])
      peer.stream.destroy()
    })
    const malformed = records.filter(({ event }) => event === 'request.malformed')
    expect(malformed[0]).toMatchObject({ request_line: 'GET /framed HTTP/2' })
    expect(malformed[0]?.['headers']).toContainEqual({ name: 'x-secret', length: 4 })
    expect(malformed.map(({ code }) => code)[1]).toBe('H2_CONNECT')
    expect(bed.origin.askedFor('/framed')).toEqual([])
  })

  it('421 for another name, 403 for a path, 200: each stream for itself on one connection', async () => {
    const peer = await open()
    peer.begin()
    const foreign = [':method', 'GET', ':scheme', 'https', ':authority', DENIED, ':path', '/foreign']
    peer.write(peer.headers(1, foreign), peer.headers(3, request('/a//b')), peer.headers(5, request('/fine')))
    await peer.until(() => [1, 3, 5].every((id) => peer.ended(id)))
    expect([1, 3, 5].map((id) => peer.status(id))).toEqual(['421', '400', '200'])
    expect(JSON.parse(peer.body(1).toString())).toMatchObject({ reason: 'identity_mismatch' })
    expect((await bed.attempt('/fine')).decided).toMatchObject({ protocol: 'h2', door, sni: HOST })
    peer.stream.destroy()
  })

  it('[C22] a stream over the limit: refused, and recorded with its path', async () => {
    bed.origin.on('/held', async (wire) => {
      wire.write(CHUNKED)
      await once(wire.socket, 'close')
    })
    const records = await left(async () => {
      const peer = await open()
      peer.begin()
      for (let i = 0; i < 100; i += 1) peer.write(peer.headers(2 * i + 1, request('/held')))
      peer.write(peer.headers(201, request('/one-too-many')))
      await peer.until(() => peer.resetOf(201) !== undefined)
      expect(peer.resetOf(201)).toBe('REFUSED_STREAM')
      await peer.until(() => peer.body(199).length > 0)
      peer.stream.destroy()
    })
    const refused = records.filter((record) => record['path'] === '/one-too-many')
    expect(refused).toEqual([expect.objectContaining({ decision: 'deny', reason: 'overloaded', protocol: 'h2' })])
    expect(completedOf('/held').map(({ outcome }) => outcome)).toEqual(
      Array.from({ length: 100 }, () => 'client_aborted'),
    )
  })

  it('a length that the body does not keep: 400, recorded as malformed', async () => {
    const peer = await open()
    peer.begin()
    peer.write(peer.headers(1, request('/short', 'content-length', '9').with(1, 'POST'), false))
    peer.write(raw(FRAME_TYPE.DATA, 1, 1, 'abc'))
    await peer.until(() => peer.ended(1))
    expect(peer.status(1)).toBe('400')
    const { decided, completed } = await bed.attempt('/short')
    expect(decided).toMatchObject({ decision: 'allow' })
    expect(completed).toMatchObject({ outcome: 'refused', reason: 'malformed', status: 400 })
    peer.stream.destroy()
  })

  it('a connection that was closed without a request is what a pinned client leaves', async () => {
    const before = bed.lab.recordsOf('tls.rejected').length
    const peer = await open()
    peer.write(PREFACE, settingsFrame([]), settingsAck())
    await peer.until(() => peer.of('settings').length === 2)
    peer.stream.end()
    const rejected = await bed.lab.waitFor('tls.rejected', before + 1)
    expect(rejected.at(-1)).toMatchObject({ cause: 'closed_without_request', host: HOST })
    peer.stream.destroy()
  })
})

describe('a policy that changes', () => {
  it('ends the stream that it no longer allows, and leaves the others', async () => {
    const bed = await startBed({ door: 'connect', tls: true })
    const rules = (paths: string): string =>
      `  - { id: free, allow: { hosts: [${HOST}], ports: [${bed.origin.port}], paths: [${paths}] } }`
    for (const path of ['/kept', '/taken']) {
      bed.origin.on(path, async (wire) => {
        wire.write(CHUNKED)
        await once(wire.socket, 'close')
      })
    }
    bed.origin.on('/later', (wire) => wire.write(ok('later')))
    const peer = new RawPeer(await httpsVia(bed.lab, bed.authority(), { alpn: ['h2'] }))
    const get = (id: number, path: string): void =>
      peer.write(peer.headers(id, [':method', 'GET', ':scheme', 'https', ':authority', bed.authority(), ':path', path]))
    peer.begin()
    get(1, '/kept')
    get(3, '/taken')
    await peer.until(() => peer.body(1).length > 0 && peer.body(3).length > 0)
    bed.lab.reload({ rules: rules('/kept, /later') })
    await peer.until(() => peer.resetOf(3) !== undefined)
    expect([peer.resetOf(3), peer.resetOf(1)]).toEqual(['CANCEL', undefined])
    expect((await bed.attempt('/taken')).completed).toMatchObject({ outcome: 'revoked', reason: 'policy_revoked' })
    get(5, '/later')
    await peer.until(() => peer.ended(5))
    expect(peer.status(5)).toBe('200')
    peer.write(peer.reset(1))
    await bed.attempt('/kept')
    bed.lab.reload({ rules: '  - { id: other, allow: { hosts: [other.test] } }' })
    await peer.until(() => peer.closed)
    expect(peer.goaway).toBe('NO_ERROR')
    peer.stream.destroy()
    await assertAccounted(bed.lab)
    await bed.close()
  })
})
