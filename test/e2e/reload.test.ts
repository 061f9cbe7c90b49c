// A running proxy whose configuration changes: all of it or nothing, by every way of asking for it, under load.

import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { request } from 'node:http'
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { verifyFile } from '../support/audit-events.ts'
import { opened } from '../support/clients.ts'
import type { AuditRecord } from '../support/lab.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'
import { Wire } from '../support/wire.ts'
import { type OriginProcess, startOriginProcess } from './support/origin-process.ts'
import { memoryOf, type ProxyProcess, startProxyProcess } from './support/proxy-process.ts'
import { machinePossible } from './support/machine.ts'
import { COMMAND, NEUTRAL, thisMachine } from './support/spawner.ts'

const TOKEN = 'the-token-of-the-operator'
const RELOADS = process.env['MCP_EGRESS_TEST_LOAD'] === 'full' ? 1_000 : 200
const CONNECTIONS = 4
/** What a heap takes to settle after a thousand configurations; each of them kept would be fifty times that. */
const MAX_GROWTH_BYTES = 48 * 2 ** 20

let folder: string
let root: TestRoot
let origin: OriginProcess
let proxy: ProxyProcess
const sockets: Socket[] = []

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-reload-'))
  root = createTestRoot()
  origin = await startOriginProcess(thisMachine, root, {
    listen: [{ host: '127.0.0.1', port: 0 }],
    names: ['localhost'],
    answers: { 'localhost /a': plain('a'), 'localhost /b': plain('b') },
  })
  writeFileSync(join(folder, 'token'), TOKEN)
  write({})
})
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await proxy?.stop()
  await origin.stop()
  root.close()
  rmSync(folder, { recursive: true, force: true })
})

const plain = (body: string): { status: number; headers: Record<string, string>; body: string } => ({
  status: 200,
  headers: { 'content-type': 'text/plain' },
  body,
})
const configFile = (): string => join(folder, 'mcp-egress.yaml')

interface Parts {
  readonly proxy?: string
  readonly path?: string
  readonly id?: string
  readonly more?: string
  readonly trust?: string
}

/** Replaced as a whole, as a deployment does it. */
function write({ proxy: listen = '127.0.0.1:0', path = '/a', id = 'one', more = '', trust = root.file }: Parts): void {
  const text = `version: 1
listen: { proxy: "${listen}", admin: "127.0.0.1:0" }
admin: { token: "file:token" }
rules:
  - { id: ${id}, allow: { hosts: [localhost], ports: [${origin.ports[0]}], paths: [${path}] } }
upstream: { trust: [${trust}], allow: ["127.0.0.0/8", "::1/128"] }
${more}`
  writeFileSync(`${configFile()}.new`, text)
  renameSync(`${configFile()}.new`, configFile())
}

async function start(...args: string[]): Promise<void> {
  proxy = await startProxyProcess(thisMachine, {
    configFile: configFile(),
    trailFile: join(folder, 'logs/audit.jsonl'),
    args,
  })
}

function admin(method: string, path: string): Promise<{ status: number; body: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    const options = { port: proxy.ports.get('admin'), host: '127.0.0.1', method, path }
    const asked = request({ ...options, headers: { Authorization: `Bearer ${TOKEN}` } }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => (text += part))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) }))
    })
    asked.on('error', reject).end()
  })
}
const reload = (): ReturnType<typeof admin> => admin('POST', '/reload')

/** A connection inside a CONNECT by way of `port`. */
async function inside(port = proxy.ports.get('proxy') ?? 0): Promise<{ wire: Wire; tls: TLSSocket }> {
  const socket = await opened(connectTcp(port, '127.0.0.1'))
  sockets.push(socket)
  const answered = once(socket, 'data')
  socket.write(`CONNECT localhost:${origin.ports[0]} HTTP/1.1\r\nHost: localhost:${origin.ports[0]}\r\n\r\n`)
  expect(String(await answered)).toMatch(/^HTTP\/1\.1 200 /)
  const tls = connectTls({ socket, servername: 'localhost', ca: readFileSync(join(folder, 'certs/ca.pem'), 'utf8') })
  await opened(tls, 'secureConnect')
  return { wire: new Wire(tls), tls }
}

async function ask(wire: Wire, path: string): Promise<number> {
  wire.write(`GET ${path} HTTP/1.1\r\nHost: localhost:${origin.ports[0]}\r\n\r\n`)
  return (await wire.message()).status
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

const refusedAt = (port: number): Promise<string> =>
  new Promise((resolve) => {
    const socket = connectTcp(port, '127.0.0.1')
    sockets.push(socket)
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
    socket.on('connect', () => resolve('connected'))
  })

describe('POST /reload', () => {
  it('moves a listener, and whoever came in by the old one stays', async () => {
    const [from, to] = [await freePort(), await freePort()]
    write({ proxy: `127.0.0.1:${from}` })
    await start()
    const { wire } = await inside(from)
    expect(await ask(wire, '/a')).toBe(200)
    write({ proxy: `127.0.0.1:${to}` })
    expect(await reload()).toEqual({ status: 200, body: { reloaded: true } })
    expect(await refusedAt(from)).toBe('ECONNREFUSED')
    expect(await ask(wire, '/a')).toBe(200)
    expect(await ask((await inside(to)).wire, '/a')).toBe(200)
  })

  it('changes nothing where one address can not be had, and opens it later', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    await start()
    write({ proxy: `127.0.0.1:${port}`, path: '/b' })
    expect(await reload()).toMatchObject({ status: 422, body: { problems: [expect.stringContaining('EADDRINUSE')] } })
    const { wire } = await inside()
    expect([await ask(wire, '/a'), await ask(wire, '/b')]).toEqual([200, 403])
    expect(await admin('GET', '/ready')).toMatchObject({ status: 503 })
    taken.close()
    await once(taken, 'close')
    expect((await reload()).status).toBe(200)
    expect(await admin('GET', '/ready')).toMatchObject({ status: 200 })
    expect(await ask((await inside(port)).wire, '/b')).toBe(200)
  })

  it.each<[string, () => void, RegExp]>([
    [
      'with a test of its own that fails',
      () => write({ path: '/b', more: ownTest('/a') }),
      /tests\[0\]: .*expected allow/,
    ],
    ['that is no YAML', () => writeFileSync(configFile(), 'rules: ['), /mcp-egress\.yaml:/],
    ['that is empty', () => writeFileSync(configFile(), ''), /mcp-egress\.yaml/],
    ['that is not there', () => rmSync(configFile()), /no such file/],
    ['that names no file to trust', () => write({ path: '/b', trust: join(folder, 'gone.pem') }), /gone\.pem/],
    ['that anybody may write', () => chmodSync(configFile(), 0o666), /chmod o-w/],
    ['whose CA is gone', () => rmSync(join(folder, 'certs/ca.pem')), /ca\.pem is not there/],
  ])('leaves in force what there is, before a file %s', async (_what, spoil, problem) => {
    await start()
    const { wire } = await inside()
    const before = proxy.records().findLast(({ event }) => event === 'config.loaded')?.['policy']
    spoil()
    const { status, body } = await reload()
    expect([status, String(body['problems'])]).toEqual([422, expect.stringMatching(problem)])
    expect([await ask(wire, '/a'), await ask(wire, '/b')]).toEqual([200, 403])
    const decided = proxy.records().filter(({ event }) => event === 'request.decided')
    expect(decided.every(({ policy }) => policy === before)).toBe(true)
    expect(proxy.records().map(({ event }) => event)).toContain('config.rejected')
    expect((await admin('GET', '/ready')).body).toMatchObject({ missing: [expect.stringContaining('rejected')] })
  })

  const ownTest = (path: string): string =>
    `tests: [{ request: "GET https://localhost:${origin.ports[0]}${path}", expect: allow }]\n`

  it('takes another CA for the leaves, and other roots to trust', async () => {
    await start()
    const { tls } = await inside()
    const was = tls.getPeerCertificate(true).issuerCertificate.fingerprint256
    const other = mkdtempSync(join(folder, 'other-'))
    await thisMachine.exec(process.execPath, [COMMAND, 'ca', 'init', '--directory', other], { env: NEUTRAL })
    for (const file of ['ca.pem', 'private/ca.key']) copyFileSync(join(other, file), join(folder, 'certs', file))
    const stranger = createTestRoot()
    write({ trust: stranger.file })
    expect((await reload()).status).toBe(200)
    const { wire, tls: next } = await inside()
    expect(next.authorized).toBe(true)
    expect(next.getPeerCertificate(true).issuerCertificate.fingerprint256).not.toBe(was)
    expect(await ask(wire, '/a')).toBe(502)
    stranger.close()
  })

  it('says what waits for a restart', async () => {
    await start()
    write({ more: 'audit: { path: other/audit.jsonl }\n' })
    expect((await reload()).status).toBe(200)
    const { status, body } = await admin('GET', '/ready')
    expect([status, body['warnings']]).toEqual([200, ['audit.path changes with a restart']])
  })
})

it('a change of the file, and of one that it names, is seen by --watch', async () => {
  await start('--watch')
  const { wire } = await inside()
  expect(await ask(wire, '/b')).toBe(403)
  const loads = (): number => proxy.records().filter(({ event }) => event === 'config.loaded').length
  write({ path: '/b' })
  await proxy.waitFor('a second configuration', () => loads() === 2)
  expect(await ask((await inside()).wire, '/b')).toBe(200)
  writeFileSync(join(folder, 'token'), `${TOKEN}-2`)
  await proxy.waitFor('a third configuration', () => loads() === 3)
  expect(await admin('GET', '/metrics').catch(() => ({ status: 0 }))).toMatchObject({ status: 401 })
})

it('does not start by a policy that anybody may write', async () => {
  chmodSync(configFile(), 0o646)
  await expect(start()).rejects.toThrow(/ended with 1: .*\n.*chmod o-w/)
})

it('runs no command that a policy names which anybody may write', async () => {
  write({ more: `inject: [{ placeholder: PLACEHOLDER_OF_16, value: "exec:/bin/touch ran", hosts: [localhost] }]\n` })
  chmodSync(configFile(), 0o646)
  await expect(start()).rejects.toThrow(/ended with 1: .*\n.*chmod o-w/)
  expect(existsSync(join(folder, 'ran'))).toBe(false)
})

it('does not start by a link into a folder that anybody may write', async () => {
  const open = join(folder, 'open')
  mkdirSync(open)
  renameSync(configFile(), join(open, 'policy.yaml'))
  symlinkSync(join(open, 'policy.yaml'), configFile())
  chmodSync(open, 0o777)
  await expect(start()).rejects.toThrow(/open may be written by anybody/)
})

it.skipIf(!machinePossible)('takes a policy from a folder of all modes that is mounted for reading alone', async () => {
  // As kubelet mounts a ConfigMap. What fails then is the next thing: the CA, which would lie there too.
  const open = join(folder, 'open')
  mkdirSync(open)
  chmodSync(open, 0o777)
  writeFileSync(join(open, 'policy.yaml'), 'version: 1\nlisten: { proxy: "127.0.0.1:0" }\n', { mode: 0o644 })
  const mount = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" "$3" proxy -c "$1/policy.yaml"'
  const paths = [open, process.execPath, COMMAND]
  const { code, stderr } = await thisMachine.exec('unshare', ['-m', 'sh', '-c', mount, '-', ...paths], { env: NEUTRAL })
  expect([code, stderr]).toEqual([2, expect.stringContaining('the CA can not be created there')])
})

it(`${RELOADS} reloads under load lose no request, keep nothing, and each request is judged by one whole policy`, {
  timeout: 120_000,
}, async () => {
  await start()
  const descriptors = (): number => readdirSync(`/proc/${proxy.pid}/fd`).length
  const outcomes = new Map<string, number>()
  const ending = new AbortController()
  const load = async (): Promise<void> => {
    const { wire } = await inside()
    for (let turn = 0; !ending.signal.aborted; turn += 1) {
      const path = turn % 2 === 0 ? '/a' : '/b'
      const outcome = `${path} ${await ask(wire, path)}`
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    }
  }
  const loads = Promise.all(Array.from({ length: CONNECTIONS }, load))
  const storm = async (count: number): Promise<void> => {
    for (let turn = 0; turn < count; turn += 1) {
      write({ id: turn % 2 === 0 ? 'two' : 'one' })
      expect((await reload()).status).toBe(200)
    }
  }
  await storm(RELOADS / 5)
  const [memory, open] = [memoryOf(proxy.pid).resident, descriptors()]
  await storm((RELOADS * 4) / 5)
  const after = [memoryOf(proxy.pid).resident, descriptors()] as const
  ending.abort()
  await loads
  expect([...outcomes.keys()].sort()).toEqual(['/a 200', '/b 403'])
  expect(after[0] - memory).toBeLessThan(MAX_GROWTH_BYTES)
  expect(Math.abs(after[1] - open)).toBeLessThan(10)
  const records = proxy.records()
  const decided = records.filter(({ event }) => event === 'request.decided')
  expect(decided.length).toBe([...outcomes.values()].reduce((sum, count) => sum + count, 0))
  // Each of the two policies has one rule for the one path, and none for the other.
  const judged = new Set(decided.map(({ policy, path, rule }) => `${String(policy)} ${String(path)} ${String(rule)}`))
  expect(judged.size).toBe(4)
  expect(records.filter((record: AuditRecord) => record.event === 'config.loaded').length).toBe(RELOADS + 1)
  verifyFile(proxy.trailFile)
})
