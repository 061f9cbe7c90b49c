// The end of a connection whose peer does not read: what was written is waited for, but not for ever.

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { flushThenClose, lingerThenClose } from '../../src/proxy/linger.ts'

/** More than two socket buffers take. */
const UNREAD = Buffer.alloc(64 * 1_024 * 1_024)
const SENT_BYTES = 1_024 * 1_024
/** A paused stream of Node.js fills its buffer. */
const READ_AHEAD_BYTES = 128 * 1_024
const LINGER_MS = 2_000
const FLUSH_MS = 600_000

let server: Server
let ours: Socket
let theirs: Socket
beforeEach(async () => {
  server = createServer({ allowHalfOpen: true })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const accepted = once(server, 'connection') as Promise<[Socket]>
  theirs = connect({ port: (server.address() as AddressInfo).port, allowHalfOpen: true })
  theirs.on('error', () => undefined)
  theirs.pause()
  ours = (await accepted)[0]
  ours.on('error', () => undefined)
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(async () => {
  vi.useRealTimers()
  theirs.destroy()
  ours.destroy()
  await new Promise((resolve) => server.close(resolve))
})

it.each<[string, number, () => void]>([
  ['after its peer ended', FLUSH_MS, () => lingerThenClose(ours, true)],
  ['after a refusal', LINGER_MS + FLUSH_MS, () => lingerThenClose(ours, false)],
  ['at the end of its life', FLUSH_MS, () => flushThenClose(ours)],
])('a socket %s, whose peer takes nothing, is destroyed after %i ms', async (_name, ms, close) => {
  ours.write(UNREAD)
  close()
  vi.advanceTimersByTime(ms - 1)
  expect(ours.destroyed).toBe(false)
  vi.advanceTimersByTime(1)
  expect(ours.destroyed).toBe(true)
})

it('one whose peer takes its time is closed behind the last byte', async () => {
  ours.write(UNREAD)
  lingerThenClose(ours, false)
  vi.advanceTimersByTime(LINGER_MS)
  let taken = 0
  theirs.on('data', (bytes: Buffer) => (taken += bytes.length))
  theirs.resume()
  await once(theirs, 'end')
  expect(taken).toBe(UNREAD.length)
  expect(vi.getTimerCount()).toBe(0)
})

it('a peer that only sends is not read any more once it was waited for', async () => {
  ours.write(UNREAD)
  lingerThenClose(ours, false)
  vi.advanceTimersByTime(LINGER_MS)
  const read = ours.bytesRead
  theirs.write(Buffer.alloc(SENT_BYTES))
  for (let turns = 0; turns < 50; turns++) await turn()
  expect(ours.bytesRead - read).toBeLessThanOrEqual(READ_AHEAD_BYTES)
})
