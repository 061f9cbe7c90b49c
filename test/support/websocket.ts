// WebSockets in tests: handshakes and frames byte by byte, written without the code that is tested.

import { createHash } from 'node:crypto'
import { expect } from 'vitest'
import { unevenRequests } from './audit-events.ts'
import type { Lab } from './lab.ts'
import type { Asked } from './scripted-origin.ts'
import { valuesOf, type Wire } from './wire.ts'

export const FIN = 0x80
export const [TEXT, BINARY, CLOSE, PING, PONG] = [1, 2, 8, 9, 10] as const

const MASK_KEY = Buffer.from('a1b2c3d4', 'hex')
/** RFC 6455 §1.3. */
const WEBSOCKET_KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

export interface Shape {
  /** FIN, reserved bits and opcode. */
  readonly first: number
  readonly payload?: string | Buffer
  /** What the length says. Default: the truth, in the fewest bytes. */
  readonly length?: Buffer
}

function mask(payload: Buffer): Buffer {
  return Buffer.from(payload.map((byte, at) => byte ^ (MASK_KEY[at % 4] as number)))
}

export function lengthOf(size: number): Buffer {
  if (size < 126) return Buffer.of(size)
  const long = Buffer.alloc(size <= 0xffff ? 3 : 9)
  long[0] = size <= 0xffff ? 126 : 127
  if (size <= 0xffff) long.writeUInt16BE(size, 1)
  else long.writeBigUInt64BE(BigInt(size), 1)
  return long
}

/** A frame as a client sends it, or with `masked` false as an origin does. */
export function frame({ first, payload = '', length }: Shape, masked = true): Buffer {
  const bytes = Buffer.from(payload)
  const size = Buffer.from(length ?? lengthOf(bytes.length))
  if (!masked) return Buffer.concat([Buffer.of(first), size, bytes])
  size.writeUInt8(size.readUInt8(0) | 0x80, 0)
  return Buffer.concat([Buffer.of(first), size, MASK_KEY, mask(bytes)])
}

export function text(payload = ''): Shape {
  return { first: FIN | TEXT, payload }
}

export function close(code: number, reason = ''): Shape {
  return { first: FIN | CLOSE, payload: Buffer.concat([Buffer.of(code >> 8, code & 0xff), Buffer.from(reason)]) }
}

/** Field lines of a client's handshake; `more` follows, or takes the place of what it names. */
export function handshake(more: Readonly<Record<string, string | null>> = {}): string {
  const fields = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': WEBSOCKET_KEY,
    ...more,
  }
  return Object.entries(fields)
    .map(([name, value]) => (value === null ? '' : `${name}: ${value}\r\n`))
    .join('')
}

/** The head of a right 101 to what was asked; `more` are further field lines. */
export function switching(asked: Pick<Asked, 'fields'>, more = ''): string {
  const [key = ''] = valuesOf(asked, 'sec-websocket-key')
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  return `HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nconnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n${more}\r\n`
}

export interface Frame {
  readonly first: number
  readonly masked: boolean
  readonly payload: Buffer
}

/** The next frame, taken off the wire and unmasked. */
export async function takeFrame(wire: Wire): Promise<Frame> {
  const bytes = async (length: number): Promise<Buffer> => Buffer.from(await wire.take(length), 'latin1')
  const [first = 0, second = 0] = await bytes(2)
  const masked = second >= 0x80
  const marked = second & 0x7f
  const long = await bytes(marked === 126 ? 2 : marked === 127 ? 8 : 0)
  const size = marked < 126 ? marked : Number.parseInt(long.toString('hex'), 16)
  const key = await bytes(masked ? 4 : 0)
  const payload = await bytes(size)
  return {
    first,
    masked,
    payload: masked ? Buffer.from(payload.map((byte, at) => byte ^ (key[at % 4] as number))) : payload,
  }
}

/** The code and the reason of the next frame, which is a close. */
export async function takeClose(wire: Wire): Promise<[code: number, reason: string]> {
  const { first, payload } = await takeFrame(wire)
  if (first !== (FIN | CLOSE)) throw new Error(`no close frame: ${first.toString(16)} ${payload.toString('latin1')}`)
  return [payload.readUInt16BE(0), payload.toString('utf8', 2)]
}

/** Every tunnel in the trail that was opened was closed, once. Call it when all requests have ended. */
export function assertTunnelsClosed(lab: Lab): void {
  expect(unevenRequests(lab.records()), 'requests that are uneven').toEqual([])
}
