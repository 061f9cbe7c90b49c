// Upgrades: offers that may be ignored are, everything else is refused before a 101, whatever a rule says that we can not carry.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { reasonOf } from '../support/clients.ts'
import { ALLOWED, ask, DOORS, type Standard, startStandard } from '../support/standard.ts'

let standard: Standard
beforeAll(async () => {
  standard = await startStandard({
    rules: `  - { id: plain, allow: { hosts: [${ALLOWED}], ports: [PORT], paths: ["/plain/**"] } }
  - { id: chat, allow: { hosts: [${ALLOWED}], ports: [PORT], paths: ["/socket"], upgrade: [websocket] } }
`,
  })
})
afterAll(() => standard.close())

const WEBSOCKET =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'

it.each(DOORS)('[G07] a WebSocket where no rule names it, through %s', async (door) => {
  const answer = await ask(standard.lab, door, standard.authority, { target: '/plain/x', headers: WEBSOCKET })
  expect([answer.status, reasonOf(answer)]).toEqual([403, 'upgrade_denied'])
  expect(standard.origin.seen).toEqual([])
})

it.each(DOORS)('a WebSocket that a rule names is refused as long as no tunnel carries it, through %s', async (door) => {
  const answer = await ask(standard.lab, door, standard.authority, { target: '/socket', headers: WEBSOCKET })
  expect([answer.status, reasonOf(answer)]).toEqual([403, 'upgrade_denied'])
  expect(standard.origin.seen).toEqual([])
})

it.each([
  ['[P15] h2c with settings', 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n'],
  ['[G11] TLS', 'Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n'],
  ['[G11] Upgrade without Connection', 'Upgrade: websocket\r\n'],
  ['[G11] Connection without Upgrade', 'Connection: upgrade\r\n'],
])('%s is dropped with the other hop-by-hop fields', async (_name, headers) => {
  standard.origin.seen.length = 0
  const answer = await ask(standard.lab, 'connect', standard.authority, { target: '/plain/x', headers })
  expect(answer.status).toBe(200)
  const names = standard.origin.seen[0]?.rawHeaders.filter((_value, index) => index % 2 === 0)
  expect(names?.map((name) => name.toLowerCase())).not.toEqual(expect.arrayContaining(['upgrade']))
  expect(names).not.toContain('HTTP2-Settings')
})
