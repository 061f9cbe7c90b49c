// Which server a request reaches: the one that was named and judged, by every name that was used, and no other.

import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { connectVia, opened, tcp } from '../support/clients.ts'
import { Wire } from '../support/wire.ts'
import { type Bed, CAPPED, DENIED, HOST, refusalOf, startBed } from './support/bed.ts'

const ELSEWHERE = '203.0.113.9'

describe.each([true, false])('the transparent door, tls %s', (tls) => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed({ door: 'transparent', tls })
  })
  beforeEach(() => {
    bed.lab.redirectTo({ address: ELSEWHERE, port: bed.origin.port })
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  it('[P35] the judged name is dialled, the address that the client dialled is only recorded', async () => {
    expect((await bed.ask('/elsewhere')).status).toBe(200)
    expect(await bed.attempt('/elsewhere')).toMatchObject({
      decided: { host: HOST, original_destination: `${ELSEWHERE}:${bed.origin.port}` },
      completed: { upstream_address: `127.0.0.1:${bed.origin.port}` },
    })
  })

  it('[P35] a denied name on the way to the address of an allowed one is denied', async () => {
    bed.lab.redirectTo({ address: '127.0.0.1', port: bed.origin.port })
    bed.lab.resolved.length = 0
    const answer = await bed.ask('/denied-name', { host: DENIED })
    expect([answer.status, refusalOf(answer).reason]).toEqual([403, 'no_matching_rule'])
    expect(bed.lab.resolved).toEqual([])
    expect(bed.origin.askedFor('/denied-name')).toEqual([])
  })

  it('[P36] a Host with another port than the one that was dialled is 421: halves of two destinations are not combined', async () => {
    const wire = await bed.open()
    wire.write(`GET /other-port HTTP/1.1\r\nHost: ${HOST}:${bed.origin.port + 1}\r\n\r\n`)
    const answer = await wire.message()
    wire.socket.destroy()
    expect([answer.status, refusalOf(answer).reason]).toEqual([421, 'identity_mismatch'])
  })

  it('[P37] an absolute URL that names another host than Host is 421', async () => {
    const wire = await bed.open()
    const scheme = tls ? 'https' : 'http'
    wire.write(`GET ${scheme}://${DENIED}:${bed.origin.port}/url HTTP/1.1\r\nHost: ${bed.authority()}\r\n\r\n`)
    const answer = await wire.message()
    wire.socket.destroy()
    expect([answer.status, refusalOf(answer).reason]).toEqual([421, 'identity_mismatch'])
    expect(bed.origin.askedFor('/url')).toEqual([])
  })

  it('[P37] an absolute URL of the other scheme is 421', async () => {
    const wire = await bed.open()
    wire.write(`GET ${tls ? 'http' : 'https'}://${bed.authority()}/scheme HTTP/1.1\r\nHost: ${bed.authority()}\r\n\r\n`)
    const answer = await wire.message()
    wire.socket.destroy()
    expect([answer.status, refusalOf(answer).reason]).toEqual([421, 'identity_mismatch'])
  })

  it('[P38] the port is the one that was dialled: a rule for another port does not hold', async () => {
    bed.lab.redirectTo({ address: ELSEWHERE, port: 8443 })
    const wire = await bed.open()
    wire.write(`GET /8443 HTTP/1.1\r\nHost: ${HOST}:8443\r\n\r\n`)
    const answer = await wire.message()
    wire.socket.destroy()
    expect([answer.status, refusalOf(answer).reason]).toEqual([403, 'no_matching_rule'])
    expect((await bed.attempt('/8443')).decided).toMatchObject({ host: HOST, port: 8443 })
  })

  it('[P41] a connection that nothing redirected is a loop, refused', async () => {
    bed.lab.redirectTo(null)
    const port = bed.lab.transparentPort
    const wire = await bed.open()
    wire.write(`GET /loop HTTP/1.1\r\nHost: ${HOST}:${port}\r\n\r\n`)
    const answer = await wire.message()
    wire.socket.destroy()
    expect([answer.status, refusalOf(answer).reason]).toEqual([403, 'self'])
    expect((await bed.attempt('/loop')).decided).toMatchObject({
      security_flags: ['not_redirected'],
      original_destination: null,
    })
  })
})

describe('under TLS', () => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed({ door: 'connect', tls: true })
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  it('[P34] CONNECT one, SNI another, Host a third: no handshake, nothing sent, every name recorded', async () => {
    const { socket } = await connectVia(bed.lab, bed.authority())
    const tls = connectTls({ socket, servername: CAPPED, ca: bed.lab.ca })
    await expect(opened(tls, 'secureConnect')).rejects.toThrow(/alert/)
    expect(bed.lab.recordsOf('request.decided').at(-1)).toMatchObject({
      decision: 'deny',
      reason: 'identity_mismatch',
      names: { connect: bed.authority(), sni: CAPPED },
    })
    expect(bed.lab.resolved).toEqual([])
  })

  it('[P34] CONNECT and SNI agree, Host is a third: 421, both allowed as they may be', async () => {
    const wire = await bed.open()
    wire.write(bed.request('/third', { host: CAPPED }))
    const answer = await wire.message()
    wire.socket.destroy()
    expect([answer.status, refusalOf(answer).reason]).toEqual([421, 'identity_mismatch'])
    expect(bed.origin.askedFor('/third')).toEqual([])
    expect((await bed.attempt('/third')).decided).toMatchObject({
      names: { connect: bed.authority(), sni: HOST, host: bed.authority(CAPPED) },
    })
  })

  it('[P39] a name is resolved once for a connection; that address is dialled and asked for by that name', async () => {
    bed.lab.resolved.length = 0
    await bed.ask('/resolved')
    expect(bed.lab.resolved).toEqual([HOST])
    expect(bed.origin.askedFor('/resolved')[0]?.servername).toBe(HOST)
    expect((await bed.attempt('/resolved')).completed).toMatchObject({
      upstream_address: `127.0.0.1:${bed.origin.port}`,
    })
  })

  it('a CONNECT inside a tunnel names a second destination: 400', async () => {
    const wire = await bed.open()
    wire.write(`CONNECT ${bed.authority(CAPPED)} HTTP/1.1\r\nHost: ${bed.authority(CAPPED)}\r\n\r\n`)
    const answer = await wire.message()
    expect([answer.status, refusalOf(answer).reason]).toEqual([400, 'malformed'])
    expect(await wire.closed()).toBe('end')
  })
})

describe('names that lead back here', () => {
  let bed: Bed
  beforeAll(async () => {
    // Observe: any port may be asked for, so what refuses is the address alone.
    bed = await startBed(
      { door: 'absolute', tls: false },
      { mode: 'observe', names: { 'rebound.test': ['127.0.0.1'] } },
    )
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  it.each([
    ['[P40] the admin listener', 'adminPort'],
    ['[P41] the proxy listener', 'proxyPort'],
    ['[P41] the transparent listener', 'transparentPort'],
    ['[P41] the gateway listener', 'gatewayPort'],
  ] as const)('%s is refused, whatever it is called', async (_name, port) => {
    const authority = `rebound.test:${bed.lab[port]}`
    const wire = new Wire(await tcp(bed.lab.proxyPort))
    wire.write(`GET http://${authority}/${port} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
    const answer = await wire.message()
    wire.socket.destroy()
    expect([answer.status, refusalOf(answer).reason]).toEqual([403, 'self'])
    expect((await bed.attempt(`/${port}`)).completed).toMatchObject({ outcome: 'refused', reason: 'self' })
  })
})

describe('the gateway door', () => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed({ door: 'transparent', tls: true }, { mode: 'observe' })
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  it('takes the name of a plain request from Host and the port from its own listener', async () => {
    const authority = `${DENIED}:${bed.lab.gatewayPort}`
    const wire = new Wire(await tcp(bed.lab.gatewayPort))
    wire.write(`GET /by-host HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
    // It does not resolve: as far as dialling it comes, and that it comes there shows which name was judged.
    expect(refusalOf(await wire.message()).reason).toBe('dns_failed')
    wire.socket.destroy()
    expect((await bed.attempt('/by-host')).decided).toMatchObject({
      door: 'gateway',
      host: DENIED,
      port: bed.lab.gatewayPort,
      original_destination: `127.0.0.1:${bed.lab.gatewayPort}`,
    })
  })

  it('takes the name under TLS from SNI, with a certificate for it', async () => {
    const tls = connectTls({ socket: await tcp(bed.lab.gatewayPort), servername: DENIED, ca: bed.lab.ca })
    const wire = new Wire(await opened(tls, 'secureConnect'))
    wire.write(`GET /by-sni HTTP/1.1\r\nHost: ${DENIED}:${bed.lab.gatewayPort}\r\n\r\n`)
    expect(refusalOf(await wire.message()).reason).toBe('dns_failed')
    wire.socket.destroy()
    expect((await bed.attempt('/by-sni')).decided).toMatchObject({ door: 'gateway', sni: DENIED, host: DENIED })
  })

  it('a Host with another port is 421, another name than SNI too', async () => {
    const plain = new Wire(await tcp(bed.lab.gatewayPort))
    plain.write(`GET / HTTP/1.1\r\nHost: ${DENIED}:1\r\n\r\n`)
    expect((await plain.message()).status).toBe(421)
    plain.socket.destroy()
    const tls = connectTls({ socket: await tcp(bed.lab.gatewayPort), servername: DENIED, ca: bed.lab.ca })
    const wire = new Wire(await opened(tls, 'secureConnect'))
    wire.write(`GET / HTTP/1.1\r\nHost: ${HOST}:${bed.lab.gatewayPort}\r\n\r\n`)
    expect((await wire.message()).status).toBe(421)
    wire.socket.destroy()
  })

  it('[P41] a name whose address is the gateway itself, as its clients were told, is refused and not looped', async () => {
    const authority = `${HOST}:${bed.lab.gatewayPort}`
    const wire = new Wire(await tcp(bed.lab.gatewayPort))
    wire.write(`GET /looped HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
    expect(refusalOf(await wire.message()).reason).toBe('self')
    wire.socket.destroy()
    await bed.attempt('/looped')
  })
})
