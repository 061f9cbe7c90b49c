// Upgrades: a way out of HTTP only where a rule names it and we can read what follows; every other offer is refused, before a byte of it leaves.

import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { reasonOf } from '../support/clients.ts'
import { ALLOWED, ask, DOORS, type Standard, startStandard } from '../support/standard.ts'
import { handshake } from '../support/websocket.ts'

let standard: Standard
beforeAll(async () => {
  standard = await startStandard({
    rules: `  - { id: plain, allow: { hosts: [${ALLOWED}], ports: [PORT], paths: ["/plain/**"] } }
  - { id: any, allow: { hosts: [${ALLOWED}], ports: [PORT], paths: ["/any"], upgrade: [websocket, foo] } }
`,
  })
})
afterAll(async () => {
  await assertAccounted(standard.lab)
  await standard.close()
})
beforeEach(() => {
  standard.origin.seen.length = 0
})

it.each(DOORS)('[G07] a WebSocket where no rule names it, through %s', async (door) => {
  const answer = await ask(standard.lab, door, standard.authority, { target: '/plain/x', headers: handshake() })
  expect([answer.status, reasonOf(answer)]).toEqual([403, 'upgrade_denied'])
  expect(standard.origin.seen).toEqual([])
})

it.each(DOORS)('[G11] a protocol that nothing here reads, whatever a rule says, through %s', async (door) => {
  for (const protocol of ['foo', 'TLS/1.0', 'foo, websocket', 'websocket, websocket']) {
    const headers = handshake({ Upgrade: protocol })
    const answer = await ask(standard.lab, door, standard.authority, { target: '/any', headers })
    expect([protocol, answer.status, reasonOf(answer)]).toEqual([protocol, 403, 'upgrade_denied'])
  }
  expect(standard.origin.seen).toEqual([])
})

it.each([
  ['[G11] TLS', 'Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n'],
  ['[G11] a protocol that nobody knows', 'Connection: Upgrade\r\nUpgrade: foo\r\n'],
  ['[G07] [G11] a WebSocket beside another one', 'Connection: Upgrade\r\nUpgrade: websocket, foo\r\n'],
])('%s is refused where no rule names it', async (_name, headers) => {
  const answer = await ask(standard.lab, 'connect', standard.authority, { target: '/plain/x', headers })
  expect([answer.status, reasonOf(answer)]).toEqual([403, 'upgrade_denied'])
  expect(standard.origin.seen).toEqual([])
})

it.each([
  ['[G11] Upgrade that Connection does not name', 'Upgrade: websocket\r\n'],
  ['[G11] Connection: upgrade without Upgrade', 'Connection: upgrade\r\n'],
])('%s asks for nothing, and is not passed on', async (_name, headers) => {
  const answer = await ask(standard.lab, 'connect', standard.authority, { target: '/plain/x', headers })
  expect(answer.status).toBe(200)
  const names = standard.origin.seen[0]?.rawHeaders.filter((_value, index) => index % 2 === 0)
  expect(names?.map((name) => name.toLowerCase())).not.toContain('upgrade')
  expect(standard.origin.seen[0]?.rawHeaders.join(' ').toLowerCase()).not.toContain('upgrade')
})
