// What a rule asks beyond method and path: sizes, rates, conditions on the body; and when a client is told to go on.

import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { ok } from '../support/scripted-origin.ts'
import { valuesOf } from '../support/wire.ts'
import { type Bed, CAP_BYTES, CAPPED, DENIED, INSPECTED, RATE, RATED, refusalOf, type Way } from './support/bed.ts'
import { gate } from './support/gate.ts'

const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'
const EXPECT = 'Expect: 100-continue\r\n'
const INSPECTION_LIMIT = 1_024 * 1_024

const sized = (body: string): string => `Content-Length: ${body.length}\r\n`
const json = (body: string): string => `Content-Type: application/json\r\n${sized(body)}`
const chunked = (body: string): string => `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`

export function limitCases(_way: Way, bed: () => Bed): void {
  describe('[P9] Expect: 100-continue', () => {
    it('is answered once the request may proceed, and the origin does not hear of it', async () => {
      const { origin, open, request, lab } = bed()
      const wire = await open()
      wire.write(request('/continue', { method: 'POST', fields: `${EXPECT}Content-Length: 4\r\n` }))
      expect(await wire.head()).toBe(CONTINUE)
      expect(lab.recordsOf('request.decided').at(-1)).toMatchObject({ path: '/continue', decision: 'allow' })
      wire.write('body')
      expect((await wire.message()).body).toBe('ok')
      wire.socket.destroy()
      expect(origin.askedFor('/continue')[0]?.fields.slice(1)).toEqual([['Content-Length', '4']])
    })

    it('is not answered when the request is denied: 403, and the body is not asked for', async () => {
      const { open, request, attempt } = bed()
      const wire = await open(DENIED)
      wire.write(
        request('/continue-denied', { host: DENIED, method: 'POST', fields: `${EXPECT}Content-Length: 4\r\n` }),
      )
      const answer = await wire.message()
      expect([answer.status, refusalOf(answer).reason]).toEqual([403, 'no_matching_rule'])
      expect(await wire.closed()).toBe('end')
      expect((await attempt('/continue-denied')).completed).toMatchObject({ outcome: 'refused', bytes_sent: 0 })
    })

    it('is not answered when a limit refuses the request', async () => {
      const { open, request } = bed()
      const wire = await open(CAPPED)
      wire.write(
        request('/continue-large', { host: CAPPED, method: 'PUT', fields: `${EXPECT}Content-Length: 5000\r\n` }),
      )
      expect((await wire.message()).status).toBe(413)
      wire.socket.destroy()
    })

    it('is answered where the body is inspected, before the decision on it', async () => {
      const { origin, open, request } = bed()
      const wire = await open(INSPECTED)
      const body = '{"Bcc":1}'
      wire.write(request('/continue-inspected', { host: INSPECTED, method: 'POST', fields: EXPECT + json(body) }))
      expect(await wire.head()).toBe(CONTINUE)
      wire.write(body)
      expect(refusalOf(await wire.message()).reason).toBe('body_rule')
      wire.socket.destroy()
      expect(origin.askedFor('/continue-inspected')).toEqual([])
    })

    it('is not answered when the body came along', async () => {
      const { open, request } = bed()
      const wire = await open()
      wire.write(request('/continue-at-once', { method: 'POST', fields: EXPECT + sized('body'), body: 'body' }))
      expect((await wire.message()).status).toBe(200)
      wire.socket.destroy()
    })

    it('means nothing from an HTTP/1.0 client', async () => {
      const { ask } = bed()
      const fields = EXPECT + sized('body')
      expect((await ask('/continue-1.0', { version: '1.0', method: 'POST', fields, body: 'body' })).status).toBe(200)
    })

    it.each(['Expect: foo\r\n', 'Expect: 100-continue, foo\r\n'])('%j is 417', async (fields) => {
      const { ask, origin } = bed()
      const answer = await ask('/expectation', { method: 'POST', fields: fields + sized('body'), body: 'body' })
      expect([answer.status, refusalOf(answer).reason]).toEqual([417, 'expectation'])
      expect(origin.askedFor('/expectation')).toEqual([])
    })
  })

  it('a rate that is used up is 429 with when to come back, and nothing leaves', async () => {
    const { ask, origin, attempt } = bed()
    for (let index = 0; index < RATE; index++) expect((await ask('/rated', { host: RATED })).status).toBe(200)
    const answer = await ask('/rated/over', { host: RATED })
    expect([answer.status, refusalOf(answer).reason, refusalOf(answer).rule]).toEqual([429, 'rate_limited', 'rated'])
    const [retryAfter, limit, remaining, reset] = [
      'retry-after',
      'x-ratelimit-limit',
      'x-ratelimit-remaining',
      'x-ratelimit-reset',
    ].map((name) => Number(valuesOf(answer, name)[0]))
    expect([limit, remaining]).toEqual([RATE, 0])
    expect(retryAfter).toBeGreaterThan(1_700)
    expect(retryAfter).toBeLessThanOrEqual(1_800)
    expect(reset).toBeGreaterThanOrEqual(retryAfter ?? 0)
    expect(origin.askedFor('/rated/over')).toEqual([])
    expect((await attempt('/rated/over')).decided).toMatchObject({
      decision: 'deny',
      reason: 'rate_limited',
      rule: 'rated',
    })
  })

  describe('request_bytes', () => {
    const exact = 'x'.repeat(CAP_BYTES)

    it.each<[string, string, string]>([
      ['of declared length', sized(exact), exact],
      ['in chunks', 'Transfer-Encoding: chunked\r\n', chunked(exact)],
    ])('a body at the limit passes, %s', async (_name, fields, body) => {
      expect((await bed().ask('/capped', { host: CAPPED, method: 'POST', fields, body })).status).toBe(200)
    })

    it('a declared length over the limit is 413 before anything is sent', async () => {
      const { ask, origin, attempt } = bed()
      const body = `${exact}x`
      const answer = await ask('/capped/declared', { host: CAPPED, method: 'POST', fields: sized(body), body })
      expect([answer.status, refusalOf(answer).reason, refusalOf(answer).rule]).toEqual([
        413,
        'request_too_large',
        'capped',
      ])
      expect(origin.askedFor('/capped/declared')).toEqual([])
      expect((await attempt('/capped/declared')).decided).toMatchObject({
        decision: 'deny',
        reason: 'request_too_large',
      })
    })

    it('chunks over the limit are 413, and the origin never gets a complete request', async () => {
      const { open, request, origin, attempt } = bed()
      const begun = gate()
      const ended = gate<string>()
      origin.on('/capped/chunked', async (wire) => {
        begun.open()
        await wire.closed()
        ended.open(wire.text)
      })
      const wire = await open(CAPPED)
      const fields = 'Transfer-Encoding: chunked\r\n'
      wire.write(request('/capped/chunked', { host: CAPPED, method: 'POST', fields, body: '4\r\npart\r\n' }))
      await begun.opened
      wire.write(chunked(exact))
      const answer = await wire.message()
      wire.socket.destroy()
      expect([answer.status, refusalOf(answer).reason]).toEqual([413, 'request_too_large'])
      expect(await ended.opened).not.toMatch(/0\r\n\r\n$/)
      expect(await attempt('/capped/chunked')).toMatchObject({
        decided: { decision: 'allow' },
        completed: { outcome: 'refused', reason: 'request_too_large', status: 413 },
      })
    })
  })

  describe('response_bytes', () => {
    it('an answer at the limit passes, and the length of a HEAD is no body', async () => {
      const { ask, origin } = bed()
      origin.on('/capped/exact', (wire) => wire.write(ok('x'.repeat(CAP_BYTES))))
      origin.on('/capped/head', (wire) => wire.write('HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n'))
      expect((await ask('/capped/exact', { host: CAPPED })).body).toHaveLength(CAP_BYTES)
      expect((await ask('/capped/head', { host: CAPPED, method: 'HEAD' })).status).toBe(200)
    })

    it('a declared length over the limit is 502', async () => {
      const { ask, origin, attempt } = bed()
      origin.on('/capped/answer', (wire) => wire.write(ok('x'.repeat(CAP_BYTES + 1))))
      const answer = await ask('/capped/answer', { host: CAPPED })
      expect([answer.status, refusalOf(answer).reason]).toEqual([502, 'response_too_large'])
      expect((await attempt('/capped/answer')).completed).toMatchObject({
        outcome: 'refused',
        reason: 'response_too_large',
      })
    })

    it('chunks over the limit are cut off and never look complete', async () => {
      const { open, request, origin, attempt } = bed()
      origin.on('/capped/stream', (wire) =>
        wire.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunked('x'.repeat(CAP_BYTES + 1))}`),
      )
      const wire = await open(CAPPED)
      wire.write(request('/capped/stream', { host: CAPPED }))
      expect(await wire.closed()).toBe('broken')
      expect(wire.text).not.toContain('\r\n0\r\n')
      expect((await attempt('/capped/stream')).completed).toMatchObject({
        outcome: 'refused',
        reason: 'response_too_large',
      })
    })
  })

  describe('a rule with conditions on the body', () => {
    const spaced = '{ "To": "a@b.example",\r\n  "caf\\u00e9": [1, 2.0] }'
    const atLimit = `{"a":"${'x'.repeat(INSPECTION_LIMIT - 8)}"}`

    const zipped = gzipSync('{}').toString('latin1')
    it.each<[string, string, string, string]>([
      ['JSON of declared length', json(spaced), spaced, spaced],
      ['JSON in chunks', 'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n', chunked(spaced), spaced],
      ['a type that ends in +json', `Content-Type: application/problem+json\r\n${sized(spaced)}`, spaced, spaced],
      ['what is compressed', `Content-Encoding: gzip\r\n${json(zipped)}`, zipped, zipped],
      ['as much as is inspected', json(atLimit), atLimit, atLimit],
    ])('passes %s, byte by byte', async (name, fields, body, arrives) => {
      const { ask, origin } = bed()
      const path = `/inspected/${name.replaceAll(' ', '-')}`
      let arrived = ''
      origin.on(path, async (wire, asked) => {
        arrived = (await asked.body()).body
        wire.write(ok('ok'))
      })
      expect((await ask(path, { host: INSPECTED, method: 'POST', fields, body })).status).toBe(200)
      expect(arrived === arrives).toBe(true)
    })

    const hidden = gzipSync('{"Bcc":"x"}').toString('latin1')
    const large = `{"a":"${'x'.repeat(2 * INSPECTION_LIMIT)}"}`
    it.each<[string, string, string]>([
      ['JSON that fails them', json('{"Bcc":"x"}'), '{"Bcc":"x"}'],
      [
        'JSON that fails them, in chunks',
        'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n',
        chunked('{"Bcc":1}'),
      ],
      ['what is no JSON', json('{"a":'), '{"a":'],
      ['a member that is there twice', json('{"a":1,"a":2}'), '{"a":1,"a":2}'],
      ['another type', `Content-Type: text/plain\r\n${sized('{}')}`, '{}'],
      ['no type', sized('{}'), '{}'],
      ['two types', `Content-Type: text/plain\r\n${json('{}')}`, '{}'],
      ['two codings', `Content-Encoding: identity\r\nContent-Encoding: gzip\r\n${json('{}')}`, '{}'],
      ['a coding that hides what fails them', `Content-Encoding: gzip\r\n${json(hidden)}`, hidden],
      ['a coding that nobody here undoes', `Content-Encoding: compress\r\n${json('{}')}`, '{}'],
      ['more than is inspected', json(large), large],
      ['no body', 'Content-Type: application/json\r\n', ''],
    ])('refuses %s: 403, and nothing leaves', async (name, fields, body) => {
      const { ask, origin, attempt } = bed()
      const path = `/refused/${name.replaceAll(' ', '-')}`
      const answer = await ask(path, { host: INSPECTED, method: 'POST', fields, body })
      expect([answer.status, refusalOf(answer).reason, refusalOf(answer).rule]).toEqual([403, 'body_rule', 'inspected'])
      expect(origin.askedFor(path)).toEqual([])
      expect((await attempt(path)).decided).toMatchObject({ decision: 'deny', reason: 'body_rule', rule: 'inspected' })
    })
  })
}
