// Origins that tell what reached them in words that fit both versions: HTTP/1.1 byte by byte, HTTP/2 as Node reads it.

import { createSecureServer, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { TestRoot } from '../../support/origins.ts'
import { startCanary } from './canary.ts'

/** No origin of ours is stricter than the proxy. */
const MAX_FIELDS = 1_000

export type Version = 'http/1.1' | 'h2'

/** A request as an origin read it. */
export interface Got {
  readonly method: string
  readonly target: string
  readonly authority: string
  /** In order, names in lower case; without Host and pseudo-fields. */
  readonly fields: readonly string[]
  readonly body: string
}

export interface VersionedCanary {
  readonly port: number
  /** Connections since the start. */
  readonly connections: () => number
  /** Whole requests since the last call. */
  readonly take: () => Got[]
  /** Every byte since the last call, latin1; empty for HTTP/2. */
  readonly bytes: () => string
  readonly close: () => Promise<void>
}

/** Answers `ok` to everything, under a certificate of that root for whatever name is asked for. */
export function startVersionedCanary(version: Version, root: TestRoot): Promise<VersionedCanary> {
  return version === 'h2' ? startHttp2Canary(root) : startHttp1Canary(root)
}

async function startHttp1Canary(root: TestRoot): Promise<VersionedCanary> {
  const canary = await startCanary(root)
  let bytes = ''
  const got: Got[] = []
  const listen = (): void => {
    for (const received of canary.take()) {
      bytes += received.bytes.toString('latin1')
      for (const { method, target, fields, body } of received.requests) {
        const [hosts, others] = split(fields, (name) => name === 'host')
        got.push({ method, target, authority: hosts.join(' '), fields: others, body })
      }
    }
  }
  return {
    port: canary.port,
    connections: canary.connections,
    take: () => {
      listen()
      return got.splice(0)
    },
    bytes: () => {
      listen()
      const heard = bytes
      bytes = ''
      return heard
    },
    close: canary.close,
  }
}

async function startHttp2Canary(root: TestRoot): Promise<VersionedCanary> {
  const got: Got[] = []
  const sockets = new Set<Socket>()
  const contexts = new Map<string, SecureContext>()
  let connections = 0
  const server = createSecureServer({
    allowHTTP1: false,
    maxHeaderListPairs: MAX_FIELDS,
    SNICallback: (name, done) => {
      const context = contexts.get(name) ?? createSecureContext(root.issue(name))
      contexts.set(name, context)
      done(null, context)
    },
  })
  server.on('connection', (socket: Socket) => {
    connections += 1
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => sockets.delete(socket))
  })
  server.on('sessionError', () => undefined)
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, list: string[]) => {
    let body = ''
    stream.on('error', () => undefined)
    stream.on('data', (chunk: Buffer) => {
      body += chunk.toString('latin1')
    })
    stream.on('end', () => {
      if (stream.destroyed || stream.aborted) return
      const { ':method': method = '', ':path': target = '', ':authority': authority = '' } = headers
      const [, fields] = split(list, (name) => name.startsWith(':'))
      got.push({ method, target, authority, fields, body })
      stream.respond({ ':status': 200, 'content-length': method === 'HEAD' ? 0 : 2 }, { endStream: method === 'HEAD' })
      if (method !== 'HEAD') stream.end('ok')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => connections,
    take: () => got.splice(0),
    bytes: () => '',
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

/** The values of those fields that are apart, and the others as a flat list. */
function split(flat: readonly string[], apart: (name: string) => boolean): [string[], string[]] {
  const values: string[] = []
  const others: string[] = []
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const name = (flat[at] as string).toLowerCase()
    const value = flat[at + 1] as string
    if (apart(name)) values.push(value)
    else others.push(name, value)
  }
  return [values, others]
}
