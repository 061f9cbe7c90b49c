// A gibibyte each way through a proxy of its own process: memory stays flat, and a reader that stops stops the writer.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { opened, readUntil } from '../support/clients.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'
import { type OriginProcess, startOriginProcess } from './support/origin-process.ts'
import { forgetPeak, memoryOf, type ProxyProcess, startProxyProcess } from './support/proxy-process.ts'
import { NEUTRAL, thisMachine } from './support/spawner.ts'
import { clientMissing } from './support/web-clients.ts'

const MIB = 1_024 * 1_024
const GIB = 1_024 * MIB
const MEMORY_ALLOWED = 64 * MIB
/** What two pairs of socket buffers, the origin's own and one queue of the proxy can hold between them. */
const IN_FLIGHT_ALLOWED = 48 * MIB
const TRANSFER_TIMEOUT_MS = 55_000

describe('streaming', () => {
  let folder: string
  let root: TestRoot
  let origin: OriginProcess
  let proxy: ProxyProcess
  let port: number
  /** Resident bytes after one small request: what is loaded once is no cost of streaming. */
  let idle: number

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mcp-egress-streaming-'))
    root = createTestRoot()
    origin = await startOriginProcess(thisMachine, root, {
      listen: [{ host: '127.0.0.1', port: 0 }],
      names: ['localhost'],
    })
    port = origin.ports[0] ?? 0
    const configFile = join(folder, 'mcp-egress.yaml')
    writeFileSync(
      configFile,
      `version: 1
listen: { proxy: "127.0.0.1:0" }
rules:
  - id: everything
    allow: { hosts: [localhost], ports: [${port}] }
upstream: { trust: [${root.file}], allow: ["127.0.0.0/8", "::1/128"] }
`,
    )
    proxy = await startProxyProcess(thisMachine, { configFile, trailFile: join(folder, 'logs/audit.jsonl') })
  })
  afterAll(async () => {
    await proxy?.stop()
    await origin?.stop()
    root?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const url = (path: string): string => `https://localhost:${port}${path}`
  const viaProxy = (): string[] => {
    const trust = ['--cacert', join(folder, 'certs/ca.pem')]
    return [
      '-sS',
      '--fail',
      '--http1.1',
      ...trust,
      '--noproxy',
      '',
      '-x',
      `http://127.0.0.1:${proxy.ports.get('proxy')}`,
    ]
  }

  /** The most memory the proxy took while `transfer` ran, above what it had before it streamed anything. */
  const grown = async (transfer: () => Promise<void>): Promise<number> => {
    forgetPeak(proxy.pid)
    await transfer()
    return memoryOf(proxy.pid).peak - idle
  }

  describe.skipIf(clientMissing('curl') !== null)('with curl', () => {
    beforeAll(async () => {
      await curl([...viaProxy(), url('/stream/1')], 0)
      idle = memoryOf(proxy.pid).resident
    })

    it('a download of 1 GiB arrives whole and takes less than 64 MiB', { timeout: TRANSFER_TIMEOUT_MS }, async () => {
      const growth = await grown(async () => {
        const said = await curl([...viaProxy(), '-o', '/dev/null', '-w', '%{size_download}', url(`/stream/${GIB}`)], 0)
        expect(Number(said)).toBe(GIB)
      })
      expect(growth).toBeLessThan(MEMORY_ALLOWED)
      await proxy.waitFor('end of the download', (records) =>
        records.some((record) => record['bytes_received'] === GIB),
      )
    })

    it('an upload of 1 GiB arrives whole and takes less than 64 MiB', { timeout: TRANSFER_TIMEOUT_MS }, async () => {
      const growth = await grown(async () => {
        const said = await curl([...viaProxy(), '-T', '-', '-X', 'POST', url('/sink')], GIB)
        expect(JSON.parse(said)).toMatchObject({ bytes: GIB })
      })
      expect(growth).toBeLessThan(MEMORY_ALLOWED)
      await proxy.waitFor('end of the upload', (records) => records.some((record) => record['bytes_sent'] === GIB))
    })
  })

  it('a client that stops reading stops the origin', async () => {
    const heard = origin.events.length
    const tunnel = await connected()
    const tls = connectTls({ socket: tunnel, servername: 'localhost', ca: readFileSync(join(folder, 'certs/ca.pem')) })
    await opened(tls, 'secureConnect')
    tls.write(`GET /stream/${GIB} HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`)
    await once(tls, 'readable')
    const { bytes } = await origin.event(
      (said) => said.event === 'stalled' && origin.events.indexOf(said) >= heard,
      15_000,
    )
    expect(bytes).toBeLessThan(IN_FLIGHT_ALLOWED)
    tls.destroy()
    tunnel.destroy()
    await proxy.waitFor('end of the abandoned download', (records) =>
      records.some(
        (record) => record['outcome'] === 'client_aborted' && Number(record['bytes_received']) < IN_FLIGHT_ALLOWED,
      ),
    )
  })

  async function connected(): Promise<Socket> {
    const socket = await opened(connectTcp(proxy.ports.get('proxy') ?? 0, '127.0.0.1'))
    const answer = readUntil(socket, (text) => text.includes('\r\n\r\n'))
    socket.write(`CONNECT localhost:${port} HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`)
    expect(await answer).toMatch(/^HTTP\/1\.1 200 /)
    return socket
  }
})

/** Runs curl with `uploaded` bytes on stdin, made as they are taken; resolves to what it printed. */
async function curl(args: readonly string[], uploaded: number): Promise<string> {
  const child = spawn('curl', args, { env: { ...process.env, ...NEUTRAL }, stdio: 'pipe' })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  child.stdin.on('error', () => undefined)
  const closed = once(child, 'close') as Promise<[number | null]>
  const block = Buffer.alloc(MIB, 'u')
  for (let sent = 0; sent < uploaded && child.exitCode === null; sent += block.length) {
    if (!child.stdin.write(block)) await Promise.race([once(child.stdin, 'drain'), closed])
  }
  child.stdin.end()
  const [code] = await closed
  if (code !== 0) throw new Error(`curl ended with ${code}: ${stderr}`)
  return stdout
}
