// DER (ITU-T X.690): node-forge writes it; a reader of a few lines takes certificates apart without re-encoding a byte.

import forge from 'node-forge'

const { asn1 } = forge
const { Class, Type } = asn1

export type Node = forge.asn1.Asn1

/** One tag-length-value. `encoded` and `content` are views into the buffer that was read. */
export interface Element {
  readonly tag: number
  readonly encoded: Buffer
  readonly content: Buffer
}

export function encode(node: Node): Buffer {
  return Buffer.from(asn1.toDer(node).getBytes(), 'latin1')
}

export function sequence(...members: readonly Node[]): Node {
  return asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, [...members])
}

/** X.690 §11.6: the members of a SET OF stand in the order of their encodings. */
export function setOf(...members: readonly Node[]): Node {
  const sorted = members.toSorted((a, b) => Buffer.compare(encode(a), encode(b)))
  return asn1.create(Class.UNIVERSAL, Type.SET, true, sorted)
}

export function objectIdentifier(dotted: string): Node {
  return asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(dotted).getBytes())
}

/** `bytes`: big-endian two's complement; a positive number has its top bit clear. */
export function integer(bytes: Uint8Array): Node {
  return asn1.create(Class.UNIVERSAL, Type.INTEGER, false, binary(bytes))
}

export function smallInteger(value: number): Node {
  return asn1.create(Class.UNIVERSAL, Type.INTEGER, false, asn1.integerToDer(value).getBytes())
}

export function trueValue(): Node {
  return asn1.create(Class.UNIVERSAL, Type.BOOLEAN, false, '\xff')
}

export function nullValue(): Node {
  return asn1.create(Class.UNIVERSAL, Type.NULL, false, '')
}

export function octetString(bytes: Uint8Array): Node {
  return asn1.create(Class.UNIVERSAL, Type.OCTETSTRING, false, binary(bytes))
}

/** `unused`: how many of the last byte's low bits do not count. */
export function bitString(bytes: Uint8Array, unused = 0): Node {
  return asn1.create(Class.UNIVERSAL, Type.BITSTRING, false, String.fromCharCode(unused) + binary(bytes))
}

export function utf8String(text: string): Node {
  return asn1.create(Class.UNIVERSAL, Type.UTF8, false, binary(Buffer.from(text, 'utf8')))
}

/** UTF-16; node-forge does the encoding. */
export function bmpString(text: string): Node {
  return asn1.create(Class.UNIVERSAL, Type.BMPSTRING, false, text)
}

/** RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050 on. */
export function time(date: Date): Node {
  return date.getUTCFullYear() < 2050
    ? asn1.create(Class.UNIVERSAL, Type.UTCTIME, false, asn1.dateToUtcTime(date))
    : asn1.create(Class.UNIVERSAL, Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date))
}

/** `[tag] EXPLICIT`. */
export function explicit(tag: number, member: Node): Node {
  return withIdentifier(0xa0 | tag, [member])
}

/** `[tag] IMPLICIT` of a primitive type. */
export function implicit(tag: number, bytes: Uint8Array): Node {
  return withIdentifier(0x80 | tag, binary(bytes))
}

/** A value that is DER already, taken over byte for byte. */
export function encoded(der: Buffer): Node {
  const { tag, content } = readElement(der)
  return withIdentifier(tag, binary(content))
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

/**
 * The whole identifier octet goes where node-forge expects the tag number. By number alone it would set the constructed bit only
 * for lists of nodes, and shorten a `[2] IMPLICIT` as if it were an INTEGER.
 */
function withIdentifier(octet: number, value: string | Node[]): Node {
  // oxlint-disable-next-line typescript/no-unsafe-enum-assignment -- node-forge's enum lists the universal tags only
  return asn1.create(Class.UNIVERSAL, octet, typeof value !== 'string', value)
}

function binary(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}
