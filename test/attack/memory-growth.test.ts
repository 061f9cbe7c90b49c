// Many requests and many connections: memory depends on what is open, not on what has been.
//
// A gibibyte each way with flat memory is in test/e2e/streaming.test.ts.

import { afterEach, expect, it } from 'vitest'
import { Wire } from '../support/wire.ts'
import { anonymous, FULL, type LoadBed, MIB, report, startLoadBed, times } from './support/load-bed.ts'

const REQUESTS = FULL ? 200_000 : 6_000
const CONNECTIONS = 40
/** What caches and compiled code may still grow by between two equal halves of the same. */
const GROWTH_ALLOWED = FULL ? 4 * MIB : 2 * MIB

let bed: LoadBed
afterEach(() => bed?.close())

it(`[I10] ${REQUESTS} requests on kept-alive connections`, { timeout: FULL ? 300_000 : 40_000 }, async () => {
  bed = await startLoadBed()
  const wires = await times(CONNECTIONS, async () => new Wire(await bed.open('127.0.0.2')))
  const half = async (): Promise<number> => {
    await Promise.all(wires.map((wire, index) => asked(wire, REQUESTS / CONNECTIONS / 2, index)))
    return (await bed.memory()).reachable
  }
  const first = await half()
  const residentFirst = anonymous(bed.proxy.pid)
  const second = await half()
  report({ first, grown: second - first, resident: residentFirst / MIB, residentThen: anonymous(bed.proxy.pid) / MIB })
  expect(second - first).toBeLessThan(GROWTH_ALLOWED)
  for (const { socket } of wires) socket.destroy()
  const decided = (await bed.accounted()).filter(({ event }) => event === 'request.decided')
  expect(decided).toHaveLength(REQUESTS)
})

/** Some of the requests are allowed, some denied, some malformed in their path. */
async function asked(wire: Wire, count: number, index: number): Promise<void> {
  for (let sent = 0; sent < count; sent++) {
    const path = ['/ok', '/a//b', `/ok?n=${sent}`][(sent + index) % 3] ?? ''
    wire.write(bed.request(path))
    const { status } = await wire.message()
    expect(status).toBe(path === '/a//b' ? 400 : 200)
  }
}
