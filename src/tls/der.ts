// DER (ITU-T X.690): writes and reads the few types that certificates need, and takes them apart without re-encoding a byte.

const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const
const CONTEXT = 0x80
const CONSTRUCTED = 0x20

/** One element, written: what a leaf has in common with every other is encoded once for the process. */
export interface Node {
  readonly encoded: Buffer
}

/** One tag-length-value. `encoded` and `content` are views into the buffer that was read. */
export interface Element extends Node {
  readonly tag: number
  readonly content: Buffer
}

export function encode(node: Node): Buffer {
  return node.encoded
}

export function sequence(...members: readonly Node[]): Node {
  return write(TAG.sequence, Buffer.concat(members.map(encode)))
}

/** X.690 §11.6: the members of a SET OF stand in the order of their encodings. */
export function setOf(...members: readonly Node[]): Node {
  return write(TAG.set, Buffer.concat(members.map(encode).toSorted((a, b) => Buffer.compare(a, b))))
}

export function objectIdentifier(dotted: string): Node {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  return write(TAG.objectIdentifier, Buffer.from([first * 40 + second, ...rest].flatMap(base128)))
}

/** `bytes`: big-endian two's complement, no longer than it must be; a positive number has its top bit clear. */
export function integer(bytes: Uint8Array): Node {
  return write(TAG.integer, bytes)
}

/** `value`: 0 to 2^31 - 1. */
export function smallInteger(value: number): Node {
  const bytes = bigEndian(value)
  return integer(Uint8Array.from((bytes[0] ?? 0) < 0x80 ? bytes : [0, ...bytes]))
}

export function trueValue(): Node {
  return write(TAG.boolean, Uint8Array.of(0xff))
}

export function nullValue(): Node {
  return write(TAG.null, Uint8Array.of())
}

export function octetString(bytes: Uint8Array): Node {
  return write(TAG.octetString, bytes)
}

/** `unused`: how many of the last byte's low bits do not count. */
export function bitString(bytes: Uint8Array, unused = 0): Node {
  return write(TAG.bitString, Buffer.concat([Uint8Array.of(unused), bytes]))
}

export function utf8String(text: string): Node {
  return write(TAG.utf8String, Buffer.from(text, 'utf8'))
}

/** UTF-16. */
export function bmpString(text: string): Node {
  return write(TAG.bmpString, Buffer.from(text, 'utf16le').swap16())
}

/** RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050 on; to the second. */
export function time(date: Date): Node {
  const digits = `${date.toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`
  return date.getUTCFullYear() < 2050
    ? write(TAG.utcTime, Buffer.from(digits.slice(2), 'ascii'))
    : write(TAG.generalizedTime, Buffer.from(digits, 'ascii'))
}

/** `[tag] EXPLICIT`. */
export function explicit(tag: number, member: Node): Node {
  return write(CONTEXT | CONSTRUCTED | tag, member.encoded)
}

/** `[tag] IMPLICIT` of a primitive type. */
export function implicit(tag: number, bytes: Uint8Array): Node {
  return write(CONTEXT | tag, bytes)
}

/** A value that is DER already, taken over byte for byte. */
export function encoded(der: Buffer): Node {
  return readElement(der)
}

/** The first element of `der`; throws a RangeError where it is cut short. Tag numbers above 30 occur in no certificate. */
export function readElement(der: Buffer): Element {
  const tag = der.readUInt8(0)
  const first = der.readUInt8(1)
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f
  const start = 2 + lengthBytes
  const end = start + (lengthBytes === 0 ? first : der.readUIntBE(2, lengthBytes))
  if (end > der.length) throw new RangeError('DER element is cut short')
  return { tag, encoded: der.subarray(0, end), content: der.subarray(start, end) }
}

/** The members of a constructed element. */
export function readMembers(parent: Element): Element[] {
  const members: Element[] = []
  let rest = parent.content
  while (rest.length > 0) {
    const member = readElement(rest)
    members.push(member)
    rest = rest.subarray(member.encoded.length)
  }
  return members
}

function write(tag: number, content: Uint8Array): Node {
  const { length } = content
  const size = length < 0x80 ? [] : bigEndian(length)
  const header = length < 0x80 ? [tag, length] : [tag, 0x80 | size.length, ...size]
  return { encoded: Buffer.concat([Uint8Array.from(header), content]) }
}

function bigEndian(value: number): number[] {
  const bytes = [value & 0xff]
  for (let rest = value >>> 8; rest > 0; rest >>>= 8) bytes.unshift(rest & 0xff)
  return bytes
}

/** X.690 §8.19.2: seven bits a byte, the top bit set on all but the last. */
function base128(value: number): number[] {
  const bytes = [value & 0x7f]
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) bytes.unshift(0x80 | (rest & 0x7f))
  return bytes
}
