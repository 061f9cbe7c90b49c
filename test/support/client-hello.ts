// ClientHellos that no library sends any more, or not yet, and ways of cutting a real one into pieces.

import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'

/** What is not asked for is what a plain TLS 1.2 client sends. */
export interface HelloSpec {
  readonly name?: string
  readonly version?: number
  readonly suites?: readonly number[]
  /** The supported_versions extension; absent unless given. */
  readonly versions?: readonly number[]
  readonly extensions?: readonly Buffer[]
}

export const ECDHE_ECDSA_AES_128_GCM_SHA256 = 0xc02b

const ALERT_RECORD = 0x15
const HEADER = 5

export function clientHello(spec: HelloSpec): Buffer {
  const { name, version = 0x0303, suites = [ECDHE_ECDSA_AES_128_GCM_SHA256], versions, extensions = [] } = spec
  const listed = [
    ...(name === undefined ? [] : [extension(0, vector(2, uint(1, 0), vector(2, Buffer.from(name, 'latin1'))))]),
    extension(0x000a, vector(2, uint(2, 0x001d), uint(2, 0x0017))),
    extension(0x000d, vector(2, uint(2, 0x0403))),
    ...(versions === undefined ? [] : [extension(0x002b, vector(1, ...versions.map((one) => uint(2, one))))]),
    ...extensions,
  ]
  const body = Buffer.concat([
    uint(2, version),
    Buffer.alloc(32, 7),
    vector(1),
    vector(2, ...suites.map((suite) => uint(2, suite))),
    vector(1, uint(1, 0)),
    // SSL 3.0 knows no extensions.
    version === 0x0300 ? Buffer.alloc(0) : vector(2, ...listed),
  ])
  return records(Buffer.concat([uint(1, 1), vector(3, body)]), 16_384)
}

export function extension(type: number, data: Buffer): Buffer {
  return Buffer.concat([uint(2, type), vector(2, data)])
}

/** Handshake bytes in records of at most that many. */
export function records(handshake: Buffer, size: number): Buffer {
  const made: Buffer[] = []
  for (let at = 0; at < handshake.length; at += size) {
    made.push(Buffer.from([0x16, 0x03, 0x01]), vector(2, handshake.subarray(at, at + size)))
  }
  return Buffer.concat(made)
}

/** The first flight of a client, which is one record, in other records. */
export const inRecordsOf =
  (size: number): ((flight: Buffer) => Buffer[]) =>
  (flight) => [records(flight.subarray(HEADER), size)]

export const inPieces =
  (count: number): ((flight: Buffer) => Buffer[]) =>
  (flight) => {
    const size = Math.ceil(flight.length / count)
    return Array.from({ length: Math.ceil(flight.length / size) }, (_v, i) => flight.subarray(i * size, (i + 1) * size))
  }

/** `socket` as a TLS client sees it, but its first flight leaves in the shape given: each piece by itself. */
export function reshaped(socket: Socket, shape: (flight: Buffer) => readonly Buffer[]): Duplex {
  let first = true
  const write = async (chunk: Buffer, written: (error?: Error | null) => void): Promise<void> => {
    const pieces = first ? shape(chunk) : [chunk]
    first = false
    // One turn of the loop each, without Nagle: one segment each.
    for (const piece of pieces) await new Promise<void>((done) => void socket.write(piece, () => setImmediate(done)))
    written()
  }
  const duplex = new Duplex({
    read: () => void socket.resume(),
    write: (chunk: Buffer, _encoding, written) => void write(chunk, written),
    final: (done) => void socket.end(done),
  })
  socket.setNoDelay(true)
  socket.on('data', (chunk: Buffer) => duplex.push(chunk) || socket.pause())
  socket.on('end', () => duplex.push(null))
  socket.on('close', () => duplex.destroy())
  return duplex
}

/** The description of the fatal alert that is all of `bytes`; null for anything else. */
export function fatalAlert(bytes: string): number | null {
  const raw = Buffer.from(bytes, 'latin1')
  return raw.length === 7 && raw[0] === ALERT_RECORD && raw[5] === 2 ? (raw[6] ?? null) : null
}

function uint(width: number, value: number): Buffer {
  const bytes = Buffer.alloc(width)
  bytes.writeUIntBE(value, 0, width)
  return bytes
}

function vector(width: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  return Buffer.concat([uint(width, body.length), body])
}
