// A name server that lies, floods, changes its mind or says nothing: what is dialled was checked, and waiting has an end.

import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SystemResolver } from '../../src/proxy/resolver.ts'

const TYPE = { a: 1, cname: 5, aaaa: 28 } as const
const TRY_MS = 60
/** Two tries, and a slow machine. */
const BOUND_MS = 2 * TRY_MS + 1_000

interface Answer {
  /** Resource records of the answer section. */
  readonly records: readonly Buffer[]
  /** Over UDP the answer is cut and the client has to come back by TCP. */
  readonly overTcp?: boolean
}

/** Null: says nothing. A Buffer goes out as it is. */
type Script = (type: number, query: Buffer) => Answer | Buffer | null

let script: Script
let queries: number
let udp: UdpSocket
let tcp: Server
let folder: string
let now: number
let resolver: SystemResolver

beforeEach(async () => {
  queries = 0
  now = 1_000_000
  const port = await listenOnBoth()
  udp.on('message', (query, from) => {
    queries += 1
    const reply = replyTo(query, true)
    if (reply !== null) udp.send(reply, from.port, from.address)
  })
  tcp.on('connection', (socket) => {
    socket.on('error', () => undefined)
    socket.once('data', (framed: Buffer) => {
      const reply = replyTo(framed.subarray(2), false) ?? Buffer.alloc(0)
      socket.end(Buffer.concat([uint(2, reply.length), reply]))
    })
  })
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-dns-'))
  const hostsFile = join(folder, 'hosts')
  writeFileSync(hostsFile, '')
  const servers = [`127.0.0.1:${port}`]
  resolver = new SystemResolver({ hostsFile, resolvConf: hostsFile, now: () => now, servers, timeoutMs: TRY_MS })
})
afterEach(() => {
  udp.close()
  tcp.close()
  rmSync(folder, { recursive: true })
})

/** One port for UDP and TCP: what is free for the one may be taken for the other, so it is tried until both are had. */
async function listenOnBoth(): Promise<number> {
  for (;;) {
    tcp = createServer()
    await new Promise<void>((done) => tcp.listen(0, '127.0.0.1', done))
    const { port } = tcp.address() as AddressInfo
    udp = createSocket('udp4')
    const bound = await new Promise<boolean>((done) => {
      udp.once('error', () => done(false))
      udp.bind(port, '127.0.0.1', () => done(true))
    })
    if (bound) return port
    tcp.close()
  }
}

function replyTo(query: Buffer, overUdp: boolean): Buffer | null {
  const question = query.subarray(12, query.indexOf(0, 12) + 5)
  const said = script(question.readUInt16BE(question.length - 4), query)
  if (said === null || Buffer.isBuffer(said)) return said
  const cut = overUdp && said.overTcp === true
  const records = cut ? [] : said.records
  const counts = [1, records.length, 0, 0].map((count) => uint(2, count))
  return Buffer.concat([query.subarray(0, 2), uint(2, cut ? 0x8380 : 0x8180), ...counts, question, ...records])
}

function uint(width: number, value: number): Buffer {
  const bytes = Buffer.alloc(width)
  bytes.writeUIntBE(value, 0, width)
  return bytes
}

/** `owner`: labels on the wire; the name that was asked for unless given. */
function record(type: number, ttl: number, data: Buffer, owner: Buffer = Buffer.from([0xc0, 12])): Buffer {
  return Buffer.concat([owner, uint(2, type), uint(2, 1), uint(4, ttl), uint(2, data.length), data])
}

const a = (address: string, ttl = 30, owner?: Buffer): Buffer =>
  record(TYPE.a, ttl, Buffer.from(address.split('.').map(Number)), owner)
const labels = (...names: string[]): Buffer =>
  Buffer.concat([
    ...names.map((name) => Buffer.concat([uint(1, name.length), Buffer.from(name, 'latin1')])),
    uint(1, 0),
  ])
const many = (count: number): Buffer[] => Array.from({ length: count }, (_v, i) => a(`93.184.${i >> 8}.${i & 255}`))

/** Only for A; nothing for AAAA. */
const v4 =
  (...records: Buffer[]): Script =>
  (type) => ({ records: type === TYPE.a ? records : [] })

async function bounded(name = 'api.test'): ReturnType<SystemResolver['resolve']> {
  const started = performance.now()
  const resolution = await resolver.resolve(name)
  expect(performance.now() - started).toBeLessThan(BOUND_MS)
  return resolution
}

describe('[E12] an answer', () => {
  it.each<[string, Script, unknown]>([
    ['that never comes', () => null, { kind: 'failed', detail: 'ETIMEOUT' }],
    ['of noise', () => Buffer.alloc(300, 0xff), { kind: 'failed' }],
    ['that is cut off', (_type, query) => query.subarray(0, 12), { kind: 'failed' }],
    ['to another question', (_type, query) => Buffer.concat([uint(2, 7), query.subarray(2)]), { kind: 'failed' }],
    ['without an address', v4(), { kind: 'failed', detail: 'ENODATA' }],
    ['with one address', v4(a('93.184.216.34')), { kind: 'addresses', addresses: ['93.184.216.34'] }],
    ['of 4,000 addresses, 64 KB by TCP', () => ({ records: many(4_000), overTcp: true }), { kind: 'failed' }],
    ['of 65 addresses', v4(...many(65)), { kind: 'failed', detail: 'too many addresses in the answer' }],
  ])('%s', async (_name, said, expected) => {
    script = said
    expect(await bounded()).toMatchObject(expected as object)
  })

  it('of 64 addresses is taken whole: all of them are checked', async () => {
    script = v4(...many(64))
    expect(await bounded()).toMatchObject({ kind: 'addresses', addresses: { length: 64 } })
  })

  it.each([
    ['CR and LF', 'a\r\nX-Injected: 1'],
    ['a NUL', 'api\0evil'],
    ['a terminal escape', '\u001b[2J'],
    ['a full stop inside a label', 'evil.test'],
  ])('through an alias with %s leaves none of that behind', async (_name, label) => {
    const alias = labels(label, 'test')
    script = v4(record(TYPE.cname, 30, alias), a('93.184.216.34', 30, alias))
    expect(JSON.stringify(await bounded())).toMatch(/^[\w{}:",.[\]]+$/)
  })

  it('through an alias of itself ends', async () => {
    script = v4(record(TYPE.cname, 30, Buffer.from([0xc0, 12])))
    expect(await bounded()).toMatchObject({ kind: 'failed' })
  })

  it('for IPv4 is used when the one for IPv6 never comes', async () => {
    script = (type) => (type === TYPE.a ? { records: [a('93.184.216.34')] } : null)
    expect(await bounded()).toEqual({ kind: 'addresses', addresses: ['93.184.216.34'] })
  })
})

describe('[E08] a short life', () => {
  it.each([
    ['of 0 s is one second', 0, 1_000],
    ['of 30 s is that', 30, 30_000],
    ['of 68 years is one minute', 0x7fffffff, 60_000],
  ])('%s', async (_name, ttl, keptMs) => {
    script = v4(a('93.184.216.34', ttl))
    await resolver.resolve('api.test')
    script = v4(a('169.254.169.254', ttl))
    now += keptMs - 1
    expect(await resolver.resolve('api.test')).toMatchObject({ addresses: ['93.184.216.34'] })
    now += 1
    expect(await resolver.resolve('api.test')).toMatchObject({ addresses: ['169.254.169.254'] })
  })

  it('does not turn one name into a flood: who asks meanwhile waits for the same answer', async () => {
    script = v4(a('93.184.216.34', 0))
    const answers = await Promise.all(Array.from({ length: 100 }, () => resolver.resolve('api.test')))
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1)
    expect(queries).toBe(2)
  })

  it('and a failure is not remembered', async () => {
    script = v4()
    expect(await resolver.resolve('api.test')).toMatchObject({ kind: 'failed' })
    script = v4(a('93.184.216.34'))
    expect(await resolver.resolve('api.test')).toMatchObject({ kind: 'addresses' })
  })
})

it('[E12] a long list of servers that say nothing makes the wait no longer', async () => {
  const silent = await Promise.all(Array.from({ length: 12 }, () => silentServer()))
  const hostsFile = join(folder, 'hosts')
  const servers = silent.map((socket) => `127.0.0.1:${socket.address().port}`)
  resolver = new SystemResolver({ hostsFile, resolvConf: hostsFile, now: () => now, servers, timeoutMs: TRY_MS })
  expect(await bounded()).toEqual({ kind: 'failed', detail: 'ETIMEOUT' })
  for (const socket of silent) socket.close()
})

async function silentServer(): Promise<UdpSocket> {
  const socket = createSocket('udp4')
  await new Promise<void>((done) => socket.bind(0, '127.0.0.1', done))
  return socket
}

it('[E12] a flood of names that are never answered is refused past a bound, and ends', async () => {
  script = () => null
  const answers = await Promise.all(Array.from({ length: 400 }, (_v, i) => resolver.resolve(`n${i}.test`)))
  const details = answers.map((answer) => (answer.kind === 'failed' ? answer.detail : ''))
  expect(details.filter((detail) => detail === 'too many lookups in flight')).toHaveLength(400 - 256)
  expect(details.filter((detail) => detail === 'ETIMEOUT')).toHaveLength(256)
})
