// The sinks of one trail together: where each stands, what is said of one that is behind, and what a start refuses.

import { appendFileSync, existsSync, openSync, readFileSync, closeSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BEHIND_MS, BEHIND_RECORDS, openSinks, type Sinks, type SinkSettings } from '../../src/audit/sinks.ts'
import { PACE } from '../../src/audit/sink.ts'
import { cursorPath, readCursor } from '../../src/audit/sink-cursor.ts'
import { INSTANCE, type SinkTrail, sinkTrail } from './support/sink-trail.ts'
import { until } from './support/until.ts'

const FAST = { ...PACE, lingerMs: 1, pollMs: 20, backoffMs: 5, maxBackoffMs: 20 }

let trail: SinkTrail
let clock: number
let last: number
let said: string[]
let out: { file: string; descriptor: number }
const closing: (() => unknown)[] = []
beforeEach(() => {
  trail = sinkTrail()
  clock = 1_000_000
  last = -1
  said = []
  const file = join(trail.folder, 'stdout')
  out = { file, descriptor: openSync(file, 'a') }
})
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
  closeSync(out.descriptor)
  trail.close()
})

async function open(settings: readonly SinkSettings[], instance = INSTANCE): Promise<Sinks> {
  const sinks = await openSinks(settings, {
    path: trail.path,
    instance,
    lastSeq: () => last,
    version: '1.2.3',
    resolve: async (name) => Promise.reject(new Error(`${name} is unknown`)),
    roots: () => [],
    log: (_level, message, detail) => said.push(`${String(detail['sink'])}: ${message}`),
    pace: FAST,
    now: () => clock,
    random: () => 0,
    stdout: out.descriptor,
  })
  closing.push(() => sinks.stop())
  return sinks
}

const write = (count: number): void => {
  trail.write(count)
  last = trail.next() - 1
}
const printed = (): string[] => readFileSync(out.file, 'latin1').split('\n').slice(0, -1)
const STDOUT: SinkSettings = { name: 'stdout', type: 'stdout' }
const dead = (name: string): SinkSettings => ({
  name,
  type: 'syslog',
  address: { transport: 'tcp', host: 'nowhere.example', port: 601 },
})

describe('sinks', () => {
  it('each stand where they stand, and one that is dead holds up no other', async () => {
    write(700)
    const sinks = await open([dead('siem'), STDOUT])
    expect(sinks.states().map(({ lag }) => lag)).toEqual([700, 700])
    sinks.start()
    await until('standard output', () => sinks.states()[1]?.lag === 0)
    write(5)
    sinks.wake()
    await until('what is new', () => printed().length === 705)
    await until('its cursor', () => {
      const cursor = readCursor(cursorPath(trail.path, 'stdout'))
      return cursor !== null && cursor !== 'damaged' && cursor.seq === 704
    })
    expect(sinks.states()).toMatchObject([
      { name: 'siem', lag: 705, lastSuccess: null, seq: null },
      { name: 'stdout', lag: 0, lastSuccess: clock, seq: 704, errors: 0 },
    ])
    expect(sinks.states()[0]?.errors).toBeGreaterThan(0)
    expect(said).toContain('siem: records can not be shipped: trying again')
    expect(existsSync(cursorPath(trail.path, 'siem'))).toBe(false)
    expect(readCursor(cursorPath(trail.path, 'stdout'))).toEqual({ instance: INSTANCE, seq: 704 })
  })

  it('one that is behind for long, or by much, is named', async () => {
    const sinks = await open([dead('siem'), STDOUT])
    sinks.start()
    await until('rest', () => sinks.states().every(({ stalledSince }) => stalledSince === null))
    clock += BEHIND_MS + 1
    // Nothing to ship, so nobody is behind.
    expect(sinks.warnings()).toEqual([])
    write(3)
    // However long there was nothing: it is only now that there is.
    expect(sinks.warnings()).toEqual([])
    await until('both', () => sinks.states()[1]?.lag === 0 && (sinks.states()[0]?.errors ?? 0) > 0)
    clock += BEHIND_MS + 1
    expect(sinks.warnings()).toEqual(['audit sink siem is 3 records behind'])
    clock -= BEHIND_MS
    expect(sinks.warnings()).toEqual([])
    last += BEHIND_RECORDS
    expect(sinks.warnings()).toEqual([`audit sink siem is ${BEHIND_RECORDS + 3} records behind`])
  })

  it('goes on from its cursor, and begins anew where the trail is another one', async () => {
    write(10)
    writeFileSync(cursorPath(trail.path, 'stdout'), JSON.stringify({ instance: INSTANCE, seq: 7 }))
    const sinks = await open([STDOUT])
    expect(sinks.states()).toMatchObject([{ seq: 7, lag: 2 }])
    sinks.start()
    await until('the rest', () => sinks.states()[0]?.lag === 0)
    expect(printed()).toEqual([trail.line(8), trail.line(9)])
    await sinks.stop()
    writeFileSync(cursorPath(trail.path, 'stdout'), JSON.stringify({ instance: '01JD8Y6Z3M7Q2W4E6R8T0Y1V3Z', seq: 7 }))
    expect((await open([STDOUT])).states()).toMatchObject([{ seq: null, lag: 10 }])
    expect(said.at(-1)).toBe('stdout: the trail is a new one: what the old one had left is not shipped')
    writeFileSync(cursorPath(trail.path, 'stdout'), '')
    expect((await open([STDOUT])).states()).toMatchObject([{ seq: null, lag: 10 }])
    expect(said.at(-1)).toBe('stdout: the cursor says nothing: beginning with the oldest record there is')
  })

  it('end within their time although a receiver hangs', async () => {
    const sockets: Socket[] = []
    const server = createServer((socket) => sockets.push(socket))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    closing.push(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    write(3)
    const hanging: SinkSettings = {
      name: 'http',
      type: 'http',
      url: `http://127.0.0.1:${port}/`,
      headers: {},
      format: 'jsonl',
    }
    const sinks = await open([hanging, STDOUT])
    sinks.start()
    await until('the connection', () => sockets.length === 1)
    const begun = performance.now()
    write(2)
    await sinks.stop()
    expect(performance.now() - begun).toBeLessThan(4_000)
    expect(printed()).toHaveLength(5)
    expect(sinks.states()).toMatchObject([{ lag: 5 }, { lag: 0 }])
  })

  it.each<[string, SinkSettings, RegExp]>([
    [
      'a CA file that is not there',
      {
        ...dead('siem'),
        type: 'syslog',
        address: { transport: 'tls', host: 'a.example', port: 1 },
        ca: '/nowhere/ca.pem',
      },
      /^audit sink siem: \/nowhere\/ca\.pem: can not be read \(ENOENT\)\. Fix: correct the path$/,
    ],
    [
      'a key that is not there',
      {
        name: 'hec',
        type: 'http',
        url: 'https://a.example/',
        headers: {},
        format: 'jsonl',
        cert: '/nowhere/c',
        key: '/nowhere/k',
      },
      /^audit sink hec: \/nowhere\/c/,
    ],
  ])('a start refuses %s', async (_name, settings, message) => {
    await expect(open([settings])).rejects.toThrow(message)
  })

  it('an unreadable cursor is named with its sink', async () => {
    const { symlinkSync } = await import('node:fs')
    symlinkSync('/etc/hostname', cursorPath(trail.path, 'stdout'))
    await expect(open([STDOUT])).rejects.toThrow(
      /^audit sink stdout: the cursor .* is a symbolic link\. Fix: remove it$/,
    )
  })

  it('opens the exporter of OpenTelemetry where one is asked for', async () => {
    appendFileSync(trail.path, '')
    const sinks = await open([{ name: 'otel', type: 'otlp', url: 'http://127.0.0.1:1/v1/logs', headers: {} }])
    expect(sinks.states()).toMatchObject([{ name: 'otel', lag: 0 }])
  })
})
