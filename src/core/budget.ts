// The token bucket of a rate limit, as a function of its state and the time.

import type { RateSpec } from './rule.ts'

const PERIOD_MS: Readonly<Record<RateSpec['per'], number>> = { second: 1000, minute: 60_000, hour: 3_600_000 }

/**
 * What a bucket holds at `at` (ms). A request costs as many units as its period has ms, and every ms brings as many units
 * as the period has requests: whole numbers, so that nothing is lost or won by rounding.
 */
export interface Bucket {
  readonly units: number
  readonly at: number
}

/** `remaining`: requests that may follow at once. `resetMs`: until the bucket is full. `retryAfterMs`: 0 where ok. */
export interface Drawn {
  readonly state: Bucket
  readonly ok: boolean
  readonly remaining: number
  readonly resetMs: number
  readonly retryAfterMs: number
}

/** Takes one request out of the bucket; null is a bucket never used, which is full. A refused request costs nothing. */
export function draw(state: Bucket | null, now: number, spec: RateSpec): Drawn {
  const cost = PERIOD_MS[spec.per]
  const full = burstOf(spec) * cost
  const held = refilled(state, now, spec)
  const ok = held >= cost
  const units = ok ? held - cost : held
  return {
    // A clock that steps back must not refill the bucket a second time.
    state: { units, at: Math.max(now, state?.at ?? now) },
    ok,
    remaining: Math.floor(units / cost),
    resetMs: Math.ceil((full - units) / spec.requests),
    retryAfterMs: ok ? 0 : Math.ceil((cost - units) / spec.requests),
  }
}

/** Whether the bucket holds all it can: forgetting it loses nothing. */
export function isFull(state: Bucket, now: number, spec: RateSpec): boolean {
  return refilled(state, now, spec) === burstOf(spec) * PERIOD_MS[spec.per]
}

/** The most requests at once; `requests` where `burst` is not set. */
export function burstOf(spec: RateSpec): number {
  return spec.burst ?? spec.requests
}

function refilled(state: Bucket | null, now: number, spec: RateSpec): number {
  const full = burstOf(spec) * PERIOD_MS[spec.per]
  if (state === null) return full
  return Math.min(full, state.units + Math.max(0, now - state.at) * spec.requests)
}
