// No certificate can be made: nothing is tunnelled instead, and the client of the explicit proxy is told before its tunnel opens.

import { connect as connectTls } from 'node:tls'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { connectVia, exchangeOn, opened, readUntil, reasonOf, tcp } from '../support/clients.ts'
import { clientHello, fatalAlert } from '../support/client-hello.ts'
import { ALLOWED, DENIED, type Standard, startStandard } from '../support/standard.ts'
import { seenBy } from '../support/witness.ts'
import { assertAccounted } from '../support/accounting.ts'

const DAY_MS = 24 * 3_600_000
/** A CA of ours lives 825 days at most. */
const AFTER_THE_CA = 3_000 * DAY_MS

let standard: Standard
beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() })
  standard = await startStandard()
})
afterEach(async () => {
  await standard.close()
  vi.useRealTimers()
})

it.each([
  ['an allowed name', ALLOWED],
  ['a denied name', DENIED],
])('[H08] CONNECT to %s, the CA has ended: 503 and no tunnel', async (_name, host) => {
  const { lab, origin } = standard
  vi.setSystemTime(Date.now() + AFTER_THE_CA)
  const { socket, refused } = await connectVia(lab, `${host}:${origin.port}`)
  socket.destroy()
  expect(refused?.status).toBe(503)
  expect(refused === null ? null : reasonOf(refused)).toBe('overloaded')
  await assertAccounted(lab)
  expect(lab.recordsOf('request.decided')).toHaveLength(1)
  expect(lab.recordsOf('request.decided')[0]).toMatchObject({
    decision: 'deny',
    reason: 'overloaded',
    method: 'CONNECT',
  })
  expect(lab.resolved).toEqual([])
  expect(origin.connections()).toBe(0)
})

it('[H08] a redirected connection, the CA has ended: an alert', async () => {
  const { lab, origin } = standard
  vi.setSystemTime(Date.now() + AFTER_THE_CA)
  const socket = await tcp(lab.transparentPort)
  const answer = readUntil(socket)
  socket.end(clientHello({ name: ALLOWED }))
  expect(fatalAlert(await answer)).not.toBeNull()
  await assertAccounted(lab)
  expect(lab.recordsOf('request.decided')).toHaveLength(1)
  expect(lab.recordsOf('request.decided')[0]).toMatchObject({ decision: 'deny', reason: 'overloaded', path: null })
  expect(origin.connections()).toBe(0)
})

it('[H08] the proxy serves the next client once there is a CA again', async () => {
  const { lab, authority } = standard
  const now = Date.now()
  vi.setSystemTime(now + AFTER_THE_CA)
  const { socket } = await connectVia(lab, authority)
  socket.destroy()
  vi.setSystemTime(now)
  await served()
  expect(seenBy(standard)).toEqual(['/'])
})

it('[H14] a leaf that is about to expire is made anew, under a serial of its own', async () => {
  const now = Date.now()
  const serials: (string | undefined)[] = []
  for (const day of [0, 1, 6, 12, 30]) {
    vi.setSystemTime(now + day * DAY_MS)
    serials.push(await served())
  }
  expect(serials[1]).toBe(serials[0])
  expect(new Set(serials).size).toBe(4)
})

it('[H14] a clock that is set back does not show a leaf of the future', async () => {
  const now = Date.now()
  const first = await served()
  vi.setSystemTime(now - 2 * 3_600_000)
  expect(await served()).not.toBe(first)
})

/** One request; resolves to the serial of the leaf that carried it. A clock of the future is only ours: the client checks no dates. */
async function served(): Promise<string | undefined> {
  const { lab, authority } = standard
  const { socket: tunnel } = await connectVia(lab, authority)
  const socket = connectTls({ socket: tunnel, servername: ALLOWED, rejectUnauthorized: false })
  await opened(socket, 'secureConnect')
  const serial = socket.getPeerX509Certificate()?.serialNumber
  const answer = await exchangeOn(socket, `GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
  socket.destroy()
  expect(answer.status).toBe(200)
  return serial
}
