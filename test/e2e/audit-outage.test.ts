// What is open when the trail can not be written any more is cut, and has its end as soon as it can.

import { truncateSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { unevenRequests } from '../support/audit-events.ts'
import { exchangeOn, httpsVia } from '../support/clients.ts'
import { startOrigin } from '../support/origins.ts'
import { type Standard, startStandard } from '../support/standard.ts'
import { readTrail } from './support/proxy-process.ts'

const PINNED = 'updates.vendor.test'
let standard: Standard
beforeAll(async () => {
  standard = await startStandard({
    origin: (root) => startOrigin(root, PINNED),
    rules: `  - { id: pinned, passthrough: { hosts: [${PINNED}], ports: [PORT] } }\n`,
    names: { [PINNED]: ['127.0.0.1'] },
    extra: 'shutdown: { grace: 1s }',
  })
})
afterAll(() => standard.close())

it('a tunnel is cut off in the middle, within seconds and without another record being asked for', async () => {
  const { lab, origin, root } = standard
  const authority = `${PINNED}:${origin.port}`
  const socket = await httpsVia(lab, authority, { ca: root.pem })
  expect((await exchangeOn(socket, `GET /1 HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)).status).toBe(200)
  socket.on('error', () => undefined)
  const cut = new Promise((resolve) => socket.once('close', resolve))
  truncateSync(lab.trailFile, 10)
  await cut
  await expect
    .poll(() => readTrail(lab.trailFile).some(({ event }) => event === 'tunnel.closed'), { timeout: 10_000 })
    .toBe(true)
  const again = await httpsVia(lab, authority, { ca: root.pem })
  again.destroy()
  await lab.waitFor('request.completed', 2)
  const active = readTrail(lab.trailFile)
  expect(active.slice(0, 4)).toMatchObject([
    { event: 'segment.opened', cause: 'recovery', previous: expect.stringMatching(/^audit\.0{12}\.jsonl$/) as unknown },
    { event: 'audit.restored', cause: expect.stringContaining('became shorter') as unknown },
    { event: 'tunnel.closed', kind: 'passthrough' },
    { event: 'request.completed', outcome: 'interrupted', reason: 'audit_unavailable' },
  ])
  // What the closed file lost to the test is not found again; what came later is whole.
  expect(unevenRequests(active.slice(4))).toEqual([])
})
