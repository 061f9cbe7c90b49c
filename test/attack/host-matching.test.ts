// Names that look like an allowed one: matching is by label, on the canonical name, and nothing else.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { connectVia, reasonOf } from '../support/clients.ts'
import { ask, type Standard, startStandard } from '../support/standard.ts'

let standard: Standard
beforeAll(async () => {
  standard = await startStandard({
    rules: `  - { id: one, allow: { hosts: ["*.one.test"], ports: [PORT] } }
  - { id: deep, allow: { hosts: ["**.deep.test"], ports: [PORT] } }
  - { id: exact, allow: { hosts: [api.allowed.test, my_host.test], ports: [PORT] } }
  - { id: idn, allow: { hosts: [xn--pple-43d.test], ports: [PORT] } }
`,
    names: {
      'a.one.test': ['127.0.0.1'],
      'deep.test': ['127.0.0.1'],
      'a.b.deep.test': ['127.0.0.1'],
      'my_host.test': ['127.0.0.1'],
      'api.allowed.test': ['127.0.0.1'],
    },
  })
})
afterAll(() => standard.close())

it.each([
  ['[D23] a prefix before the name', 'evil-api.allowed.test'],
  ['[D23] a suffix behind the name', 'api.allowed.test.evil.test'],
  ['[D23] the apex under a one-label wildcard', 'one.test'],
  ['[D23] two labels under a one-label wildcard', 'a.b.one.test'],
  ['[D23] a name that only ends like the wildcard', 'notone.test'],
  ['[D23] a name that only ends like the deep wildcard', 'notdeep.test'],
])('%s is denied', async (_name, host) => {
  const answer = await ask(standard.lab, 'connect', `${host}:${standard.origin.port}`)
  expect([answer.status, reasonOf(answer)]).toEqual([403, 'no_matching_rule'])
})

it.each([
  ['[D23] one label', 'a.one.test'],
  ['[D23] the apex under a deep wildcard', 'deep.test'],
  ['[D23] any depth under a deep wildcard', 'a.b.deep.test'],
  ['[D25] an underscore', 'my_host.test'],
])('%s is allowed (by name; the certificate decides the rest)', async (_name, host) => {
  const answer = await ask(standard.lab, 'connect', `${host}:${standard.origin.port}`)
  // The origin's certificate is for another name: refused, but only after policy allowed and after the record.
  expect([answer.status, reasonOf(answer)]).toEqual([502, 'upstream_tls'])
  expect(standard.lab.recordsOf('request.decided').at(-1)).toMatchObject({ decision: 'allow', host })
})

it('[D21] one trailing dot is the same name', async () => {
  const { lab, origin } = standard
  const { refused, socket } = await connectVia(lab, `api.allowed.test.:${origin.port}`)
  socket.destroy()
  expect(refused).toBeNull()
})

it.each([
  ['[D21] two trailing dots', 'api.allowed.test..'],
  ['[D21] a leading dot', '.api.allowed.test'],
  ['[D24] a full-width letter', '\u00efxample.test'],
  ['[D25] a 64-byte label', `${'a'.repeat(64)}.test`],
  ['[D25] a 254-byte name', `${'a.'.repeat(125)}test`],
  ['[D25] a leading hyphen', '-a.test'],
  ['[E05] a zone id', '[fe80::1%25eth0]'],
  ['[E13] NUL in the name', 'attacker.test\u0000.allowed.test'],
])('%s is 400', async (_name, host) => {
  const { refused, socket } = await connectVia(standard.lab, `${host}:443`)
  socket.destroy()
  expect(refused?.status).toBe(400)
})
