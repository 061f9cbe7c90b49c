// Event streams as MCP sends them: many small events, each on its way at once, and a record from the first to the last.

import { once } from 'node:events'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { Wire } from '../support/wire.ts'
import { type Bed, HOST, startBed, type Way } from './support/bed.ts'
import { gate } from './support/gate.ts'

const WAYS: Way[] = [
  { door: 'connect', tls: true },
  { door: 'transparent', tls: true },
  { door: 'transparent', tls: false },
  { door: 'absolute', tls: false },
]
const EVENTS = 200
const EVERY_MS = 5
/** Of the median, and of all but one in a hundred, over what the same stream takes without a proxy. */
const MEDIAN_MS = 5
const MOST_MS = 50
/** A loaded machine may be late once; a proxy that buffers is late every time. */
const TIMED = { retry: 3 }

const CHUNKED = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n'
const EVENT = /data: (\d+) ([\d.]+)\n\n/

/** Milliseconds that each event was under way, in order of length. */
async function delaysOn(wire: Wire, request: string): Promise<number[]> {
  wire.write(request)
  await wire.head()
  const delays: number[] = []
  for (let event = 0; event < EVENTS; event++) {
    const [, number, sent] = EVENT.exec(await wire.takeUntil('\n\n\r\n')) ?? []
    delays.push(performance.now() - Number(sent))
    if (Number(number) !== event) throw new Error(`event ${number} in place of ${event}`)
  }
  return delays.sort((a, b) => a - b)
}

const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN

describe.each(WAYS)('$door, tls $tls', (way) => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed(way)
    bed.origin.on('/events', async (wire) => {
      wire.write(CHUNKED)
      for (let event = 0; event < EVENTS; event++) {
        await new Promise((resolve) => setTimeout(resolve, EVERY_MS))
        const data = `data: ${event} ${performance.now()}\n\n`
        wire.write(`${data.length.toString(16)}\r\n${data}\r\n`)
      }
      wire.write('0\r\n\r\n')
    })
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  /** A connection to the origin itself. */
  async function direct(): Promise<Wire> {
    const { origin, root } = bed
    const socket = connect(origin.port, '127.0.0.1')
    await once(socket, 'connect')
    if (!way.tls) return new Wire(socket)
    const tls = connectTls({ socket, servername: HOST, ca: root.pem })
    await once(tls, 'secureConnect')
    return new Wire(tls)
  }

  it(
    `[P1] an event every ${EVERY_MS} ms: half of them within ${MEDIAN_MS} ms, 99 in 100 within ${MOST_MS} ms`,
    TIMED,
    async () => {
      const plain = await direct()
      const without = await delaysOn(plain, `GET /events HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`)
      plain.socket.destroy()
      const wire = await bed.open()
      const through = await delaysOn(wire, bed.request('/events'))
      wire.socket.destroy()
      const added = (share: number): number => at(through, share) - at(without, share)
      if (process.env['MCP_EGRESS_TEST_REPORT'] !== undefined) {
        const shown = [0.5, 0.99].map(
          (share) => `p${share * 100} ${at(without, share).toFixed(2)} -> ${at(through, share).toFixed(2)} ms`,
        )
        process.stderr.write(`event stream, ${way.door}, tls ${way.tls}: ${shown.join(', ')}\n`)
      }
      expect(added(0.5)).toBeLessThan(MEDIAN_MS)
      expect(added(0.99)).toBeLessThan(MOST_MS)
    },
  )

  it('[P1] the head arrives before there is any event, and the record of its beginning is written by then', async () => {
    const { origin, open, request, decided, attempt, lab } = bed
    const over = gate()
    origin.on('/head-only', async (wire) => {
      wire.write(CHUNKED)
      await over.opened
      wire.write('0\r\n\r\n')
    })
    const wire = await open()
    wire.write(request('/head-only'))
    expect(await wire.head()).toBe(CHUNKED)
    const beginning = lab.recordsOf('request.decided').find(({ path }) => path === '/head-only')
    expect(beginning).toMatchObject({ decision: 'allow' })
    expect(lab.recordsOf('request.completed').some((end) => end.request_id === beginning?.request_id)).toBe(false)
    over.open()
    expect(await wire.takeUntil('\r\n\r\n')).toBe('0\r\n\r\n')
    wire.socket.destroy()
    expect((await attempt('/head-only')).completed).toMatchObject({ outcome: 'completed', bytes_received: 0 })
    expect((await decided('/head-only')).seq).toBe(beginning?.seq)
  })
})
