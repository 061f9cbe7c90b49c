// A policy of deny on a running system: SIGHUP closes what is already open within two seconds, and the trail says why.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { verifyFile } from '../support/audit-events.ts'
import { opened } from '../support/clients.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'
import { Wire } from '../support/wire.ts'
import { type OriginProcess, startOriginProcess } from './support/origin-process.ts'
import { type ProxyProcess, startProxyProcess } from './support/proxy-process.ts'
import { thisMachine } from './support/spawner.ts'

const GIB = 1_024 * 1_024 * 1_024
const CLOSED_WITHIN_MS = 2_000
const REVOKED = { outcome: 'revoked', reason: 'policy_revoked' }

describe('SIGHUP', () => {
  let folder: string
  let root: TestRoot
  let origin: OriginProcess
  let proxy: ProxyProcess
  const sockets: Socket[] = []

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mcp-egress-revocation-'))
    root = createTestRoot()
    const listen = [0, 1].map(() => ({ host: '127.0.0.1', port: 0 }))
    origin = await startOriginProcess(thisMachine, root, { listen, names: ['localhost'] })
    write(`  - { id: open, allow: { hosts: [localhost], ports: [${port()}] } }
  - { id: pinned, passthrough: { hosts: [localhost], ports: [${port(1)}] } }
`)
    const trailFile = join(folder, 'logs/audit.jsonl')
    proxy = await startProxyProcess(thisMachine, { configFile: configFile(), trailFile })
  })
  afterAll(async () => {
    for (const socket of sockets) socket.destroy()
    await proxy?.stop()
    await origin?.stop()
    root?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const port = (index = 0): number => origin.ports[index] ?? 0
  const configFile = (): string => join(folder, 'mcp-egress.yaml')
  const write = (rules: string): void =>
    writeFileSync(
      configFile(),
      `version: 1
listen: { proxy: "127.0.0.1:0" }
rules:
${rules}upstream: { trust: [${root.file}], allow: ["127.0.0.0/8", "::1/128"] }
`,
    )

  async function connected(to: number): Promise<Socket> {
    const socket = await opened(connectTcp(proxy.ports.get('proxy') ?? 0, '127.0.0.1'))
    sockets.push(socket)
    const answered = new Promise<string>((resolve) => void socket.once('data', (data) => resolve(String(data))))
    socket.write(`CONNECT localhost:${to} HTTP/1.1\r\nHost: localhost:${to}\r\n\r\n`)
    expect(await answered).toMatch(/^HTTP\/1\.1 200 /)
    return socket
  }

  /** A connection inside, on which `head` with its Host has been sent. */
  async function sent(
    head: string,
    to = port(),
    ca = readFileSync(join(folder, 'certs/ca.pem'), 'utf8'),
  ): Promise<Wire> {
    const tls = connectTls({ socket: await connected(to), servername: 'localhost', ca })
    await opened(tls, 'secureConnect')
    const wire = new Wire(tls)
    wire.write(`${head}\r\nHost: localhost:${to}\r\n`)
    return wire
  }

  it('with a policy of deny closes connections that are already open within 2 s', async () => {
    const download = await sent(`GET /stream/${GIB} HTTP/1.1`)
    download.write('\r\n')
    await download.head()
    download.socket.pause()
    const upload = await sent('POST /sink HTTP/1.1')
    upload.write('Content-Length: 100\r\n\r\nhalf')
    const idle = await sent('GET /idle HTTP/1.1')
    idle.write('\r\n')
    await idle.message()
    const tunnel = await sent('GET /pinned HTTP/1.1', port(1), root.pem)
    const silent = new Wire(await connected(port()))
    await proxy.waitFor(
      'decisions',
      (records) => records.filter(({ event }) => event === 'request.decided').length === 4,
    )

    const since = performance.now()
    write('  - { id: nothing-more, deny: { hosts: [localhost] } }\n')
    proxy.signal('SIGHUP')
    download.count()
    download.socket.resume()
    await Promise.all([download, upload, idle, tunnel, silent].map((wire) => wire.closed()))
    const took = performance.now() - since
    expect(took).toBeLessThan(CLOSED_WITHIN_MS)
    expect(download.bytes).toBeLessThan(GIB)
    expect([upload.text, tunnel.text, silent.text]).toEqual(['', '', ''])

    const records = await proxy.waitFor('ends', (found) => found.filter(ended).length === 4)
    const ends = new Map(records.filter(ended).map((record) => [record.request_id, record]))
    const decided = records.filter(({ event }) => event === 'request.decided')
    const endOf = (wanted: string | null): unknown =>
      ends.get(decided.find((record) => record['path'] === wanted)?.request_id)
    for (const path of [`/stream/${GIB}`, '/sink', null]) expect(endOf(path)).toMatchObject(REVOKED)
    expect(endOf('/idle')).toMatchObject({ outcome: 'completed', status: 404 })
    expect(records.find(({ event }) => event === 'tunnel.closed')).toBeDefined()
    expect(records.at(-1)?.event).toBe('request.completed')
    // The policy first, then what it ended.
    const loaded = records.findLast(({ event }) => event === 'config.loaded')?.seq ?? Number.POSITIVE_INFINITY
    expect(records.filter(({ outcome }) => outcome === 'revoked').every(({ seq }) => seq > loaded)).toBe(true)
    verifyFile(proxy.trailFile)
  })

  const ended = ({ event }: { event: string }): boolean => event === 'request.completed'
})
