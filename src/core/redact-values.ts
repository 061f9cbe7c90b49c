// Secrets that are known: found wherever they stand, in the spellings that clients and formats give them.

import { Buffer } from 'node:buffer'
import type { Add } from './redact-range.ts'
import { slotAt } from './redact-scan.ts'

/** Shorter ones would be found in everything. */
export const MIN_KNOWN_SECRET_LENGTH = 8
/** So much of a spelling is looked for; what follows it counts as far as it agrees, so that one cut at the end is found too. */
export const MAX_NEEDLE = 512

/** What to look for. `begins`: what a text must hold somewhere to be worth a search. */
export interface KnownSecrets {
  readonly begins: readonly string[]
  readonly exact: Index
  readonly folded: Index
}

/** `shared`: the digit before it, and the one behind, hold some of its bits as well. */
interface Spelling {
  readonly value: string
  readonly text: string
  readonly needle: string
  readonly shared: readonly [before: boolean, behind: boolean]
}

/** By the slot of their first three characters, so that one pass over a text is enough however many there are. */
type Index = ReadonlyMap<number, readonly Spelling[]>

/** Values under `MIN_KNOWN_SECRET_LENGTH` characters are left out. */
export function knownSecrets(values: readonly string[]): KnownSecrets {
  const known = [...new Set(values)].filter((value) => value.length >= MIN_KNOWN_SECRET_LENGTH)
  const exact = known.flatMap((value) => [...spellings(value).map((text) => spelling(value, text)), ...base64(value)])
  const folded = known.flatMap((value) => [value, hex(value)].map((text) => spelling(value, text.toLowerCase())))
  return { begins: exact.map(({ text }) => text), exact: indexOf(exact), folded: indexOf(folded) }
}

/** `folded`: in a text that may have lost its case. */
export function findKnown(text: string, known: KnownSecrets, folded: boolean, add: Add): void {
  find(text, known.exact, add)
  if (folded) find(text.toLowerCase(), known.folded, add)
}

/** Percent escapes and `\u` are taken off before anything is looked for; these are what is left. */
export function spellings(value: string): string[] {
  const bytes = Buffer.from(value, 'utf8')
  const written = [value, bytes.toString('latin1')]
  const quoted = written.map((text) => JSON.stringify(text).slice(1, -1))
  const form = written.map((text) => text.replaceAll(' ', '+'))
  return [...new Set([...written, ...quoted, ...form, hex(value), hex(value).toUpperCase()])]
}

function hex(value: string): string {
  return Buffer.from(value, 'utf8').toString('hex')
}

/** What a longer base64 text (RFC 4648 §4, §5) has of a value: those digits that the value alone decides, by where in three bytes it begins. */
interface Base64Spelling {
  readonly text: string
  /** Bytes before it that its first digits belong to as well: 0, 1 or 2. */
  readonly offset: number
  /** The last digit of it holds some of its bits, and is left out. */
  readonly isWhole: boolean
}

export function base64Spellings(bytes: Buffer): Base64Spelling[] {
  return [0, 2, 3].flatMap((skipped, offset) => {
    const padded = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64')
    const isWhole = !padded.endsWith('=')
    const digits = padded.replaceAll('=', '').slice(skipped, isWhole ? padded.length : -1)
    const spelled = new Set([digits, digits.replaceAll('+', '-').replaceAll('/', '_')])
    return Array.from(spelled, (text) => ({ text, offset, isWhole }))
  })
}

function base64(value: string): Spelling[] {
  const spelled = base64Spellings(Buffer.from(value, 'utf8'))
  return spelled.map(({ text, offset, isWhole }) => spelling(value, text, [offset > 0, !isWhole]))
}

function spelling(value: string, text: string, shared: Spelling['shared'] = [false, false]): Spelling {
  return { value, text, needle: text.slice(0, MAX_NEEDLE), shared }
}

function indexOf(all: readonly Spelling[]): Index {
  const bySlot = new Map<number, Spelling[]>()
  for (const each of all) bySlot.set(slotAt(each.text, 0), [...(bySlot.get(slotAt(each.text, 0)) ?? []), each])
  return bySlot
}

function find(text: string, index: Index, add: Add): void {
  for (let at = 0; at <= text.length - MIN_KNOWN_SECRET_LENGTH; at++) {
    const begun = index.get(slotAt(text, at))
    if (begun === undefined) continue
    for (const each of begun) {
      if (!text.startsWith(each.needle, at)) continue
      const end = endOf(text, at, each)
      const [before, behind] = each.shared
      add(at - digitsAt(text, at - 1, before), end + digitsAt(text, end, behind), each.value)
    }
  }
}

/** 1 where a digit of base64 is shared and stands at `at`. */
function digitsAt(text: string, at: number, shared: boolean): number {
  return shared && /[\w+/-]/.test(text.charAt(at)) ? 1 : 0
}

function endOf(text: string, start: number, { text: spelled, needle }: Spelling): number {
  let length = needle.length
  while (length < spelled.length && text[start + length] === spelled[length]) length++
  return start + length
}
