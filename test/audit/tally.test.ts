import * as fc from 'fast-check'
import * as prometheus from 'prom-client'
import { describe, expect, it } from 'vitest'
import { DecisionCounter, Histogram } from '../../src/audit/tally.ts'

describe('numbers of our own are printed as those of prom-client', () => {
  it('decisions, before the first and after any', async () => {
    const decision = fc.tuple(
      fc.constantFrom('allow', 'deny'),
      fc.constantFrom('none', 'self', 'malformed'),
      fc.constantFrom('a', 'b', 'a b', 'with "quotes" \\ and\nlines'),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(decision, { maxLength: 30 }), async (decisions) => {
        const [own, theirs] = [new prometheus.Registry(), new prometheus.Registry()]
        const counter = new DecisionCounter('decisions_total', 'Help.', own)
        const labelNames = ['decision', 'reason', 'client']
        const known = new prometheus.Counter({
          name: 'decisions_total',
          help: 'Help.',
          labelNames,
          registers: [theirs],
        })
        for (const [taken, reason, client] of decisions) {
          counter.inc(taken, reason, client)
          known.inc({ decision: taken, reason, client })
        }
        expect(await own.metrics()).toBe(await theirs.metrics())
      }),
    )
  })

  it('observations, on a bound, between two and above all', async () => {
    const observed = fc.oneof(fc.constantFrom(0, 0.005, 1, 300, 301), fc.double({ noNaN: true, min: -1, max: 1e9 }))
    await fc.assert(
      fc.asyncProperty(fc.array(observed, { maxLength: 30 }), async (values) => {
        const [own, theirs] = [new prometheus.Registry(), new prometheus.Registry()]
        const buckets = [0.005, 1, 2.5, 300]
        const histogram = new Histogram('seconds', 'Help.', buckets, own)
        const known = new prometheus.Histogram({ name: 'seconds', help: 'Help.', buckets, registers: [theirs] })
        for (const value of values) {
          histogram.observe(value)
          known.observe(value)
        }
        expect(await own.metrics()).toBe(await theirs.metrics())
      }),
    )
  })

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('%d is a bug', (value) => {
    const histogram = new Histogram('seconds', 'Help.', [1], new prometheus.Registry())
    expect(() => histogram.observe(value)).toThrow(new TypeError(`seconds takes finite numbers, not ${value}`))
  })
})
