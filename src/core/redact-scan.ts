// One pass over a text that tells which searches could find anything in it: nearly every text has nothing, and costs no more.

/** Bits of what `suspicion` answers. */
export const SUSPECT = {
  /** A literal that a known form of token begins with. */
  token: 1,
  /** The same in any case. */
  folded: 2,
  /** What a spelling of a known secret begins with. */
  known: 4,
  equals: 8,
  colon: 16,
  element: 32,
  slashes: 64,
  /** What an escape begins with, or a zero byte: the text reads in more than one way. */
  escape: 128,
} as const

/** By hash of three characters, the bits that they raise. */
export type ScanTable = Uint8Array

export const SLOTS: number = 1 << 16
const SLASH = 0x2f
const BACKSLASH = 0x5c

/** Slot of three characters. */
export const slotOf = (a: number, b: number, c: number): number => (a * 4_099 + b * 67 + c) & (SLOTS - 1)

/** Slot of the three characters from `at`. */
export function slotAt(text: string, at: number): number {
  return slotOf(text.charCodeAt(at), text.charCodeAt(at + 1), text.charCodeAt(at + 2))
}

/** Three characters each: a part of every form in token-formats.ts, as rare in other texts as can be. */
const TOKEN_PARTS: readonly string[] = [
  ...'ghp gho ghs ghu ghr b_p xox xap pk_ rk_ sk_ whs AKI ASI sk- AIz ya2 GOC SG. pm_ ypi hf_'.split(' '),
  ...'lpa lpt ldt lrt soa lcb oas lft imt lag BSA gsk ntn r8_ xai plx tvl igd n_a p_v shp s/T :AA eyJ --B'.split(' '),
  ...Array.from('0123456789', (digit) => `ot${digit}`),
  ...Array.from('0123456789abcdef', (digit) => `SK${digit}`),
  ...['bea', 'bas'].flatMap(everyCase),
]

const FOLDED_PARTS: readonly string[] = [
  ...'hp_ ho_ hs_ hu_ hr_ b_p xox xap pk_ rk_ sk_ aki asi sk- aiz ya2 goc sg. pm_ ypi hf_ lpa lpt ldt lrt soa bsa eyj'
    .split(' ')
    .flatMap(everyCase),
  ...Array.from('0123456789abcdef', (digit) => `sk${digit}`).flatMap(everyCase),
]

function everyCase(part: string): string[] {
  let spelled = ['']
  for (const unit of part) {
    const both = [...new Set([unit.toLowerCase(), unit.toUpperCase()])]
    spelled = spelled.flatMap((start) => both.map((end) => start + end))
  }
  return spelled
}

/** `known`: texts of three characters and more. */
export function scanTable(known: readonly string[]): ScanTable {
  const table = new Uint8Array(SLOTS)
  const raise = (parts: readonly string[], bit: number): void => {
    for (const part of parts) table[slotAt(part, 0)] = (table[slotAt(part, 0)] as number) | bit
  }
  raise(TOKEN_PARTS, SUSPECT.token)
  raise(FOLDED_PARTS, SUSPECT.folded)
  raise(known, SUSPECT.known)
  return table
}

export function suspicion(text: string, table: ScanTable): number {
  let bits = 0
  let a = 0
  let b = 0
  for (let at = 0; at < text.length; at++) {
    const c = text.charCodeAt(at)
    bits |= table[slotOf(a, b, c)] as number
    if (c <= BACKSLASH) bits |= (BITS[c] as number) | (c === SLASH && b === SLASH ? SUSPECT.slashes : 0)
    a = b
    b = c
  }
  return bits
}

const BITS: Uint8Array = Uint8Array.from({ length: BACKSLASH + 1 }, (_, unit) => {
  const { equals, colon, element, escape } = SUSPECT
  const bits: Readonly<Record<string, number>> = {
    '=': equals,
    ':': colon,
    '>': element,
    '%': escape,
    '\\': escape,
    '\0': escape,
  }
  return bits[String.fromCharCode(unit)] ?? 0
})
