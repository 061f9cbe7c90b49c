// Bodies that take their time, are large, break off, or are no longer wanted.

import { expect, it } from 'vitest'
import { ok } from '../support/scripted-origin.ts'
import type { Wire } from '../support/wire.ts'
import { type Bed, INSPECTED, refusalOf, type Way } from './support/bed.ts'
import { pour, reset, settled } from './support/flow.ts'
import { gate } from './support/gate.ts'

const MIB = 1_024 * 1_024
const LARGE = 64 * MIB
/** What two pairs of loopback socket buffers can hold between them; the proxy's own part of it is some 100 KiB. */
const IN_FLIGHT_ALLOWED = 40 * MIB
/** Delivery of one small event, through both sides of the proxy. */
const EVENT_MS = 50
const CANCEL_MS = 100
/** A loaded machine may be late once; a proxy that buffers is late every time. */
const TIMED = { retry: 3 }

const CHUNKED = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n'

const chunk = (data: string): string => `${data.length.toString(16)}\r\n${data}\r\n`

export function streamCases(way: Way, bed: () => Bed): void {
  it('[P1] the head of an event stream arrives at once, and each event within 50 ms', TIMED, async () => {
    const { origin, open, request } = bed()
    const streaming = gate<Wire>()
    const over = gate()
    origin.on('/events', async (wire) => {
      wire.write(CHUNKED)
      streaming.open(wire)
      await over.opened
      wire.write('0\r\n\r\n')
    })
    const wire = await open()
    wire.write(request('/events'))
    expect(await wire.head()).toBe(CHUNKED)
    const events = await streaming.opened
    const late: number[] = []
    for (const event of ['data: 1\n\n', 'data: 2\n\n', 'data: 3\n\n', 'data: 4\n\n', 'data: 5\n\n']) {
      const since = performance.now()
      events.write(chunk(event))
      expect(await wire.take(chunk(event).length)).toBe(chunk(event))
      late.push(performance.now() - since)
    }
    over.open()
    expect(await wire.takeUntil('\r\n\r\n')).toBe('0\r\n\r\n')
    wire.socket.destroy()
    expect(Math.max(...late)).toBeLessThan(EVENT_MS)
  })

  it('[P1] both bodies of one exchange stream at the same time', async () => {
    const { origin, open, request } = bed()
    origin.on('/duplex', async (wire) => {
      wire.write(CHUNKED)
      for (let turns = 0; turns < 3; turns++) {
        wire.write(chunk(`echo ${await wire.takeUntil('\r\n').then(() => wire.takeUntil('\r\n'))}`))
      }
      await wire.takeUntil('0\r\n\r\n')
      wire.write('0\r\n\r\n')
    })
    const wire = await open()
    wire.write(request('/duplex', { method: 'POST', fields: 'Transfer-Encoding: chunked\r\n' }))
    expect((await wire.head()).split('\r\n')[0]).toBe('HTTP/1.1 200 OK')
    for (const said of ['one', 'two', 'three']) {
      wire.write(chunk(said))
      expect(await wire.take(chunk(`echo ${said}\r\n`).length)).toBe(chunk(`echo ${said}\r\n`))
    }
    wire.write('0\r\n\r\n')
    expect(await wire.takeUntil('\r\n\r\n')).toBe('0\r\n\r\n')
    wire.socket.destroy()
  })

  it('[P5] a client that stops reading stops the origin, and gets all of it when it goes on', async () => {
    const { origin, open, request } = bed()
    let written = 0
    origin.on('/download', async (wire) => {
      wire.write(`HTTP/1.1 200 OK\r\nContent-Length: ${LARGE}\r\n\r\n`)
      await pour(wire, LARGE, (bytes) => {
        written = bytes
      })
    })
    const wire = await open()
    wire.write(request('/download'))
    await wire.head()
    wire.socket.pause()
    expect(await settled(() => written)).toBeLessThan(IN_FLIGHT_ALLOWED)
    wire.count()
    wire.socket.resume()
    await wire.until('the whole download', () => wire.bytes >= LARGE)
    wire.socket.destroy()
    const { completed } = await bed().attempt('/download')
    expect(completed).toMatchObject({ outcome: 'completed', bytes_received: LARGE })
  })

  it('[P5] an origin that stops reading stops the client, and gets all of it when it goes on', async () => {
    const { origin, open, request } = bed()
    const paused = gate<Wire>()
    const go = gate()
    let received = 0
    origin.on('/upload', async (wire) => {
      wire.count()
      wire.socket.pause()
      const before = wire.bytes
      paused.open(wire)
      await go.opened
      wire.socket.resume()
      await wire.until('the whole upload', () => wire.bytes - before >= LARGE - 1 * MIB)
      received = wire.bytes
      wire.write(`HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok`)
    })
    const wire = await open()
    wire.write(request('/upload', { method: 'PUT', fields: `Content-Length: ${LARGE}\r\n` }))
    await paused.opened
    let written = 0
    const poured = pour(wire, LARGE, (bytes) => {
      written = bytes
    })
    expect(await settled(() => written)).toBeLessThan(IN_FLIGHT_ALLOWED)
    go.open()
    await poured
    expect((await wire.message()).body).toBe('ok')
    expect(received).toBeGreaterThan(LARGE - 2 * MIB)
    wire.socket.destroy()
  })

  it.each<[string, string, (wire: Wire) => void]>([
    ['[P6] a reset in a chunked answer', CHUNKED + chunk('part'), (wire) => reset(wire)],
    ['[P6] a close in a chunked answer', CHUNKED + chunk('part'), (wire) => void wire.socket.end()],
    ['[P6] a close in the middle of a chunk', `${CHUNKED}a\r\npart`, (wire) => void wire.socket.end()],
    ['[P6] a broken chunk', `${CHUNKED}${chunk('part')}zz\r\n`, () => undefined],
    [
      '[P7] a reset in an answer of known length',
      'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart',
      (wire) => reset(wire),
    ],
    [
      '[P7] a close in an answer of known length',
      'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart',
      (wire) => void wire.socket.end(),
    ],
    [
      '[P7] a reset in an answer that ends with the connection',
      'HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\npart',
      (wire) => reset(wire),
    ],
  ])('%s never looks complete', async (name, bytes, breakOff) => {
    const { origin, open, request, attempt, ask } = bed()
    const path = `/broken/${name.replaceAll(/[^a-z0-9]+/gi, '-')}`
    const arrived = gate()
    origin.on(path, async (wire) => {
      wire.write(bytes)
      await arrived.opened
      breakOff(wire)
    })
    const wire = await open()
    wire.write(request(path))
    // A broken chunk is found before anything is passed on, the rest only once the client has seen a part.
    await wire.until('the part', () => wire.text.includes('part') || wire.ending !== null).catch(() => undefined)
    arrived.open()
    expect(await wire.closed()).toBe('broken')
    expect(wire.text).not.toMatch(/\r\n0\r\n/)
    const { completed } = await attempt(path)
    expect(completed).toMatchObject({ outcome: 'upstream_aborted', status: 200 })
    await ask(`${path}/after`)
    expect(origin.askedFor(`${path}/after`)[0]?.connection).not.toBe(origin.askedFor(path)[0]?.connection)
  })

  it('an answer without a length runs until the origin closes, and is whole then', async () => {
    const { origin, ask, attempt } = bed()
    origin.on('/until-close', (wire) => void wire.socket.end('HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nuntil the end'))
    expect((await ask('/until-close')).body).toBe('until the end')
    expect((await attempt('/until-close')).completed).toMatchObject({ outcome: 'completed', bytes_received: 13 })
  })

  it('an origin that closes without an answer is 502', async () => {
    const { origin, ask } = bed()
    origin.on('/silent-close', (wire) => void wire.socket.end())
    const answer = await ask('/silent-close')
    expect([answer.status, refusalOf(answer).reason]).toEqual([502, 'upstream_unreachable'])
  })

  it.each<[string, (wire: Wire) => void]>([
    ['closes', (wire) => void wire.socket.destroy()],
    ['resets', (wire) => reset(wire)],
  ])(
    '[P8] a client that %s in the middle of an answer ends the upstream request within 100 ms',
    TIMED,
    async (how, leave) => {
      const { origin, open, request } = bed()
      const path = `/abandoned/${how}/${Math.random()}`
      const gone = gate<number>()
      origin.on(path, async (wire) => {
        wire.write(CHUNKED + chunk('event'))
        await wire.closed()
        gone.open(performance.now())
      })
      const wire = await open()
      wire.write(request(path))
      await wire.takeUntil('event')
      const since = performance.now()
      leave(wire)
      expect((await gone.opened) - since).toBeLessThan(CANCEL_MS)
      expect((await bed().attempt(path)).completed).toMatchObject({
        outcome: 'client_aborted',
        reason: 'client_aborted',
      })
    },
  )

  it.each<[string, string, (wire: Wire) => void]>([
    ['GET that it closes', '', (wire) => void wire.socket.destroy()],
    ['GET that it resets', '', (wire) => reset(wire)],
    ['POST that it closes', 'x'.repeat(10), (wire) => void wire.socket.destroy()],
    ['POST that fills the queue and that it closes', 'x'.repeat(70_000), (wire) => void wire.socket.destroy()],
    ['large POST that it closes', 'x'.repeat(300_000), (wire) => void wire.socket.destroy()],
    ['large POST that it resets', 'x'.repeat(300_000), (wire) => reset(wire)],
  ])('[P8] while the origin still thinks about a %s, within 100 ms', TIMED, async (how, body, leave) => {
    const { origin, open, request } = bed()
    const path = `/thinking/${how.replaceAll(' ', '-')}/${Math.random()}`
    const thinking = gate()
    const gone = gate<number>()
    origin.on(path, async (wire, asked) => {
      await asked.body()
      thinking.open()
      await wire.closed()
      gone.open(performance.now())
    })
    const wire = await open()
    const fields = body === '' ? '' : `Content-Length: ${body.length}\r\n`
    wire.write(request(path, { method: body === '' ? 'GET' : 'POST', fields, body }))
    await thinking.opened
    const since = performance.now()
    leave(wire)
    expect((await gone.opened) - since).toBeLessThan(CANCEL_MS)
    expect((await bed().attempt(path)).completed).toMatchObject({ outcome: 'client_aborted' })
  })

  it('[P8] a client that leaves in the middle of its upload ends the upstream request', async () => {
    const { origin, open, request, attempt } = bed()
    const begun = gate()
    const gone = gate()
    origin.on('/half-upload', async (wire) => {
      await wire.take(4)
      begun.open()
      await wire.closed()
      gone.open()
    })
    const wire = await open()
    wire.write(request('/half-upload', { method: 'POST', fields: 'Content-Length: 10\r\n', body: 'half' }))
    await begun.opened
    wire.socket.destroy()
    await gone.opened
    expect((await attempt('/half-upload')).completed).toMatchObject({
      outcome: 'client_aborted',
      status: null,
      bytes_sent: 4,
    })
  })

  it('[P8] a client that leaves in the middle of a body that is judged is told of as one that left', async () => {
    const { open, request, attempt } = bed()
    const wire = await open(INSPECTED)
    const fields = 'Content-Type: application/json\r\nContent-Length: 10\r\nExpect: 100-continue\r\n'
    wire.write(request('/half-judged', { host: INSPECTED, method: 'POST', fields }))
    await wire.takeUntil('100 Continue')
    wire.socket.destroy()
    const { decided, completed } = await attempt('/half-judged')
    expect(decided).toMatchObject({ decision: 'deny', enforced: true, reason: 'client_aborted' })
    expect(completed).toMatchObject({ outcome: 'client_aborted', reason: 'client_aborted', status: null })
  })

  it.skipIf(way.tls)('a client that has said all and half-closes still gets its answer', async () => {
    const { origin, open, request } = bed()
    origin.on('/half-close', (wire) => wire.write(ok('answered')))
    const wire = await open()
    wire.socket.end(request('/half-close', { fields: 'Connection: close\r\n' }))
    expect((await wire.message()).body).toBe('answered')
    expect(await wire.closed()).toBe('end')
  })

  it('an answer that comes before the end of the upload is read by a client that is still uploading', async () => {
    const { origin, open, request, attempt } = bed()
    const early = 'HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 9\r\n\r\ntoo large'
    origin.on('/early', async (wire) => {
      await wire.take(10)
      wire.count()
      wire.write(early)
      await wire.closed()
    })
    const wire = await open()
    wire.write(request('/early', { method: 'PUT', fields: `Content-Length: ${2 * MIB}\r\n` }))
    await pour(wire, 1 * MIB)
    const answer = await wire.message()
    expect([answer.status, answer.body]).toEqual([413, 'too large'])
    expect(answer.fields).toContainEqual(['Connection', 'close'])
    await pour(wire, 1 * MIB)
    expect(await wire.closed()).toBe('end')
    expect((await attempt('/early')).completed).toMatchObject({ outcome: 'completed', status: 413 })
  })

  it('an upload that is refused is answered so that a client that is still uploading reads it', async () => {
    const { open, request } = bed()
    const wire = await open()
    wire.write(request('/a//b', { method: 'PUT', fields: `Content-Length: ${4 * MIB}\r\n` }))
    await pour(wire, 2 * MIB)
    const answer = await wire.message()
    expect([answer.status, refusalOf(answer).reason]).toEqual([400, 'path_not_canonical'])
    expect(answer.fields).toContainEqual(['Connection', 'close'])
    await pour(wire, 2 * MIB)
    expect(await wire.closed()).toBe('end')
  })
}
