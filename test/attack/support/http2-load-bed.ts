// A built proxy in a process of its own with an origin inside TLS, for clients that speak HTTP/2 to it.

import { readFileSync } from 'node:fs'
import { createSecureServer } from 'node:http2'
import { createServer } from 'node:https'
import type { AddressInfo, Server, Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { expect } from 'vitest'
import { memoryOf } from '../../e2e/support/proxy-process.ts'
import { opened, readUntil } from '../../support/clients.ts'
import { createTestRoot, type TestRoot } from '../../support/origins.ts'
import { codeOf } from './http2-bed.ts'
import type { Version } from './http2-canary.ts'
import { RawPeer } from './http2-wire.ts'
import { anonymous, type Behaviour, type LoadBed, MIB, report, startLoadBed } from './load-bed.ts'

const NAME = 'localhost'
const FROM = '127.0.0.2'
const SERVED_WITHIN_MS = 1_000
const TRIES = 3
/** Node's own 10 MiB make an origin refuse what it is not asked to hold here. */
const ORIGIN_SESSION_MIB = 1_000
/** Of resident memory, when garbage has been collected: what an attack may leave for good. */
const LEFT_ALLOWED = 64 * MIB
/** A leak adds in every round; which pages the allocator has given back at the moment of a look is chance, up to 25 MiB of it. */
const ROUNDS = 3
/** What the round that adds least may add: pages that the allocator has not given back. */
const GROWTH_ALLOWED = 24 * MIB

export interface Http2LoadBed extends Omit<LoadBed, 'authority'> {
  readonly authority: string
  /** A connection that has said nothing yet. */
  connect(from?: string): Promise<RawPeer>
  readonly asked: (method: string, path: string, ...more: string[]) => string[]
  /** `request.malformed` with that code, whatever its counts. */
  malformed(code: string): Record<string, unknown>[]
  /** Fails unless the proxy lives and serves the next client of HTTP/2 within a second. */
  servesHttp2(): Promise<void>
  /** Runs an attack three times. Fails unless memory comes back each time, some round adds nothing to what was left, and all of it is accounted for. */
  again(attack: () => Promise<void>): Promise<void>
}

/** `behaviours`: by path, of an origin of HTTP/1.1; every other one is answered `ok`. One of HTTP/2 has a MiB for `/mib`, and for `/idle` nothing. */
export async function startHttp2LoadBed(
  behaviours: Readonly<Record<string, Behaviour>> = {},
  version: Version = 'http/1.1',
): Promise<Http2LoadBed> {
  const root = createTestRoot()
  const server = version === 'h2' ? idleOrigin(root) : plainOrigin(root, behaviours)
  server.on('tlsClientError', () => undefined)
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const bed = await startLoadBed({
    rules: `  - { id: secure, allow: { hosts: [${NAME}], ports: [${port}] } }\n`,
    trust: root.file,
  })
  const { pid, trailFile } = bed.proxy
  const ca = readFileSync(join(dirname(dirname(trailFile)), 'certs/ca.pem'), 'utf8')
  const authority = `${NAME}:${port}`
  const connect = async (from = FROM): Promise<RawPeer> => {
    const socket = await bed.open(from)
    const answer = readUntil(socket, (text) => text.includes('\r\n\r\n'))
    socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
    expect(await answer).toMatch(/^HTTP\/1\.1 200 /)
    const secure = connectTls({ socket, ca, servername: NAME, ALPNProtocols: ['h2'] })
    await opened(secure, 'secureConnect')
    expect(secure.alpnProtocol).toBe('h2')
    return new RawPeer(secure)
  }
  const asked = (method: string, path: string, ...more: string[]): string[] => [
    ':method',
    method,
    ':scheme',
    'https',
    ':authority',
    authority,
    ':path',
    path,
    ...more,
  ]
  const servesHttp2 = async (): Promise<void> => {
    let best = Number.POSITIVE_INFINITY
    for (let tried = 0; tried < TRIES && best > SERVED_WITHIN_MS; tried++) {
      const started = performance.now()
      const peer = await connect('127.0.0.1')
      peer.begin()
      peer.write(peer.headers(1, asked('GET', '/honest')))
      await peer.until(() => peer.ended(1), 'an answer for an honest client')
      expect(peer.status(1), 'an honest client of HTTP/2').toBe('200')
      best = Math.min(best, performance.now() - started)
      peer.stream.destroy()
    }
    expect(best, 'ms until an honest client of HTTP/2 was served').toBeLessThan(SERVED_WITHIN_MS)
  }
  const resident = async (): Promise<number> => {
    await bed.memory()
    return anonymous(pid)
  }
  return {
    ...bed,
    authority,
    connect,
    asked,
    servesHttp2,
    malformed: (code) =>
      bed.proxy.records().filter((record) => record.event === 'request.malformed' && codeOf(record) === code),
    again: async (attack) => {
      await bed.servesOthers()
      await servesHttp2()
      const before = await bed.memory()
      const idle = await resident()
      const rounds: number[] = []
      const times: number[] = []
      for (let round = 0; round < ROUNDS; round += 1) {
        const started = performance.now()
        await attack()
        times.push(Math.round(performance.now() - started))
        await bed.servesOthers()
        await servesHttp2()
        await bed.recovers(before)
        rounds.push(await resident())
      }
      const inMib = (bytes: number): number => Math.round((bytes / MIB) * 10) / 10
      report({ idle: inMib(idle), rounds: rounds.map(inMib), peak: inMib(memoryOf(pid).peak), ms: times })
      const growth = rounds.slice(1).map((bytes, round) => bytes - (rounds[round] ?? 0))
      expect(Math.min(...rounds) - idle, 'bytes that stay after every round').toBeLessThan(LEFT_ALLOWED)
      expect(Math.min(...growth), 'bytes that every further round adds').toBeLessThan(GROWTH_ALLOWED)
      await bed.accounted()
    },
    close: async () => {
      await bed.close()
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
      root.close()
    },
  }
}

function plainOrigin(root: TestRoot, behaviours: Readonly<Record<string, Behaviour>>): Server {
  return createServer(root.issue(NAME), (incoming, response) => {
    const behaviour = behaviours[incoming.url ?? '']
    if (behaviour !== undefined) return behaviour(incoming, response)
    incoming.resume()
    response.end('ok')
  })
}

function idleOrigin(root: TestRoot): Server {
  const server = createSecureServer({ ...root.issue(NAME), allowHTTP1: false, maxSessionMemory: ORIGIN_SESSION_MIB })
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined)
    if (headers[':path'] === '/idle') return
    stream.respond({ ':status': 200 })
    stream.end(headers[':path'] === '/mib' ? Buffer.alloc(MIB) : 'ok')
  })
  return server
}
