// A CONNECT where the destination is bound already would name a second one: refused, wherever it leads.

import { expect, it } from 'vitest'
import { refusalOf, type Way } from '../doors/support/bed.ts'
import { clientHello } from '../support/client-hello.ts'
import { EVERY_WAY, eachWay, outcomeOf } from './support/foreign.ts'

/** A CONNECT at the explicit door is the way in. */
const BOUND: readonly Way[] = EVERY_WAY.filter(({ door }) => door !== 'absolute')

const ROWS: [string, (authority: string) => string][] = [
  ['to the very same destination', (authority) => authority],
  ['to a denied one', () => 'evil.test:443'],
  ['to loopback', () => '127.0.0.1:22'],
  ['to nothing that is an authority', () => '/'],
]

eachWay(BOUND, (bed) => {
  it.each(ROWS)('[G04] %s', async (_name, target) => {
    const authority = target(bed().authority())
    const outcome = await outcomeOf(bed(), (wire) => {
      wire.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
      wire.write(clientHello({ name: 'evil.test' }))
    })
    expect(outcome.said).toMatch(/^HTTP\/1\.1 400 /)
    expect(outcome.said).not.toContain(' 200 ')
    expect(outcome.said).not.toContain('\x16\x03')
    expect(outcome.ending).toBe('end')
    expect(outcome.decided).toMatchObject([
      { decision: 'deny', enforced: true, reason: 'malformed', method: 'CONNECT' },
    ])
    expect(outcome.completed).toMatchObject([{ outcome: 'refused', status: 400, upstream_address: null }])
  })

  it('[G04] behind a request that was answered', async () => {
    const { open, request, authority, lab, origin } = bed()
    const wire = await open()
    wire.write(request('/before-connect'))
    expect((await wire.message()).body).toBe('ok')
    const asked = origin.asked.length
    wire.write(`CONNECT ${authority()} HTTP/1.1\r\nHost: ${authority()}\r\n\r\n`)
    const answer = await wire.message()
    expect([answer.status, refusalOf(answer).reason]).toEqual([400, 'malformed'])
    expect(await wire.closed()).toBe('end')
    wire.socket.destroy()
    expect(origin.asked).toHaveLength(asked)
    expect(lab.recordsOf('request.decided').at(-1)).toMatchObject({ method: 'CONNECT', decision: 'deny' })
  })
})

eachWay([{ door: 'absolute', tls: false }], (bed) => {
  it('[G04] behind an absolute-form request on the same connection it is judged like any CONNECT', async () => {
    const { open, request, lab } = bed()
    const wire = await open()
    wire.write(request('/before-connect'))
    expect((await wire.message()).body).toBe('ok')
    wire.write('CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n')
    // The tunnel to a denied name leads to our leaf, to carry the 403: to no origin.
    expect((await wire.head()).split('\r\n')[0]).toBe('HTTP/1.1 200 Connection Established')
    wire.write('CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n')
    const answer = await wire.message()
    expect([answer.status, refusalOf(answer).reason]).toEqual([400, 'malformed'])
    wire.socket.destroy()
    expect(lab.resolved).not.toContain('evil.test')
  })
})
