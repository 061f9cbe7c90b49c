// Every installation has a CA of its own: what one proxy signs, the clients of another do not believe.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { exchangeOn, httpsVia } from '../support/clients.ts'
import { type Standard, startStandard } from '../support/standard.ts'

let one: Standard
let other: Standard
beforeAll(async () => {
  one = await startStandard()
  other = await startStandard()
})
afterAll(async () => {
  await one.close()
  await other.close()
})

it('[H16] two installations do not share a CA', () => {
  expect(one.lab.ca).not.toBe(other.lab.ca)
})

it('[H16] a client of one refuses the leaf of the other', async () => {
  await expect(httpsVia(one.lab, one.authority, { ca: other.lab.ca })).rejects.toThrow(/unable to|certificate/)
  const [rejected] = await one.lab.waitFor('tls.rejected', 1)
  expect(rejected).toMatchObject({ host: 'api.allowed.test' })
  expect(one.lab.recordsOf('request.decided')).toEqual([])
  expect(one.origin.connections()).toBe(0)
})

it.each([() => one, () => other])('[H16] and takes that of its own', async (installation) => {
  const { lab, authority } = installation()
  const socket = await httpsVia(lab, authority)
  const answer = await exchangeOn(socket, `GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
  socket.destroy()
  expect(answer.status).toBe(200)
})
