// A side that does not close when it should is not waited for: the ends that only a clock brings about.

import type { Socket } from 'node:net'
import { type Duplex, duplexPair } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { FrameReader } from '../../src/core/websocket-frame.ts'
import { type TunnelEnd, WebSocketTunnel } from '../../src/proxy/websocket-tunnel.ts'
import { BINARY, close, FIN, frame, text } from '../support/websocket.ts'

const HOUR = 3_600_000

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

interface Bench {
  readonly client: Duplex
  readonly origin: Duplex
  readonly drain: () => void
  readonly end: () => TunnelEnd | null
  readonly destroyed: () => boolean[]
}

/** The far ends of both connections, which read everything and close nothing. */
function bench(): Bench {
  const pairs = [duplexPair(), duplexPair()] as const
  const [[clientNear, client], [originNear, origin]] = pairs
  for (const far of [client, origin]) far.on('error', () => undefined).resume()
  for (const near of [clientNear, originNear]) near.pause()
  const reader = (masked: boolean): FrameReader =>
    new FrameReader({ masked, reserved: 'none', limit: null, onPayload: null })
  let drain = (): void => undefined
  let end: TunnelEnd | null = null
  // All of net.Socket that a tunnel uses is what it has from Duplex.
  const [near, far] = [clientNear, originNear] as unknown as [Socket, Socket]
  const rest = Buffer.alloc(0)
  const tunnel = new WebSocketTunnel(
    {
      client: { socket: near, rest, ended: false, onDrain: (listener) => (drain = listener) },
      origin: {
        kind: 'switched',
        head: { status: 101, statusText: '', version: '1.1', headers: [] },
        socket: far,
        rest,
        cutOff: () => false,
      },
      sent: reader(true),
      received: reader(false),
      breakOff: () => void near.destroy(),
    },
    { idleMs: HOUR, lifetimeMs: HOUR },
  )
  void tunnel.run().then((ended) => (end = ended))
  return { client, origin, drain: () => drain(), end: () => end, destroyed: () => [near.destroyed, far.destroyed] }
}

async function pass(ms: number): Promise<void> {
  for (let turns = 0; turns < 5; turns += 1) await turn()
  vi.advanceTimersByTime(ms)
  for (let turns = 0; turns < 5; turns += 1) await turn()
}

it('after the close frames of both sides, for 10 s', async () => {
  const { client, origin, end, destroyed } = bench()
  client.write(frame(close(1000)))
  origin.write(frame(close(1000), false))
  await pass(9_900)
  expect([end(), destroyed()]).toEqual([null, [false, false]])
  await pass(100)
  expect([end(), destroyed()]).toEqual([{ kind: 'closed' }, [true, true]])
})

it('after the end of one side, for 10 s', async () => {
  const { origin, end } = bench()
  origin.end()
  await pass(9_900)
  expect(end()).toBeNull()
  await pass(100)
  expect(end()).toEqual({ kind: 'closed' })
})

it('after close frames of ours, for 5 s', async () => {
  const { client, drain, end, destroyed } = bench()
  client.write(frame({ first: FIN | BINARY, payload: 'x'.repeat(100) }).subarray(0, 50))
  await turn()
  drain()
  await pass(4_900)
  expect([end(), destroyed()]).toEqual([null, [false, false]])
  await pass(100)
  expect([end(), destroyed()]).toEqual([{ kind: 'drained' }, [true, true]])
})

it('a side that ends in the frame that its close waits for is cut at once', async () => {
  const { client, drain, end } = bench()
  client.write(frame(text('abc')).subarray(0, 8))
  await turn()
  drain()
  client.end()
  await pass(0)
  expect(end()).toEqual({ kind: 'drained' })
})
