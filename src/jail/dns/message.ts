// DNS on the wire: reads one question strictly, and writes the small answers that this name server gives.

import { isIPv6 } from 'node:net'
import { decode, type DecodedPacket, encode, type OptAnswer, type PacketOpt } from 'dns-packet'

export const RCODE = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
  badVersion: 16,
} as const
export type Rcode = (typeof RCODE)[keyof typeof RCODE]

/** Seconds: answers follow a changed policy, and programs that keep no answers do not ask for each request. */
const TTL_SECONDS = 5
/** RFC 8914 §4.16: the policy of whoever runs the server. */
export const BLOCKED = 15
/** With the longest name and an OPT record they fit into 512 bytes, so no answer is ever truncated. */
export const MAX_ADDRESSES = 8
export const TYPE_A = 1
export const TYPE_AAAA = 28
export const CLASS_IN = 1

const HEADER_BYTES = 12
/** RFC 1035 §2.3.4. */
const MAX_LABEL_BYTES = 63
const MAX_NAME_BYTES = 255
/** OPT, and a signature that nobody here can check. */
const MAX_ADDITIONALS = 2
const EDNS_PAYLOAD_BYTES = 1_232
const DNSSEC_OK = 0x8000
const OPCODE = 0x7800
const RECURSION_DESIRED = 0x0100
const RECURSION_AVAILABLE = 0x0080
const CHECKING_DISABLED = 0x0010
/** Newer than the list of dns-packet (RFC 9460), and what every browser asks for. */
const LATER_TYPES: ReadonlyMap<number, string> = new Map([
  [64, 'SVCB'],
  [65, 'HTTPS'],
])
/** RFC 1035 §4.1.4: the name that stands at the start of the question. */
const ASKED_NAME = Buffer.from([0xc0, HEADER_BYTES])

/** What an answer repeats of what was asked. `question`: its bytes as they came (0x20 case too), null if unreadable. */
export interface Asked {
  readonly id: number
  readonly flags: number
  readonly question: Buffer | null
  /** RFC 6891; null: the client does not speak it, so neither does the answer. */
  readonly edns: { readonly version: number; readonly dnssecOk: boolean } | null
}

/**
 * `name`: labels joined by dots, bytes other than letters, digits, `-` and `_` as `\\DDD`; the root is empty.
 * `typeName`: `A`, `HTTPS`, or `TYPE65280` (RFC 3597 §5).
 */
export interface Query extends Asked {
  readonly name: string
  readonly type: number
  readonly typeName: string
  readonly class: number
}

/** `ignored`: an answer, or nothing that has a header: to these there is no answer, or two servers could talk for ever. */
export type Read =
  | { readonly kind: 'query'; readonly query: Query }
  | { readonly kind: 'bad'; readonly asked: Asked; readonly rcode: Rcode }
  | { readonly kind: 'ignored' }

export interface Answer {
  readonly rcode: Rcode
  /** Literals of the family that was asked for, at most `MAX_ADDRESSES`. */
  readonly addresses?: readonly string[]
  /** INFO-CODE of an Extended DNS Error (RFC 8914), for those who speak EDNS. */
  readonly extendedError?: number
}

export function readMessage(bytes: Buffer): Read {
  if (bytes.length < HEADER_BYTES) return { kind: 'ignored' }
  const flags = bytes.readUInt16BE(2)
  // SECURITY: whoever forges the source port of another server, or ours, gets one answer out of it and never a loop.
  if ((flags & 0x8000) !== 0) return { kind: 'ignored' }
  const header: Asked = { id: bytes.readUInt16BE(0), flags, question: null, edns: null }
  if ((flags & OPCODE) !== 0) return { kind: 'bad', asked: header, rcode: RCODE.notImplemented }
  const malformed: Read = { kind: 'bad', asked: header, rcode: RCODE.formatError }
  const [questions, answers, authorities, additionals] = [4, 6, 8, 10].map((at) => bytes.readUInt16BE(at))
  if (questions !== 1 || answers !== 0 || authorities !== 0 || (additionals ?? 0) > MAX_ADDITIONALS) return malformed
  const question = readQuestion(bytes)
  if (question === null) return malformed
  const asked: Asked = { ...header, question: bytes.subarray(HEADER_BYTES, question.end) }
  const message = decodeWhole(bytes)
  const [opt, second] = message?.additionals?.filter((record) => record.type === 'OPT') ?? []
  if (message === null || second !== undefined) return { kind: 'bad', asked, rcode: RCODE.formatError }
  const edns = opt === undefined ? null : { version: opt.ednsVersion, dnssecOk: (opt.flags & DNSSEC_OK) !== 0 }
  if (edns !== null && edns.version > 0) return { kind: 'bad', asked: { ...asked, edns }, rcode: RCODE.badVersion }
  const { name, type, class: klass } = question
  const known: string = message.questions?.[0]?.type ?? ''
  const typeName = known.startsWith('UNKNOWN_') ? (LATER_TYPES.get(type) ?? `TYPE${type}`) : known
  return { kind: 'query', query: { ...asked, edns, name, type, typeName, class: klass } }
}

export function writeAnswer(asked: Asked, answer: Answer): Buffer {
  const { rcode, addresses = [], extendedError } = answer
  const records = addresses.map(addressRecord)
  const negative = records.length === 0 && (rcode === RCODE.noError || rcode === RCODE.nameError)
  const header = Buffer.alloc(HEADER_BYTES)
  const repeated = asked.flags & (OPCODE | RECURSION_DESIRED | CHECKING_DISABLED)
  header.writeUInt16BE(asked.id, 0)
  header.writeUInt16BE(0x8000 | repeated | RECURSION_AVAILABLE | (rcode & 0xf), 2)
  header.writeUInt16BE(asked.question === null ? 0 : 1, 4)
  header.writeUInt16BE(records.length, 6)
  header.writeUInt16BE(negative ? 1 : 0, 8)
  header.writeUInt16BE(asked.edns === null ? 0 : 1, 10)
  return Buffer.concat([
    header,
    asked.question ?? Buffer.alloc(0),
    ...records,
    ...(negative ? [NEGATIVE] : []),
    ...(asked.edns === null ? [] : [optRecord(asked.edns.dnssecOk, rcode, extendedError)]),
  ])
}

/** One question, read from the bytes: dns-packet turns labels into text first, where a dot inside one is no longer seen. */
function readQuestion(bytes: Buffer): { name: string; type: number; class: number; end: number } | null {
  const labels: string[] = []
  let at = HEADER_BYTES
  for (;;) {
    const length = bytes[at]
    // SECURITY: no compression pointers either (two high bits): the first name of a message has nothing to point to.
    if (length === undefined || length > MAX_LABEL_BYTES || at + 1 - HEADER_BYTES > MAX_NAME_BYTES) return null
    at += 1
    if (length === 0) break
    labels.push(bytes.toString('latin1', at, at + length).replaceAll(/[^A-Za-z0-9_-]/g, escaped))
    at += length
  }
  if (at + 4 > bytes.length) return null
  return { name: labels.join('.'), type: bytes.readUInt16BE(at), class: bytes.readUInt16BE(at + 2), end: at + 4 }
}

/** RFC 1035 §5.1. */
function escaped(character: string): string {
  return `\\${character.charCodeAt(0).toString().padStart(3, '0')}`
}

/** Null: what follows the question is no sequence of records, or does not end with the message. */
function decodeWhole(bytes: Buffer): DecodedPacket | null {
  try {
    const message = decode(bytes)
    return decode.bytes === bytes.length ? message : null
  } catch {
    return null
  }
}

/** dns-packet does not compress names: the record is written for the root, whose name is one byte, which is then replaced. */
function addressRecord(address: string): Buffer {
  const type = isIPv6(address) ? 'AAAA' : 'A'
  const bytes = encode({ answers: [{ type, name: '.', ttl: TTL_SECONDS, data: address }] })
  return Buffer.concat([ASKED_NAME, bytes.subarray(HEADER_BYTES + 1)])
}

/** RFC 2308 §3: without a SOA nobody may keep a negative answer. Its owner is the root, which is above every name. */
const NEGATIVE = encode({
  authorities: [
    { type: 'SOA', name: '.', ttl: TTL_SECONDS, data: { mname: '.', rname: '.', serial: 1, minimum: TTL_SECONDS } },
  ],
}).subarray(HEADER_BYTES)

function optRecord(dnssecOk: boolean, rcode: Rcode, extendedError: number | undefined): Buffer {
  // The types of dns-packet do not know RFC 8914; its encoder writes any code with its data.
  const error = { code: extendedError, data: Buffer.from([0, extendedError ?? 0]) }
  const options = extendedError === undefined ? [] : [{ ...error, code: 15 } as unknown as PacketOpt]
  const opt: OptAnswer = {
    type: 'OPT',
    name: '.',
    udpPayloadSize: EDNS_PAYLOAD_BYTES,
    extendedRcode: rcode >> 4,
    ednsVersion: 0,
    flags: dnssecOk ? DNSSEC_OK : 0,
    flag_do: dnssecOk,
    options,
  }
  return encode({ additionals: [opt] }).subarray(HEADER_BYTES)
}
