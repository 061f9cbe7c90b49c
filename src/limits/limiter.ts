// Rate limits at run time: a bounded set of token buckets, one a key.

import { type Bucket, burstOf, draw, isFull } from '../core/budget.ts'
import type { RateSpec } from '../core/rule.ts'

/** Far above rules × clients of any real configuration; about 10 MB when full. */
export const MAX_BUCKETS = 65_536
/** How many of the longest unused buckets are looked at to make room for a new one. */
const EVICTION_SCAN = 64

/** What the `X-RateLimit-*` and `Retry-After` fields of an answer are made of: `limit` is the size of the bucket, times are ms. */
export interface Taken {
  readonly ok: boolean
  readonly limit: number
  readonly remaining: number
  readonly resetMs: number
  readonly retryAfterMs: number
}

export interface Limiter {
  /** Takes one request out of the bucket of `key`. `nowMs` is of a clock that does not go back. */
  take(key: string, spec: RateSpec, nowMs: number): Taken
}

interface Entry {
  readonly spec: RateSpec
  readonly state: Bucket
}

/** `bound` is the number of buckets held at most. */
export function createLimiter(bound: number = MAX_BUCKETS): Limiter {
  // In order of last use: a Map keeps insertion order, and every use inserts anew.
  const entries = new Map<string, Entry>()

  function take(key: string, spec: RateSpec, nowMs: number): Taken {
    const entry = entries.get(key)
    if (entry === undefined && entries.size >= bound && !evict(nowMs)) return exhausted(spec)
    // A reload that changes the rate starts the bucket over: its units would mean something else.
    const drawn = draw(entry !== undefined && sameRate(entry.spec, spec) ? entry.state : null, nowMs, spec)
    entries.delete(key)
    entries.set(key, { spec, state: drawn.state })
    const { ok, remaining, resetMs, retryAfterMs } = drawn
    return { ok, limit: burstOf(spec), remaining, resetMs, retryAfterMs }
  }

  /** SECURITY: only a full bucket may go. To forget a used one would hand its owner a new burst. */
  function evict(nowMs: number): boolean {
    let looked = 0
    for (const [key, { spec, state }] of entries) {
      if (isFull(state, nowMs, spec)) return entries.delete(key)
      looked += 1
      if (looked === EVICTION_SCAN) break
    }
    return false
  }

  return { take }
}

function sameRate(a: RateSpec, b: RateSpec): boolean {
  return a.requests === b.requests && a.per === b.per && burstOf(a) === burstOf(b)
}

/** SECURITY: no room for a bucket is a refusal, never a request that nobody counts. */
function exhausted(spec: RateSpec): Taken {
  return { ok: false, limit: burstOf(spec), remaining: 0, resetMs: 1000, retryAfterMs: 1000 }
}
