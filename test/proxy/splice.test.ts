// A tunnel has exactly one end, also when its client is gone before there is anything to pass on.

import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { AuditEvent } from '../../src/core/record.ts'
import type { Permit } from '../../src/core/rule.ts'
import type { Connection } from '../../src/proxy/connection.ts'
import type { Deps } from '../../src/proxy/deps.ts'
import { splice } from '../../src/proxy/splice.ts'

let server: Server
const sockets: Socket[] = []

beforeEach(async () => {
  server = createServer((accepted) => void sockets.push(accepted))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
afterEach(() => {
  for (const open of sockets.splice(0)) open.destroy()
  server.close()
})

async function socket(): Promise<Socket> {
  const opened = connect((server.address() as AddressInfo).port, '127.0.0.1')
  await once(opened, 'connect')
  sockets.push(opened)
  return opened
}

it.each([
  ['a client that left', false, { outcome: 'client_aborted', reason: 'client_aborted' }],
  ['a client that was let go of at a shutdown', true, { outcome: 'interrupted', reason: 'shutting_down' }],
])('%s while its origin was dialled', async (_name, draining, expected) => {
  const client = await socket()
  const origin = await socket()
  const events: AuditEvent[] = []
  const deps = {
    judgement: () => ({ mode: 'enforce', policyHash: '', policy: { rules: new Map() } }),
    newId: () => 'id',
    draining: () => draining,
    trail: { append: async (event: AuditEvent) => void events.push(event) },
    redactor: {
      text: (text: string) => text,
      name: (name: string) => name,
      query: () => null,
      path: (path: string) => path,
    },
    live: { add: () => undefined, remove: () => undefined },
    metrics: { decided: () => undefined, completed: () => undefined },
    onDecision: () => undefined,
    upstream: {
      connect: async () => {
        client.destroy()
        await once(client, 'close')
        return { kind: 'connected', socket: origin, address: 'a', timings: { dns: null, connect: null, tls: null } }
      },
    },
  } as unknown as Deps
  const names = { scheme: 'https', expected: null, port: 443, absolute: false }
  const connection = { id: 'c', door: 'transparent', names, securityFlags: [] } as unknown as Connection
  await splice(client, connection, { rule: 'r' } as Permit, deps, {
    track: () => () => undefined,
    hold: () => () => undefined,
  })
  expect(events.map(({ event }) => event)).toEqual([
    'request.decided',
    'tunnel.opened',
    'tunnel.closed',
    'request.completed',
  ])
  expect(events.at(-1)).toMatchObject(expected)
  expect(origin.destroyed).toBe(true)
})
