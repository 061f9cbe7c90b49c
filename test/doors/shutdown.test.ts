// The end of the proxy: what is under way ends, nothing new begins, every record is written, the stop last.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { verifyFile } from '../support/audit-events.ts'
import { tcp } from '../support/clients.ts'
import type { AuditRecord } from '../support/lab.ts'
import { ok } from '../support/scripted-origin.ts'
import { Wire } from '../support/wire.ts'
import { type Bed, refusalOf, startBed, type Way } from './support/bed.ts'
import { gate } from './support/gate.ts'

const WAYS: Way[] = [
  { door: 'connect', tls: true },
  { door: 'transparent', tls: true },
  { door: 'absolute', tls: false },
]

describe.each(WAYS)('$door', (way) => {
  let bed: Bed
  beforeEach(async () => {
    bed = await startBed(way)
  })
  afterEach(() => bed.close())

  /** The whole trail of a proxy that has stopped: accounted for, and nothing after the stop but the checkpoint that covers it. */
  const trail = (): AuditRecord[] => {
    const { records } = verifyFile(bed.lab.trailFile)
    expect(records.slice(-2).map(({ event }) => event)).toEqual(['proxy.stopped', 'checkpoint'])
    const idsOf = (event: string): unknown[] =>
      records
        .filter((r) => r['event'] === event)
        .map((r) => String(r['request_id']))
        .sort((a, b) => a.localeCompare(b))
    expect(idsOf('request.completed')).toEqual(idsOf('request.decided'))
    return records as AuditRecord[]
  }

  it('a request in flight ends, and is told that the connection does', async () => {
    const { origin, open, request, lab } = bed
    const asked = gate()
    const think = gate()
    origin.on('/in-flight', async (wire) => {
      asked.open()
      await think.opened
      wire.write(ok('answered'))
    })
    const wire = await open()
    wire.write(request('/in-flight'))
    await asked.opened
    const stopped = lab.proxy.stop()
    think.open()
    const answer = await wire.message()
    expect([answer.status, answer.body]).toEqual([200, 'answered'])
    expect(answer.fields).toContainEqual(['Connection', 'close'])
    expect(await wire.closed()).toBe('end')
    await stopped
    expect(trail().find(({ event }) => event === 'request.completed')).toMatchObject({
      outcome: 'completed',
      status: 200,
    })
  })

  it('a stream in flight runs to its end', async () => {
    const { origin, open, request, lab } = bed
    const streaming = gate<Wire>()
    origin.on('/stream', async (wire) => {
      wire.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n')
      streaming.open(wire)
      await wire.closed()
    })
    const wire = await open()
    wire.write(request('/stream'))
    await wire.takeUntil('one\r\n')
    const stopped = lab.proxy.stop()
    const events = await streaming.opened
    events.write('3\r\ntwo\r\n0\r\n\r\n')
    expect(await wire.takeUntil('0\r\n\r\n')).toBe('3\r\ntwo\r\n0\r\n\r\n')
    expect(await wire.closed()).toBe('end')
    await stopped
    expect(trail().find(({ event }) => event === 'request.completed')).toMatchObject({
      outcome: 'completed',
      bytes_received: 6,
    })
  })

  it('a request whose head is not whole yet is 503', async () => {
    const { open, request, lab, ask } = bed
    // A request has been read on the connection, so the proxy is known to be reading heads on it.
    await ask('/before')
    const wire = await open()
    wire.write(request('/half/1'))
    await wire.message()
    const half = request('/half/2')
    wire.write(half.slice(0, -2))
    await lab.waitFor('request.completed', 2)
    // One round through the proxy after the half head was written: it has arrived by then.
    await ask('/after')
    const stopped = lab.proxy.stop()
    wire.write(half.slice(-2))
    const answer = await wire.message()
    expect([answer.status, refusalOf(answer).reason]).toEqual([503, 'shutting_down'])
    expect(await wire.closed()).toBe('end')
    await stopped
    expect(
      trail()
        .filter(({ event }) => event === 'request.decided')
        .at(-1),
    ).toMatchObject({ reason: 'shutting_down', path: '/half/2' })
  })

  it('connections that nothing is under way on are closed at once, new ones refused', async () => {
    const { open, request, lab } = bed
    const idle = await open()
    idle.write(request('/idle'))
    await idle.message()
    const unused = await open()
    const port = way.door === 'transparent' ? lab.transparentPort : lab.proxyPort
    const silent = new Wire(await tcp(port))
    const stopped = lab.proxy.stop()
    await Promise.all([idle.closed(), unused.closed(), silent.closed()])
    await expect(tcp(port)).rejects.toThrow('ECONNREFUSED')
    await stopped
    trail()
  })
})

describe.each(WAYS)('$door, when the grace is over', (way) => {
  let bed: Bed
  beforeEach(async () => {
    bed = await startBed(way, { extra: 'shutdown: { grace: 50ms }' })
  })
  afterEach(() => bed.close())

  it('what is still under way is cut, never completed, and its end stands before the stop', async () => {
    const { origin, open, request, lab, decided } = bed
    const gone = gate()
    for (const path of ['/thinking', '/streaming', '/uploading']) {
      origin.on(path, async (wire) => {
        if (path === '/streaming') wire.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n')
        await wire.closed()
        gone.open()
      })
    }
    const [thinking, streaming, uploading] = [await open(), await open(), await open()]
    thinking.write(request('/thinking'))
    streaming.write(request('/streaming'))
    uploading.write(request('/uploading', { method: 'POST', fields: 'Content-Length: 10\r\n', body: 'half' }))
    await streaming.takeUntil('one\r\n')
    await Promise.all(['/thinking', '/uploading'].map((path) => decided(path)))
    await lab.proxy.stop()
    await Promise.all([thinking.closed(), streaming.closed(), uploading.closed(), gone.opened])
    expect(streaming.text).not.toContain('0\r\n\r\n')
    const { records } = verifyFile(lab.trailFile)
    expect(records.slice(-2).map(({ event }) => event)).toEqual(['proxy.stopped', 'checkpoint'])
    const ends = records.filter(({ event }) => event === 'request.completed')
    expect(ends).toHaveLength(3)
    for (const end of ends) expect(end).toMatchObject({ outcome: 'interrupted', reason: 'shutting_down' })
  })
})
