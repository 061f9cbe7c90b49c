// An origin that a test plays itself, byte by byte: each request head goes to the script of its path.

import { createServer, type AddressInfo, type Socket } from 'node:net'
import { createSecureContext, createServer as createTls, type TLSSocket } from 'node:tls'
import type { TestRoot } from './origins.ts'
import { type Message, parseHead, Wire } from './wire.ts'

export interface Asked extends Pick<Message, 'startLine' | 'fields'> {
  /** The head as it arrived, with its empty line. */
  readonly head: string
  readonly path: string
  /** Which connection, counted from 1. */
  readonly connection: number
  /** SNI, null without TLS. */
  readonly servername: string | null
  /** Takes the body off the wire. */
  body(): Promise<Pick<Message, 'body' | 'trailers'>>
}

/** The connection serves its next request when the script has ended; what follows the head is the script's to take. */
export type Script = (wire: Wire, asked: Asked) => unknown

export interface ScriptedOrigin {
  readonly port: number
  readonly asked: Asked[]
  /** Requests for this path, without its query, are played by `script`; every other one gets 200. */
  readonly on: (path: string, script: Script) => void
  /** Requests that arrived for the path, in order. */
  readonly askedFor: (path: string) => Asked[]
  readonly connections: () => number
  /** Ends every connection that is open, in order. */
  readonly hangUp: () => Promise<void>
  readonly close: () => Promise<void>
}

const anyway: Script = async (wire, asked) => {
  await asked.body()
  wire.write(ok('ok'))
}

/** A 200 with a body of known length. */
export function ok(body: string, fields = ''): string {
  return `HTTP/1.1 200 OK\r\n${fields}Content-Length: ${body.length}\r\n\r\n${body}`
}

/** `root` null: plain TCP. Otherwise a certificate of that root for whatever name is asked for. */
export async function startScriptedOrigin(root: TestRoot | null): Promise<ScriptedOrigin> {
  const scripts = new Map<string, Script>()
  const asked: Asked[] = []
  const sockets = new Set<Socket>()
  let connections = 0

  const serve = async (socket: Socket): Promise<void> => {
    connections += 1
    const connection = connections
    const wire = new Wire(socket)
    for (;;) {
      const head = await wire.head().catch(() => null)
      if (head === null) return
      const { startLine, fields } = parseHead(head)
      const path = /^\S+ ([^\s?]*)/.exec(startLine)?.[1] ?? ''
      const servername = root === null ? null : ((socket as TLSSocket).servername ?? '')
      const request: Asked = {
        head,
        startLine,
        fields,
        path,
        connection,
        servername: typeof servername === 'string' ? servername : null,
        body: () => wire.body({ fields, status: 0 }),
      }
      asked.push(request)
      await (scripts.get(path) ?? anyway)(wire, request)
    }
  }
  // A script whose connection broke has nothing more to say: the test looks at what the client and the trail got.
  const onSocket = (socket: Socket): void => void serve(socket).catch(() => socket.destroy())
  const contexts = new Map<string, ReturnType<typeof createSecureContext>>()
  const contextFor = (trusted: TestRoot, name: string): ReturnType<typeof createSecureContext> => {
    const context = contexts.get(name) ?? createSecureContext(trusted.issue(name))
    contexts.set(name, context)
    return context
  }
  const server =
    root === null
      ? createServer({ noDelay: true }, onSocket)
      : createTls({ noDelay: true, SNICallback: (name, done) => done(null, contextFor(root, name)) }, onSocket)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    on: (path, script) => void scripts.set(path, script),
    askedFor: (path) => asked.filter((request) => request.path === path),
    connections: () => connections,
    hangUp: async () => {
      const closing = [...sockets].map((socket) => new Promise<void>((resolve) => void socket.once('close', resolve)))
      for (const socket of sockets) socket.destroySoon()
      await Promise.all(closing)
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}
