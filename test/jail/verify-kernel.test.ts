// Where a connection ended up, by the kernel's own table: told only when there is one answer.

import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterEach, expect, it } from 'vitest'
import { landingOf, listenerUid, socketName } from '../../src/jail/verify/probe-kernel.ts'

const open: (Server | Socket)[] = []

afterEach(() => {
  for (const one of open.splice(0)) {
    if ('destroy' in one) one.destroy()
    else one.close()
  }
})

async function connected(): Promise<{ client: Socket; server: Socket; port: number; name: string }> {
  const listener = createServer()
  open.push(listener)
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  const accepted = once(listener, 'connection') as Promise<[Socket]>
  const client = connect(port, '127.0.0.1')
  await once(client, 'connect')
  const [server] = await accepted
  open.push(client, server)
  return { client, server, port, name: socketName(client.localAddress ?? '', client.localPort ?? 0) }
}

it('names the socket at the other end, and whose listener it is', async () => {
  const { port, name } = await connected()
  expect(landingOf(name)).toBe(`127.0.0.1:${port}`)
  expect(listenerUid('tcp', port)).toBe(process.getuid?.())
  expect(landingOf('192.0.2.1:9')).toBeNull()
})

it('takes no leftover of an earlier connection for the other end', async () => {
  const { client, server, name } = await connected()
  server.end()
  await once(client.resume(), 'end')
  // Half closed: the other end is still in the table, and is no connection any more that could have been made just now.
  expect(landingOf(name)).toBeNull()
})
