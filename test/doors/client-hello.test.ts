// ClientHellos as networks and newer clients deliver them, and clients that do not like the certificate they get.

import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { clientHello, extension, inPieces, inRecordsOf, reshaped } from '../support/client-hello.ts'
import { connectVia, opened, tcp } from '../support/clients.ts'
import { Wire } from '../support/wire.ts'
import { type Bed, HOST, refusalOf, startBed } from './support/bed.ts'

const GREASE = [0x0a0a, 0x1a1a, 0xfafa] as const
const PADDING = 0x0015
const SERVER_HELLO = /^\x16\x03[\x01-\x03]..\x02/s
const UNKNOWN_CA_ALERT = Buffer.from('15030300020230', 'hex')

describe.each(['connect', 'transparent'] as const)('%s', (door) => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed({ door, tls: true })
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  /** A TCP connection on which TLS for the host may begin. */
  const begun = async (): ReturnType<typeof tcp> =>
    door === 'connect' ? (await connectVia(bed.lab, bed.authority())).socket : tcp(bed.lab.transparentPort)

  it.each([
    ['[P26] two segments', inPieces(2)],
    ['[P26] one byte at a time', inPieces(100_000)],
    ['[P27] several TLS records', inRecordsOf(100)],
    [
      '[P27] several TLS records, one byte at a time',
      (flight: Buffer) => inPieces(100_000)(Buffer.concat(inRecordsOf(50)(flight))),
    ],
  ])('a hello in %s', async (name, shape) => {
    const path = `/hello/${name.replaceAll(/[^a-z0-9]+/gi, '-')}`
    const tls = connectTls({ socket: reshaped(await begun(), shape), servername: HOST, ca: bed.lab.ca })
    const wire = new Wire(await opened(tls, 'secureConnect'))
    wire.write(bed.request(path))
    expect((await wire.message()).status).toBe(200)
    wire.socket.destroy()
    expect((await bed.attempt(path)).decided).toMatchObject({ sni: HOST, decision: 'allow' })
  })

  it('[P28] GREASE everywhere and much padding are no obstacle', async () => {
    const hello = clientHello({
      name: HOST,
      suites: [GREASE[0], 0xc02b],
      versions: [GREASE[1], 0x0303],
      extensions: [extension(GREASE[2], Buffer.alloc(1)), extension(PADDING, Buffer.alloc(8_000))],
    })
    const wire = new Wire(await begun())
    wire.write(hello)
    expect(await wire.take(6)).toMatch(SERVER_HELLO)
    wire.socket.destroy()
    await bed.lab.waitFor('tls.rejected', 1)
  })

  it('[P28] an SSLv2 hello is not TLS and not HTTP: refused and recorded', async () => {
    const malformed = bed.lab.recordsOf('request.malformed').length
    const wire = new Wire(await begun())
    wire.write(Buffer.from('802e0103010015000000100100800300800700c08a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a', 'hex'))
    const answer = await wire.message()
    expect([answer.status, refusalOf(answer).reason]).toEqual([400, 'malformed'])
    expect(await wire.closed()).toBe('end')
    expect(await bed.lab.waitFor('request.malformed', malformed + 1)).toHaveLength(malformed + 1)
  })

  it('[P47] a client that trusts other roots is recorded by name and cause, and is no attempt', async () => {
    const before = {
      rejected: bed.lab.recordsOf('tls.rejected').length,
      decided: bed.lab.recordsOf('request.decided').length,
    }
    const tls = connectTls({ socket: await begun(), servername: HOST, ca: bed.root.pem })
    await expect(opened(tls, 'secureConnect')).rejects.toThrow(/certificate|self-signed|issuer/)
    const rejected = (await bed.lab.waitFor('tls.rejected', before.rejected + 1)).at(-1)
    expect(rejected).toMatchObject({ door, sni: HOST })
    expect(['certificate_rejected', 'closed', 'closed_without_request', 'reset']).toContain(rejected?.['cause'])
    expect(bed.lab.recordsOf('request.decided')).toHaveLength(before.decided)
  })

  it('[P48] a client that sends an alert and then keeps its half open is let go', async () => {
    const before = bed.lab.recordsOf('tls.rejected').length
    const socket = await begun()
    socket.allowHalfOpen = true
    const wire = new Wire(socket)
    wire.write(clientHello({ name: HOST }))
    expect(await wire.take(6)).toMatch(SERVER_HELLO)
    wire.write(UNKNOWN_CA_ALERT)
    await wire.closed()
    expect((await bed.lab.waitFor('tls.rejected', before + 1)).at(-1)).toMatchObject({ cause: 'certificate_rejected' })
    socket.destroy()
  })

  it.runIf(door === 'connect')('a client that does not wait for the answer to its CONNECT', async () => {
    const wire = new Wire(await tcp(bed.lab.proxyPort))
    const connect = `CONNECT ${bed.authority()} HTTP/1.1\r\nHost: ${bed.authority()}\r\n\r\n`
    wire.write(Buffer.concat([Buffer.from(connect), clientHello({ name: HOST })]))
    expect(await wire.head()).toMatch(/^HTTP\/1\.1 200 /)
    expect(await wire.take(6)).toMatch(SERVER_HELLO)
    wire.socket.destroy()
  })
})
