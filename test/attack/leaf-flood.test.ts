// One new name after another: certificates for names that nobody allowed are few, and cost the allowed ones nothing.

import { connect, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  connectVia,
  exchangeOn,
  httpsRedirected,
  opened,
  readUntil,
  reasonOf,
  secure,
  tcp,
} from '../support/clients.ts'
import { clientHello, fatalAlert } from '../support/client-hello.ts'
import { ALLOWED, openDoor, type Standard, startStandard } from '../support/standard.ts'
import { seenBy, witness } from '../support/witness.ts'

const FLOOD = 200
const BURST = 20
const ACCESS_DENIED = 49

let standard: Standard
beforeEach(async () => {
  // The clock stands still: nothing comes back to the budget while a test runs.
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() })
  standard = await startStandard()
})
afterEach(async () => {
  await standard.close()
  vi.useRealTimers()
})

const nameOf = (index: number): string => `stolen-${index}.evil.test`

function connectFrom(localAddress: string, port: number): Promise<Socket> {
  return opened(connect({ host: '127.0.0.1', port, localAddress }))
}

function readFrom(socket: Socket, bytes: string): Promise<string> {
  const answer = readUntil(socket, (text) => text.includes('\r\n\r\n'))
  socket.write(bytes)
  return answer
}

/** One request for a name through CONNECT, and where the answer came. */
async function askFor(name: string): Promise<{ where: string; status: number; reason: string }> {
  const { lab, origin } = standard
  const { socket, refused } = await connectVia(lab, `${name}:${origin.port}`)
  if (refused !== null) {
    socket.destroy()
    return { where: 'the CONNECT', status: refused.status, reason: reasonOf(refused) }
  }
  const tls = await secure(lab, socket, { servername: name })
  const answer = await exchangeOn(tls, `GET / HTTP/1.1\r\nHost: ${name}:${origin.port}\r\n\r\n`)
  tls.destroy()
  return { where: 'inside', status: answer.status, reason: reasonOf(answer) }
}

async function allowedSerial(): Promise<string | undefined> {
  const socket = (await openDoor(standard.lab, 'connect', standard.authority)) as TLSSocket
  const serial = socket.getPeerX509Certificate()?.serialNumber
  await exchangeOn(socket, `GET /serial HTTP/1.1\r\nHost: ${standard.authority}\r\n\r\n`)
  socket.destroy()
  return serial
}

describe('[H13] 200 denied names', () => {
  it('through CONNECT: 20 with an answer inside, then the CONNECT itself is refused', async () => {
    const asked: { where: string; status: number; reason: string }[] = []
    const left = await witness(
      standard,
      async () => {
        const before = await allowedSerial()
        for (let index = 0; index < FLOOD; index++) asked.push(await askFor(nameOf(index)))
        expect(await allowedSerial()).toBe(before)
      },
      { decided: FLOOD + 2 },
    )
    expect(asked).toEqual(
      asked.map((_asked, index) => ({
        where: index < BURST ? 'inside' : 'the CONNECT',
        status: 403,
        reason: 'no_matching_rule',
      })),
    )
    const denied = left.decided.filter((record) => record['decision'] === 'deny')
    expect(denied).toHaveLength(FLOOD)
    expect(denied.at(-1)).toMatchObject({
      reason: 'no_matching_rule',
      method: 'CONNECT',
      path: null,
      host: nameOf(FLOOD - 1),
    })
    expect(standard.lab.resolved).toEqual([ALLOWED])
    expect(new Set(seenBy(standard))).toEqual(new Set(['/serial']))
  })

  it('through the transparent door: 20 with an answer inside, then the alert', async () => {
    const { lab, origin } = standard
    const alerts: (number | null)[] = []
    const left = await witness(
      standard,
      async () => {
        for (let index = 0; index < BURST; index++) {
          const tls = await httpsRedirected(lab, nameOf(index))
          const answer = await exchangeOn(tls, `GET / HTTP/1.1\r\nHost: ${nameOf(index)}:${origin.port}\r\n\r\n`)
          expect(answer.status).toBe(403)
          tls.destroy()
        }
        for (let index = BURST; index < FLOOD; index++) {
          const socket = await tcp(lab.transparentPort)
          const answer = readUntil(socket)
          socket.end(clientHello({ name: nameOf(index) }))
          alerts.push(fatalAlert(await answer))
        }
      },
      { decided: FLOOD },
    )
    expect(alerts).toEqual(Array.from({ length: FLOOD - BURST }, () => ACCESS_DENIED))
    expect(left.decided.at(-1)).toMatchObject({
      decision: 'deny',
      reason: 'no_matching_rule',
      path: null,
      method: null,
      sni: nameOf(FLOOD - 1),
    })
    expect(left.completed.at(-1)).toMatchObject({ outcome: 'refused', status: null })
    expect(lab.resolved).toEqual([ALLOWED])
  })
})

it('[H13] the budget fills again, one a second, and is one for each client', async () => {
  const { lab, origin } = standard
  const openedFor = async (index: number): Promise<boolean> => {
    const { socket, refused } = await connectVia(lab, `${nameOf(index)}:${origin.port}`)
    socket.destroy()
    return refused === null
  }
  const spend = async (from: number): Promise<number> => {
    let index = from
    while (await openedFor(index)) index += 1
    return index - from
  }
  expect(await spend(0)).toBe(BURST)
  vi.setSystemTime(Date.now() + 3_000)
  expect(await spend(BURST)).toBe(3)
  const other = await connectFrom('127.0.0.2', lab.proxyPort)
  const answer = await readFrom(other, `CONNECT ${nameOf(0)}:443 HTTP/1.1\r\nHost: ${nameOf(0)}:443\r\n\r\n`)
  other.destroy()
  expect(answer).toMatch(/^HTTP\/1\.1 200 /)
})
