import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AdminServer } from '../../src/admin/admin.ts'

let folder: string
let missing: string[]
let warnings: string[]
let refused: string | null
let server: AdminServer
let port: number

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-admin-'))
  missing = []
  warnings = []
  refused = null
  server = new AdminServer({
    version: '1.2.3',
    uptimeSeconds: () => 61.7,
    missing: () => missing,
    warnings: () => warnings,
    metrics: async () => 'up 1\n',
    metricsContentType: 'text/plain; version=0.0.4',
    token: () => 'a-long-admin-token',
    reload: async () => refused,
  })
  const { address } = await server.listen({ kind: 'tcp', host: '127.0.0.1', port: 0 })
  port = address.kind === 'tcp' ? address.port : 0
})
afterEach(() => {
  server.close()
  rmSync(folder, { recursive: true, force: true })
})

interface Reply {
  readonly status: number
  readonly body: string
}

function ask(
  path: string,
  options: { headers?: Record<string, string>; method?: string; socketPath?: string } = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const { socketPath, ...rest } = options
    const where = socketPath === undefined ? { host: '127.0.0.1', port } : { socketPath }
    const asked = request({ ...where, path, ...rest }, (response) => {
      let body = ''
      response.on('data', (chunk: Buffer) => {
        body += chunk.toString()
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
    asked.on('error', reject)
    asked.end()
  })
}

describe('the admin listener', () => {
  it('answers /health as the contract has it', async () => {
    const { status, body } = await ask('/health')
    expect([status, JSON.parse(body)]).toEqual([
      200,
      { status: 'healthy', service: 'mcp-egress', version: '1.2.3', uptime_seconds: 61 },
    ])
  })

  it('lets go of those who never finish a request, and of those who never begin one', { timeout: 15_000 }, async () => {
    const started = performance.now()
    const closed = ['', 'GET /health HTTP/1.1\r\nHost: a\r\n'].map((beginning) => {
      const socket = connect(port, '127.0.0.1')
      socket.write(beginning)
      socket.resume()
      return new Promise((resolve) => socket.on('error', () => undefined).on('close', resolve))
    })
    await Promise.all(closed)
    // Node.js on its own looks every 30 s.
    expect(performance.now() - started).toBeLessThan(12_000)
  })

  it('answers /ready with what is missing', async () => {
    expect((await ask('/ready')).status).toBe(200)
    missing = ['audit trail']
    const { status, body } = await ask('/ready')
    expect([status, JSON.parse(body)]).toEqual([503, { ready: false, missing: ['audit trail'] }])
  })

  it('answers /ready with what is amiss, and is ready all the same', async () => {
    warnings = ['audit sink siem is 12 records behind']
    const { status, body } = await ask('/ready')
    expect([status, JSON.parse(body)]).toEqual([200, { ready: true, missing: [], warnings }])
  })

  it.each([
    ['no token', {}, 401],
    ['a wrong token', { Authorization: 'Bearer wrong' }, 401],
    ['another scheme', { Authorization: 'Basic a-long-admin-token' }, 401],
    ['the token', { Authorization: 'Bearer a-long-admin-token' }, 200],
  ])('answers /metrics with %s', async (_name, headers, status) => {
    expect((await ask('/metrics', { headers })).status).toBe(status)
  })

  it.each(['evil.test', 'evil.test:9901', 'localhost.evil.test'])(
    '[E15] does not answer to the name %s',
    async (host) => {
      expect((await ask('/health', { headers: { Host: host } })).status).toBe(421)
    },
  )

  it.each(['localhost', 'LOCALHOST:9901', '127.0.0.1', '[::1]:9901'])('answers to the name %s', async (host) => {
    expect((await ask('/health', { headers: { Host: host } })).status).toBe(200)
  })

  it('takes nothing but GET, and knows nothing else', async () => {
    expect((await ask('/health', { method: 'POST' })).status).toBe(405)
    expect((await ask('/other', { headers: { Authorization: 'Bearer a-long-admin-token' } })).status).toBe(404)
  })

  it('reloads for whoever has the token, and says what came of it', async () => {
    const headers = { Authorization: 'Bearer a-long-admin-token' }
    const reload = async (given: Record<string, string>): Promise<[number, unknown]> => {
      const { status, body } = await ask('/reload', { method: 'POST', headers: given })
      return [status, JSON.parse(body)]
    }
    expect(await reload({})).toEqual([401, { error: 'admin.token is needed' }])
    expect(await reload(headers)).toEqual([200, { reloaded: true }])
    refused = 'a.yaml:1:1: one\na.yaml:2:1: two'
    expect(await reload(headers)).toEqual([422, { reloaded: false, problems: ['a.yaml:1:1: one', 'a.yaml:2:1: two'] }])
    expect((await ask('/reload', { headers })).status).toBe(405)
  })

  it('needs no token on a Unix socket of its owner', async () => {
    const path = join(folder, 'admin.sock')
    await server.listen({ kind: 'unix', path })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(await ask('/metrics', { socketPath: path })).toEqual({ status: 200, body: 'up 1\n' })
  })
})
