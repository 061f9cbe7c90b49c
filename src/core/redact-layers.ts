// Escapes looked through: a text as it stands, and as it reads once percent escapes, backslashes and zero bytes are taken off.

import { decodeLayer, type Layer, MAX_DECODE_ROUNDS } from './percent.ts'

/** As in JSON and in scripts; however many backslashes stand in front, it is one escape, of JSON in JSON. */
const BACKSLASH_ESCAPE = /(?<!\\)\\+(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(\/))/g

/** Calls `look` with every reading; false: escaped more often than any origin decodes, and nobody can say what is in it. */
export function eachReading(raw: string, look: (layer: Layer) => void): boolean {
  const plain: Layer = { text: raw, offsets: null }
  if (!eachRound(plain, raw.length, look)) return false
  const unquoted = raw.includes('\\') ? withoutBackslashes(plain, raw.length) : null
  if (unquoted !== null && !eachRound(unquoted, raw.length, look)) return false
  // UTF-16 text is Latin-1 text with zeros in between.
  return !raw.includes('\0') || eachRound(withoutZeros(plain, raw.length), raw.length, look)
}

function eachRound(first: Layer, rawLength: number, look: (layer: Layer) => void): boolean {
  let layer: Layer | null = first
  for (let round = 0; layer !== null && round <= MAX_DECODE_ROUNDS; round++) {
    look(layer)
    layer = decodeLayer(layer, rawLength)
  }
  return layer === null
}

/** Null when nothing was escaped so. */
function withoutBackslashes({ text }: Layer, rawLength: number): Layer | null {
  let decoded = ''
  let from = 0
  const offsets: number[] = []
  BACKSLASH_ESCAPE.lastIndex = 0
  for (let match = BACKSLASH_ESCAPE.exec(text); match !== null; match = BACKSLASH_ESCAPE.exec(text)) {
    decoded += text.slice(from, match.index)
    for (; from < match.index; from++) offsets.push(from)
    decoded += match[3] ?? String.fromCharCode(Number.parseInt(match[1] ?? (match[2] as string), 16))
    offsets.push(match.index)
    from = BACKSLASH_ESCAPE.lastIndex
  }
  if (from === 0) return null
  decoded += text.slice(from)
  for (; from <= rawLength; from++) offsets.push(from)
  return { text: decoded, offsets }
}

function withoutZeros({ text }: Layer, rawLength: number): Layer {
  const offsets: number[] = []
  for (let at = 0; at < text.length; at++) if (text[at] !== '\0') offsets.push(at)
  offsets.push(rawLength)
  return { text: text.replaceAll('\0', ''), offsets }
}

/** Every escape of both kinds at once. */
const ANY_ESCAPE = /%([0-9A-Fa-f]{2})|(?<!\\)\\+(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(\/))/g
/** The beginning of one at the end of a text. */
const BEGUN_ESCAPE = /(?:%[0-9A-Fa-f]?|\\+(?:u[0-9A-Fa-f]{0,3}|x[0-9A-Fa-f]?)?)$/
const LONGEST_ESCAPE = 16

/** One round of escapes taken off, without the places; null when nothing was escaped. */
export function unescaped(text: string): string | null {
  if (!text.includes('%') && !text.includes('\\')) return null
  const plain = text.replace(ANY_ESCAPE, (_, percent?: string, unicode?: string, byte?: string, slash?: string) => {
    return slash ?? String.fromCharCode(Number.parseInt((percent ?? unicode ?? byte) as string, 16))
  })
  return plain.length === text.length ? null : plain
}

/** Where in `text` stands what is at `at` once one round of escapes is taken off. */
export function escapedPlace(text: string, at: number): number {
  let shift = 0
  ANY_ESCAPE.lastIndex = 0
  for (let match = ANY_ESCAPE.exec(text); match !== null; match = ANY_ESCAPE.exec(text)) {
    if (match.index - shift >= at) break
    shift += match[0].length - 1
  }
  return at + shift
}

/** Where the last escape begins that the end of `text` cuts through; its length where it cuts through none. */
export function endOfWholeEscapes(text: string): number {
  const from = Math.max(0, text.length - LONGEST_ESCAPE)
  const begun = BEGUN_ESCAPE.exec(text.slice(from))
  return begun === null ? text.length : from + begun.index
}
