// The hash chain of the trail: seals a record onto the one before, and tells a record from a torn or a forged line.

import { hash } from 'node:crypto'
import { AUDIT_SCHEMA, type AuditEvent, encodeBody, encodeFields, MAX_RECORD_BYTES } from '../core/record.ts'

/** `prev_hash` of the first record. */
export const GENESIS: string = '0'.repeat(64)

/** Where the chain stands: the last record's number and hash; before the first, -1 and `GENESIS`. */
export interface ChainHead {
  readonly seq: number
  readonly hash: string
}

export const EMPTY_CHAIN: ChainHead = { seq: -1, hash: GENESIS }

/** One record as it is written, newline included, and the chain after it. */
export interface SealedLine {
  readonly text: string
  readonly head: ChainHead
}

export function seal(event: AuditEvent, instance: string, timestamp: string, previous: ChainHead): SealedLine {
  const target = Buffer.alloc(MAX_RECORD_BYTES)
  const { end, head } = sealInto(target, 0, { fields: encodeFields(event), timestamp }, instance, previous)
  return { text: target.toString('latin1', 0, end), head }
}

/**
 * Writes a record and its newline into `target` from `at` on, which needs `MAX_RECORD_BYTES` of room. `fields` as `encodeFields` makes
 * them. The bytes that are hashed are the ones that are written: half the cost of hashing the text and encoding it again.
 */
export function sealInto(
  target: Buffer,
  at: number,
  { fields, timestamp }: { readonly fields: string; readonly timestamp: string },
  instance: string,
  previous: ChainHead,
): { readonly end: number; readonly head: ChainHead } {
  const seq = previous.seq + 1
  const body = encodeBody({ schema: AUDIT_SCHEMA, instance, seq, timestamp }, fields, previous.hash)
  const sealAt = at + target.write(body, at, 'latin1')
  const own = hash('sha256', target.subarray(at, sealAt), 'hex')
  const end = sealAt + target.write(`,"hash":"${own}"}\n`, sealAt, 'latin1')
  return { end, head: { seq, hash: own } }
}

/** `torn`: a record whose end was never written. `forged`: whole, but its hash is not its own. `foreign`: not from a trail. */
export type Line =
  | { readonly kind: 'record'; readonly instance: string; readonly head: ChainHead }
  | { readonly kind: 'torn' | 'forged' | 'foreign' }

const START = `{"schema":"${AUDIT_SCHEMA}","instance":"`
/** `,"hash":"` + 64 digits + `"}` */
const SEAL_LENGTH = 9 + 64 + 2
const SEAL = /^,"hash":"([0-9a-f]{64})"\}$/
const ENVELOPE = /^([0-9A-HJKMNP-TV-Z]{26})","seq":(\d{1,15}),"timestamp":"/

/** `line`: the bytes of one line as Latin-1, without its newline. */
export function readLine(line: string): Line {
  const sealed = SEAL.exec(line.slice(-SEAL_LENGTH))?.[1]
  if (sealed === undefined) return { kind: looksTorn(line) ? 'torn' : 'foreign' }
  const body = line.slice(0, -SEAL_LENGTH)
  const envelope = body.startsWith(START) ? ENVELOPE.exec(body.slice(START.length, START.length + 128)) : null
  if (envelope?.[1] === undefined || hash('sha256', Buffer.from(body, 'latin1'), 'hex') !== sealed)
    return { kind: 'forged' }
  return { kind: 'record', instance: envelope[1], head: { seq: Number(envelope[2]), hash: sealed } }
}

/** A power cut can leave NULs where bytes were promised, so a torn line is the beginning of a record up to the first NUL. */
function looksTorn(line: string): boolean {
  const nul = line.indexOf('\0')
  const written = nul < 0 ? line : line.slice(0, nul)
  return written.startsWith(START) || START.startsWith(written)
}
