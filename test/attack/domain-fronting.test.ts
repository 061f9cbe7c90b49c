// Two names for one destination: whatever disagrees is refused, recorded with every name, and nothing leaves.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connectVia, exchangeOn, httpsVia, readUntil, reasonOf, secure, tcp } from '../support/clients.ts'
import { ALLOWED, ask, DENIED, DOORS, openDoor, type Standard, startStandard } from '../support/standard.ts'

let standard: Standard
beforeAll(async () => {
  standard = await startStandard()
})
afterAll(() => standard.close())
beforeEach(() => {
  standard.origin.seen.length = 0
  standard.lab.resolved.length = 0
})

describe.each(DOORS)('through the %s door', (door) => {
  it('[A01] SNI is denied, Host is allowed', async () => {
    const { lab, origin, authority } = standard
    const answer = await ask(lab, door, `${DENIED}:${origin.port}`, { host: authority })
    expect([answer.status, reasonOf(answer)]).toEqual([421, 'identity_mismatch'])
    expect(origin.seen).toEqual([])
    expect(lab.resolved).toEqual([])
    expect(lab.recordsOf('request.decided').at(-1)).toMatchObject({
      decision: 'deny',
      reason: 'identity_mismatch',
      names: { sni: DENIED, host: authority },
    })
  })

  it('[A02] SNI is allowed, Host is another', async () => {
    const answer = await ask(standard.lab, door, standard.authority, { host: DENIED })
    expect(answer.status).toBe(421)
    expect(standard.origin.seen).toEqual([])
  })

  it('[A09] an absolute URL inside the tunnel names another host', async () => {
    const { lab, authority, origin } = standard
    const answer = await ask(lab, door, authority, { target: `https://${DENIED}:${origin.port}/` })
    expect(answer.status).toBe(421)
    expect(origin.seen).toEqual([])
  })

  it('[A10] the second request on a connection that was fine', async () => {
    const { lab, authority, origin } = standard
    const socket = await openDoor(lab, door, authority)
    const first = await exchangeOn(socket, `GET /one HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
    const second = await exchangeOn(socket, `GET /two HTTP/1.1\r\nHost: ${DENIED}\r\n\r\n`)
    socket.destroy()
    expect([first.status, second.status]).toEqual([200, 421])
    expect(origin.seen.map((seen) => seen.url)).toEqual(['/one'])
    const [one, two] = lab.recordsOf('request.decided').slice(-2)
    expect([one?.['decision'], two?.['decision']]).toEqual(['allow', 'deny'])
    expect(one?.['connection_id']).toBe(two?.['connection_id'])
  })

  it('[A17] a leaf holds the one name that was asked for, and another allowed name on it is 421', async () => {
    const { lab, authority } = standard
    const socket = await openDoor(lab, door, authority)
    const names = (socket as import('node:tls').TLSSocket).getPeerX509Certificate()?.subjectAltName
    const answer = await exchangeOn(socket, `GET / HTTP/1.1\r\nHost: other.${ALLOWED}\r\n\r\n`)
    socket.destroy()
    expect(names).toBe(`DNS:${ALLOWED}`)
    expect(answer.status).toBe(421)
  })
})

it('[A05] CONNECT names one host, SNI another: an alert, no leaf, one decision with both names', async () => {
  const { lab, authority } = standard
  const { socket } = await connectVia(lab, authority)
  await expect(secure(lab, socket, { servername: DENIED })).rejects.toThrow(/alert|unrecognized/i)
  const [decided] = lab.recordsOf('request.decided').slice(-1)
  expect(decided).toMatchObject({ reason: 'identity_mismatch', names: { connect: authority, sni: DENIED }, path: null })
  expect(lab.resolved).toEqual([])
})

it('[A06] CONNECT and SNI agree, the inner Host is an address', async () => {
  const socket = await httpsVia(standard.lab, standard.authority)
  const answer = await exchangeOn(socket, 'GET / HTTP/1.1\r\nHost: 10.0.0.1:443\r\n\r\n')
  socket.destroy()
  expect(answer.status).toBe(421)
})

it('[A08] an absolute-form proxy request whose URL and Host differ', async () => {
  const { lab, origin } = standard
  const socket = await tcp(lab.proxyPort)
  const answer = await exchangeOn(socket, `GET http://${DENIED}/p HTTP/1.1\r\nHost: ${ALLOWED}\r\n\r\n`)
  socket.destroy()
  expect([answer.status, reasonOf(answer)]).toEqual([421, 'identity_mismatch'])
  expect(origin.seen).toEqual([])
})

it('CONNECT names one host, its Host header another', async () => {
  const socket = await tcp(standard.lab.proxyPort)
  const text = readUntil(socket)
  socket.write(`CONNECT ${DENIED}:443 HTTP/1.1\r\nHost: ${standard.authority}\r\n\r\n`)
  expect(await text).toMatch(/^HTTP\/1\.1 421 /)
})
