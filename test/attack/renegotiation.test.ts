// Renegotiation costs the side that answers it far more than the side that asks: neither a client nor an origin gets one.

import { connect as connectTls, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { connectVia, exchangeOn, opened, reasonOf, tcp } from '../support/clients.ts'
import { ALLOWED, ask, DOORS, type Standard, startStandard } from '../support/standard.ts'
import { startTlsCanary, type TlsCanary } from '../support/tls-canary.ts'
import { witness } from '../support/witness.ts'

const OTHER = 'renegotiating.test'

let standard: Standard
let canary: TlsCanary
beforeAll(async () => {
  canary = await startTlsCanary()
  standard = await startStandard({
    more: `  - { id: other, allow: { hosts: [${OTHER}], ports: [${canary.port}] } }`,
    names: { [OTHER]: ['127.0.0.1'] },
  })
})
afterAll(async () => {
  await standard.close()
  await canary.close()
})

/** Resolves to why it was refused, null when it was done. */
function renegotiated(socket: TLSSocket): Promise<string | null> {
  return new Promise((resolve) => {
    socket.once('error', (error) => resolve(error.message))
    socket.once('close', () => resolve('closed'))
    socket.renegotiate({}, (error) => resolve(error?.message ?? null))
  })
}

it.each(DOORS)('[H05] a client asks for one in the middle of its connection, %s', async (door) => {
  const { lab, authority } = standard
  const left = await witness(standard, async () => {
    const socket = door === 'connect' ? (await connectVia(lab, authority)).socket : await tcp(lab.transparentPort)
    const options = { socket, servername: ALLOWED, ca: lab.ca, maxVersion: 'TLSv1.2' } as const
    const tls = (await opened(connectTls(options), 'secureConnect')) as TLSSocket
    const first = await exchangeOn(tls, `GET /before HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
    expect(first.status).toBe(200)
    expect(await renegotiated(tls)).not.toBeNull()
    tls.destroy()
  })
  expect(left.decided[0]).toMatchObject({ decision: 'allow', path: '/before' })
})

it('[H19] an origin asks for one, with a certificate of the client in mind', async () => {
  const asked: Promise<string | null>[] = []
  const shown: object[] = []
  const wanting = {
    ...standard.root.issue(OTHER),
    maxVersion: 'TLSv1.2',
    requestCert: true,
    rejectUnauthorized: false,
  } as const
  canary.secured(OTHER, wanting, (socket) => {
    shown.push(socket.getPeerCertificate())
    asked.push(renegotiated(socket))
  })
  const left = await witness(standard, async () => {
    const answer = await ask(standard.lab, 'connect', `${OTHER}:${canary.port}`)
    expect([answer.status, reasonOf(answer)]).toEqual([502, 'upstream_unreachable'])
    // What a server says to a client that answered no_renegotiation; one that had begun would fail in another way.
    expect((JSON.parse(answer.body) as { hint: string }).hint).toMatch(/ALERT_HANDSHAKE_FAILURE$/)
  })
  expect(await Promise.all(asked)).toEqual([expect.any(String)])
  expect(shown).toEqual([{}])
  expect(left.completed[0]).toMatchObject({ outcome: 'failed', reason: 'upstream_unreachable' })
})
