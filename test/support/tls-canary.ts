// An origin that plays TLS by the name in the ClientHello, and keeps what each name was sent.

import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createSecureContext, type SecureContextOptions, TLSSocket, type TLSSocketOptions } from 'node:tls'
import { parseHello } from '../../src/core/hello.ts'

/** Takes over a connection; the ClientHello is in front of it again. */
export type Play = (raw: Socket, hello: Buffer) => void

export interface TlsCanary {
  readonly port: number
  /** Connections that asked for this name play it like that; one for no name plays ''. */
  on(name: string, play: Play): void
  /** ClientHellos that asked for the name, records included. */
  hellos(name: string): Buffer[]
  /** Decrypted bytes that arrived for the name. */
  received(name: string): string
  /** Ends a handshake in the usual way; `answer` gets the first decrypted bytes. Default answer: 200. */
  secured(
    name: string,
    options: SecureContextOptions & TLSSocketOptions,
    answer?: (socket: TLSSocket, raw: Socket) => void,
  ): void
  close(): Promise<void>
}

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

/** An answer after which the connection is not used again. */
export const CLOSING = (socket: TLSSocket): void =>
  void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok')

const VERSION_12 = Buffer.from([0x03, 0x03])
const ECDHE_ECDSA_AES_128_GCM_SHA256 = Buffer.from([0xc0, 0x2b])

/** TLS 1.2 up to the end of Certificate: ServerHello with that random, and those bytes as the only certificate. */
export function serverFlight(certificate: Buffer, random: Buffer = Buffer.alloc(32, 7)): Buffer {
  const noSession = Buffer.of(0)
  const noCompression = Buffer.of(0)
  const hello = Buffer.concat([VERSION_12, random, noSession, ECDHE_ECDSA_AES_128_GCM_SHA256, noCompression])
  const list = vector(3, certificate)
  return Buffer.concat([record(handshake(2, hello)), record(handshake(11, vector(3, list)))])
}

function vector(width: number, bytes: Buffer): Buffer {
  const length = Buffer.alloc(width)
  length.writeUIntBE(bytes.length, 0, width)
  return Buffer.concat([length, bytes])
}

const handshake = (type: number, body: Buffer): Buffer => Buffer.concat([Buffer.of(type), vector(3, body)])
const record = (payload: Buffer): Buffer => Buffer.concat([Buffer.of(0x16), VERSION_12, vector(2, payload)])

export async function startTlsCanary(): Promise<TlsCanary> {
  const plays = new Map<string, Play>()
  const hellos = new Map<string, Buffer[]>()
  const received = new Map<string, string>()
  const sockets = new Set<Socket>()
  const server = createServer((raw) => {
    sockets.add(raw)
    raw.on('error', () => undefined)
    raw.once('close', () => sockets.delete(raw))
    let bytes = Buffer.alloc(0)
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk])
      const hello = parseHello(bytes)
      if (hello.kind === 'more') return
      raw.removeListener('data', onData)
      raw.pause()
      const name = hello.kind === 'hello' ? (hello.sni ?? '') : ''
      hellos.set(name, [...(hellos.get(name) ?? []), bytes])
      const play = plays.get(name)
      if (play === undefined) return void raw.destroy()
      raw.unshift(bytes)
      play(raw, bytes)
    }
    raw.on('data', onData)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    on: (name, play) => void plays.set(name, play),
    hellos: (name) => hellos.get(name) ?? [],
    received: (name) => received.get(name) ?? '',
    secured: (name, options, answer = (socket) => socket.write(OK)) => {
      const secureContext = createSecureContext(options)
      plays.set(name, (raw) => {
        const socket = new TLSSocket(raw, { ...options, isServer: true, secureContext })
        socket.on('error', () => raw.destroy())
        socket.on('data', (chunk: Buffer) => {
          received.set(name, (received.get(name) ?? '') + chunk.toString('latin1'))
          answer(socket, raw)
        })
      })
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}
