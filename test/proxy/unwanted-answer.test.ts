// An answer that is refused by its declared length leaves no connection to its origin behind, while its client stays.

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { expect, it } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { tcp } from '../support/clients.ts'
import { startLab } from '../support/lab.ts'
import { Wire } from '../support/wire.ts'

it('is cut off at the origin, and the connection of the client serves the next request', async () => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const lab = await startLab({
    names: { 'a.test': ['127.0.0.1'] },
    rules: `  - { id: capped, allow: { hosts: [a.test], ports: [${port}], schemes: [http] }, limits: { response_bytes: 10 } }`,
  })
  const wire = new Wire(await tcp(lab.proxyPort))
  for (let request = 1; request <= 2; request++) {
    const opened = once(server, 'connection') as Promise<[Socket]>
    wire.write(`GET http://a.test:${port}/ HTTP/1.1\r\nHost: a.test:${port}\r\n\r\n`)
    const [origin] = await opened
    const closed = once(origin.on('error', () => undefined).resume(), 'close')
    // More than was allowed is promised, and never sent.
    origin.write('HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n')
    expect((await wire.message()).status).toBe(502)
    await closed
  }
  expect(lab.recordsOf('request.decided')).toHaveLength(2)
  wire.socket.destroy()
  await assertAccounted(lab)
  await lab.close()
  server.close()
})
