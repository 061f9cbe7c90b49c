// Identifiers of requests, connections and trails: ULIDs, so that their order is the order in which they were given out.

import { randomBytes } from 'node:crypto'

const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const HALF = 2 ** 39
/** Random bytes are fetched this many at a time: a call to the kernel's generator for each identifier costs more than the rest. */
const POOL_BYTES = 4_096
const RANDOM_BYTES = 10

let pool = Buffer.alloc(0)
let used = 0
let lastTime = -1
let timeText = ''
let high = 0
let low = 0

/**
 * 26 characters of Crockford base32: 48 bits of `now` (milliseconds since the epoch), 79 random bits.
 * Every identifier of a process is greater than the one before, also within a millisecond and when the clock goes back.
 */
export function newId(now: number): string {
  if (now > lastTime) {
    lastTime = now
    timeText = base32(Math.floor(now), 10)
    drawRandom()
  } else {
    low += 1
  }
  return timeText + base32(high, 8) + base32(low, 8)
}

function drawRandom(): void {
  if (used + RANDOM_BYTES > pool.length) {
    pool = randomBytes(POOL_BYTES)
    used = 0
  }
  high = pool.readUIntBE(used, 5)
  // The top bit stays clear: counting up within a millisecond can then never run over.
  low = pool.readUIntBE(used + 5, 5) % HALF
  used += RANDOM_BYTES
}

function base32(value: number, length: number): string {
  let text = ''
  let rest = value
  for (let at = 0; at < length; at++) {
    text = CROCKFORD.charAt(rest % 32) + text
    rest = Math.floor(rest / 32)
  }
  return text
}
