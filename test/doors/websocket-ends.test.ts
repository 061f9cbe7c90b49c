// How a WebSocket begins and ends, byte by byte: nothing is early, nothing is lost, nothing is kept, and nothing outlives its permission.

import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { verifyFile } from '../support/audit-events.ts'
import type { AuditRecord, LabOptions } from '../support/lab.ts'
import { type Asked, ok } from '../support/scripted-origin.ts'
import {
  assertTunnelsClosed,
  BINARY,
  close,
  FIN,
  frame,
  handshake,
  lengthOf,
  PING,
  switching,
  takeClose,
  takeFrame,
  text,
} from '../support/websocket.ts'
import { parseHead, valuesOf, type Wire } from '../support/wire.ts'
import { type Bed, HOST, refusalOf, startBed, type Way } from './support/bed.ts'
import { pour, reset, settled } from './support/flow.ts'
import { gate } from './support/gate.ts'
import { webSocketRule } from './support/websocket-bed.ts'

const WAYS: Way[] = [
  { door: 'connect', tls: true },
  { door: 'transparent', tls: true },
  { door: 'absolute', tls: false },
]
const REVOKED_WITHIN_MS = 2_000
const LARGE = 64 * 1_024 * 1_024
/** Socket buffers of both sides of the proxy, and its own: far below what is poured. */
const HELD_AT_MOST = 16 * 1_024 * 1_024

let bed: Bed
afterEach(async () => {
  await assertAccounted(bed.lab)
  assertTunnelsClosed(bed.lab)
  await bed.close()
})

const start = async (way: Way, options: Partial<LabOptions> = {}): Promise<void> => {
  bed = await startBed(way, { rules: webSocketRule(), ...options })
}

interface Ends {
  readonly client: Wire
  readonly origin: Wire
  readonly asked: Asked
  /** The head of the 101 as the client got it. */
  readonly head: string
}

/** Both ends of a WebSocket; `behind`: what the origin writes with its 101. */
async function open(path = '/socket', behind: Buffer = Buffer.alloc(0)): Promise<Ends> {
  const accepted = gate<[Wire, Asked]>()
  bed.origin.on(path, async (wire, asked) => {
    wire.write(Buffer.concat([Buffer.from(switching(asked, 'X-Mine: a\r\nx-mine: b\r\n')), behind]))
    accepted.open([wire, asked])
    await wire.closed()
  })
  const client = await bed.open()
  client.write(bed.request(path, { fields: handshake() }))
  const head = await client.head()
  const [origin, asked] = await accepted.opened
  return { client, origin, asked, head }
}

const completed = async (path = '/socket'): Promise<AuditRecord> => (await bed.attempt(path)).completed

/** A large frame of which a half has arrived at the other end. */
async function half(from: Wire, to: Wire, masked: boolean): Promise<Buffer> {
  const whole = frame({ first: FIN | BINARY, payload: 'x'.repeat(10_000) }, masked)
  from.write(whole.subarray(0, 5_000))
  expect(await to.take(5_000)).toBe(whole.toString('latin1', 0, 5_000))
  return whole.subarray(5_000)
}

describe.each(WAYS)('$door', (way) => {
  it('[P22] the handshake arrives with every field, and so does its answer', async () => {
    await start(way)
    const accepted = gate<Asked>()
    bed.origin.on('/fields', async (wire, asked) => {
      accepted.open(asked)
      wire.write(switching(asked, 'Sec-WebSocket-Protocol: b\r\nSet-Cookie: a=1\r\nSET-COOKIE: b=2\r\nAlt-Svc: h3\r\n'))
      await wire.closed()
    })
    const client = await bed.open()
    const fields = handshake({ 'sec-websocket-PROTOCOL': 'a, b', 'Keep-Alive': '1', Origin: 'https://a.test' })
    client.write(bed.request('/fields', { fields }))
    const { startLine, fields: answered } = parseHead(await client.head())
    expect(startLine).toBe('HTTP/1.1 101 Switching Protocols')
    expect(answered.map(([name, value]) => `${name}: ${value}`)).toEqual([
      'Upgrade: websocket',
      'Connection: Upgrade',
      expect.stringMatching(/^Sec-WebSocket-Accept: /),
      'Sec-WebSocket-Protocol: b',
      'Set-Cookie: a=1',
      'SET-COOKIE: b=2',
    ])
    expect((await accepted.opened).fields.map(([name]) => name)).toEqual([
      'Host',
      'Connection',
      'Upgrade',
      'Sec-WebSocket-Version',
      'Sec-WebSocket-Key',
      'sec-websocket-PROTOCOL',
      'Origin',
    ])
    reset(client)
  })

  it('frames that come before the 101 wait for it, and what comes with it is not lost', async () => {
    await start(way)
    const asked = gate<[Wire, Asked]>()
    bed.origin.on('/early', async (wire, head) => {
      asked.open([wire, head])
      await wire.closed()
    })
    const client = await bed.open()
    client.write(`${bed.request('/early', { fields: handshake() })}${frame(text('early')).toString('latin1')}`)
    const [origin, head] = await asked.opened
    expect(origin.bytes).toBe(Buffer.byteLength(head.head, 'latin1'))
    origin.write(Buffer.concat([Buffer.from(switching(head)), frame(text('at once'), false)]))
    expect((await takeFrame(origin)).payload.toString()).toBe('early')
    await client.head()
    expect((await takeFrame(client)).payload.toString()).toBe('at once')
    client.write(frame(close(1000)))
    await takeClose(origin)
    origin.write(frame(close(1000), false))
    origin.socket.end()
    expect([await takeClose(client), await client.closed()]).toEqual([[1000, ''], 'end'])
    client.socket.end()
    expect(await completed('/early')).toMatchObject({ outcome: 'completed', status: 101 })
  })

  it('ends with the policy that allowed it, and nothing looks complete', async () => {
    await start(way)
    const { client, origin } = await open()
    const since = performance.now()
    bed.lab.reload({ rules: '' })
    expect(await client.closed()).toBe('broken')
    await origin.closed()
    expect(performance.now() - since).toBeLessThan(REVOKED_WITHIN_MS)
    expect(await completed()).toMatchObject({ outcome: 'revoked', reason: 'policy_revoked', status: 101 })
  })

  it('stays while a policy allows the upgrade, and ends when only the upgrade is not allowed any more', async () => {
    await start(way)
    const { client, origin } = await open()
    const rules = webSocketRule(', limits: { request_bytes: 5 }').replaceAll('PORT', String(bed.origin.port))
    bed.lab.reload({ rules })
    client.write(frame(text('still here')))
    expect((await takeFrame(origin)).payload.toString()).toBe('still here')
    bed.lab.reload({ rules: rules.replace(', upgrade: [websocket]', '') })
    expect(await client.closed()).toBe('broken')
    expect((await completed())['outcome']).toBe('revoked')
  })

  it('a shutdown closes it with 1001 on both sides, behind the frames under way', async () => {
    await start(way)
    const { client, origin } = await open()
    const up = await half(client, origin, true)
    const stopped = bed.lab.proxy.stop()
    expect(await takeClose(client)).toEqual([1001, 'mcp-egress: shutting_down'])
    expect(origin.text).toBe('')
    client.write(Buffer.concat([up, frame(text('too late'))]))
    expect(await origin.take(up.length)).toBe(up.toString('latin1'))
    expect(await takeClose(origin)).toEqual([1001, ''])
    expect([await client.closed(), await origin.closed(), origin.text]).toEqual(['end', 'end', ''])
    client.socket.end()
    origin.socket.end()
    await stopped
    const { records } = verifyFile(bed.lab.trailFile)
    expect(records.find(({ event }) => event === 'request.completed')).toMatchObject({
      outcome: 'interrupted',
      reason: 'shutting_down',
      status: 101,
    })
  })
})

const [WAY] = WAYS as [Way]

describe('an origin or client that takes nothing', () => {
  it.each([
    ['the client', (ends: Ends) => [ends.client, ends.origin, false] as const],
    ['the origin', (ends: Ends) => [ends.origin, ends.client, true] as const],
  ])('%s: the other side stops, and goes on where it was', async (_name, sides) => {
    await start(WAY)
    const ends = await open()
    const [lazy, busy, masked] = sides(ends)
    lazy.count()
    lazy.socket.pause()
    const head = frame({ first: FIN | BINARY, length: lengthOf(LARGE) }, masked)
    busy.write(head)
    const before = lazy.bytes
    let written = 0
    const poured = pour(busy, LARGE, (bytes) => (written = bytes))
    expect(await settled(() => written)).toBeLessThan(HELD_AT_MOST)
    lazy.socket.resume()
    await poured
    await lazy.until('all of it', () => lazy.bytes - before === LARGE + head.length)
    reset(ends.client)
    expect((await completed())['outcome']).toBe('client_aborted')
  })
})

describe('nothing moves', () => {
  it('for too long: 1001', async () => {
    await start(WAY, { deadlines: { webSocketIdleMs: 150 } })
    const { client, origin } = await open()
    expect([await takeClose(client), await takeClose(origin)]).toEqual([
      [1001, 'mcp-egress: expired'],
      [1001, ''],
    ])
    client.socket.end()
    origin.socket.end()
    expect(await completed()).toMatchObject({ outcome: 'interrupted', reason: 'client_timeout', status: 101 })
  })

  it('but pings: it stays', async () => {
    await start(WAY, { deadlines: { webSocketIdleMs: 400 } })
    const { client, origin } = await open()
    for (let beat = 0; beat < 6; beat += 1) {
      origin.write(frame({ first: FIN | PING }, false))
      await takeFrame(client)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    expect(client.ending).toBeNull()
    reset(client)
    await completed()
  })

  it('and it is too old: 1001, however busy it is', async () => {
    await start(WAY, { deadlines: { webSocketLifetimeMs: 300 } })
    const { client, origin } = await open()
    const busy = setInterval(() => origin.write(frame(text('busy'), false)), 20)
    for (let frames = 0; ; frames += 1) {
      const { first, payload } = await takeFrame(client)
      if (first !== (FIN | 8)) continue
      expect([payload.readUInt16BE(0), frames > 0]).toEqual([1001, true])
      break
    }
    clearInterval(busy)
    client.socket.end()
    origin.socket.end()
    expect(await completed()).toMatchObject({ outcome: 'interrupted', reason: 'client_timeout' })
  })
})

describe('an end without a close frame', () => {
  it('of the client is passed on, and what the origin still says arrives', async () => {
    await start(WAY)
    const { client, origin } = await open()
    client.write(frame(text('last')))
    expect((await takeFrame(origin)).payload.toString()).toBe('last')
    client.socket.end()
    expect(await origin.closed()).toBe('end')
    expect(await completed()).toMatchObject({ outcome: 'completed', status: 101 })
  })

  it('of the origin is passed on', async () => {
    await start(WAY)
    const { client, origin } = await open()
    origin.write(frame(text('last'), false))
    origin.socket.end()
    expect((await takeFrame(client)).payload.toString()).toBe('last')
    expect(await client.closed()).toBe('end')
    client.socket.end()
    expect(await completed()).toMatchObject({ outcome: 'completed' })
  })

  it.each([
    ['in a frame', frame({ first: FIN | BINARY, payload: 'x'.repeat(1_000) }, false).subarray(0, 500), 500],
    ['in a message', frame({ first: BINARY, payload: 'x' }, false), 3],
    ['in a header that nobody has seen', Buffer.of(FIN | BINARY), 0],
  ])('of the origin %s is no end: the client is broken off', async (_name, bytes, seen) => {
    await start(WAY)
    const { client, origin } = await open()
    origin.write(bytes)
    // libuv takes a reset that comes together with data for an end: the data has to be there first.
    await client.take(seen)
    origin.socket.end()
    expect(await client.closed()).toBe('broken')
    expect(await completed()).toMatchObject({ outcome: 'upstream_aborted', reason: 'upstream_unreachable' })
  })

  it('of TLS that was cut is no end either', async () => {
    await start(WAY)
    const { client, origin } = await open()
    const { _parent: raw } = origin.socket as unknown as { _parent: import('node:net').Socket }
    raw.end()
    expect(await client.closed()).toBe('broken')
    expect(await completed()).toMatchObject({ outcome: 'upstream_aborted', reason: 'upstream_unreachable' })
  })

  it('of a client that resets is none for the origin', async () => {
    await start(WAY)
    const { client, origin } = await open()
    reset(client)
    await origin.closed()
    expect(await completed()).toMatchObject({ outcome: 'client_aborted', reason: 'client_aborted' })
  })

  it('behind the close frames of both sides, a reset changes nothing', async () => {
    await start(WAY)
    const { client, origin } = await open()
    client.write(frame(close(1000)))
    await takeClose(origin)
    origin.write(frame(close(1000), false))
    await takeClose(client)
    reset(client)
    await origin.closed()
    expect(await completed()).toMatchObject({ outcome: 'completed', reason: null })
  })
})

describe('before the 101', () => {
  it('a client that goes away takes the origin with it', async () => {
    await start(WAY)
    const asked = gate<Wire>()
    const gone = gate()
    bed.origin.on('/leave', async (wire) => {
      asked.open(wire)
      await wire.closed()
      gone.open()
    })
    const client = await bed.open()
    client.write(bed.request('/leave', { fields: handshake() }))
    await asked.opened
    reset(client)
    await gone.opened
    expect(await completed('/leave')).toMatchObject({ outcome: 'client_aborted', status: null })
    expect(bed.lab.recordsOf('tunnel.opened')).toEqual([])
  })

  it.each([
    ['no connection', '127.0.0.2', 502, 'upstream_unreachable'],
    ['a forbidden address', '10.0.0.7', 403, 'address_denied'],
  ])('%s: an answer', async (_name, address, status, reason) => {
    await start(WAY, { names: { [HOST]: [address] } })
    const answer = await bed.ask('/socket', { fields: handshake() })
    expect([answer.status, refusalOf(answer).reason]).toEqual([status, reason])
  })

  it('interim answers pass', async () => {
    await start(WAY)
    bed.origin.on('/hints', async (wire, asked) => {
      wire.write(`HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${switching(asked)}`)
      await wire.closed()
    })
    const client = await bed.open()
    client.write(bed.request('/hints', { fields: handshake() }))
    expect(await client.head()).toMatch(/^HTTP\/1\.1 103/)
    expect(await client.head()).toMatch(/^HTTP\/1\.1 101/)
    client.socket.end()
    await completed('/hints')
  })

  it.each([
    ['200', ok('no socket here')],
    [
      '426',
      'HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nContent-Length: 3\r\n\r\nold',
    ],
    ['302', 'HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmore\r\n0\r\n\r\n'],
    ['401', 'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n'],
  ])('[G08] [P23] a %s is an answer like any other, and the next request is HTTP', async (status, bytes) => {
    await start(WAY)
    bed.origin.on('/refused', (wire) => void wire.write(bytes))
    const client = await bed.open()
    client.write(bed.request('/refused', { fields: handshake() }))
    const answer = await client.message()
    expect(answer.startLine).toBe(bytes.slice(0, bytes.indexOf('\r\n')))
    expect(bytes).toContain(answer.body)
    expect(valuesOf(answer, 'upgrade')).toEqual([])
    expect(await completed('/refused')).toMatchObject({ outcome: 'completed', status: Number(status) })
    client.write(bed.request('/next'))
    expect((await client.message()).body).toBe('ok')
    const connections = ['/refused', '/next'].map((path) => bed.origin.askedFor(path)[0]?.connection)
    expect(new Set(connections).size).toBe(2)
    client.socket.destroy()
    await once(client.socket, 'close')
    expect(bed.lab.recordsOf('tunnel.opened')).toEqual([])
  })
})
