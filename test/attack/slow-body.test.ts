// Uploads that never end: each holds its own connection and nothing of anybody else's.

import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, it } from 'vitest'
import { FULL, type LoadBed, report, startLoadBed, times } from './support/load-bed.ts'

const CONNECTIONS = FULL ? 2_000 : 400
const DRIPS = FULL ? 20 : 4

let bed: LoadBed
afterEach(() => bed?.close())

it.each([
  ['of declared length', 'Content-Length: 1000000\r\n', 'x'],
  ['in chunks', 'Transfer-Encoding: chunked\r\n', '1\r\nx\r\n'],
])(`[I02] ${CONNECTIONS} bodies %s, a byte at a time`, { timeout: 60_000 }, async (_name, fields, drop) => {
  let whole = 0
  bed = await startLoadBed({
    origin: {
      '/sink': (request, response) => {
        request.resume()
        request.once('end', () => {
          whole += 1
          response.end()
        })
      },
    },
  })
  await bed.servesOthers()
  const before = await bed.memory()
  const head = bed.request('/sink', fields, 'POST')
  const slow = await times(CONNECTIONS, async () => {
    const socket = await bed.open('127.0.0.2')
    socket.write(head + drop)
    return socket
  })
  for (let drip = 0; drip < DRIPS; drip++) {
    for (const socket of slow) socket.write(drop)
    await sleep(100)
    await bed.servesOthers()
  }
  const during = await bed.memory()
  report({ bytesEach: (during.reachable - before.reachable) / CONNECTIONS, sockets: during.sockets })
  for (const socket of slow) socket.destroy()
  await bed.servesOthers()
  await bed.recovers(before)
  const records = await bed.accounted()
  const ended = records.filter((record) => record['outcome'] === 'client_aborted')
  expect(ended).toHaveLength(CONNECTIONS)
  // No origin was told that such a body had ended.
  expect(whole).toBe(0)
})
