// Names the protocol of bytes that are no HTTP, by how they begin: for the reader of the record, never for a decision.

import { Buffer } from 'node:buffer'
import { skip, TOKEN } from './field-line.ts'

export type ForeignProtocol =
  | 'AMQP_HEADER'
  | 'BITTORRENT_HANDSHAKE'
  | 'DNS_QUERY'
  | 'FTP_OR_POP3_COMMAND'
  | 'GIT_REQUEST'
  | 'H2C_PRIOR_KNOWLEDGE'
  | 'IMAP_COMMAND'
  | 'JSON_TEXT'
  | 'LDAP_REQUEST'
  | 'MONGODB_MESSAGE'
  | 'MQTT_CONNECT'
  | 'OPENVPN_RESET'
  | 'POP3_COMMAND'
  | 'POSTGRES_CANCEL'
  | 'POSTGRES_GSS_REQUEST'
  | 'POSTGRES_SSL_REQUEST'
  | 'POSTGRES_STARTUP'
  | 'PROXY_PROTOCOL'
  | 'RDP_CONNECTION_REQUEST'
  | 'REDIS_COMMAND'
  | 'SMB_NEGOTIATE'
  | 'SMTP_COMMAND'
  | 'SOCKS4A_REQUEST'
  | 'SOCKS4_REQUEST'
  | 'SOCKS5_GREETING'
  | 'SSH_BANNER'
  | 'SSLV2_HELLO'
  | 'STARTTLS'
  | 'TDS_PRELOGIN'
  | 'TELNET_NEGOTIATION'
  | 'TEXT_LINE'
  | 'TLS_CLIENT_HELLO'
  | 'WIREGUARD_HANDSHAKE'

/** Nothing behind this is looked at. */
const MAX_BYTES = 512

/** The bytes that tell a protocol, from the first one on; null: any byte. The first row that fits names it. */
const SIGNATURES: readonly (readonly [ForeignProtocol, readonly (number | null)[]])[] = [
  ['SSH_BANNER', ascii('SSH-')],
  ['H2C_PRIOR_KNOWLEDGE', ascii('PRI * HTTP/2')],
  ['TLS_CLIENT_HELLO', [0x16, 0x03]],
  ['POSTGRES_SSL_REQUEST', [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]],
  ['POSTGRES_GSS_REQUEST', [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30]],
  ['POSTGRES_CANCEL', [0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e]],
  // Its length, then version 3 of its protocol.
  ['POSTGRES_STARTUP', [0, 0, null, null, 0, 3, 0]],
  // TPKT, then the X.224 connection request.
  ['RDP_CONNECTION_REQUEST', [3, 0, null, null, null, 0xe0]],
  ['AMQP_HEADER', ascii('AMQP')],
  ['BITTORRENT_HANDSHAKE', [19, ...ascii('BitTorrent protocol')]],
  ['SMB_NEGOTIATE', [0, null, null, null, 0xff, ...ascii('SMB')]],
  ['SMB_NEGOTIATE', [0, null, null, null, 0xfe, ...ascii('SMB')]],
  ['TDS_PRELOGIN', [0x12, 0x01, 0, null, 0, 0]],
  ['MONGODB_MESSAGE', [null, null, null, null, null, null, null, null, 0, 0, 0, 0, 0xdd, 0x07, 0, 0]],
  ['MONGODB_MESSAGE', [null, null, null, null, null, null, null, null, 0, 0, 0, 0, 0xd4, 0x07, 0, 0]],
  ['PROXY_PROTOCOL', [...ascii('\r\n\r\n'), 0, ...ascii('\r\nQUIT\n')]],
  ['JSON_TEXT', ascii('{')],
  ['JSON_TEXT', ascii('[')],
  // An array of one to nine, or more, bulk strings; a word alone is a command too.
  ['REDIS_COMMAND', [0x2a, null, 0x0d, 0x0a, 0x24]],
  ['REDIS_COMMAND', [0x2a, null, null, 0x0d, 0x0a, 0x24]],
]

/** Protocols whose beginning is more than fixed bytes. */
const SHAPES: readonly (readonly [ForeignProtocol, (bytes: Buffer) => boolean])[] = [
  ['SOCKS5_GREETING', (bytes) => bytes[0] === 5 && byteAt(bytes, 1) > 0 && bytes.length > 2],
  ['SOCKS4A_REQUEST', (bytes) => isSocks4(bytes) && bytes.readUInt32BE(4) > 0 && bytes.readUInt32BE(4) < 256],
  ['SOCKS4_REQUEST', isSocks4],
  ['SSLV2_HELLO', isSsl2Hello],
  ['DNS_QUERY', isDnsQuery],
  ['OPENVPN_RESET', isOpenVpnReset],
  ['MQTT_CONNECT', (bytes) => bytes[0] === 0x10 && /^.{2,5}\0(?:\x04MQTT|\x06MQIsdp)/s.test(textOf(bytes))],
  ['LDAP_REQUEST', isLdapRequest],
  ['WIREGUARD_HANDSHAKE', (bytes) => bytes.length >= 148 && bytes.readUInt32LE(0) === 1],
  ['TELNET_NEGOTIATION', (bytes) => bytes[0] === 0xff && byteAt(bytes, 1) >= 0xfb && bytes[1] !== 0xff],
  ['GIT_REQUEST', (bytes) => /^[0-9a-f]{4}git-(?:upload|receive)-pack /.test(textOf(bytes))],
]

/** First words of lines that a client of a line protocol begins with, in upper case. */
const COMMANDS: ReadonlyMap<string, ForeignProtocol> = new Map([
  ['EHLO', 'SMTP_COMMAND'],
  ['HELO', 'SMTP_COMMAND'],
  ['LHLO', 'SMTP_COMMAND'],
  ['MAIL', 'SMTP_COMMAND'],
  ['RCPT', 'SMTP_COMMAND'],
  ['STARTTLS', 'STARTTLS'],
  ['STLS', 'STARTTLS'],
  ['APOP', 'POP3_COMMAND'],
  ['CAPA', 'POP3_COMMAND'],
  ['USER', 'FTP_OR_POP3_COMMAND'],
  ['PASS', 'FTP_OR_POP3_COMMAND'],
  ['PING', 'REDIS_COMMAND'],
  ['PROXY', 'PROXY_PROTOCOL'],
])

/** IMAP says a tag of its own first. */
const IMAP_COMMANDS: ReadonlySet<string> = new Set(['CAPABILITY', 'LOGIN', 'AUTHENTICATE', 'ID', 'NOOP', 'SELECT'])

/** What begins like this is HTTP that went wrong, and its fault says more than a guess. */
const HTTP_METHODS: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
  'PATCH',
])

/** The protocol that `bytes` are the beginning of; null where none is known, and for whatever has the request line of HTTP/1.x. */
export function foreignProtocol(bytes: Buffer): ForeignProtocol | null {
  const start = bytes.subarray(0, MAX_BYTES)
  const words = firstLine(textOf(start))?.split(' ') ?? []
  if (isRequestLine(words)) return null
  const signature = SIGNATURES.find(([, wanted]) => begins(start, wanted))
  const shape = signature ?? SHAPES.find(([, fits]) => fits(start))
  return shape?.[0] ?? lineProtocol(words)
}

function ascii(text: string): number[] {
  return [...Buffer.from(text, 'latin1')]
}

function textOf(bytes: Buffer): string {
  return bytes.toString('latin1')
}

/** 0 past the end. */
function byteAt(bytes: Buffer, at: number): number {
  return bytes[at] ?? 0
}

function begins(bytes: Buffer, wanted: readonly (number | null)[]): boolean {
  return bytes.length >= wanted.length && wanted.every((byte, at) => byte === null || byte === bytes[at])
}

/** Version, CONNECT or BIND, port, address, and the user's name with its NUL. */
function isSocks4(bytes: Buffer): boolean {
  return bytes.length > 8 && bytes[0] === 4 && (bytes[1] === 1 || bytes[1] === 2) && bytes.includes(0, 8)
}

/** A two-byte header, CLIENT-HELLO, and the version it offers. */
function isSsl2Hello(bytes: Buffer): boolean {
  const version = (byteAt(bytes, 3) << 8) | byteAt(bytes, 4)
  return byteAt(bytes, 0) >= 0x80 && bytes[2] === 1 && (version === 0x0002 || version >> 8 === 3)
}

/** RFC 1035 §4.2.2: a length, then one question and no answer. */
function isDnsQuery(bytes: Buffer): boolean {
  if (bytes.length < 15 || bytes.readUInt16BE(0) < 13) return false
  const standard = (byteAt(bytes, 4) & 0xf8) === 0 && (byteAt(bytes, 5) & 0x0f) === 0
  return standard && bytes.readUInt16BE(6) === 1 && bytes.readUInt32BE(8) === 0 && byteAt(bytes, 14) < 64
}

/** Its length, then P_CONTROL_HARD_RESET_CLIENT_V2 or _V3. */
function isOpenVpnReset(bytes: Buffer): boolean {
  return bytes.length > 2 && bytes.readUInt16BE(0) === bytes.length - 2 && (bytes[2] === 0x38 || bytes[2] === 0x50)
}

/** A sequence with a message id, then a bind, a search or an extended request such as StartTLS (RFC 4511 §4). */
function isLdapRequest(bytes: Buffer): boolean {
  const at = bytes[1] === 0x84 ? 6 : 2
  const operation = byteAt(bytes, at + 3)
  const known = operation === 0x60 || operation === 0x63 || operation === 0x77
  return bytes[0] === 0x30 && bytes[at] === 2 && bytes[at + 1] === 1 && known
}

/** A method, anything, and the version. A protocol that begins with other bytes keeps its name, whatever line follows on. */
function isRequestLine([method = '', ...rest]: readonly string[]): boolean {
  return skip(method, 0, TOKEN) === method.length && /^HTTP\/1\.[01]$/.test(rest.at(-1) ?? '')
}

/** Null where no line has ended. */
function firstLine(text: string): string | null {
  const end = text.indexOf('\n')
  return end < 0 ? null : text.slice(0, text[end - 1] === '\r' ? end - 1 : end)
}

/** By the words of the first line; none where it has not ended. */
function lineProtocol(words: readonly string[]): ForeignProtocol | null {
  const [first = '', second = ''] = words.slice(0, 2).map((word) => word.toUpperCase())
  if (HTTP_METHODS.has(first)) return null
  const command = COMMANDS.get(first)
  if (command !== undefined) return command
  if (second === 'STARTTLS' || (first === 'AUTH' && second === 'TLS')) return 'STARTTLS'
  if (IMAP_COMMANDS.has(second)) return 'IMAP_COMMAND'
  return words.length === 1 && /^[\x21-\x7e]+$/.test(first) ? 'TEXT_LINE' : null
}
