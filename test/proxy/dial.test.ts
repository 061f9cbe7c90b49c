// An address that a reload forbids while it is dialled is not used, however far the connection has come.

import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createSecureContext, createServer as createTls } from 'node:tls'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { parseHost } from '../../src/core/address.ts'
import { type AddressPolicy, parseCidr } from '../../src/core/address-class.ts'
import type { Permit } from '../../src/core/rule.ts'
import { Dialer } from '../../src/proxy/dial.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'

const DENYING: AddressPolicy = { deny: new Set(['loopback']), allow: [] }
const NAME = 'a.test'
const allowing = (): AddressPolicy => ({ ...DENYING, allow: [parseCidr('127.0.0.0/8') as never] })

let root: TestRoot
let server: Server
let accepted: Promise<[Socket]>
let policy: AddressPolicy
let dialer: Dialer

beforeEach(async () => {
  root = createTestRoot()
  server = createServer({ pauseOnConnect: true }, (socket) => void socket.on('error', () => undefined))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  accepted = once(server, 'connection') as Promise<[Socket]>
  policy = allowing()
  dialer = new Dialer({
    resolver: { resolve: async () => ({ kind: 'addresses', addresses: ['127.0.0.1'] }) },
    addresses: () => policy,
    isSelf: () => false,
    secureContext: () => createSecureContext({ ca: root.pem }),
  })
})
afterEach(() => {
  server.close()
  root.close()
})

const permit = (scheme: 'http' | 'https'): Permit =>
  ({ scheme, method: 'GET', host: parseHost(NAME), port: (server.address() as AddressInfo).port }) as Permit

/** Long enough for the addresses to be checked; a connection takes a turn of the event loop, and this takes none. */
async function checked(): Promise<void> {
  for (let steps = 0; steps < 20; steps++) await Promise.resolve()
}

/** Lets the TLS handshake go on that the accepted connection waits for. */
function secure(socket: Socket): void {
  const tls = createTls({ ...root.issue(NAME) })
  tls.on('tlsClientError', () => undefined)
  tls.on('secureConnection', (secured) => secured.on('error', () => undefined))
  tls.emit('connection', socket)
}

it.each(['http', 'https'] as const)('is found before a byte is sent over %s', async (scheme) => {
  const dialling = dialer.dial(permit(scheme))
  await checked()
  policy = DENYING
  const [socket] = await accepted
  let heard = 0
  socket.on('data', (chunk: Buffer) => (heard += chunk.length))
  const closed = once(socket, 'close')
  socket.resume()
  expect(await dialling).toMatchObject({
    kind: 'failed',
    reason: 'address_denied',
    detail: '127.0.0.1 is a loopback address',
  })
  await closed
  expect(heard).toBe(0)
})

it('is found after the TLS handshake', async () => {
  const dialling = dialer.dial(permit('https'))
  const [socket] = await accepted
  // The ClientHello is here: the check before it has been passed.
  socket.resume()
  const [hello] = (await once(socket, 'data')) as [Buffer]
  socket.pause()
  socket.unshift(hello)
  policy = DENYING
  const closed = once(socket, 'close')
  secure(socket)
  expect(await dialling).toMatchObject({ kind: 'failed', reason: 'address_denied' })
  await closed
})

it('is not denied by a policy that is new and allows it', async () => {
  const dialling = dialer.dial(permit('http'))
  await checked()
  policy = allowing()
  const dialled = await dialling
  expect(dialled.kind).toBe('connected')
  if (dialled.kind === 'connected') dialled.socket.destroy()
  const [socket] = await accepted
  socket.destroy()
})
