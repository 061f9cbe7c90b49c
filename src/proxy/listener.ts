// Accepts connections on every listener, within bounds, and hands each to its door.

import { chmodSync, existsSync, lstatSync, unlinkSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { Attempt } from './attempt.ts'
import { type Connection, peerAddress, unnamed } from './connection.ts'
import type { Deps } from './deps.ts'
import { MAX_CONNECTIONS } from './descriptors.ts'
import { serveExplicit } from './explicit.ts'
import { Shares } from './shares.ts'
import type { Served, Tracked } from './tracked.ts'
import { serveGateway, serveTransparent, serveTproxied } from './transparent.ts'

/** Half of what the origin pool holds (4,096). */
const MAX_CONNECTIONS_PER_SOURCE = 2_048
const BACKLOG = 1_024
/** A client that vanished without a word behind a silent answer is found by TCP alone (RFC 9293 §3.8.4). */
const KEEPALIVE_PROBE_MS = 30_000
/** How long what was let go of may take to write its end; it waits for nothing but the trail. */
const SETTLE_MS = 2_000

/** `tproxy` is the transparent door for sockets that TPROXY leads to; it has no address of its own in a configuration. */
export type ListenerDoor = 'proxy' | 'transparent' | 'tproxy' | 'gateway'

export type ListenerAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }

/** `address`: a port 0 is filled in. `close`: nobody else comes in there; who is in stays. */
export interface Listening {
  readonly address: ListenerAddress
  readonly close: () => void
}

/** A socket that listens already: by its descriptor, or in a server that another process sent over IPC. */
export type ListeningSocket = { readonly fd: number } | Server

const SERVE = {
  proxy: serveExplicit,
  transparent: serveTransparent,
  tproxy: serveTproxied,
  gateway: serveGateway,
} as const

export class Listeners implements Tracked {
  readonly #deps: Deps
  readonly #onFault: (error: unknown) => void
  readonly #servers = new Set<Server>()
  readonly #sockets = new Set<Socket>()
  readonly #serving = new Map<Socket, Served>()
  readonly #held = new Set<Socket>()
  readonly #running = new Set<Promise<void>>()
  readonly #shares: Shares
  readonly #emptied: (() => void)[] = []

  /**
   * `onFault` hears of what must not happen: a connection whose serving threw. The connection is gone by then. `bound`: open
   * connections of all listeners together.
   */
  constructor(deps: Deps, onFault: (error: unknown) => void, bound: number = MAX_CONNECTIONS) {
    this.#deps = deps
    this.#onFault = onFault
    this.#shares = new Shares(bound, MAX_CONNECTIONS_PER_SOURCE)
  }

  get connections(): number {
    return this.#sockets.size
  }

  track(connection: Served, raw: Socket): () => void {
    this.#serving.set(raw, connection)
    return () => this.#serving.delete(raw)
  }

  hold(raw: Socket): () => void {
    this.#held.add(raw)
    return () => this.#held.delete(raw)
  }

  /** Rejects when the address can not be had. */
  async listen(door: ListenerDoor, address: ListenerAddress): Promise<Listening> {
    const server = await this.#open(door, (opened) => {
      if (address.kind === 'tcp') {
        opened.listen({ host: address.host, port: address.port, backlog: BACKLOG, ipv6Only: address.host === '::1' })
      } else {
        removeStaleSocket(address.path)
        opened.listen({ path: address.path, backlog: BACKLOG })
      }
    })
    if (address.kind === 'unix') chmodSync(address.path, 0o600)
    return { address: tcpAddress(server) ?? address, close: () => this.#unlisten(server) }
  }

  /**
   * Serves a socket that was made elsewhere, by a service manager or in another network namespace. It is ours from now on: a
   * server given here must neither be used nor closed by the caller. Resolves to its address, for a Unix socket without a path,
   * which nobody told us; rejects for what can not be listened on.
   */
  async adopt(door: ListenerDoor, listening: ListeningSocket): Promise<ListenerAddress> {
    const what = 'fd' in listening ? `inherited socket ${listening.fd}` : 'inherited socket'
    const refuse = (why: string, cause: unknown): never => {
      throw new Error(`${what} can not serve the door ${door}: ${why}`, { cause })
    }
    const server = await this.#open(door, (opened) => opened.listen(listening, BACKLOG)).catch((error: unknown) =>
      refuse(
        `${error instanceof Error ? error.message : String(error)}; it must be a stream socket that listens`,
        error,
      ),
    )
    const address = tcpAddress(server)
    if (address !== null) return address
    if (door === 'proxy') return { kind: 'unix', path: what }
    server.close()
    return refuse('it is no TCP socket, and this door goes by addresses', undefined)
  }

  #unlisten(server: Server): void {
    this.#servers.delete(server)
    server.close()
  }

  #open(door: ListenerDoor, start: (server: Server) => void): Promise<Server> {
    // allowHalfOpen: a client that has said all it wants still gets its answer; the connection code ends it.
    const options = { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_PROBE_MS }
    const server = createServer(options, (socket) => this.#accept(door, socket))
    this.#servers.add(server)
    return new Promise((resolve, reject) => {
      server.once('error', (error) => {
        this.#servers.delete(server)
        reject(error)
      })
      server.once('listening', () => {
        server.removeAllListeners('error')
        server.on('error', this.#onFault)
        resolve(server)
      })
      start(server)
    })
  }

  /** Stops accepting, lets requests in flight end for at most `graceMs`, then ends what is left. */
  async drain(graceMs: number): Promise<void> {
    for (const server of this.#servers) server.close()
    for (const socket of this.#sockets) {
      const connection = this.#serving.get(socket)
      // Nobody has asked for anything yet on a connection that does not speak HTTP by now.
      if (connection !== undefined) connection.drain()
      else if (!this.#held.has(socket)) socket.destroy()
    }
    if (this.#sockets.size > 0) await within(graceMs, new Promise<void>((resolve) => this.#emptied.push(resolve)))
    for (const connection of this.#serving.values()) connection.interrupt('shutting_down')
    for (const socket of this.#sockets) socket.destroy()
    // The end of a request is written a little after its connection has closed.
    await within(SETTLE_MS, Promise.all(this.#running))
  }

  #accept(door: ListenerDoor, socket: Socket): void {
    socket.on('error', () => undefined)
    const source = socket.remoteAddress ?? 'unix'
    if (!this.#shares.take(source)) return this.#refuse(door, socket)
    this.#sockets.add(socket)
    this.#deps.metrics.connectionOpened(named(door))
    socket.once('close', () => this.#closed(door, socket, source))
    const serving = SERVE[door](socket, this.#deps, this)
      .catch((error: unknown) => {
        socket.destroy()
        this.#onFault(error)
      })
      .finally(() => this.#running.delete(serving))
    this.#running.add(serving)
  }

  /** Over a bound: a refused connection is an attempt (CONTRACT §4), so it has its two records and nothing else. */
  #refuse(door: ListenerDoor, socket: Socket): void {
    this.#deps.metrics.connectionRefused()
    const attempt = new Attempt(unread(door, socket, this.#deps), 'unknown', this.#deps)
    attempt.outcome = 'refused'
    socket.resetAndDestroy()
    void attempt
      .decide({ decision: 'deny', enforced: true, rule: null, reason: 'overloaded' })
      .then(() => attempt.complete())
  }

  #closed(door: ListenerDoor, socket: Socket, source: string): void {
    this.#sockets.delete(socket)
    this.#shares.give(source)
    this.#deps.metrics.connectionClosed(named(door))
    if (this.#sockets.size === 0) for (const emptied of this.#emptied.splice(0)) emptied()
  }
}

/** Null for a Unix socket. */
function tcpAddress(server: Server): ListenerAddress | null {
  const bound = server.address()
  return typeof bound === 'object' && bound !== null ? { kind: 'tcp', host: bound.address, port: bound.port } : null
}

/** Resolves when `done` does, or after `ms`. */
async function within(ms: number, done: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([done, late])
  clearTimeout(timer)
}

/** How a door is called in records and metrics: it makes no difference there how the kernel led a connection to it. */
function named<Door extends ListenerDoor>(door: Door): Exclude<Door, 'tproxy'> | 'transparent' {
  return door === 'tproxy' ? 'transparent' : (door as Exclude<Door, 'tproxy'>)
}

/** A connection of which nothing was read. */
function unread(door: ListenerDoor, socket: Socket, deps: Deps): Connection {
  return {
    id: deps.newId(),
    door: door === 'proxy' ? 'absolute' : named(door),
    source: peerAddress(socket),
    client: null,
    credentials: null,
    names: unnamed(null, false),
    connectAuthority: null,
    sni: null,
    originalDestination: null,
    refusal: 'overloaded',
    securityFlags: [],
  }
}

/** A socket file that a killed process left behind; anything that is not a socket is left for `listen` to fail on. */
function removeStaleSocket(path: string): void {
  if (existsSync(path) && lstatSync(path).isSocket()) unlinkSync(path)
}
