// The opening handshake of a WebSocket (RFC 6455 §4): what a client asks for, and whether an origin's 101 answers exactly that.

import { createHash } from 'node:crypto'
import { skip, TOKEN, trimOws } from './field-line.ts'
import type { RequestFraming } from './framing.ts'
import { headerValues, type RawHeaders, type RequestHead, type StatusHead, soleValue } from './http1.ts'

/** What was asked for; `extensions` are names, each as often as it was offered. */
export interface Handshake {
  readonly key: string
  readonly protocols: readonly string[]
  readonly extensions: readonly string[]
}

export type HandshakeResult =
  | { readonly kind: 'ok'; readonly handshake: Handshake }
  | { readonly kind: 'bad'; readonly code: string }

/** What the reserved bits of a frame may say: nothing, `this message is compressed`, or what an extension we do not know says. */
export type ReservedBits = 'none' | 'deflate' | 'any'

/** `extension`: the first one agreed on, null without any: then payloads are what the application wrote. */
export type SwitchResult =
  | { readonly kind: 'ok'; readonly reserved: ReservedBits; readonly extension: string | null }
  | { readonly kind: 'bad'; readonly code: string }

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const DEFLATE = 'permessage-deflate'
/** 16 bytes in base64: the last digit before the padding carries two bits. */
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/
/** Members of one list; a browser sends a handful. */
const MAX_MEMBERS = 64

const bad = (code: string): { kind: 'bad'; code: string } => ({ kind: 'bad', code })

/**
 * Reads the request of a client that asks to upgrade. SECURITY: what an origin would not switch for, or answers by another
 * status, must not be sent as if it were a handshake: the client would go on in a protocol that nobody speaks.
 */
export function readHandshake(head: RequestHead, framing: RequestFraming & { readonly kind: 'ok' }): HandshakeResult {
  const { headers } = head
  if (head.method !== 'GET') return bad('WEBSOCKET_METHOD')
  if (framing.body.kind !== 'none') return bad('WEBSOCKET_BODY')
  if (soleValue(headers, 'sec-websocket-version') !== '13') return bad('WEBSOCKET_VERSION')
  const key = soleValue(headers, 'sec-websocket-key')
  if (key === null || !KEY.test(key)) return bad('WEBSOCKET_KEY')
  const protocols = listOf(headers, 'sec-websocket-protocol', protocolName)
  if (protocols === null) return bad('WEBSOCKET_PROTOCOL')
  const extensions = listOf(headers, 'sec-websocket-extensions', extensionName)
  if (extensions === null) return bad('WEBSOCKET_EXTENSIONS')
  return { kind: 'ok', handshake: { key, protocols, extensions } }
}

/** What a 101 has to say of the key (RFC 6455 §4.2.2). */
export function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}${GUID}`).digest('base64')
}

/** Judges the origin's 101. SECURITY: by any other one, client and origin would read the bytes behind it differently. */
export function readSwitch(asked: Handshake, { version, headers }: StatusHead): SwitchResult {
  if (version !== '1.1') return bad('SWITCH_VERSION')
  if (soleValue(headers, 'upgrade')?.toLowerCase() !== 'websocket') return bad('SWITCH_UPGRADE')
  const connection = listOf(headers, 'connection', protocolName) ?? []
  if (!connection.some((option) => option.toLowerCase() === 'upgrade')) return bad('SWITCH_CONNECTION')
  if (soleValue(headers, 'sec-websocket-accept') !== acceptOf(asked.key)) return bad('SWITCH_ACCEPT')
  const protocol = soleValue(headers, 'sec-websocket-protocol')
  if (protocol !== null && !asked.protocols.includes(protocol)) return bad('SWITCH_PROTOCOL')
  const extensions = listOf(headers, 'sec-websocket-extensions', extensionName)
  if (extensions === null || !extensions.every((name) => asked.extensions.includes(name)))
    return bad('SWITCH_EXTENSIONS')
  const [extension = null] = extensions
  if (extension === null) return { kind: 'ok', reserved: 'none', extension }
  return { kind: 'ok', reserved: extensions.every((name) => name === DEFLATE) ? 'deflate' : 'any', extension }
}

/** What `nameOf` says of each member of a comma list over all fields of that name; null where a member is none. */
function listOf(headers: RawHeaders, lowerName: string, nameOf: (member: string) => string | null): string[] | null {
  const names: string[] = []
  for (const value of headerValues(headers, lowerName)) {
    for (const member of value.split(',')) {
      const text = trimOws(member, 0, member.length)
      // RFC 9110 §5.6.1.2: empty members count for nothing.
      if (text === '') continue
      const name = nameOf(text)
      if (name === null || names.length === MAX_MEMBERS) return null
      names.push(name)
    }
  }
  return names
}

function protocolName(member: string): string | null {
  return isToken(member) ? member : null
}

/** RFC 6455 §9.1: `name; parameter; parameter=value`. A quoted value holds a token, so commas and semicolons only ever divide. */
function extensionName(member: string): string | null {
  const [name = '', ...parameters] = member.split(';').map((part) => trimOws(part, 0, part.length))
  return isToken(name) && parameters.every(isParameter) ? name : null
}

function isParameter(text: string): boolean {
  const equals = text.indexOf('=')
  if (equals < 0) return isToken(text)
  const value = text.slice(equals + 1)
  const quoted = value.length > 2 && value.startsWith('"') && value.endsWith('"')
  return isToken(text.slice(0, equals)) && isToken(quoted ? value.slice(1, -1) : value)
}

function isToken(text: string): boolean {
  return text !== '' && skip(text, 0, TOKEN) === text.length
}
