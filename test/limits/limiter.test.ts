import { describe, expect, it } from 'vitest'
import type { RateSpec } from '../../src/core/rule.ts'
import { createLimiter, MAX_BUCKETS } from '../../src/limits/limiter.ts'

const SPEC: RateSpec = { requests: 1, per: 'second', burst: 2 }

describe('limiter', () => {
  it('keeps one bucket a key', () => {
    const limiter = createLimiter()
    expect([1, 2, 3].map(() => limiter.take('a', SPEC, 0).ok)).toEqual([true, true, false])
    expect(limiter.take('b', SPEC, 0)).toEqual({ ok: true, limit: 2, remaining: 1, resetMs: 1000, retryAfterMs: 0 })
    expect(limiter.take('a', SPEC, 0)).toEqual({ ok: false, limit: 2, remaining: 0, resetMs: 2000, retryAfterMs: 1000 })
  })

  it('serves as the budget of a burst of 20, then one a second', () => {
    const limiter = createLimiter()
    const leaves: RateSpec = { requests: 1, per: 'second', burst: 20 }
    const granted = Array.from({ length: 25 }, () => limiter.take('client', leaves, 0).ok)
    expect(granted.filter(Boolean)).toHaveLength(20)
    expect(limiter.take('client', leaves, 999).ok).toBe(false)
    expect(limiter.take('client', leaves, 1000).ok).toBe(true)
  })

  it('keeps the bucket over a reload that leaves the rate as it was', () => {
    const limiter = createLimiter()
    limiter.take('a', SPEC, 0)
    limiter.take('a', { ...SPEC }, 0)
    expect(limiter.take('a', { ...SPEC }, 0).ok).toBe(false)
  })

  it.each([
    ['requests', { requests: 5, per: 'second', burst: 2 }],
    ['period', { requests: 1, per: 'hour', burst: 2 }],
    ['burst', { requests: 1, per: 'second', burst: 1 }],
  ] as const)('starts over when a reload changes the %s', (_, changed) => {
    const limiter = createLimiter()
    limiter.take('a', SPEC, 0)
    limiter.take('a', SPEC, 0)
    expect(limiter.take('a', changed, 0).ok).toBe(true)
  })

  it('makes room by forgetting a full bucket', () => {
    const limiter = createLimiter(2)
    limiter.take('a', SPEC, 0)
    limiter.take('b', SPEC, 900)
    expect(limiter.take('c', SPEC, 1000).ok).toBe(true)
    // b is still known: it has one request left, not two.
    expect(limiter.take('b', SPEC, 1000)).toMatchObject({ ok: true, remaining: 0 })
  })

  it('refuses a new key rather than forget a used bucket', () => {
    const limiter = createLimiter(2)
    limiter.take('a', SPEC, 0)
    limiter.take('b', SPEC, 0)
    expect(limiter.take('c', SPEC, 10)).toEqual({
      ok: false,
      limit: 2,
      remaining: 0,
      resetMs: 1000,
      retryAfterMs: 1000,
    })
    expect(limiter.take('a', SPEC, 10).ok).toBe(true)
  })

  it('looks for room among the longest unused only', () => {
    const limiter = createLimiter(65)
    const slow: RateSpec = { requests: 1, per: 'hour' }
    for (let index = 0; index < 64; index += 1) limiter.take(`slow-${index}`, slow, 0)
    limiter.take('fast', SPEC, 0)
    expect(limiter.take('new', SPEC, 5000).ok).toBe(false)
    // Used again, one of the 64 moves behind the full bucket.
    limiter.take('slow-0', slow, 5000)
    expect(limiter.take('new', SPEC, 5000).ok).toBe(true)
  })

  it('has a bound', () => {
    const limiter = createLimiter()
    for (let index = 0; index < MAX_BUCKETS; index += 1) limiter.take(`key ${index}`, SPEC, 0)
    expect(limiter.take('one more', SPEC, 0).ok).toBe(false)
  })
})
