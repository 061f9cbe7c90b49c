// Looks through a text for secrets, under every escape, in one pass for each reading; and tells how much of its end could become one.

import { endOfWholeEscapes, escapedPlace, unescaped } from './redact-layers.ts'
import { slotOf } from './redact-scan.ts'
import { type Guard, type Leak, leakOf, unreadable } from './secret.ts'
import { look, type Needle } from './secret-needle.ts'
import { MAX_DECODE_ROUNDS } from './percent.ts'

/** `begun`: where the first secret begins that what follows could complete; the length of the text where there is none. */
export type Scanned =
  | { readonly kind: 'clean'; readonly begun: number }
  /** `secret` null: it can not be read. */
  | { readonly kind: 'leak'; readonly secret: number | null; readonly leak: Leak }

/** `text`: bytes as Latin-1. `last`: nothing follows it. */
export function scanForSecrets(text: string, guard: Guard, last: boolean): Scanned {
  const readings: string[] = []
  let begun = text.length
  for (let reading: string | null = text; reading !== null; reading = unescaped(reading)) {
    if (readings.length > MAX_DECODE_ROUNDS) {
      return { kind: 'leak', secret: null, leak: unreadable('it is escaped more often than is looked through') }
    }
    const found = scanReading(reading, guard, last)
    if (found.secret >= 0) return { kind: 'leak', secret: found.secret, leak: leakOf(guard, found.secret) }
    if (found.begun >= 0) begun = Math.min(begun, placeIn(readings, found.begun))
    readings.push(reading)
  }
  return { kind: 'clean', begun }
}

/** Through the readings that it was made of, back to the text. */
function placeIn(readings: readonly string[], at: number): number {
  return readings.reduceRight((place, reading) => escapedPlace(reading, place), at)
}

/** -1: none. */
interface Found {
  readonly secret: number
  readonly begun: number
}

function scanReading(reading: string, { policy, kept }: Guard, last: boolean): Found {
  const { groups, needles } = policy
  const end = last ? reading.length : endOfWholeEscapes(reading)
  const text = end === reading.length ? reading : reading.slice(0, end)
  let begun = -1
  let a = 0
  let b = 0
  for (let at = 0; at < end; at++) {
    const c = text.charCodeAt(at)
    const group = groups[slotOf(a, b, c)] as number
    if (group !== 0 && at >= 2) {
      for (const needle of needles[group] as readonly Needle[]) {
        if (needle.first !== a || kept[needle.secret] !== 1) continue
        const sight = look(needle, text, at - 2, last)
        if (sight === 'found') return { secret: needle.secret, begun }
        if (sight === 'begun' && begun < 0) begun = at - 2
      }
    }
    a = b
    b = c
  }
  return { secret: -1, begun }
}
