// A client that dials an address of its own choice under an allowed name: the name decides where we connect (CVE-2009-0801).

import { afterAll, beforeAll, expect, it } from 'vitest'
import { exchangeOn, tcp } from '../support/clients.ts'
import { createTestRoot, type Origin, startOrigin, type TestRoot } from '../support/origins.ts'
import { ALLOWED, openDoor, type Standard, startStandard } from '../support/standard.ts'

let standard: Standard
let attackerRoot: TestRoot
let attacker: Origin
beforeAll(async () => {
  standard = await startStandard({
    more: `  - { id: plain, allow: { hosts: [${ALLOWED}], ports: [PORT], schemes: [http] } }`,
  })
  attackerRoot = createTestRoot()
  attacker = await startOrigin(attackerRoot, ALLOWED)
})
afterAll(async () => {
  await standard.close()
  await attacker.close()
  attackerRoot.close()
})

it('[A03] TLS to an attacker address: the allowed name is resolved by us and dialled, the address is only recorded', async () => {
  const { lab, origin, authority } = standard
  lab.redirectTo({ address: '203.0.113.9', port: origin.port })
  const socket = await openDoor(lab, 'transparent', authority)
  const answer = await exchangeOn(socket, `GET /a HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
  socket.destroy()
  expect(answer.status).toBe(200)
  expect(attacker.connections()).toBe(0)
  expect(lab.recordsOf('request.decided').at(-1)).toMatchObject({
    host: ALLOWED,
    original_destination: `203.0.113.9:${origin.port}`,
  })
  const [completed] = (await lab.waitFor('request.completed', 1)).slice(-1)
  expect(completed?.['upstream_address']).toBe(`127.0.0.1:${origin.port}`)
})

it('[A04] plain HTTP to an attacker address with an allowed Host', async () => {
  const { lab, origin, authority } = standard
  lab.redirectTo({ address: '203.0.113.9', port: origin.port })
  const socket = await tcp(lab.transparentPort)
  // The origin speaks TLS, so the plain request fails there; what counts is where it went.
  const answer = await exchangeOn(socket, `GET /a HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
  socket.destroy()
  expect(answer.status).toBe(502)
  expect(attacker.connections()).toBe(0)
  expect(lab.recordsOf('request.decided').at(-1)).toMatchObject({ decision: 'allow', rule: 'plain', scheme: 'http' })
})
