// The client that speaks HTTP/1.1: node:http over connections that lead through a door.

import { Agent, request as send } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { resetConnection } from './protocol-reset.ts'
import { fieldsOf } from './protocol-body.ts'
import { type Ask, Exchange, lengthOf, type Open, type ProtocolClient } from './protocol-client.ts'

const MAX_CONNECTIONS = 20

class DoorAgent extends Agent {
  readonly #open: Open
  readonly connections = new Set<Socket>()

  constructor(open: Open) {
    super({ keepAlive: true, maxSockets: MAX_CONNECTIONS })
    this.#open = open
  }

  override createConnection(_options: unknown, callback?: (error: Error | null, stream: Duplex) => void): undefined {
    void this.#connect(callback)
  }

  async #connect(callback?: (error: Error | null, stream: Duplex) => void): Promise<void> {
    const socket = await this.#open()
    this.connections.add(socket)
    socket.once('close', () => this.connections.delete(socket))
    callback?.(null, socket)
  }
}

export class Http1Client implements ProtocolClient {
  readonly #agent: DoorAgent
  readonly #authority: string
  readonly #before: string

  /** `before` stands before every path: the scheme and authority where the target is a whole URL. */
  constructor(open: Open, authority: string, before: string) {
    this.#agent = new DoorAgent(open)
    this.#authority = authority
    this.#before = before
  }

  /** Never: it makes as many connections as it needs. */
  readonly closed = false

  begin(ask: Ask): Exchange {
    const { method = 'GET', path, authority = this.#authority, fields = [] } = ask
    const headers = ['Host', authority, ...fields.flat(), ...lengthOf(ask).flat()]
    const request = send({ agent: this.#agent, method, path: this.#before + path, headers, maxHeaderSize: 64 * 1_024 })
    const exchange = new Exchange(request, () => {
      if (request.socket !== null) resetConnection(request.socket)
    })
    request.on('information', ({ statusCode, rawHeaders }) =>
      exchange.informed({ status: statusCode, fields: fieldsOf(rawHeaders) }),
    )
    request.on('response', (message) => {
      const head = { status: message.statusCode ?? 0, fields: fieldsOf(message.rawHeaders) }
      exchange.arrived(head, message, () => fieldsOf(message.rawTrailers))
    })
    if (ask.streamed !== true) request.end(ask.body)
    else {
      if (ask.trailers !== undefined) request.addTrailers(ask.trailers)
      request.flushHeaders()
    }
    return exchange
  }

  drop(): void {
    for (const connection of this.#agent.connections) connection.destroy()
  }

  close(): void {
    this.#agent.destroy()
  }
}
