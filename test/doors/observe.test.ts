// Observe mode: what policy would have refused goes on and is recorded as such; what is wrong in itself does not.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { ok } from '../support/scripted-origin.ts'
import {
  type Bed,
  CAP_BYTES,
  CAPPED,
  HOST,
  INSPECTED,
  RATE,
  RATED,
  refusalOf,
  startBed,
  type Way,
} from './support/bed.ts'

const WAYS: Way[] = [
  { door: 'connect', tls: true },
  { door: 'transparent', tls: true },
  { door: 'transparent', tls: false },
  { door: 'absolute', tls: false },
]
const UNKNOWN = 'unknown.test'
const PRIVATE = 'private.test'

describe.each(WAYS)('$door, tls $tls', (way) => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed(way, {
      mode: 'observe',
      names: Object.fromEntries([
        ...[HOST, CAPPED, RATED, INSPECTED, UNKNOWN].map((name) => [name, ['127.0.0.1']]),
        [PRIVATE, ['10.0.0.7']],
      ]),
    })
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  it('what a rule allows is allowed, and not enforced', async () => {
    expect((await bed.ask('/allowed')).status).toBe(200)
    expect((await bed.attempt('/allowed')).decided).toMatchObject({
      decision: 'allow',
      enforced: false,
      rule: 'free',
      mode: 'observe',
    })
  })

  it('what no rule allows goes on, recorded as the denial that it would be', async () => {
    expect((await bed.ask('/unknown', { host: UNKNOWN })).body).toBe('ok')
    expect(await bed.attempt('/unknown')).toMatchObject({
      decided: { decision: 'deny', enforced: false, rule: null, reason: 'no_matching_rule', mode: 'observe' },
      completed: { outcome: 'completed', status: 200 },
    })
  })

  it('a body that a rule would refuse goes on whole', async () => {
    const { ask, origin, attempt } = bed
    let arrived = ''
    origin.on('/bcc', async (wire, asked) => {
      arrived = (await asked.body()).body
      wire.write(ok('ok'))
    })
    const body = '{ "Bcc": "x@evil.test" }'
    const fields = `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`
    expect((await ask('/bcc', { host: INSPECTED, method: 'POST', fields, body })).status).toBe(200)
    expect(arrived).toBe(body)
    expect((await attempt('/bcc')).decided).toMatchObject({ decision: 'deny', enforced: false, reason: 'body_rule' })
  })

  it('a body over the inspection limit goes on whole', async () => {
    const { ask, origin, attempt } = bed
    let arrived = 0
    origin.on('/huge', async (wire, asked) => {
      arrived = (await asked.body()).body.length
      wire.write(ok('ok'))
    })
    const body = `{"a":"${'x'.repeat(2_000_000)}"}`
    const fields = `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`
    expect((await ask('/huge', { host: INSPECTED, method: 'POST', fields, body })).status).toBe(200)
    expect(arrived).toBe(body.length)
    expect((await attempt('/huge')).decided).toMatchObject({ decision: 'deny', enforced: false, reason: 'body_rule' })
  })

  it('sizes are recorded where they are known beforehand, and cut nothing off', async () => {
    const { ask, origin, attempt } = bed
    origin.on('/sizes', async (wire, asked) => {
      await asked.body()
      wire.write(ok('y'.repeat(CAP_BYTES * 2)))
    })
    const body = 'x'.repeat(CAP_BYTES * 2)
    const answer = await ask('/sizes', {
      host: CAPPED,
      method: 'POST',
      fields: `Content-Length: ${body.length}\r\n`,
      body,
    })
    expect(answer.body).toHaveLength(CAP_BYTES * 2)
    expect((await attempt('/sizes')).decided).toMatchObject({
      decision: 'deny',
      enforced: false,
      reason: 'request_too_large',
    })
  })

  it('chunks over a size go on', async () => {
    const body = `${(CAP_BYTES * 2).toString(16)}\r\n${'x'.repeat(CAP_BYTES * 2)}\r\n0\r\n\r\n`
    const fields = 'Transfer-Encoding: chunked\r\n'
    expect((await bed.ask('/chunks', { host: CAPPED, method: 'POST', fields, body })).status).toBe(200)
  })

  it('a rate that is used up is recorded and passes', async () => {
    for (let index = 0; index <= RATE; index++) {
      expect((await bed.ask(`/rated/${index}`, { host: RATED })).status).toBe(200)
    }
    expect((await bed.attempt(`/rated/${RATE}`)).decided).toMatchObject({
      decision: 'deny',
      enforced: false,
      reason: 'rate_limited',
      rule: 'rated',
    })
  })

  it('what is ambiguous is refused all the same', async () => {
    const answer = await bed.ask('/a/%2e%2e/b')
    expect([answer.status, refusalOf(answer).reason]).toEqual([400, 'path_not_canonical'])
    expect((await bed.attempt('/a/%2e%2e/b')).decided).toMatchObject({ decision: 'deny', enforced: true })
  })

  it('a forbidden address is refused all the same', async () => {
    const answer = await bed.ask('/private', { host: PRIVATE })
    expect([answer.status, refusalOf(answer).reason]).toEqual([403, 'address_denied'])
    expect((await bed.attempt('/private')).completed).toMatchObject({ outcome: 'refused', reason: 'address_denied' })
  })

  it.skipIf(way.door === 'absolute' || !way.tls)('names that disagree are refused all the same', async () => {
    const { open, request, origin } = bed
    const wire = await open()
    wire.write(request('/disagree', { host: UNKNOWN }))
    expect((await wire.message()).status).toBe(421)
    wire.socket.destroy()
    expect(origin.askedFor('/disagree')).toEqual([])
  })
})
