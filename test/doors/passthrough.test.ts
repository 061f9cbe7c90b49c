// Passthrough: spliced to the resolved, approved name; recorded before and after; never decrypted, never widened.

import { createServer } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { exchangeOn, httpsRedirected, httpsVia, reasonOf } from '../support/clients.ts'
import { startOrigin } from '../support/origins.ts'
import { type Standard, startStandard } from '../support/standard.ts'

const PINNED = 'updates.vendor.test'
let standard: Standard

beforeAll(async () => {
  standard = await startStandard({
    origin: (root) => startOrigin(root, PINNED),
    rules: `  - { id: pinned, passthrough: { hosts: [${PINNED}, private.test], ports: [PORT] } }\n`,
    names: { [PINNED]: ['127.0.0.1'], 'private.test': ['10.0.0.7'] },
  })
})
afterAll(() => standard.close())

it.each(['connect', 'transparent'] as const)("the client sees the origin's own certificate (%s)", async (door) => {
  const { lab, origin, root } = standard
  lab.redirectTo({ address: '203.0.113.9', port: origin.port })
  const authority = `${PINNED}:${origin.port}`
  const open =
    door === 'connect' ? httpsVia(lab, authority, { ca: root.pem }) : httpsRedirected(lab, PINNED, { ca: root.pem })
  const socket = await open
  expect((socket as TLSSocket).getPeerX509Certificate()?.checkIssued).toBeDefined()
  // The record of the opening may be a moment behind the first bytes.
  const before = (await lab.waitFor('tunnel.opened', lab.recordsOf('tunnel.closed').length + 1)).length
  const answer = await exchangeOn(
    socket,
    `GET /any/../path HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n\r\n`,
  )
  expect(answer.status).toBe(200)
  socket.destroy()
  const closed = (await lab.waitFor('tunnel.closed', before)).at(-1)
  expect(closed?.['bytes_received']).toBeGreaterThan(0)
  const decided = lab.recordsOf('request.decided').at(-1)
  expect(decided).toMatchObject({
    decision: 'allow',
    rule: 'pinned',
    protocol: 'tls',
    method: null,
    path: null,
    host: PINNED,
  })
  const completed = (await lab.waitFor('request.completed', before)).at(-1)
  expect(completed).toMatchObject({ request_id: decided?.request_id, upstream_address: `127.0.0.1:${origin.port}` })
})

it("[A03] the address that the client dialled is not where it goes: the approved name's own is", async () => {
  const { lab, origin, root } = standard
  const reached: string[] = []
  const canary = createServer((socket) => {
    reached.push(socket.localAddress ?? '')
    socket.destroy()
  })
  await new Promise<void>((resolve) => canary.listen(origin.port, '127.0.0.3', resolve))
  lab.redirectTo({ address: '127.0.0.3', port: origin.port })
  const opened = lab.recordsOf('tunnel.opened').length
  const socket = await httpsRedirected(lab, PINNED, { ca: root.pem })
  const request = `GET /elsewhere HTTP/1.1\r\nHost: ${PINNED}:${origin.port}\r\nConnection: close\r\n\r\n`
  expect((await exchangeOn(socket, request)).status).toBe(200)
  socket.destroy()
  expect(origin.seen.at(-1)?.url).toBe('/elsewhere')
  const closed = (await lab.waitFor('tunnel.closed', opened + 1)).at(-1)
  expect([closed?.['kind'], lab.recordsOf('tunnel.opened').at(-1)?.['kind']]).toEqual(['passthrough', 'passthrough'])
  const decided = lab.recordsOf('request.decided').at(-1)
  expect(decided).toMatchObject({ original_destination: `127.0.0.3:${origin.port}`, host: PINNED })
  const completed = (await lab.waitFor('request.completed', opened + 1)).find(
    ({ request_id }) => request_id === decided?.request_id,
  )
  expect(completed).toMatchObject({ outcome: 'completed', upstream_address: `127.0.0.1:${origin.port}` })
  expect(reached).toEqual([])
  await new Promise((resolve) => canary.close(resolve))
})

it('a name that resolves to a forbidden address is not spliced', async () => {
  const { lab, origin } = standard
  await expect(httpsVia(lab, `private.test:${origin.port}`)).rejects.toThrow(/access denied/)
  const decided = lab.recordsOf('request.decided').at(-1)
  const ends = await lab.waitFor('request.completed', lab.recordsOf('request.decided').length)
  expect(ends.find((end) => end.request_id === decided?.request_id)).toMatchObject({
    outcome: 'refused',
    reason: 'address_denied',
  })
})

it('without SNI nothing is spliced: the connection is ended here and refused', async () => {
  const { lab, origin } = standard
  const socket = await httpsVia(lab, `${PINNED}:${origin.port}`, { servername: '', address: PINNED })
  const answer = await exchangeOn(socket, `GET / HTTP/1.1\r\nHost: ${PINNED}:${origin.port}\r\n\r\n`)
  socket.destroy()
  expect([answer.status, reasonOf(answer)]).toEqual([403, 'no_matching_rule'])
})

it('a tunnel under way is waited for at a shutdown, then cut and recorded as interrupted', async () => {
  const own = await startStandard({
    origin: (root) => startOrigin(root, PINNED),
    rules: `  - { id: pinned, passthrough: { hosts: [${PINNED}], ports: [PORT] } }\n`,
    names: { [PINNED]: ['127.0.0.1'] },
    extra: 'shutdown: { grace: 1s }',
  })
  const { lab, origin, root } = own
  const socket = await httpsVia(lab, `${PINNED}:${origin.port}`, { ca: root.pem })
  const stopping = lab.proxy.stop()
  const answer = await exchangeOn(socket, `GET /late HTTP/1.1\r\nHost: ${PINNED}:${origin.port}\r\n\r\n`)
  expect(answer.status).toBe(200)
  await stopping
  const records = lab.records()
  expect(records.slice(-2).map(({ event }) => event)).toEqual(['proxy.stopped', 'checkpoint'])
  expect(records.find(({ event }) => event === 'request.completed')).toMatchObject({
    outcome: 'interrupted',
    reason: 'shutting_down',
  })
  socket.destroy()
  await own.close()
})
