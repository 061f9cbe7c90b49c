// One line of a trail as a checker reads it: a record with the hash it has, a record that was cut off, or neither.

import { isAscii } from 'node:buffer'
import { hash } from 'node:crypto'
import { AUDIT_SCHEMA, MAX_RECORD_BYTES } from '../core/record.ts'
import type { Place } from './verify-report.ts'

/** `valid`: the hash is that of the line's own bytes. */
export interface Head {
  readonly instance: string
  readonly seq: number
  readonly timestamp: string
  readonly event: string
  readonly prevHash: string
  readonly hash: string
  readonly valid: boolean
  readonly place: Place
}

/** `torn`: the beginning of a record and nothing else. `edited`: nearly a record, so it was one. */
export type InspectedLine =
  | { readonly kind: 'record'; readonly head: Head }
  | { readonly kind: 'torn' | 'edited' | 'not_a_record' }

export const RECORD_START: string = `{"schema":"${AUDIT_SCHEMA}","instance":"`
export const SEQ_KEY = '","seq":'
export const TIMESTAMP_KEY = ',"timestamp":"'
export const TIMESTAMP_LENGTH = 24
/** `,"hash":"` + 64 digits + `"}` */
export const SEAL_LENGTH: number = 9 + 64 + 2
/** `,"prev_hash":"` + 64 digits + `"` */
export const LINK_LENGTH: number = 14 + 64 + 1

const POLICY_KEY = ',"policy":"'
const REQUEST_KEY = ',"request_id":"'
const ID_LENGTH = 26
const HASH_LENGTH = 64
/** A timestamp and what follows it. */
const TIMESTAMP_SHAPE = '0000-00-00T00:00:00.000Z","event":"'
/** `0` in the shape: any digit. */
const DIGIT = 0x30
const QUOTE = 0x22
const DOT = 0x2e
const LOW_LINE = 0x5f
const MAX_EVENT_LENGTH = 64
const ENVELOPE =
  /^([0-9A-HJKMNP-TV-Z]{26})","seq":(0|[1-9]\d{0,14}),"timestamp":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)","event":"([a-z_.]{1,64})"/
const TAIL = /^,"prev_hash":"([0-9a-f]{64})","hash":"([0-9a-f]{64})"\}$/
/** What may stand behind `,"hash":` in a record that was cut off. */
const BROKEN_SEAL = /^(?:"(?:[0-9a-f]{0,63}|[0-9a-f]{64}"?))?$/
const TAIL_SHAPE = `,"prev_hash":"${'#'.repeat(64)}","hash":"${'#'.repeat(64)}"}`
/** A tail that differs from the shape in more places is no tail: shifted by one byte it differs in about thirty. */
const MAX_TAIL_EDITS = 8

/** `bytes`: the line without its newline. */
export function inspectLine(bytes: Buffer, place: Place): InspectedLine {
  const line = bytes.toString('latin1')
  const tail = TAIL.exec(line.slice(-(LINK_LENGTH + SEAL_LENGTH)))
  const envelope = line.startsWith(RECORD_START)
    ? ENVELOPE.exec(line.slice(RECORD_START.length, RECORD_START.length + 192))
    : null
  if (tail === null || envelope === null) return { kind: broken(line, tail !== null, envelope !== null) }
  const [, instance = '', seq = '', timestamp = '', event = ''] = envelope
  const [, prevHash = '', sealed = ''] = tail
  const fits = isPrintable(bytes) && bytes.length < MAX_RECORD_BYTES
  const valid = fits && hash('sha256', bytes.subarray(0, -SEAL_LENGTH), 'hex') === sealed
  return {
    kind: 'record',
    head: { instance, seq: Number(seq), timestamp, event, prevHash, hash: sealed, valid, place },
  }
}

function broken(line: string, sealed: boolean, enveloped: boolean): 'torn' | 'edited' | 'not_a_record' {
  if (line === '') return 'not_a_record'
  if (sealed || resemblesTail(line.slice(-TAIL_SHAPE.length))) return 'edited'
  // A power cut can leave NULs where bytes were promised.
  const written = line.split('\0', 1)[0] ?? ''
  const begins = written.startsWith(RECORD_START) || RECORD_START.startsWith(written)
  if (!begins || written.length >= MAX_RECORD_BYTES) return enveloped ? 'edited' : 'not_a_record'
  const seal = written.lastIndexOf(',"hash":')
  const beginning = /^[\x20-\x7e]*$/.test(written) && (seal < 0 || BROKEN_SEAL.test(written.slice(seal + 8)))
  return beginning ? 'torn' : 'edited'
}

/** SECURITY: or a change in the last bytes of the last record would pass for a record that was cut off there. */
function resemblesTail(text: string): boolean {
  if (text.length < TAIL_SHAPE.length) return false
  let edits = 0
  for (let at = 0; at < TAIL_SHAPE.length && edits <= MAX_TAIL_EDITS; at++) {
    const shape = TAIL_SHAPE[at]
    if (shape === '#' ? !/[0-9a-f]/.test(text[at] ?? '') : shape !== text[at]) edits++
  }
  return edits <= MAX_TAIL_EDITS
}

/** Whether every byte is printable ASCII or the end of a line. */
export function isPrintable(bytes: Buffer): boolean {
  if (!isAscii(bytes)) return false
  if (bytes.byteOffset % 4 !== 0) return bytes.every(isPrintableByte)
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)
  for (let at = 0; at < words.length; at++) {
    const word = words[at] as number
    // Of each byte: neither of the bits 0x40 and 0x20, which is a control character; all seven lower bits, which is DEL.
    const odd = (~(word | (word << 1)) & 0x40404040) | ((word + 0x01010101) & 0x80808080)
    if (odd !== 0 && !bytes.subarray(at * 4, at * 4 + 4).every(isPrintableByte)) return false
  }
  return bytes.subarray(words.length * 4).every(isPrintableByte)
}

function isPrintableByte(byte: number): boolean {
  return (byte >= 0x20 && byte <= 0x7e) || byte === 0x0a
}

/** The request id that is the first member at `members`; empty where another one is. */
export function requestIdAt(bytes: Buffer, members: number): string {
  const member = bytes.toString('latin1', members, members + REQUEST_KEY.length + ID_LENGTH)
  return member.startsWith(REQUEST_KEY) ? member.slice(REQUEST_KEY.length) : ''
}

/** The first policy behind `members`. What clients wrote can not look like its key: their quotes are escaped. */
export function policyBehind(bytes: Buffer, members: number): string {
  const at = bytes.indexOf(POLICY_KEY, members, 'latin1')
  if (at < 0) return ''
  return bytes.toString('latin1', at + POLICY_KEY.length, at + POLICY_KEY.length + HASH_LENGTH)
}

/** Where the event's name begins behind a timestamp at `at`; -1: there is no timestamp, or no event behind it. */
export function eventAt(bytes: Buffer, at: number): number {
  for (let index = 0; index < TIMESTAMP_SHAPE.length; index++) {
    const byte = bytes[at + index] as number
    const shape = TIMESTAMP_SHAPE.charCodeAt(index)
    if (shape === DIGIT ? byte < DIGIT || byte > DIGIT + 9 : byte !== shape) return -1
  }
  return at + TIMESTAMP_SHAPE.length
}

/** Offset of the quote that ends a name of letters, dots and low lines; -1: it is none. */
export function endOfName(bytes: Buffer, start: number): number {
  for (let at = start; at < start + MAX_EVENT_LENGTH; at++) {
    const byte = bytes[at] as number
    if (byte === QUOTE) return at
    if (!((byte >= 0x61 && byte <= 0x7a) || byte === DOT || byte === LOW_LINE)) return -1
  }
  return -1
}
