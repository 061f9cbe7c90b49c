// The admin listener: health, readiness and metrics, for the operator and never for the workload.

import { createHash, timingSafeEqual } from 'node:crypto'
import { chmodSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { isIP } from 'node:net'

const HEADERS_TIMEOUT_MS = 5_000
/** How often Node.js looks for who is over it; its own 30 s let 64 silent peers keep everybody from /health for as long. */
const HEADERS_CHECK_MS = 1_000
const MAX_ADMIN_CONNECTIONS = 64

export type AdminAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }

export interface AdminSources {
  readonly version: string
  readonly uptimeSeconds: () => number
  /** What is missing for traffic to be served; empty: ready. */
  readonly missing: () => readonly string[]
  /** What is amiss while traffic is served all the same. */
  readonly warnings?: () => readonly string[]
  readonly metrics: () => Promise<string>
  readonly metricsContentType: string
  /** Null: what needs it is there over the Unix socket only. */
  readonly token: () => string | null
  /** Reads the configuration anew; null: it is in force, else why it is not. */
  readonly reload: () => Promise<string | null>
}

export class AdminServer {
  readonly #sources: AdminSources
  readonly #servers = new Set<Server>()

  constructor(sources: AdminSources) {
    this.#sources = sources
  }

  /** Rejects when the address can not be had. */
  listen(address: AdminAddress): Promise<{ readonly address: AdminAddress; readonly close: () => void }> {
    const local = address.kind === 'unix'
    const server = createServer(
      { headersTimeout: HEADERS_TIMEOUT_MS, connectionsCheckingInterval: HEADERS_CHECK_MS },
      (request, response) => {
        this.#serve(request, response, local).catch(() => response.destroy())
      },
    )
    server.maxConnections = MAX_ADMIN_CONNECTIONS
    this.#servers.add(server)
    const close = (): void => {
      this.#servers.delete(server)
      server.close()
      server.closeIdleConnections()
    }
    return new Promise((resolve, reject) => {
      server.once('error', (error) => {
        this.#servers.delete(server)
        reject(error)
      })
      const done = (): void => {
        server.removeAllListeners('error')
        if (address.kind === 'unix') chmodSync(address.path, 0o600)
        const bound = server.address()
        const isTcp = typeof bound === 'object' && bound !== null
        resolve({ address: isTcp ? { kind: 'tcp', host: bound.address, port: bound.port } : address, close })
      }
      if (address.kind === 'tcp') {
        server.listen(address.port, address.host, done)
      } else {
        rmSync(address.path, { force: true })
        server.listen(address.path, done)
      }
    })
  }

  close(): void {
    for (const server of this.#servers) {
      server.close()
      server.closeAllConnections()
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse, local: boolean): Promise<void> {
    // SECURITY: a page in a browser that rebinds its name to this address still sends its own name as Host.
    if (!local && !knownHost(request.headers.host)) return answer(response, 421, { error: 'unknown Host' })
    const path = (request.url ?? '').split('?')[0] ?? ''
    const allowed = path === '/reload' ? 'POST' : 'GET, HEAD'
    if (!allowed.split(', ').includes(request.method ?? '')) {
      response.setHeader('Allow', allowed)
      return answer(response, 405, { error: `${allowed} only` })
    }
    if (path === '/health') return answer(response, 200, this.#health())
    if (path === '/ready') return this.#ready(response)
    if (!local && !this.#authorized(request)) {
      response.setHeader('WWW-Authenticate', 'Bearer realm="mcp-egress"')
      return answer(response, 401, { error: 'admin.token is needed' })
    }
    if (path === '/reload') return this.#reload(response)
    if (path !== '/metrics') return answer(response, 404, { error: 'not found' })
    const text = await this.#sources.metrics()
    response.writeHead(200, { 'Content-Type': this.#sources.metricsContentType }).end(text)
  }

  async #reload(response: ServerResponse): Promise<void> {
    const problems = await this.#sources.reload()
    if (problems === null) return answer(response, 200, { reloaded: true })
    answer(response, 422, { reloaded: false, problems: problems.split('\n') })
  }

  #health(): Record<string, unknown> {
    const uptime = Math.floor(this.#sources.uptimeSeconds())
    return { status: 'healthy', service: 'mcp-egress', version: this.#sources.version, uptime_seconds: uptime }
  }

  #ready(response: ServerResponse): void {
    const missing = this.#sources.missing()
    const warnings = this.#sources.warnings?.() ?? []
    const amiss = warnings.length === 0 ? {} : { warnings }
    answer(response, missing.length === 0 ? 200 : 503, { ready: missing.length === 0, missing, ...amiss })
  }

  #authorized(request: IncomingMessage): boolean {
    const token = this.#sources.token()
    const [scheme, given] = (request.headers.authorization ?? '').split(' ')
    if (token === null || scheme?.toLowerCase() !== 'bearer' || given === undefined) return false
    return timingSafeEqual(digest(given), digest(token))
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

/** A name that no public DNS can be made to answer for: localhost or a literal address. */
function knownHost(header: string | undefined): boolean {
  if (header === undefined) return false
  const name = header.replace(/:\d{1,5}$/, '')
  return name.toLowerCase() === 'localhost' || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0
}

function answer(response: ServerResponse, status: number, body: Record<string, unknown>): void {
  response
    .writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' })
    .end(`${JSON.stringify(body)}\n`)
}
