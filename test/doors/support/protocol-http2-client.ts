// The client that speaks HTTP/2: node:http2 over a connection that leads through a door.

import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2'
import type { Socket } from 'node:net'
import { fieldsOf, type Fields } from './protocol-body.ts'
import { type Ask, Exchange, type Head, lengthOf, type ProtocolClient } from './protocol-client.ts'

export class Http2Client implements ProtocolClient {
  readonly #socket: Socket
  readonly #session: ClientHttp2Session

  /** `socket`: inside TLS that has agreed on h2. */
  constructor(socket: Socket, authority: string) {
    this.#socket = socket
    this.#session = connect(`https://${authority}`, { createConnection: () => socket })
    this.#session.on('error', () => undefined)
  }

  /** A new one is needed for the next request. */
  get closed(): boolean {
    return this.#session.closed || this.#session.destroyed
  }

  begin(ask: Ask): Exchange {
    const headers: OutgoingHttpHeaders = { ':method': ask.method ?? 'GET', ':path': ask.path }
    if (ask.authority !== undefined) headers[':authority'] = ask.authority
    for (const [name, value] of [...(ask.fields ?? []), ...lengthOf(ask)]) {
      const before = headers[name]
      headers[name] = before === undefined ? value : [before, value].flat().map(String)
    }
    const { trailers } = ask
    const stream = this.#session.request(headers, {
      endStream: ask.streamed !== true && ask.body === undefined,
      waitForTrailers: trailers !== undefined,
    })
    if (trailers !== undefined) stream.on('wantTrailers', () => stream.sendTrailers(trailers))
    if (ask.streamed !== true && ask.body !== undefined) stream.end(ask.body)
    return exchangeOn(stream)
  }

  drop(): void {
    this.#socket.destroy()
  }

  close(): void {
    this.#session.destroy()
  }
}

function exchangeOn(stream: ClientHttp2Stream): Exchange {
  // `close` would end the request first, as if it were whole.
  const exchange = new Exchange(stream, () => void stream.destroy(new Error('the client gives up')))
  let trailers: Fields = []
  // `raw` is not in the types of these events.
  stream.on('headers', (headers: Received, _flags: number, raw: string[]) => exchange.informed(headOf(headers, raw)))
  stream.on('response', (headers: Received, _flags: number, raw: string[]) =>
    exchange.arrived(headOf(headers, raw), stream, () => trailers),
  )
  stream.on('trailers', (_trailers: Received, _flags: number, raw: string[]) => {
    trailers = fieldsOf(raw)
  })
  return exchange
}

type Received = IncomingHttpHeaders & { readonly ':status'?: number }

function headOf(headers: Received, raw: readonly string[]): Head {
  return { status: headers[':status'] ?? 0, fields: fieldsOf(raw) }
}
