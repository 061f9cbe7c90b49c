// [K27] Shipping, end to end: the built command is killed in the middle, its receivers fail and hang, and every record arrives.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request, type ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readCursor } from '../../src/audit/sink-cursor.ts'
import { rsyslogPossible, startRsyslog } from '../audit/support/rsyslog.ts'
import { until } from '../audit/support/until.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'
import { COMMAND, NEUTRAL } from './support/spawner.ts'

const TOKEN = 'a-token-of-the-admin-listener'
const SECRET = 'a-secret-of-the-receiver'
const DEADLINE_MS = 30_000

let root: TestRoot
let folder: string
const closing: (() => unknown)[] = []
beforeEach(() => {
  root = createTestRoot()
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-sinks-'))
})
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
  rmSync(folder, { recursive: true, force: true })
  root.close()
})

interface Proxy {
  readonly child: ChildProcess
  readonly port: number
  readonly adminPort: number
  stdout(): string[]
  stderr(): string
  kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null>
}

async function start(sinks: string): Promise<Proxy> {
  const file = join(folder, 'mcp-egress.yaml')
  writeFileSync(
    file,
    `version: 1
listen: { proxy: "127.0.0.1:0", admin: "127.0.0.1:0" }
admin: { token: "\${ADMIN_TOKEN}" }
audit:
  sinks:
${sinks}`,
  )
  const child = spawn(process.execPath, [COMMAND, 'proxy', '-c', file], {
    env: { ...process.env, ...NEUTRAL, ADMIN_TOKEN: TOKEN, RECEIVER: SECRET },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  let said = ''
  child.stdout.setEncoding('latin1').on('data', (text: string) => (out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
  const kill = async (signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null> => {
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
    const closed = once(child, 'close') as Promise<[number | null]>
    child.kill(signal)
    return (await closed)[0]
  }
  closing.push(() => kill('SIGKILL'))
  await until(
    'the proxy',
    () => {
      if (child.exitCode !== null) throw new Error(`the proxy ended: ${said}`)
      return said.includes('mcp-egress: ready\n')
    },
    DEADLINE_MS,
  )
  const portOf = (door: string): number =>
    Number(new RegExp(`^mcp-egress: ${door} on \\S*?:(\\d+)$`, 'm').exec(said)?.[1])
  return {
    child,
    port: portOf('proxy'),
    adminPort: portOf('admin'),
    stdout: () => out.split('\n').slice(0, -1),
    stderr: () => said,
    kill,
  }
}

function ask(
  port: number,
  path: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path, headers }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (text: string) => (body += text))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
    asked.on('error', reject)
    asked.end()
  })
}

/** So many requests that the proxy refuses: two records each, and nothing leaves. */
async function refused(proxy: Proxy, count: number): Promise<void> {
  for (let done = 0; done < count; done++) {
    const { status } = await ask(proxy.port, 'http://denied.example/', { Host: 'denied.example' })
    expect(status).toBe(403)
  }
}

/** Every record on disk, by its number. */
function trailLines(): Map<number, string> {
  const logs = join(folder, 'logs')
  const texts = readdirSync(logs)
    .filter((name) => /^audit(\.\d+)?\.jsonl(\.gz)?$/.test(name))
    .map((name) => {
      const bytes = readFileSync(join(logs, name))
      return (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('latin1')
    })
  const lines = texts.flatMap((text) => text.split('\n').filter((line) => line.endsWith('"}')))
  return new Map([...bySeq(lines)].sort(([a], [b]) => a - b))
}

const seqOf = (line: string): number => Number(/,"seq":(\d+),/.exec(line)?.[1])
const bySeq = (lines: readonly string[]): Map<number, string> => new Map(lines.map((line) => [seqOf(line), line]))

function cursorOf(sink: string): number {
  const found = readCursor(join(folder, `logs/audit.jsonl.cursor.${sink}`))
  return found === null || found === 'damaged' ? -1 : found.seq
}

type Behaviour = 'take' | 'hang' | 'fail' | 'busy' | 'reset'

interface Receiver {
  readonly url: string
  /** Lines that were answered with 200, in order. */
  readonly taken: string[]
  /** How many posts arrived. */
  posts(): number
  secrets(): Set<string | undefined>
  behave(behaviour: Behaviour): void
}

async function startReceiver(): Promise<Receiver> {
  const taken: string[] = []
  const secrets = new Set<string | undefined>()
  let behaviour: Behaviour = 'take'
  let posts = 0
  const answer = (incoming: IncomingMessage, response: ServerResponse, body: string): void => {
    posts += 1
    secrets.add(incoming.headers.authorization)
    if (behaviour === 'hang') return
    if (behaviour === 'reset') return void incoming.socket.destroy()
    if (behaviour === 'fail') return void response.writeHead(500).end()
    if (behaviour === 'busy') return void response.writeHead(429, { 'Retry-After': '1' }).end()
    taken.push(...body.split('\n').slice(0, -1))
    response.end()
  }
  const server = createServer({ ...root.issue('localhost') }, (incoming, response) => {
    let body = ''
    incoming.setEncoding('latin1').on('data', (text: string) => (body += text))
    incoming.on('end', () => answer(incoming, response, body))
  })
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    url: `https://localhost:${(server.address() as AddressInfo).port}/ingest`,
    taken,
    posts: () => posts,
    secrets: () => secrets,
    behave: (next) => {
      behaviour = next
    },
  }
}

const http = (receiver: Receiver): string =>
  `    - { name: siem, type: http, url: "${receiver.url}", headers: { Authorization: "Splunk \${RECEIVER}" }, ca: "${root.file}" }\n`

/** Everything that is on disk is among what arrived, byte for byte, and numbers go back only where a process had ended. */
function expectShipped(arrived: readonly string[], restarts: number): void {
  const got = bySeq(arrived)
  expect([...got.keys()].sort((a, b) => a - b)).toEqual([...trailLines().keys()].sort((a, b) => a - b))
  expect(new Map([...got].sort(([a], [b]) => a - b))).toEqual(trailLines())
  const backwards = arrived.filter((line, at) => at > 0 && seqOf(line) <= seqOf(arrived[at - 1] ?? ''))
  expect(backwards.length).toBeLessThanOrEqual(restarts)
}

describe('shipping', () => {
  it('[K27, K07] a proxy that is killed in the middle ships every record, and twice only those at the boundary', async () => {
    const receiver = await startReceiver()
    const syslog = rsyslogPossible ? await startRsyslog(null) : null
    if (syslog !== null) closing.push(() => syslog.close())
    const address =
      syslog === null ? '' : `    - { name: rsyslog, type: syslog, address: "tcp://127.0.0.1:${syslog.port}" }\n`
    const sinks = http(receiver) + address + '    - { name: stdout, type: stdout }\n'
    const printed: string[] = []
    const kills = 3
    let atRest = { seq: -1, taken: 0 }
    let code: number | null = null
    for (let round = 0; round <= kills; round++) {
      const proxy = await start(sinks)
      await refused(proxy, 30)
      // Once at rest, once with a batch on its way, once while everything fails.
      if (round === 1) receiver.behave('hang')
      if (round === 2) receiver.behave('fail')
      const before = receiver.posts()
      await refused(proxy, 10)
      if (round > 0) await until('a post', () => receiver.posts() > before, DEADLINE_MS)
      if (round === 0) {
        await until('rest', () => cursorOf('siem') === Math.max(...trailLines().keys()), DEADLINE_MS)
        atRest = { seq: cursorOf('siem'), taken: receiver.taken.length }
      }
      if (round < kills) await proxy.kill('SIGKILL')
      receiver.behave('take')
      if (round === kills) code = await proxy.kill('SIGTERM')
      printed.push(...proxy.stdout())
    }
    expect(code).toBe(0)
    expect(trailLines().size).toBeGreaterThan(2 * 40 * 4)
    expectShipped(receiver.taken, kills)
    // What had its cursor is not sent again.
    expect(receiver.taken.slice(atRest.taken).filter((line) => seqOf(line) <= atRest.seq)).toEqual([])
    expect([...receiver.secrets()]).toEqual([`Splunk ${SECRET}`])
    // What a kill cuts in the middle of a line is printed again.
    const whole = printed.filter((line) => line.startsWith('{') && line.endsWith('"}'))
    expectShipped(whole, kills)
    if (syslog !== null) {
      await until(
        'rsyslog',
        () => bySeq(syslog.received().map(({ text }) => text)).size === trailLines().size,
        DEADLINE_MS,
      )
      expectShipped(
        syslog.received().map(({ text }) => text),
        kills,
      )
    }
    expect(readFileSync(join(folder, 'mcp-egress.yaml'), 'utf8') + [...trailLines().values()].join('')).not.toContain(
      SECRET,
    )
  }, 120_000)

  it('[K27] a receiver that hangs all the time holds up no request, and is seen', async () => {
    const receiver = await startReceiver()
    receiver.behave('hang')
    const proxy = await start(http(receiver))
    await until('the post that hangs', () => receiver.posts() === 1, DEADLINE_MS)
    // All of these are answered while that post is not: none waits for it.
    await refused(proxy, 100)
    expect(receiver.posts()).toBe(1)
    const metrics = await ask(proxy.adminPort, '/metrics', { Authorization: `Bearer ${TOKEN}` })
    const lag = Number(/^mcp_egress_sink_lag_records\{sink="siem"\} (\d+)$/m.exec(metrics.body)?.[1])
    expect(lag).toBeGreaterThanOrEqual(200)
    expect(metrics.body).not.toContain('mcp_egress_sink_last_success_timestamp{')
    expect(await ask(proxy.adminPort, '/ready')).toEqual({ status: 200, body: '{"ready":true,"missing":[]}\n' })
    const begun = performance.now()
    expect(await proxy.kill('SIGTERM')).toBe(0)
    expect(performance.now() - begun).toBeLessThan(10_000)
    receiver.behave('take')
    const again = await start(http(receiver))
    await until('everything', () => receiver.taken.length >= trailLines().size, DEADLINE_MS)
    const after = await ask(again.adminPort, '/metrics', { Authorization: `Bearer ${TOKEN}` })
    expect(after.body).toMatch(/^mcp_egress_sink_last_success_timestamp\{sink="siem"\} 1\d{9}/m)
    await again.kill('SIGTERM')
    expectShipped(receiver.taken, 0)
  }, 60_000)

  it.each(['fail', 'busy', 'reset'] as const)(
    'a receiver that begins to %s and returns has everything',
    async (behaviour) => {
      const receiver = await startReceiver()
      const proxy = await start(http(receiver))
      await until('the first records', () => receiver.taken.length > 0, DEADLINE_MS)
      receiver.behave(behaviour)
      const before = receiver.posts()
      await refused(proxy, 20)
      await until('two tries', () => receiver.posts() >= before + 2, DEADLINE_MS)
      expect(proxy.stderr()).toContain('audit sink: records can not be shipped')
      expect(proxy.stderr()).not.toContain(SECRET)
      const metrics = await ask(proxy.adminPort, '/metrics', { Authorization: `Bearer ${TOKEN}` })
      expect(metrics.body).toMatch(/^mcp_egress_sink_errors_total\{sink="siem"\} [1-9]/m)
      receiver.behave('take')
      await until('everything', () => receiver.taken.length === trailLines().size, DEADLINE_MS)
      await proxy.kill('SIGTERM')
      expectShipped(receiver.taken, 0)
    },
    60_000,
  )

  it('standard output that nobody reads holds up no request, and its end ends nothing', async () => {
    const receiver = await startReceiver()
    const proxy = await start(`    - { name: stdout, type: stdout }\n${http(receiver)}`)
    proxy.child.stdout?.pause()
    await refused(proxy, 300)
    proxy.child.stdout?.destroy()
    await refused(proxy, 20)
    await until('the other sink', () => receiver.taken.length === trailLines().size, DEADLINE_MS)
    expect(await proxy.kill('SIGTERM')).toBe(0)
  }, 60_000)

  it('a start names the sink and the file that is missing', async () => {
    await expect(
      start(`    - { name: siem, type: http, url: "https://a.example/", ca: absent.pem }\n`),
    ).rejects.toThrow(/the proxy ended: mcp-egress: audit sink siem: .*absent\.pem: can not be read \(ENOENT\)\. Fix:/)
    expect(existsSync(join(folder, 'logs/audit.jsonl'))).toBe(true)
  })
})
