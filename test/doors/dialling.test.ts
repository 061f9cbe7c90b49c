// Requests whose connection to the origin is still being made when nobody waits for it any longer.

import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { verifyFile } from '../support/audit-events.ts'
import { httpsVia } from '../support/clients.ts'
import { type Lab, startLab } from '../support/lab.ts'
import { Wire } from '../support/wire.ts'
import { HOST } from './support/bed.ts'

let silent: Server
let lab: Lab
let wire: Wire
let dialled: Socket

beforeEach(async () => {
  // It accepts, and then never says a word of TLS.
  silent = createServer((socket) => void socket.on('error', () => undefined))
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  lab = await startLab({
    rules: `  - { id: silent, allow: { hosts: [${HOST}], ports: [${port}] } }`,
    names: { [HOST]: ['127.0.0.1'] },
    extra: 'shutdown: { grace: 50ms }',
  })
  const accepted = once(silent, 'connection') as Promise<[Socket]>
  wire = new Wire(await httpsVia(lab, `${HOST}:${port}`))
  wire.write(`GET / HTTP/1.1\r\nHost: ${HOST}:${port}\r\n\r\n`)
  ;[dialled] = await accepted
})
afterEach(async () => {
  wire.socket.destroy()
  dialled.destroy()
  silent.close()
  await lab.close()
})

it('[P8] a client that leaves is done with at once', async () => {
  wire.socket.destroy()
  const [completed] = await lab.waitFor('request.completed', 1)
  expect(completed).toMatchObject({ outcome: 'client_aborted', reason: 'client_aborted', upstream_address: null })
  await assertAccounted(lab)
})

it('a shutdown writes its end before the stop', async () => {
  await lab.proxy.stop()
  const events = verifyFile(lab.trailFile).records.map(({ event, outcome }) => [event, outcome])
  expect(events.slice(-3)).toEqual([
    ['request.completed', 'interrupted'],
    ['proxy.stopped', undefined],
    ['checkpoint', undefined],
  ])
})
