// A WebSocket that can not be written down does not come about.

import { duplexPair } from 'node:stream'
import { expect, it } from 'vitest'
import type { Attempt } from '../../src/proxy/attempt.ts'
import type { Deps } from '../../src/proxy/deps.ts'
import type { Proceed } from '../../src/proxy/judge.ts'
import type { IncomingRequest } from '../../src/proxy/message.ts'
import type { Switched } from '../../src/proxy/upgrade.ts'
import { serveWebSocket } from '../../src/proxy/websocket.ts'

interface Bench {
  readonly attempt: Attempt
  readonly origin: Switched
  readonly events: string[]
  /** What the client was sent in place of HTTP. */
  readonly switched: () => number
  readonly serve: () => ReturnType<typeof serveWebSocket>
}

/** `written`: what becomes of each record; `link`: whether the client is there. */
function bench(written: (event: string) => Promise<void>, link: { gone: boolean; interrupted: string | null }): Bench {
  const [near] = duplexPair()
  const events: string[] = []
  let switched = 0
  const attempt = {
    requestId: 'id',
    judgement: { mode: 'enforce' },
    sent: { bytes: 0 },
    status: null,
    recordTunnel: () => null,
    lost: () => void events.push('lost'),
  } as unknown as Attempt
  const origin = {
    head: { status: 101, statusText: '', version: '1.1', headers: [] },
    socket: near,
    agreed: { reserved: 'none', extension: null },
  } as unknown as Switched
  const incoming = {
    link,
    switchProtocols: () => {
      switched += 1
      throw new Error('not here')
    },
  } as unknown as IncomingRequest
  const append = ({ event }: { event: string }): Promise<void> => {
    events.push(event)
    return written(event)
  }
  const deps = { trail: { append }, deadlines: {} } as unknown as Deps
  const judged = { permit: { limits: { requestBytes: null, responseBytes: null } } } as unknown as Proceed
  return {
    attempt,
    origin,
    events,
    switched: () => switched,
    serve: () => serveWebSocket(attempt, incoming, judged, origin, deps),
  }
}

const here = { gone: false, interrupted: null }

it('where the trail is down: 503 in place of the 101, and the origin is let go of', async () => {
  const { serve, origin, events, switched } = bench(() => Promise.reject(new Error('down')), here)
  expect(await serve()).toMatchObject({ kind: 'refused', reason: 'audit_unavailable' })
  expect([origin.socket.destroyed, switched(), events]).toEqual([true, 0, ['tunnel.opened', 'tunnel.closed']])
})

it.each([
  ['before', { ...here, gone: true }, ['lost']],
  ['while it was written down', { ...here }, ['tunnel.opened', 'lost', 'tunnel.closed']],
])('a client that went away %s gets none', async (_name, link, expected) => {
  const { serve, origin, events, switched, attempt } = bench(async () => {
    link.gone = true
  }, link)
  expect(await serve()).toBeNull()
  expect([origin.socket.destroyed, switched(), attempt.status, events]).toEqual([true, 0, null, expected])
})
