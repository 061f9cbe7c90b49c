// An origin that keeps every byte it was sent and answers each request that Node's parser finds in them.

import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createSecureContext, createServer as createTls } from 'node:tls'
import type { TestRoot } from '../../support/origins.ts'
import { type ReadRequest, RequestReader } from './request-reader.ts'

/** What reached the canary on one connection since it was last asked. */
export interface Received {
  readonly bytes: Buffer
  readonly requests: readonly ReadRequest[]
}

export interface Canary {
  readonly port: number
  /** Connections since the start. */
  readonly connections: () => number
  /** What arrived since the last call, by connection; connections that got nothing are left out. */
  readonly take: () => Received[]
  readonly close: () => Promise<void>
}

interface Ear {
  chunks: Buffer[]
  told: number
  readonly reader: RequestReader
}

/** `root` null: plain TCP. */
export async function startCanary(root: TestRoot | null): Promise<Canary> {
  const ears: Ear[] = []
  const sockets = new Set<Socket>()
  let connections = 0

  const hear = (socket: Socket): void => {
    connections += 1
    const ear: Ear = { chunks: [], told: 0, reader: new RequestReader() }
    ears.push(ear)
    let answered = 0
    socket.on('data', (chunk: Buffer) => {
      ear.chunks.push(chunk)
      const { requests, error } = ear.reader.push(chunk)
      for (; answered < requests.length; answered++) socket.write(answerTo(requests[answered]))
      if (error !== null) socket.destroySoon()
    })
  }
  const server =
    root === null
      ? createServer({ noDelay: true }, hear)
      : createTls(
          { noDelay: true, SNICallback: (name, done) => done(null, createSecureContext(root.issue(name))) },
          hear,
        )
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => connections,
    take: () =>
      ears.flatMap((ear) => {
        if (ear.chunks.length === 0) return []
        const received = { bytes: Buffer.concat(ear.chunks), requests: ear.reader.requests.slice(ear.told) }
        ear.chunks = []
        ear.told = ear.reader.requests.length
        return [received]
      }),
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

function answerTo(request: ReadRequest | undefined): string {
  return `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${request?.method === 'HEAD' ? '' : 'ok'}`
}
