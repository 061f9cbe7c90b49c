// Exchanges that go on for hours, by a clock that the test moves: no timer of the proxy ends what is alive.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { ok } from '../support/scripted-origin.ts'
import { type Bed, refusalOf, startBed, type Way } from './support/bed.ts'
import { MINUTE, pass, stopClock } from './support/clock.ts'
import { gate } from './support/gate.ts'

const WAYS: Way[] = [
  { door: 'connect', tls: true },
  { door: 'transparent', tls: true },
  { door: 'transparent', tls: false },
  { door: 'absolute', tls: false },
]
const HOUR = 60 * MINUTE
/** Minutes without a sign of life after which an origin counts as dead. */
const HEAD_TIMEOUT = 15 * MINUTE
const CHUNKED = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n'
/** The clock of the proxy stands still or runs, never that of the machine: this is how long a test may really take. */
const SLOW_MACHINE = 60_000

beforeEach(() => stopClock())
afterEach(() => {
  vi.useRealTimers()
})

describe.each(WAYS)('$door, tls $tls', (way) => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed(way)
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  it('[P2] [G13] an event stream of three hours, silent between its events', { timeout: SLOW_MACHINE }, async () => {
    const { origin, open, request, attempt, decided, lab } = bed
    const hours = [gate(), gate(), gate()]
    origin.on('/hours', async (wire) => {
      wire.write(CHUNKED)
      for (const [index, hour] of hours.entries()) {
        await hour.opened
        wire.write(`1\r\n${index}\r\n`)
      }
      wire.write('0\r\n\r\n')
    })
    const wire = await open()
    wire.write(request('/hours'))
    expect(await wire.head()).toBe(CHUNKED)
    const { request_id } = await decided('/hours')
    for (const [index, hour] of hours.entries()) {
      await pass(HOUR)
      expect(lab.recordsOf('request.completed').some((end) => end.request_id === request_id)).toBe(false)
      hour.open()
      const event = `1\r\n${index}\r\n`
      expect(await wire.take(event.length)).toBe(event)
    }
    expect(await wire.takeUntil('\r\n\r\n')).toBe('0\r\n\r\n')
    wire.socket.destroy()
    expect((await attempt('/hours')).completed).toMatchObject({ outcome: 'completed', bytes_received: 3 })
  })

  it('[P3] a long poll of half an hour, from an origin that says it is still at it', async () => {
    const { origin, open, request, attempt } = bed
    const signs = [gate(), gate(), gate()]
    origin.on('/long-poll', async (wire) => {
      for (const sign of signs.slice(0, 2)) {
        await sign.opened
        wire.write('HTTP/1.1 102 Processing\r\n\r\n')
      }
      await signs[2]?.opened
      wire.write(ok('at last'))
    })
    const wire = await open()
    wire.write(request('/long-poll'))
    for (const sign of signs.slice(0, 2)) {
      await pass(HEAD_TIMEOUT - MINUTE)
      sign.open()
      expect((await wire.message()).status).toBe(102)
    }
    await pass(HEAD_TIMEOUT - MINUTE)
    signs[2]?.open()
    expect((await wire.message()).body).toBe('at last')
    wire.socket.destroy()
    expect((await attempt('/long-poll')).completed).toMatchObject({ outcome: 'completed', status: 200 })
  })

  it('[P4] an upload of half an hour is not taken for an origin that does not answer', async () => {
    const { origin, open, request, attempt } = bed
    const arrived = Array.from({ length: 30 }, () => gate())
    origin.on('/long-upload', async (wire) => {
      for (const part of arrived) {
        await wire.take(4)
        part.open()
      }
      wire.write(ok('got it'))
    })
    const wire = await open()
    wire.write(request('/long-upload', { method: 'PUT', fields: `Content-Length: ${4 * arrived.length}\r\n` }))
    for (const part of arrived) {
      wire.write('part')
      await part.opened
      await pass(MINUTE)
    }
    expect((await wire.message()).body).toBe('got it')
    wire.socket.destroy()
    expect((await attempt('/long-upload')).completed).toMatchObject({ outcome: 'completed', bytes_sent: 120 })
  })

  it('an origin that took the whole upload and then says nothing is 504, counted from the last of it', async () => {
    const { origin, open, request, attempt } = bed
    const arrived = [gate(), gate()]
    origin.on('/took-it', async (wire) => {
      for (const part of arrived) {
        await wire.take(4)
        part.open()
      }
      await wire.closed()
    })
    const wire = await open()
    wire.write(request('/took-it', { method: 'PUT', fields: 'Content-Length: 8\r\n', body: 'part' }))
    await arrived[0]?.opened
    await pass(MINUTE)
    wire.write('part')
    await arrived[1]?.opened
    await pass(HEAD_TIMEOUT - MINUTE / 2)
    expect(wire.text).toBe('')
    await pass(MINUTE)
    const answer = await wire.message()
    expect([answer.status, refusalOf(answer).reason]).toEqual([504, 'upstream_timeout'])
    wire.socket.destroy()
    expect((await attempt('/took-it')).completed).toMatchObject({ outcome: 'failed', bytes_sent: 8 })
  })
})
