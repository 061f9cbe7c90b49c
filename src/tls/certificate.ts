// X.509 certificates (RFC 5280): written as DER and signed by node:crypto, read as opaque DER.

import { type KeyObject, randomBytes, sign } from 'node:crypto'
import {
  bitString,
  type Element,
  encode,
  encoded,
  explicit,
  integer,
  type Node,
  nullValue,
  objectIdentifier,
  octetString,
  readElement,
  readMembers,
  sequence,
  setOf,
  smallInteger,
  time,
  trueValue,
  utf8String,
} from './der.ts'

const SERIAL_BYTES = 16
const MINIMUM_RSA_BITS = 2048
const PEM_BEGIN = '-----BEGIN CERTIFICATE-----'
const PEM_END = '-----END CERTIFICATE-----'

const OID = {
  commonName: objectIdentifier('2.5.4.3'),
  organization: objectIdentifier('2.5.4.10'),
  subjectKeyIdentifier: '2.5.29.14',
} as const

/** How one kind of key signs. */
export interface SignatureScheme {
  readonly hash: 'sha256' | 'sha384'
  readonly algorithm: Node
}

const ECDSA_SHA256: SignatureScheme = { hash: 'sha256', algorithm: sequence(objectIdentifier('1.2.840.10045.4.3.2')) }
const ECDSA_SHA384: SignatureScheme = { hash: 'sha384', algorithm: sequence(objectIdentifier('1.2.840.10045.4.3.3')) }
const RSA_SHA256: SignatureScheme = {
  hash: 'sha256',
  algorithm: sequence(objectIdentifier('1.2.840.113549.1.1.11'), nullValue()),
}

/** The scheme a private key signs certificates with; null for a key that no client need accept. */
export function signatureScheme(key: KeyObject): SignatureScheme | null {
  const details = key.asymmetricKeyDetails
  if (key.asymmetricKeyType === 'ec' && details?.namedCurve === 'prime256v1') return ECDSA_SHA256
  if (key.asymmetricKeyType === 'ec' && details?.namedCurve === 'secp384r1') return ECDSA_SHA384
  if (key.asymmetricKeyType === 'rsa' && (details?.modulusLength ?? 0) >= MINIMUM_RSA_BITS) return RSA_SHA256
  return null
}

export interface CertificateContent {
  readonly issuerDer: Buffer
  readonly subjectDer: Buffer
  readonly notBefore: Date
  readonly notAfter: Date
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKeyDer: Buffer
  readonly extensions: readonly Node[]
}

/** Writes and signs one certificate with a fresh random serial; PEM. */
export function issueCertificate(content: CertificateContent, key: KeyObject, scheme: SignatureScheme): string {
  const toBeSigned = sequence(
    explicit(0, smallInteger(2)),
    integer(randomSerial()),
    scheme.algorithm,
    encoded(content.issuerDer),
    sequence(time(content.notBefore), time(content.notAfter)),
    encoded(content.subjectDer),
    encoded(content.publicKeyDer),
    explicit(3, sequence(...content.extensions)),
  )
  const toBeSignedDer = encode(toBeSigned)
  const signature = sign(scheme.hash, toBeSignedDer, key)
  return certificatePem(encode(sequence(encoded(toBeSignedDer), scheme.algorithm, bitString(signature))))
}

/**
 * 128 bits, the top one 0 so that the number is positive (RFC 5280 §4.1.2.2; Go and rustls refuse negative ones), the next
 * one 1 so that the encoding always has the same length.
 */
function randomSerial(): Buffer {
  const serial = randomBytes(SERIAL_BYTES)
  serial.writeUInt8((serial.readUInt8(0) & 0x7f) | 0x40, 0)
  return serial
}

export function extension(oid: string, critical: boolean, value: Node): Node {
  const wrapped = octetString(encode(value))
  return critical ? sequence(objectIdentifier(oid), trueValue(), wrapped) : sequence(objectIdentifier(oid), wrapped)
}

/** An X.501 name, DER; without either part it is the empty name. No country: "C" must be two letters, and nobody reads it. */
export function distinguishedName(parts: { readonly organization?: string; readonly commonName?: string }): Buffer {
  const names: Node[] = []
  if (parts.organization !== undefined) {
    names.push(setOf(sequence(OID.organization, utf8String(parts.organization))))
  }
  if (parts.commonName !== undefined) names.push(setOf(sequence(OID.commonName, utf8String(parts.commonName))))
  return encode(sequence(...names))
}

/** What a leaf has to copy from its issuer byte for byte. */
export interface IssuerFields {
  readonly subjectDer: Buffer
  /** The bytes of the subjectKeyIdentifier extension as found; null without one. */
  readonly keyIdentifier: Buffer | null
}

/** `der`: a certificate that OpenSSL has parsed already. */
export function readIssuerFields(der: Buffer): IssuerFields {
  const [toBeSigned] = readMembers(readElement(der))
  const fields = toBeSigned === undefined ? [] : readMembers(toBeSigned)
  // RFC 5280 §4.1: [0] version, serial, signature, issuer, validity, subject; version is left out in v1.
  const subject = fields[fields[0]?.tag === 0xa0 ? 5 : 4]
  if (subject === undefined) throw new RangeError('certificate without a subject')
  const extensions = fields.find((field) => field.tag === 0xa3)
  return { subjectDer: subject.encoded, keyIdentifier: extensions === undefined ? null : keyIdentifier(extensions) }
}

function keyIdentifier(extensions: Element): Buffer | null {
  const wanted = encode(objectIdentifier(OID.subjectKeyIdentifier))
  for (const entry of readMembers(readElement(extensions.content))) {
    const members = readMembers(entry)
    const value = members.at(-1)
    if (value !== undefined && members[0]?.encoded.equals(wanted) === true) return readElement(value.content).content
  }
  return null
}

/** The bits of the key itself inside a SubjectPublicKeyInfo: what RFC 5280 §4.2.1.2 hashes into a key identifier. */
export function publicKeyBits(publicKeyDer: Buffer): Buffer {
  const bits = readMembers(readElement(publicKeyDer))[1]
  if (bits === undefined) throw new RangeError('SubjectPublicKeyInfo without a key')
  return bits.content.subarray(1)
}

export function certificatePem(der: Buffer): string {
  const lines = der.toString('base64').replaceAll(/.{64}/g, '$&\n').trimEnd()
  return `${PEM_BEGIN}\n${lines}\n${PEM_END}\n`
}

/** The bytes of one CERTIFICATE block. */
export function certificateDer(pem: string): Buffer {
  return Buffer.from(pem.slice(pem.indexOf(PEM_BEGIN) + PEM_BEGIN.length, pem.indexOf(PEM_END)), 'base64')
}

/** The CERTIFICATE blocks of a PEM text in order, each with a newline at its end; whatever stands between them is dropped. */
export function certificateBlocks(text: string): string[] {
  const blocks: string[] = []
  for (const piece of text.split(PEM_BEGIN).slice(1)) {
    const end = piece.indexOf(PEM_END)
    if (end >= 0) blocks.push(`${PEM_BEGIN}${piece.slice(0, end)}${PEM_END}\n`)
  }
  return blocks
}
