// Clients that do not read: what waits for them is bounded, one answer or many, and they are not waited for when they are done.

import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, it } from 'vitest'
import { anonymous, FULL, type LoadBed, MIB, report, startLoadBed, times } from './support/load-bed.ts'

const BLOCK = Buffer.alloc(64 * 1_024)
const READERS = FULL ? 300 : 50
/** A queue of 64 KiB on its way in, a write of as much on its way out, and their sockets. */
const BYTES_EACH = 384 * 1_024
/** More than two socket buffers hold (tcp_wmem, tcp_rmem), so that the proxy must come to hold what is not read. */
const PILE_BYTES = 48 * MIB
const PATH_BYTES = 8_000
const AT_REST_MS = 20_000

let bed: LoadBed
afterEach(() => bed?.close())

it(`[I02] ${READERS} clients that ask for endless answers and read none`, { timeout: 60_000 }, async () => {
  bed = await startLoadBed({
    origin: {
      '/endless': (_request, response) => {
        const pour = (): void => {
          while (response.write(BLOCK));
        }
        response.on('drain', pour)
        pour()
      },
    },
  })
  await bed.servesOthers()
  const before = await bed.memory()
  const resident = anonymous(bed.proxy.pid)
  const readers = await times(READERS, async () => {
    const socket = await bed.open('127.0.0.2')
    socket.pause()
    socket.write(bed.request('/endless'))
    return socket
  })
  await sleep(1_000)
  await bed.servesOthers()
  // While the kernel's buffers still fill, what is on its way is held as well; a machine that is busy takes its time over that.
  await expect
    .poll(async () => (await bed.memory()).reachable - before.reachable, { timeout: AT_REST_MS, interval: 500 })
    .toBeLessThan(READERS * BYTES_EACH)
  report({
    bytesEach: ((await bed.memory()).reachable - before.reachable) / READERS,
    grown: (anonymous(bed.proxy.pid) - resident) / MIB,
  })
  for (const socket of readers) socket.destroy()
  await bed.servesOthers()
  await bed.recovers(before)
  report({ left: (anonymous(bed.proxy.pid) - resident) / MIB })
  await bed.accounted()
})

it('[I02] a client that sends one denied request behind the other and reads no refusal', {
  timeout: 60_000,
}, async () => {
  bed = await startLoadBed()
  await bed.servesOthers()
  const before = await bed.memory()
  const socket = await bed.open('127.0.0.2')
  socket.pause()
  const request = bed.request(`//${'a'.repeat(PATH_BYTES)}`)
  for (let sent = 0; sent < PILE_BYTES; sent += request.length) socket.write(request)
  // It takes no more requests once nobody takes its answers.
  const decided = async (): Promise<boolean> => {
    const count = bed.proxy.records().length
    await sleep(300)
    return bed.proxy.records().length === count
  }
  await expect.poll(decided, { timeout: 20_000 }).toBe(true)
  const during = await bed.memory()
  report({
    answers: bed.proxy.records().length,
    waiting: socket.writableLength,
    grown: during.reachable - before.reachable,
  })
  expect(socket.writableLength, 'bytes of requests that were not taken').toBeGreaterThan(0)
  expect(during.reachable - before.reachable).toBeLessThan(4 * MIB)
  socket.destroy()
  await bed.servesOthers()
  await bed.recovers(before)
  await bed.accounted()
})
