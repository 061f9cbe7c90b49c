// An origin is read no faster than its client reads, in whatever pieces it sends.

import type { Socket } from 'node:net'
import { Writable } from 'node:stream'
import { expect, it } from 'vitest'
import type { Attempt } from '../../src/proxy/attempt.ts'
import { Http1Sink } from '../../src/proxy/http1-sink.ts'
import type { BodyPart, IncomingRequest } from '../../src/proxy/message.ts'
import { relay } from '../../src/proxy/relay.ts'
import type { Sent } from '../../src/proxy/upstream.ts'

const HELD_BY_SOCKET = 16_384
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Everything that a relay tells an attempt, unheard. */
const attempt = {
  grpc: false,
  bytesReceived: 0,
  recordResponse: () => undefined,
  received: () => undefined,
  lost: () => undefined,
} as unknown as Attempt

it.each([
  ['one that is there already', 1_000, (part: BodyPart) => part],
  ['one that has to be waited for', 1_000, (part: BodyPart) => Promise.resolve(part)],
  ['a TLS record', 16_384, (part: BodyPart) => part],
  ['a TLS record that has to be waited for', 16_384, (part: BodyPart) => Promise.resolve(part)],
])('[I02] stops when the client takes nothing: %s', async (_what, size, given) => {
  const socket = new Writable({ highWaterMark: HELD_BY_SOCKET, write: () => undefined }) as unknown as Socket
  const sink = new Http1Sink(socket, '1.1', true, { reusable: true, breakOff: () => undefined })
  let bytes = 0
  const body = {
    read: () => {
      // The test would not end, and with it nothing would tell why.
      if (bytes > 100 * HELD_BY_SOCKET) throw new Error('read without end')
      bytes += size
      return given({ kind: 'data', data: Buffer.alloc(size) })
    },
  }
  const head = { version: '1.1', status: 200, statusText: 'OK', headers: [] } as const
  const response = { kind: 'response', head, length: null, body } as unknown as Extract<Sent, { kind: 'response' }>
  const link = { gone: false, interrupted: null, onGone: () => undefined, interrupt: () => undefined }
  const incoming = { head: { method: 'GET' }, sink, link } as unknown as IncomingRequest
  void relay(response, incoming, null, attempt).catch(() => undefined)
  for (let turns = 0; turns < 200; turns += 1) await turn()
  expect(bytes).toBeLessThanOrEqual(3 * HELD_BY_SOCKET)
})
