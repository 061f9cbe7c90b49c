import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Bucket, burstOf, draw, isFull } from '../../src/core/budget.ts'
import type { RateSpec } from '../../src/core/rule.ts'

/** Draws at each of `times` and tells which were granted. */
function run(spec: RateSpec, times: readonly number[]): readonly boolean[] {
  let state: Bucket | null = null
  return times.map((now) => {
    const drawn = draw(state, now, spec)
    state = drawn.state
    return drawn.ok
  })
}

describe('token bucket', () => {
  it('grants a burst at once, then one an interval', () => {
    const spec: RateSpec = { requests: 60, per: 'minute', burst: 2 }
    expect(run(spec, [0, 0, 0, 999, 1000, 1000, 3000, 3000, 3000])).toEqual([
      true,
      true,
      false,
      false,
      true,
      false,
      true,
      true,
      false,
    ])
  })

  it('tells what is left and when there is more', () => {
    const spec: RateSpec = { requests: 3, per: 'second' }
    const first = draw(null, 5000, spec)
    expect(first).toMatchObject({ ok: true, remaining: 2, resetMs: 334, retryAfterMs: 0 })
    const second = draw(first.state, 5000, spec)
    const third = draw(second.state, 5000, spec)
    expect(third).toMatchObject({ ok: true, remaining: 0, resetMs: 1000 })
    expect(draw(third.state, 5100, spec)).toMatchObject({ ok: false, remaining: 0, resetMs: 900, retryAfterMs: 234 })
  })

  it('has a burst of its requests unless told', () => {
    expect(burstOf({ requests: 7, per: 'hour' })).toBe(7)
    expect(burstOf({ requests: 7, per: 'hour', burst: 1 })).toBe(1)
  })

  it('gives nothing for a clock that steps back', () => {
    const spec: RateSpec = { requests: 1, per: 'second' }
    expect(run(spec, [10_000, 0, 9000, 10_999, 11_000])).toEqual([true, false, false, false, true])
  })

  it('is full again after its time and not before', () => {
    const spec: RateSpec = { requests: 2, per: 'second' }
    const { state, resetMs } = draw(null, 0, spec)
    expect(isFull(state, resetMs - 1, spec)).toBe(false)
    expect(isFull(state, resetMs, spec)).toBe(true)
  })

  const spec = fc.record({
    requests: fc.integer({ min: 1, max: 50 }),
    per: fc.constantFrom('second' as const, 'minute' as const, 'hour' as const),
    burst: fc.integer({ min: 1, max: 50 }),
  })
  const period = { second: 1000, minute: 60_000, hour: 3_600_000 }

  it('never grants more than the burst and the rate in any time', () => {
    fc.assert(
      fc.property(spec, fc.array(fc.nat(2000), { maxLength: 120 }), (rate, gaps) => {
        let now = 0
        const times = gaps.map((gap) => (now += gap))
        const granted = times.filter((_, index) => run(rate, times)[index] === true)
        for (const [index, from] of granted.entries()) {
          for (const [offset, to] of granted.slice(index).entries()) {
            expect(offset + 1).toBeLessThanOrEqual(rate.burst + ((to - from) * rate.requests) / period[rate.per])
          }
        }
      }),
      { numRuns: 40 },
    )
  })

  it('grants what it promised with retryAfterMs, and not a ms before', () => {
    fc.assert(
      fc.property(spec, fc.nat(5000), (rate, wait) => {
        let state: Bucket | null = null
        let drawn = draw(state, 0, rate)
        while (drawn.ok) {
          state = drawn.state
          drawn = draw(state, 0, rate)
        }
        const refused = draw(drawn.state, Math.min(wait, drawn.retryAfterMs - 1), rate)
        expect(refused.ok).toBe(false)
        expect(draw(drawn.state, drawn.retryAfterMs, rate).ok).toBe(true)
      }),
    )
  })
})
