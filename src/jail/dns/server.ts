// The name server: its sockets, UDP and TCP on each address, and what is bounded there.

import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram'
import { type AddressInfo, createServer, isIPv6, type Server, type Socket } from 'node:net'
import { hostFromAddress } from '../../core/address.ts'
import type { NameServerDeps } from './deps.ts'
import { ReachedAddresses } from './reached.ts'
import { type Asker, Responder } from './respond.ts'
import { type ServeMessage, serveStream } from './stream.ts'

export type { NameServerDeps } from './deps.ts'

const MAX_STREAMS = 256
const MAX_STREAMS_PER_SOURCE = 32
const BACKLOG = 64
/** A port that is free for TCP may be taken for UDP. */
const PORT_TRIES = 16
/** How long questions under way may take to get their answers at a shutdown. */
const SETTLE_MS = 2_000

interface Endpoint {
  readonly host: string
  readonly port: number
}

export class NameServer {
  readonly #deps: NameServerDeps
  readonly #responder: Responder
  readonly #reached: ReachedAddresses
  readonly #udp = new Set<UdpSocket>()
  readonly #servers = new Set<Server>()
  readonly #streams = new Map<Socket, string>()
  readonly #running = new Set<Promise<void>>()
  #closing = false
  /** The sockets are gone. */
  #closed = false

  constructor(deps: NameServerDeps) {
    this.#deps = deps
    this.#responder = new Responder(deps)
    this.#reached = new ReachedAddresses(deps.clock)
  }

  /** Listens on UDP and TCP; a port 0 is filled in, the same for both. Rejects when one of the two can not be had. */
  async listen(address: Endpoint): Promise<{ readonly address: Endpoint; readonly close: () => void }> {
    for (let left = address.port === 0 ? PORT_TRIES : 1; ; left -= 1) {
      const tcp = await listenTcp(address)
      const { address: host, port } = tcp.address() as AddressInfo
      try {
        const udp = await bindUdp({ host: address.host, port })
        this.adopt(udp, tcp)
        return { address: { host, port }, close: () => this.#unlisten(udp, tcp) }
      } catch (error) {
        tcp.close()
        if (left === 1) throw error
      }
    }
  }

  /**
   * Serves sockets that are bound and listening already: made in another network namespace, or handed over. With
   * addresses `reached` they have to be of this process's own namespace. `close` closes them too.
   */
  adopt(udp: UdpSocket, tcp: Server): void {
    this.#udp.add(udp)
    this.#servers.add(tcp)
    const bound = udp.address().address
    udp.on('message', (message, peer) => this.#receive(udp, bound, message, peer))
    udp.on('error', this.#deps.onFault)
    tcp.on('connection', (socket) => this.#accept(socket))
    tcp.on('error', this.#deps.onFault)
  }

  #unlisten(udp: UdpSocket, tcp: Server): void {
    if (!this.#udp.delete(udp)) return
    this.#servers.delete(tcp)
    tcp.close()
    udp.close()
  }

  /** Takes no more questions, gives those under way 2 s for their answers, and writes what was only counted. */
  async close(): Promise<void> {
    this.#closing = true
    for (const server of this.#servers) server.close()
    await within(SETTLE_MS, Promise.all(this.#running))
    this.#closed = true
    for (const socket of this.#streams.keys()) socket.destroy()
    for (const udp of this.#udp) udp.close()
    this.#udp.clear()
    await this.#responder.close()
  }

  #receive(udp: UdpSocket, bound: string, message: Buffer, peer: RemoteInfo): void {
    // Nobody can be answered at port 0 (RFC 768 gives it to those who want no answer).
    if (this.#closing || peer.port === 0) return
    const source = hostFromAddress(peer.address).text
    const reached = (): Promise<string | null> =>
      isWildcard(bound) ? this.#reached.towards(peer.address) : Promise.resolve(hostFromAddress(bound).text)
    const send = (answer: Buffer): Promise<void> =>
      // A client that is gone, or a route that is: UDP promises nothing, and the client asks again.
      new Promise((resolve) => udp.send(answer, peer.port, peer.address, () => resolve()))
    void this.#serve(message, { source, reached }, send).catch(this.#deps.onFault)
  }

  #accept(socket: Socket): void {
    socket.on('error', () => undefined)
    const { remoteAddress, localAddress } = socket
    const held = [...this.#streams.values()].filter((source) => source === remoteAddress).length
    const full = this.#streams.size >= MAX_STREAMS || held >= MAX_STREAMS_PER_SOURCE
    if (this.#closing || full || remoteAddress === undefined) {
      this.#deps.metrics.connectionRefused()
      socket.destroy()
      return
    }
    this.#streams.set(socket, remoteAddress)
    socket.once('close', () => this.#streams.delete(socket))
    const source = hostFromAddress(remoteAddress).text
    const reached = localAddress === undefined ? null : hostFromAddress(localAddress).text
    const asker = { source, reached: () => Promise.resolve(reached) }
    const serve: ServeMessage = (message, send) => this.#serve(message, asker, send)
    serveStream(socket, serve).catch(this.#deps.onFault)
  }

  /** One message from question to answer; a shutdown waits for it. */
  #serve(message: Buffer, asker: Asker, send: (answer: Buffer) => Promise<void>): Promise<void> {
    const serving = this.#answer(message, asker, send)
    const settled = serving
      .catch(() => undefined)
      .finally(() => {
        this.#running.delete(settled)
      })
    this.#running.add(settled)
    return serving
  }

  async #answer(message: Buffer, asker: Asker, send: (answer: Buffer) => Promise<void>): Promise<void> {
    const answer = this.#closing ? null : await this.#responder.respond(message, asker)
    if (answer !== null && !this.#closed) await send(answer)
  }
}

function listenTcp({ host, port }: Endpoint): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true, noDelay: true })
    server.once('error', reject)
    server.listen({ host, port, backlog: BACKLOG }, () => {
      server.removeListener('error', reject)
      resolve(server)
    })
  })
}

function bindUdp({ host, port }: Endpoint): Promise<UdpSocket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
    const failed = (error: Error): void => {
      socket.close()
      reject(error)
    }
    socket.once('error', failed)
    socket.bind({ address: host, port, exclusive: true }, () => {
      socket.removeListener('error', failed)
      resolve(socket)
    })
  })
}

function isWildcard(address: string): boolean {
  return address === '0.0.0.0' || address === '::'
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
