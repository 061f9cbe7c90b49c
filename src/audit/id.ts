// Identifiers of requests, connections and trails: ULIDs, so that their order is the order in which they were given out.

import { randomBytes } from 'node:crypto'

const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
/** Two characters at a time. */
const PAIRS: readonly string[] = Array.from(
  { length: 1_024 },
  (_, n) => CROCKFORD.charAt(n >> 5) + CROCKFORD.charAt(n & 31),
)
/** What four characters count to. */
const QUARTER = 2 ** 20
const HALF_QUARTER = 2 ** 19
/** Random bytes are fetched this many at a time: a call to the kernel's generator for each identifier costs more than the rest. */
const POOL_BYTES = 4_096
const RANDOM_BYTES = 10

let pool = Buffer.alloc(0)
let used = 0
let lastTime = -1
/** The first 18 characters: the time and the upper 40 random bits. They change once a millisecond, the rest is counted. */
let start = ''
let middle = 0
let low = 0

/**
 * 26 characters of Crockford base32: 48 bits of `now` (milliseconds since the epoch), 79 random bits.
 * Every identifier of a process is greater than the one before, also within a millisecond and when the clock goes back.
 */
export function newId(now: number): string {
  if (now > lastTime) {
    lastTime = now
    draw(Math.floor(now))
  } else if (++low === QUARTER) {
    low = 0
    middle += 1
  }
  return start + four(middle) + four(low)
}

function draw(time: number): void {
  if (used + RANDOM_BYTES > pool.length) {
    pool = randomBytes(POOL_BYTES)
    used = 0
  }
  const upper = pool.readUIntBE(used, 5)
  start = PAIRS[Math.floor(time / QUARTER ** 2)] + four(Math.floor(time / QUARTER) % QUARTER) + four(time % QUARTER)
  start += four(Math.floor(upper / QUARTER)) + four(upper % QUARTER)
  // The top bit stays clear: counting up within a millisecond can then never run over.
  const lower = pool.readUIntBE(used + 5, 5)
  middle = Math.floor(lower / QUARTER) % HALF_QUARTER
  low = lower % QUARTER
  used += RANDOM_BYTES
}

function four(value: number): string {
  return `${PAIRS[value >> 10]}${PAIRS[value & 1_023]}`
}
