// An origin in either version of HTTP, played by the same scripts, that tells what it saw in words which fit both.

import { createServer as createHttp } from 'node:http'
import { constants, createSecureServer, type ServerHttp2Stream } from 'node:http2'
import { createServer as createHttps } from 'node:https'
import type { AddressInfo, Server, Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { TestRoot } from '../../support/origins.ts'
import { resetConnection } from './protocol-reset.ts'
import { ArrivingBody, type Ending, type Fields, fieldsOf } from './protocol-body.ts'

export type Version = 'http/1.1' | 'h2'

/** One request as it arrived; of its body what the script has waited for. */
export interface Seen {
  readonly version: Version
  readonly method: string
  readonly path: string
  /** In the order of arrival. */
  readonly fields: Fields
  readonly authority: string
  body: string | null
  ending: Ending | null
  trailers: Fields
}

export type Script = (turn: Turn) => unknown

export interface ProtocolOrigin {
  readonly port: number
  /** Requests for this path, without its query, are played by `script`; every other one gets 200. */
  on(path: string, script: Script): void
  seen(path: string): readonly Seen[]
  close(): Promise<void>
}

/** What IncomingMessage and Http2ServerRequest have in common. */
interface Request extends Readable {
  readonly httpVersion: string
  method?: string | undefined
  url?: string | undefined
  readonly rawHeaders: string[]
  readonly rawTrailers: string[]
  readonly headers: { readonly host?: string | undefined; readonly [name: string]: string | string[] | undefined }
  readonly socket: Socket
  readonly stream?: ServerHttp2Stream
}

/** What ServerResponse and Http2ServerResponse have in common. */
interface Response {
  statusCode: number
  sendDate: boolean
  setHeader(name: string, value: string | readonly string[]): unknown
  writeEarlyHints(hints: Record<string, string | string[]>): unknown
  /** Both have it; the types of one have not. */
  flushHeaders?(): void
  write(data: string | Buffer, written: () => void): boolean
  addTrailers(trailers: Record<string, string>): void
  end(): unknown
  on(event: 'close' | 'error', listener: () => void): unknown
}

/** One request and the answer to it, for a script. */
export class Turn {
  readonly seen: Seen
  readonly #request: Request
  readonly #response: Response
  readonly #body: ArrivingBody
  #ended = false
  /** Whoever asked has left before the end of the answer. */
  readonly gone: Promise<void>

  constructor(request: Request, response: Response) {
    this.#request = request
    this.#response = response
    this.#body = new ArrivingBody(request)
    response.sendDate = false
    response.on('error', () => undefined)
    this.gone = new Promise((resolve) => {
      response.on('close', () => this.#ended || resolve())
    })
    const { httpVersion, method = '', url = '', headers, rawHeaders } = request
    this.seen = {
      version: httpVersion === '2.0' ? 'h2' : 'http/1.1',
      method,
      path: url,
      authority: String(headers.host ?? headers[':authority']),
      fields: httpVersion === '2.0' ? merged(fieldsOf(rawHeaders)) : fieldsOf(rawHeaders),
      body: null,
      ending: null,
      trailers: [],
    }
  }

  /** The next `length` bytes of the request. */
  take(length: number): Promise<string> {
    return this.#body.take(length)
  }

  /** The whole body, or as much as there was. */
  async body(): Promise<string> {
    const { seen } = this
    seen.ending = await this.#body.ended()
    seen.body = this.#body.content()
    seen.trailers = fieldsOf(this.#request.rawTrailers)
    return seen.body
  }

  /** Leaves at once. */
  head(status: number, fields: Fields = []): void {
    this.#fill(status, fields)
    this.#response.flushHeaders?.()
  }

  /** A whole answer whose length is told. */
  answer(status: number, fields: Fields = [], body: string | Buffer = ''): void {
    this.#fill(status, [...fields, ['Content-Length', String(Buffer.byteLength(body))]])
    if (body.length > 0) void this.write(body)
    this.end()
  }

  /** An answer without a body. */
  bodiless(status: number, fields: Fields = []): void {
    this.#fill(status, fields)
    this.end()
  }

  /** Sends back what comes, as it comes. */
  echo(): void {
    this.#ended = true
    this.#request.pipe(this.#response as unknown as NodeJS.WritableStream)
  }

  hint(link: string): void {
    this.#response.writeEarlyHints({ link })
  }

  /** Resolves when it was handed over, or nobody takes it any more. */
  write(data: string | Buffer): Promise<void> {
    return new Promise((resolve) => void this.#response.write(data, () => resolve()))
  }

  end(trailers: Record<string, string> = {}): void {
    this.#ended = true
    if (Object.keys(trailers).length > 0) this.#response.addTrailers(trailers)
    this.#response.end()
  }

  /** Breaks the answer off, as its version does it. */
  reset(): void {
    const { stream, socket } = this.#request
    if (stream === undefined) resetConnection(socket)
    else stream.close(constants.NGHTTP2_INTERNAL_ERROR)
  }

  /** Closes the connection without a word. */
  hangUp(): void {
    const { stream, socket } = this.#request
    if (stream === undefined) socket.destroy()
    else stream.session?.destroy()
  }

  #fill(status: number, fields: Fields): void {
    this.#response.statusCode = status
    const values = new Map<string, string[]>()
    for (const [name, value] of fields) values.set(name, [...(values.get(name) ?? []), value])
    for (const [name, all] of values) this.#response.setHeader(name, all.length === 1 ? (all[0] as string) : all)
  }
}

/** What the proxy lets pass, and connections that outlast a test. */
const HTTP1 = { keepAliveTimeout: 60_000, maxHeaderSize: 64 * 1_024 } as const

const anyway: Script = async (turn) => {
  await turn.body()
  turn.answer(200, [], 'ok')
}

/** `root` null: plain TCP, HTTP/1.1. Otherwise a certificate of that root for whatever name is asked for, and no other version. */
export async function startProtocolOrigin(version: Version, root: TestRoot | null): Promise<ProtocolOrigin> {
  const scripts = new Map<string, Script>()
  const turns: Turn[] = []
  const sockets = new Set<Socket>()
  const listener = (request: Request, response: Response): void => {
    const turn = new Turn(request, response)
    turns.push(turn)
    // A script whose client broke off has nothing more to say: the test looks at what the client and the trail got.
    void Promise.resolve((scripts.get(pathOf(turn)) ?? anyway)(turn)).catch(() => turn.reset())
  }
  const server = serverOf(version, root, listener)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    on: (path, script) => void scripts.set(path, script),
    seen: (path) => turns.filter((turn) => pathOf(turn) === path).map(({ seen }) => seen),
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

function serverOf(version: Version, root: TestRoot | null, listener: (q: Request, a: Response) => void): Server {
  if (root === null) {
    return createHttp(HTTP1, listener)
  }
  const contexts = new Map<string, SecureContext>()
  const SNICallback = (name: string, done: (error: null, context: SecureContext) => void): void => {
    const context = contexts.get(name) ?? createSecureContext(root.issue(name))
    contexts.set(name, context)
    done(null, context)
  }
  if (version === 'http/1.1') return createHttps({ ...HTTP1, SNICallback }, listener)
  return createSecureServer({ allowHTTP1: false, SNICallback }, listener)
}

const pathOf = ({ seen }: Turn): string => seen.path.split('?', 1)[0] as string

/** RFC 9113 §8.2.3: crumbs of a cookie are one field, but only as long as they stay in HTTP/2. */
function merged(fields: Fields): Fields {
  const crumbs = fields.filter(([name]) => name === 'cookie').map(([, value]) => value)
  const first = fields.findIndex(([name]) => name === 'cookie')
  return fields.flatMap((field, at) => {
    if (field[0] !== 'cookie') return [field]
    return at === first ? [['cookie', crumbs.join('; ')] as const] : []
  })
}
