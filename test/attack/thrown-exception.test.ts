// A bug that one request runs into: that request ends, on record, and no other one notices.

import { afterEach, beforeEach, expect, it } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { ALLOWED, ask, DOORS, openDoor, type Standard, startStandard } from '../support/standard.ts'
import { Wire } from '../support/wire.ts'

let standard: Standard
let log: string | undefined
beforeEach(async () => {
  log = process.env['MCP_EGRESS_LOG_LEVEL']
  process.env['MCP_EGRESS_LOG_LEVEL'] = 'silent'
  standard = await startStandard()
})
afterEach(async () => {
  await standard.close()
  if (log === undefined) delete process.env['MCP_EGRESS_LOG_LEVEL']
  else process.env['MCP_EGRESS_LOG_LEVEL'] = log
})

it.each(DOORS)('[I14] through %s: the connection is closed, the end is written, and the others go on', async (door) => {
  const { lab, origin, authority } = standard
  const other = new Wire(await openDoor(lab, door, authority))
  const request = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: ${ALLOWED}:${origin.port}\r\n\r\n`
  other.write(request('/before'))
  expect((await other.message()).status).toBe(200)
  const { push } = lab.decisions
  lab.decisions.push = () => {
    lab.decisions.push = push
    throw new Error('a bug')
  }
  const unlucky = new Wire(await openDoor(lab, door, authority))
  unlucky.write(request('/unlucky'))
  await unlucky.closed()
  expect(unlucky.text).toBe('')
  other.write(request('/after'))
  expect((await other.message()).status).toBe(200)
  other.socket.destroy()
  expect((await ask(lab, door, authority)).status).toBe(200)
  await assertAccounted(lab)
  const decided = lab.recordsOf('request.decided').find((record) => record['path'] === '/unlucky')
  const ended = lab.recordsOf('request.completed').find(({ request_id: id }) => id === decided?.request_id)
  expect(ended).toMatchObject({ outcome: 'failed', status: null })
  // What was decided and not sent did not leave either.
  expect(origin.seen.map(({ url }) => url)).not.toContain('/unlucky')
})
