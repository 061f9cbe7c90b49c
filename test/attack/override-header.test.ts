// Headers that tell an origin to use another method or path than the one that was judged.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { reasonOf } from '../support/clients.ts'
import { ALLOWED, ask, type Standard, startStandard } from '../support/standard.ts'

let standard: Standard
beforeAll(async () => {
  standard = await startStandard({
    rules: `  - { id: read, allow: { hosts: [${ALLOWED}], ports: [PORT], methods: [GET], paths: ["/public"] } }
  - { id: anything, allow: { hosts: [open.test], ports: [PORT] } }
`,
    names: { 'open.test': ['127.0.0.1'] },
  })
})
afterAll(() => standard.close())

it.each([
  ['[D19] X-HTTP-Method-Override', 'X-HTTP-Method-Override: DELETE\r\n'],
  ['[D19] X-HTTP-Method', 'x-http-method: DELETE\r\n'],
  ['[D20] X-Original-URL', 'X-Original-URL: /secret\r\n'],
  ['[D20] X-Rewrite-URL', 'X-Rewrite-URL: /secret\r\n'],
])('%s where the rule restricts method or path', async (_name, headers) => {
  const answer = await ask(standard.lab, 'connect', standard.authority, { target: '/public', headers })
  expect([answer.status, reasonOf(answer)]).toEqual([403, 'override_header'])
  expect(standard.origin.seen).toEqual([])
})
