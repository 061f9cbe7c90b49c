// The load generator against a TLS origin of ours: each mode counts what the origin saw, and what went wrong is an error.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttp } from 'node:http'
import { type AddressInfo, connect, createServer as createTcp, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { createServer as createTls, type TLSSocket } from 'node:tls'

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'

import { issue } from '../support/certificates.ts'

const BUILD = new URL('../../bench/load/build.mjs', import.meta.url).href
const { compileLoad } = (await import(BUILD)) as { compileLoad(folder: string): string }
const PARALLEL = 4
const BODY = 'x'.repeat(308)
const LARGE_BYTES = 3_000_000
const UPLOAD_BYTES = 2_000_000
const PAUSE_MS = 300

interface Report {
  readonly mode: string
  readonly errors: number
  readonly status?: Readonly<Record<string, number>>
  readonly first_error?: string
  readonly [field: string]: unknown
}

interface Run {
  readonly code: number | null
  readonly report: Report
  readonly stderr: string
  readonly milliseconds: number
}

const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-bench-load-'))
const compiled = compile()
const root = issue({ ca: true })
const names = ['*.bench.example', '*.cold.bench.example']
const leaf = issue({ issuer: root, names })
const servers: Server[] = []
const sockets = new Set<Socket>()
let port = 0
let proxyPort = 0
let requests = 0
let sessions = 0
let beforePause = 0
const serverNames: (string | false | null)[] = []

/** The program, or why there is none: a skipped suite is never silent. */
function compile(): string | null {
  try {
    return compileLoad(folder)
  } catch (error) {
    if (!(error instanceof Error) || !error.message.includes('apt-get install')) throw error
    console.warn(`skipped: ${error.message}`)
    return null
  }
}

function sized(body: string, more = ''): string {
  return `HTTP/1.1 200 OK\r\ncontent-length:${body.length}\r\n${more}\r\n${body}`
}

/** What is answered to each path: whole, or in pieces of their own TLS records; null closes. */
const ANSWERS = new Map<string, readonly (string | null)[]>([
  ['/v1/item', [sized(BODY)]],
  ['/large', [sized('y'.repeat(LARGE_BYTES))]],
  ['/split', sized('in pieces').split('')],
  [
    '/chunked',
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1A;ext=1\r\n', 'z'.repeat(26), '\r\n0\r\nA: b\r\n\r\n'],
  ],
  ['/chunked-split', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'.split('')],
  ['/interim', ['HTTP/1.1 103 Early Hints\r\n\r\n', sized(BODY)]],
  ['/empty', ['HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n']],
  ['/last', [sized(BODY, 'Connection: close\r\n')]],
  ['/unannounced', [sized(BODY), null]],
  ['/until-close', ['HTTP/1.1 200 OK\r\n\r\n', 'all of it', null]],
  ['/old', ['HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok']],
  ['/denied', ['HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n']],
  ['/short', ['HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345', null]],
  ['/twice', [sized('a') + sized('b')]],
  ['/not-http', ['SSH-2.0-OpenSSH_9.2 and so on\r\n\r\n']],
  ['/two-lengths', ['HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab']],
  ['/bad-chunk', ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n']],
  ['/endless-head', ['HTTP/1.1 200 OK\r\n', 'A: b\r\n'.repeat(2_000)]],
  ['/nothing', [null]],
  ['/silence', []],
])

async function answer(socket: TLSSocket, path: string): Promise<void> {
  requests += 1
  if (path === '/pause' && --beforePause === 0) {
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
  if (path === '/events') {
    socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hello\n\n')
    const timer = setInterval(() => socket.write(`event: a\ndata: ${process.hrtime.bigint()}\n\n`), 5)
    socket.once('close', () => clearInterval(timer))
    return
  }
  for (const piece of ANSWERS.get(path) ?? [sized(BODY)]) {
    if (piece === null) socket.end()
    else await new Promise((resolve) => socket.write(piece, resolve))
  }
}

function serve(socket: TLSSocket): void {
  let head = ''
  let path = ''
  let left = 0
  sessions += 1
  serverNames.push(socket.servername)
  socket.on('error', () => {})
  socket.on('data', (bytes: Buffer) => {
    if (left > 0) left -= bytes.length
    else {
      head += bytes.toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      path = head.split(' ')[1] ?? ''
      left = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0) - (head.length - end - 4)
      head = ''
    }
    if (left === 0 || path === '/early') void answer(socket, path)
  })
}

async function listen(server: Server): Promise<number> {
  servers.push(server)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** A CONNECT proxy that leads everything but `denied.bench.example` to the origin. */
function connectProxy(): Server {
  const server = createHttp()
  server.on('connect', (request, socket) => {
    socket.on('error', () => {})
    if (request.url === 'denied.bench.example:443') {
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n')
      return
    }
    const upstream = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection Established\r\nVia: test\r\n\r\n')
      socket.pipe(upstream).pipe(socket)
    })
    upstream.on('error', () => socket.destroy())
  })
  return server
}

function start(args: readonly string[]): ChildProcessWithoutNullStreams {
  return spawn(compiled ?? '', args, { timeout: 15_000, killSignal: 'SIGKILL' })
}

/** Until the program ends by itself; its stdin is at its end from the beginning. */
async function load(...args: readonly string[]): Promise<Run> {
  const began = performance.now()
  const child = start(args)
  child.stdin.end()
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null]>,
  ])
  const report = (stdout === '' ? { mode: '', errors: 0 } : JSON.parse(stdout)) as Report
  return { code, report, stderr, milliseconds: performance.now() - began }
}

function target(host = 'a.bench.example', ca = 'root.pem'): string[] {
  return ['--target', `127.0.0.1:${port}`, '--host', host, '--ca', join(folder, ca)]
}

beforeAll(async () => {
  writeFileSync(join(folder, 'root.pem'), root.pem)
  writeFileSync(join(folder, 'other.pem'), issue({ ca: true }).pem)
  port = await listen(createTls({ key: leaf.key, cert: leaf.cert, ALPNProtocols: ['http/1.1'] }, serve))
  proxyPort = await listen(connectProxy())
})

afterAll(() => {
  for (const socket of sockets) socket.destroy()
  for (const server of servers) server.close()
  rmSync(folder, { recursive: true, force: true })
})

it('says what to install where there is no compiler', () => {
  vi.stubEnv('PATH', folder)
  try {
    expect(() => compileLoad(folder)).toThrow('apt-get install gcc libc6-dev libssl-dev')
  } finally {
    vi.unstubAllEnvs()
  }
})

describe.skipIf(compiled === null)('the load generator', () => {
  const short = ['--seconds', '0.3', '--connections', String(PARALLEL)]

  it('keeps connections and counts in the window what came after the warm-up', async () => {
    const before = { requests, sessions }
    const { code, report, stderr } = await load('keepalive', ...target(), ...short, '--warm', '5')
    const counted = report['requests'] as number
    expect({ code, stderr, errors: report.errors, reconnects: report['reconnects'] }).toEqual({
      code: 0,
      stderr: 'start\nstop\n',
      errors: 0,
      reconnects: 0,
    })
    expect(report.status).toEqual({ 200: counted })
    expect(sessions - before.sessions).toBe(PARALLEL)
    // In flight as the window opened, or as it closed: at most one a connection each time.
    expect(requests - before.requests - counted).toBeGreaterThanOrEqual(5 * PARALLEL)
    expect(counted).toBeGreaterThan(PARALLEL)
    expect(report['seconds']).toBeGreaterThanOrEqual(0.3)
    expect(report['p99_us']).toBeLessThanOrEqual(report['max_us'] as number)
  })

  it('offers nothing and resumes nothing in handshakes unless it is told to', async () => {
    const before = sessions
    const { code, report } = await load('handshakes', ...target(), ...short)
    expect([code, report.errors, report['resumed']]).toEqual([0, 0, 0])
    expect(sessions - before).toBeGreaterThanOrEqual((report['connections'] as number) + 2 * PARALLEL)
    expect(report['connections']).toBeGreaterThan(0)
  })

  it.each([
    ['TLS 1.3 tickets', []],
    ['TLS 1.2 sessions', ['--tls12']],
  ])('resumes with %s', async (_title, more) => {
    const { code, report } = await load('handshakes', ...target(), ...short, '--resume', ...more)
    expect([code, report.errors]).toEqual([0, 0])
    expect(report['resumed']).toBeGreaterThan(0)
  })

  it('asks for each cold name once', async () => {
    serverNames.length = 0
    const hosts = ['--hosts', '20', '--prefix', 'n', '--suffix', '.cold.bench.example', '--connections', '3']
    const { code, report, stderr } = await load('cold', ...target(), ...hosts)
    expect({ code, stderr, report }).toMatchObject({
      code: 0,
      stderr: 'start\nstop\n',
      report: { hosts: 20, errors: 0 },
    })
    expect(serverNames).toHaveLength(20)
    expect(new Set(serverNames)).toEqual(new Set(Array.from({ length: 20 }, (_, i) => `n${i}.cold.bench.example`)))
  })

  it('sends at fixed times in an open loop, and a wait behind a slow answer counts from the intended time', async () => {
    // The fourth is sent as the window opens and does not count.
    beforePause = 5
    const rate = ['--rate', '100', '--seconds', '0.5', '--connections', '1', '--warm', '3']
    const { code, report } = await load('open', ...target(), '--path', '/pause', ...rate)
    expect({ code, report }).toMatchObject({ code: 0, report: { requests: 50, errors: 0, status: { 200: 50 } } })
    // 30 of the 50 were due while the first of them was being answered.
    expect(report['p50_us']).toBeGreaterThan(20_000)
    expect(report['max_us']).toBeGreaterThanOrEqual(PAUSE_MS * 990)
  })

  it('holds idle connections until its stdin ends', async () => {
    const before = sessions
    const child = start(['idle', ...target(), '--connections', '40'])
    const ended = once(child, 'close')
    const [said] = (await once(child.stderr, 'data')) as [Buffer]
    expect(said.toString()).toBe('ready\n')
    expect(sessions - before).toBe(40)
    expect(child.exitCode).toBeNull()
    child.stdin.end()
    const stdout = await text(child.stdout)
    expect(JSON.parse(stdout)).toMatchObject({ mode: 'idle', connections: 40, errors: 0, closed_by_peer: 0 })
    expect((await ended)[0]).toBe(0)
  })

  it('downloads once on each connection and counts the bytes', async () => {
    const { code, report } = await load('download', ...target(), '--path', '/large', '--connections', '2')
    expect({ code, report }).toMatchObject({ code: 0, report: { bytes: 2 * LARGE_BYTES, errors: 0 } })
  })

  it('uploads once on each connection and counts the bytes', async () => {
    const body = ['--bytes', String(UPLOAD_BYTES), '--connections', '2']
    const { code, report } = await load('upload', ...target(), '--path', '/upload', ...body)
    expect({ code, report }).toMatchObject({ code: 0, report: { bytes: 2 * UPLOAD_BYTES, errors: 0 } })
  })

  it('counts an upload that was answered before it had ended as an error', async () => {
    const { code, report } = await load('upload', ...target(), '--path', '/early', '--bytes', '50000000')
    expect([code, report.first_error]).toEqual([1, 'status 200 before the request had ended'])
  })

  it('times events from the clock that they carry', async () => {
    const { code, report } = await load('sse', ...target(), '--path', '/events', '--events', '20')
    expect({ code, report }).toMatchObject({ code: 0, report: { events: 20, errors: 0 } })
    expect(report['p50_us']).toBeGreaterThan(0)
    expect(report['p50_us']).toBeLessThan(1_000_000)
  })

  it.each([
    ['keepalive', []],
    ['handshakes', []],
    ['cold', ['--hosts', '3', '--prefix', 'p', '--suffix', '.cold.bench.example']],
  ])('goes through a CONNECT proxy: %s', async (mode, more) => {
    const proxy = ['--proxy', `127.0.0.1:${proxyPort}`, '--host', 'a.bench.example', '--ca', join(folder, 'root.pem')]
    const { code, report } = await load(mode, ...proxy, '--seconds', '0.2', ...more)
    expect([code, report.errors]).toEqual([0, 0])
  })

  it.each([
    ['/split', 'a byte at a time', 'kept'],
    ['/chunked', 'in chunks with an extension and a trailer', 'kept'],
    ['/chunked-split', 'in chunks, a byte at a time', 'kept'],
    ['/interim', 'after an interim answer', 'kept'],
    ['/empty', 'without a body by its status', 'kept'],
    ['/last', 'with Connection: close, which is left to the client', 'opened again'],
    ['/unannounced', 'and then a close that was not announced', 'opened again'],
    ['/until-close', 'until the connection closes', 'opened again'],
    ['/old', 'by HTTP/1.0', 'opened again'],
  ])('reads an answer %s: %s', async (path, _title, connection) => {
    const { code, report } = await load('keepalive', ...target(), '--path', path, '--seconds', '0.2', '--warm', '1')
    expect([code, report.errors, report.first_error]).toEqual([0, 0, undefined])
    expect(report['requests']).toBeGreaterThan(0)
    const reconnects = report['reconnects'] as number
    expect(reconnects > 0 ? 'opened again' : 'kept').toBe(connection)
  })

  it.each([
    ['/denied', 'status 403'],
    ['/short', 'closed before the answer had ended'],
    ['/twice', 'more than one answer'],
    ['/not-http', 'no HTTP answer'],
    ['/two-lengths', 'no HTTP answer'],
    ['/bad-chunk', 'no HTTP answer'],
    ['/endless-head', 'no HTTP answer'],
    ['/nothing', 'closed before the answer had ended'],
  ])('counts %s as an error: %s', async (path, why) => {
    const { code, report } = await load('keepalive', ...target(), '--path', path, '--seconds', '0.2')
    expect({ code, requests: report['requests'], why: report.first_error }).toEqual({ code: 1, requests: 0, why })
    expect(report.errors).toBeGreaterThan(0)
  })

  it.each([
    ['another root', 'a.bench.example', 'other.pem', /^certificate: /],
    ['another name', 'a.other.example', 'root.pem', /^certificate: hostname mismatch/i],
  ])('trusts neither a certificate of %s', async (_title, host, ca, why) => {
    const before = requests
    const { code, report } = await load('handshakes', ...target(host, ca), '--seconds', '0.2')
    expect([code, report['connections'], requests - before]).toEqual([1, 0, 0])
    expect(report.errors).toBeGreaterThan(0)
    expect(report.first_error).toMatch(why)
  })

  it.each(['keepalive', 'handshakes', 'download', 'idle'])('counts refused connections as errors: %s', async (mode) => {
    const server = createTcp()
    const closed = await listen(server)
    server.close()
    await once(server, 'close')
    const refused = ['--target', `127.0.0.1:${closed}`, '--host', 'a.bench.example', '--ca', join(folder, 'root.pem')]
    const { code, report } = await load(mode, ...refused, '--seconds', '0.2')
    expect([code, report.first_error]).toEqual([1, 'Connection refused'])
    expect(report.errors).toBeGreaterThan(0)
  })

  it('counts a refused CONNECT as an error', async () => {
    const proxy = ['--proxy', `127.0.0.1:${proxyPort}`, '--host', 'denied.bench.example']
    const { code, report } = await load('keepalive', ...proxy, '--ca', join(folder, 'root.pem'), '--seconds', '0.2')
    expect([code, report.first_error]).toEqual([1, 'CONNECT: status 403'])
  })

  it('ends at the deadline when nothing answers', async () => {
    const { code, report, milliseconds } = await load(
      'download',
      ...target(),
      '--path',
      '/silence',
      '--deadline',
      '0.5',
    )
    expect([code, report.errors, report.first_error]).toEqual([1, 1, 'the deadline came first'])
    expect(milliseconds).toBeLessThan(5_000)
  })

  it.each([
    ['no mode', []],
    ['an unknown mode', ['knock']],
    ['no target', ['keepalive', '--host', 'a.bench.example', '--ca', 'x']],
    ['an unknown option', ['keepalive', ...target(), '--fast', '1']],
    ['a number that is none', ['keepalive', ...target(), '--seconds', '1s']],
    ['no rate in an open loop', ['open', ...target()]],
    ['cold without names', ['cold', ...target()]],
    ['a root that is not there', ['keepalive', ...target('a.bench.example', 'missing.pem')]],
  ])('says how it is used: %s', async (_title, args) => {
    const { code, stderr } = await load(...args)
    expect(code).toBe(2)
    expect(stderr).toContain('usage: load MODE')
  })
})
