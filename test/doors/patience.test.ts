// How long the proxy waits, by a clock that the test moves: for ever where waiting is normal, not where it is an attack.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { tcp } from '../support/clients.ts'
import { ok } from '../support/scripted-origin.ts'
import { Wire } from '../support/wire.ts'
import { type Bed, refusalOf, startBed, type Way } from './support/bed.ts'
import { MINUTE, pass, stopClock } from './support/clock.ts'
import { pour, settled } from './support/flow.ts'
import { gate } from './support/gate.ts'

const WAYS: Way[] = [
  { door: 'connect', tls: true },
  { door: 'transparent', tls: true },
  { door: 'transparent', tls: false },
  { door: 'absolute', tls: false },
]
const LARGE = 64 * 1_024 * 1_024
const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'

beforeEach(() => {
  stopClock()
})
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

  it('[P2] an event stream that says nothing for ten minutes goes on', async () => {
    const { origin, open, request, attempt } = bed
    const patience = gate()
    origin.on('/silent-stream', async (wire) => {
      wire.write(`${CHUNKED}3\r\none\r\n`)
      await patience.opened
      wire.write('3\r\ntwo\r\n0\r\n\r\n')
    })
    const wire = await open()
    wire.write(request('/silent-stream'))
    await wire.takeUntil('one\r\n')
    await pass(10 * MINUTE)
    patience.open()
    expect(await wire.takeUntil('\r\n\r\n')).toBe('3\r\ntwo\r\n0\r\n\r\n')
    wire.socket.destroy()
    expect((await attempt('/silent-stream')).completed).toMatchObject({ outcome: 'completed', bytes_received: 6 })
  })

  it('[P3] an origin that thinks for ten minutes before its first byte is waited for', async () => {
    const { origin, open, request } = bed
    const thinking = gate()
    const thought = gate()
    origin.on('/slow-first-byte', async (wire) => {
      thinking.open()
      await thought.opened
      wire.write(ok('at last'))
    })
    const wire = await open()
    wire.write(request('/slow-first-byte'))
    await thinking.opened
    await pass(10 * MINUTE)
    thought.open()
    expect((await wire.message()).body).toBe('at last')
    wire.socket.destroy()
  })

  it('an origin that says nothing for longer than that is 504', async () => {
    const { origin, open, request, attempt } = bed
    const thinking = gate()
    origin.on('/never', async (wire) => {
      thinking.open()
      await wire.closed()
    })
    const wire = await open()
    wire.write(request('/never'))
    await thinking.opened
    await pass(15 * MINUTE)
    const answer = await wire.message()
    expect([answer.status, refusalOf(answer).reason]).toEqual([504, 'upstream_timeout'])
    wire.socket.destroy()
    expect((await attempt('/never')).completed).toMatchObject({ outcome: 'failed', reason: 'upstream_timeout' })
  })

  it('[P4] an upload that takes ten minutes arrives, as long as it moves', async () => {
    const { origin, open, request } = bed
    const arrived: (() => void)[] = []
    origin.on('/slow-upload', async (wire) => {
      for (let part = 0; part < 10; part++) {
        await wire.take(4)
        arrived.shift()?.()
      }
      wire.write(ok('got it'))
    })
    const wire = await open()
    wire.write(request('/slow-upload', { method: 'PUT', fields: 'Content-Length: 40\r\n' }))
    for (let part = 0; part < 10; part++) {
      const taken = new Promise<void>((resolve) => arrived.push(resolve))
      wire.write('part')
      await taken
      await pass(1 * MINUTE)
    }
    expect((await wire.message()).body).toBe('got it')
    wire.socket.destroy()
  })

  it('an upload that stands still for two minutes is 408', async () => {
    const { origin, open, request, attempt } = bed
    const arrived = gate()
    origin.on('/stalled-upload', async (wire) => {
      await wire.take(4)
      arrived.open()
      await wire.closed()
    })
    const wire = await open()
    wire.write(request('/stalled-upload', { method: 'PUT', fields: 'Content-Length: 40\r\n', body: 'part' }))
    await arrived.opened
    await pass(2 * MINUTE)
    const answer = await wire.message()
    expect([answer.status, refusalOf(answer).reason]).toEqual([408, 'client_timeout'])
    expect(answer.fields).toContainEqual(['Connection', 'close'])
    wire.socket.destroy()
    expect((await attempt('/stalled-upload')).completed).toMatchObject({ outcome: 'refused', reason: 'client_timeout' })
  })

  it('a head that is not whole after half a minute is 408 and recorded', async () => {
    const { open, request, lab, ask, attempt } = bed
    const malformed = lab.recordsOf('request.malformed').length
    const wire = await open()
    wire.write(request('/slow-head').slice(0, -2))
    // A round through the proxy: the half head has arrived by then.
    await ask('/round')
    await attempt('/round')
    await pass(MINUTE / 2)
    const answer = await wire.message()
    expect([answer.status, refusalOf(answer).reason]).toEqual([408, 'client_timeout'])
    wire.socket.destroy()
    await lab.waitFor('request.malformed', malformed + 1)
  })

  it('a connection kept alive for nothing is closed after two minutes, without a word and without a record', async () => {
    const { open, request, lab, attempt } = bed
    const before = lab.recordsOf('request.decided').length
    const wire = await open()
    wire.write(request('/kept'))
    await wire.message()
    await attempt('/kept')
    await pass(2 * MINUTE)
    expect(await wire.closed()).toBe('end')
    expect(wire.text).toBe('')
    expect(lab.recordsOf('request.decided')).toHaveLength(before + 1)
  })

  it('a client that takes nothing of its answer for ten minutes is cut off', async () => {
    const { origin, open, request, attempt } = bed
    let written = 0
    origin.on('/slow-read', async (wire) => {
      wire.write(`HTTP/1.1 200 OK\r\nContent-Length: ${LARGE}\r\n\r\n`)
      await pour(wire, LARGE, (bytes) => {
        written = bytes
      })
    })
    const wire = await open()
    wire.write(request('/slow-read'))
    await wire.head()
    wire.socket.pause()
    await settled(() => written)
    await pass(10 * MINUTE)
    expect((await attempt('/slow-read')).completed).toMatchObject({ outcome: 'client_aborted' })
    wire.socket.destroy()
  })
})

it.each(['proxyPort', 'transparentPort'] as const)(
  'a connection to the %s that says nothing is let go without an attempt',
  async (port) => {
    const bed = await startBed({ door: 'absolute', tls: false })
    const wire = new Wire(await tcp(bed.lab[port]))
    // Both ends have seen the connection once another one behind it was served.
    await bed.ask('/round')
    await bed.attempt('/round')
    await pass(2 * MINUTE)
    expect(await wire.closed()).toBe('end')
    expect(bed.lab.recordsOf('request.decided')).toHaveLength(1)
    await assertAccounted(bed.lab)
    vi.useRealTimers()
    await bed.close()
  },
)
