// Origins for tests: HTTPS with certificates of a test root.

import { mkdtempSync, rmSync } from 'node:fs'
import { createServer as createHttp, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createHttps } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateKeyPairSync } from 'node:crypto'
import { parseServerName } from '../../src/core/address.ts'
import { openAuthority } from '../../src/tls/authority.ts'
import { mintLeaf } from '../../src/tls/leaf.ts'

/** A certificate authority that has nothing to do with the proxy's own: the "internet" of a test. */
export interface TestRoot {
  readonly pem: string
  readonly file: string
  issue(name: string, now?: Date): { key: string; cert: string }
  close(): void
}

export function createTestRoot(): TestRoot {
  const directory = mkdtempSync(join(tmpdir(), 'mcp-egress-root-'))
  const authority = openAuthority(directory, new Date())
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  return {
    pem: authority.certificatePem,
    file: join(directory, 'ca.pem'),
    issue: (name, now = new Date()) => {
      const host = parseServerName(name)
      if (host === null) throw new Error(`not a host: ${name}`)
      return { key, cert: mintLeaf(authority, publicKey, host, now).certificatePem }
    },
    close: () => rmSync(directory, { recursive: true, force: true }),
  }
}

export interface Seen {
  readonly method: string
  readonly url: string
  readonly rawHeaders: readonly string[]
  readonly body: string
}

export interface Origin {
  readonly port: number
  /** Every request that arrived, in order. */
  readonly seen: Seen[]
  /** TCP connections that were opened, also those on which nothing was said. */
  connections(): number
  close(): Promise<void>
}

type Handler = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void

const echo: Handler = (request, response, body) => {
  response.setHeader('Content-Type', 'application/json')
  response.end(
    JSON.stringify({ method: request.method, url: request.url, host: request.headers.host, body: body.length }),
  )
}

/** Collects the whole body, remembers the request, then calls the handler. */
export async function startOrigin(
  root: TestRoot,
  name: string,
  handler: Handler = echo,
  options: { tls?: boolean; raw?: (request: IncomingMessage, response: ServerResponse) => void } = {},
): Promise<Origin> {
  const seen: Seen[] = []
  let opened = 0
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    if (options.raw !== undefined) return options.raw(request, response)
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const body = Buffer.concat(parts)
      seen.push({
        method: request.method ?? '',
        url: request.url ?? '',
        rawHeaders: request.rawHeaders,
        body: body.length > 100_000 ? `${body.length} bytes` : body.toString('latin1'),
      })
      handler(request, response, body)
    })
  }
  const server: Server = options.tls === false ? createHttp(onRequest) : createHttps({ ...root.issue(name) }, onRequest)
  server.on('connection', () => {
    opened += 1
  })
  server.keepAliveTimeout = 60_000
  return { seen, connections: () => opened, ...(await listening(server)) }
}

async function listening(server: import('node:net').Server): Promise<{ port: number; close(): Promise<void> }> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}
