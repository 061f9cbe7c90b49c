// Requests for a thousand pieces, or only if nothing changed: they pass as they are, cost no memory, and hide nothing from the rules or the trail.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CAP_BYTES, CAPPED, HOST, INSPECTED, refusalOf } from '../doors/support/bed.ts'
import { ok } from '../support/scripted-origin.ts'
import { Wire } from '../support/wire.ts'
import { EVERY_WAY, eachWay } from './support/foreign.ts'
import { anonymous, type LoadBed, type Memory, MIB, report, startLoadBed, times } from './support/load-bed.ts'

const RULES = `  - { id: open, audit: headers, allow: { hosts: [${HOST}], ports: [PORT], schemes: [http, https] } }
  - id: capped
    allow: { hosts: [${CAPPED}], ports: [PORT], schemes: [http, https] }
    limits: { response_bytes: ${CAP_BYTES} }
  - id: inspected
    allow: { hosts: [${INSPECTED}], ports: [PORT], schemes: [http, https] }
    body: { json: [{ path: $.Bcc, must: be-absent }] }
`
const RANGES = 1_000
const ranges = (count: number): string => Array.from({ length: count }, (_, at) => `${at}-${at}`).join(',')
const FLOOD = `bytes=${ranges(RANGES)}`
const ETAGS = Array.from({ length: RANGES }, (_, at) => `"e${at}"`).join(', ')
const CONDITIONS: readonly (readonly [name: string, value: string])[] = [
  ['If-None-Match', ETAGS],
  ['If-None-Match', '*'],
  ['If-Match', '"x", W/"y"'],
  ['If-Modified-Since', 'Sat, 01 Jan 2000 00:00:00 GMT'],
  ['If-Unmodified-Since', 'no date at all'],
  ['If-Range', '"x"'],
]

/** What a server that does as it is told answers: every piece with a head of its own. */
const pieces = (count: number, size: number): string =>
  Array.from(
    { length: count },
    (_, at) => `--B\r\nContent-Range: bytes ${at}-${at}/9\r\n\r\n${'x'.repeat(size)}\r\n`,
  ).join('')

eachWay(
  EVERY_WAY,
  (bed) => {
    it('[J05] a thousand ranges arrive as they were asked for, and so does the answer in a thousand parts', async () => {
      const { ask, decided, origin } = bed()
      const body = `${pieces(RANGES, 10)}--B--\r\n`
      const type = 'Content-Type: multipart/byteranges; boundary=B\r\n'
      origin.on('/ranges', (wire) => wire.write(ok(body, type).replace('200 OK', '206 Partial Content')))
      const answer = await ask('/ranges', { fields: `Range: ${FLOOD}\r\n` })
      expect([answer.status, answer.body === body]).toEqual([206, true])
      expect(origin.askedFor('/ranges')[0]?.fields).toContainEqual(['Range', FLOOD])
      // What a record has no room for is cut, and says so.
      const { request_headers: fields, truncated } = await decided('/ranges')
      expect(fields).toContainEqual(['Range', expect.stringMatching(/^bytes=0-0,1-1,.*\[cut \d+\]$/)])
      expect(truncated).toEqual(['request_headers'])
    })

    it('[J05] an answer that ranges have made longer than the rule allows is refused, or cut off where it does not say so', async () => {
      const { attempt, ask, open, origin, request } = bed()
      const body = pieces(RANGES, 1)
      origin.on('/told', (wire) => wire.write(ok(body)))
      const told = await ask('/told', { host: CAPPED, fields: `Range: ${FLOOD}\r\n` })
      expect([told.status, refusalOf(told).reason]).toEqual([502, 'response_too_large'])
      origin.on('/untold', (wire) => {
        const start = `HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n\r\n`
        wire.write(`${start}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`)
      })
      const wire = await open(CAPPED)
      wire.write(request('/untold', { host: CAPPED, fields: `Range: ${FLOOD}\r\n` }))
      await expect(wire.message()).rejects.toThrow('broken')
      wire.socket.destroy()
      expect((await attempt('/untold')).completed).toMatchObject({ reason: 'response_too_large' })
    })

    it.each(CONDITIONS.map(([name, value], at) => [name, value, at] as const))(
      '[J05] %s passes as it is and stands in the trail; an answer without a body is one, and the next is served',
      async (name, value, at) => {
        const { attempt, open, origin, request } = bed()
        const path = `/if/${at}`
        const status = ['304 Not Modified', '412 Precondition Failed'][at % 2] ?? ''
        const bare = `HTTP/1.1 ${status}\r\nETag: "x"\r\n${at % 2 === 0 ? '' : 'Content-Length: 0\r\n'}\r\n`
        origin.on(path, (wire) => wire.write(bare))
        const wire = await open()
        wire.write(request(path, { fields: `${name}: ${value}\r\n` }))
        expect((await wire.message()).startLine).toBe(`HTTP/1.1 ${status}`)
        wire.write(request(`${path}/next`))
        expect((await wire.message()).body).toBe('ok')
        wire.socket.destroy()
        expect(origin.askedFor(path)[0]?.fields).toContainEqual([name, value])
        const { decided, completed } = await attempt(path)
        const fields = decided['request_headers'] as [string, string][]
        const recorded = fields.find(([field]) => field === name)?.[1].replace(/\[cut \d+\]$/, '') ?? ''
        expect(recorded.length).toBeGreaterThan(0)
        expect(value.startsWith(recorded)).toBe(true)
        expect(completed).toMatchObject({ outcome: 'completed', status: Number(status.slice(0, 3)), bytes_received: 0 })
      },
    )

    it('[J05] a body that is sent in ranges is judged piece by piece, as what it is: no JSON', async () => {
      const { ask, origin } = bed()
      const whole = '{"To":"a","Bcc":"b"}'
      for (const [at, piece] of [whole.slice(0, 12), whole.slice(12)].entries()) {
        const range = at === 0 ? 'bytes 0-11/20' : 'bytes 12-19/20'
        const about = `Content-Type: application/json\r\nContent-Range: ${range}\r\nContent-Length: ${piece.length}\r\n`
        const answer = await ask(`/upload/${at}`, { host: INSPECTED, method: 'PUT', fields: about, body: piece })
        expect([answer.status, refusalOf(answer).reason]).toEqual([403, 'body_rule'])
        expect(origin.askedFor(`/upload/${at}`)).toEqual([])
      }
    })
  },
  { rules: RULES, names: Object.fromEntries([HOST, CAPPED, INSPECTED].map((name) => [name, ['127.0.0.1']])) },
)

describe('what a thousand ranges cost', () => {
  const PART = 'x'.repeat(64 * 1_024)
  const GROWTH_ALLOWED = 64 * MIB
  const CLIENTS = 2

  let bed: LoadBed
  let before: Memory
  let resident: number
  beforeAll(async () => {
    bed = await startLoadBed({
      origin: {
        // A server that sends one and the same piece as often as it is asked for it.
        '/amplified': (request, response) => {
          let left = String(request.headers.range).split(',').length
          response.writeHead(206, { 'Content-Type': 'multipart/byteranges; boundary=B' })
          const more = (): void => {
            while (left > 0) {
              left -= 1
              if (!response.write(PART)) return void response.once('drain', more)
            }
            response.end()
          }
          more()
        },
      },
    })
    await bed.servesOthers()
    before = await bed.memory()
    resident = anonymous(bed.proxy.pid)
  })
  afterAll(() => bed?.close())

  it('[J05] an answer of 64 MiB to a request of 9 KiB flows through, for several at once', async () => {
    await times(CLIENTS, async () => {
      const wire = new Wire(await bed.open('127.0.0.2'))
      wire.count()
      wire.write(
        bed.request('/amplified', `Range: bytes=${'0-65535,'.repeat(RANGES - 1)}0-65535\r\nConnection: close\r\n`),
      )
      await expect.poll(() => wire.ending, { timeout: 15_000, interval: 20 }).toBe('end')
      expect(wire.bytes).toBeGreaterThan(RANGES * PART.length)
      wire.socket.destroy()
    })
    report({ grown: (anonymous(bed.proxy.pid) - resident) / MIB })
    expect(anonymous(bed.proxy.pid) - resident).toBeLessThan(GROWTH_ALLOWED)
  })

  it('[J05] more than a head may hold is 431', async () => {
    const wire = new Wire(await bed.open('127.0.0.2'))
    wire.write(bed.request('/amplified', `Range: bytes=${ranges(10_000)}\r\n`))
    expect(await wire.head()).toMatch(/^HTTP\/1\.1 431 /)
    wire.socket.destroy()
  })

  it('[J05] nothing of it stays', async () => {
    await bed.servesOthers()
    await bed.recovers(before)
    expect((await bed.accounted()).length).toBeGreaterThan(0)
  })
})
