// Places are shared: nobody holds more than what is still free.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Shares } from '../../src/proxy/shares.ts'

const taken = (shares: Shares, source: string | null, times: number): number =>
  Array.from({ length: times }, () => shares.take(source)).filter(Boolean).length

describe('shares', () => {
  it('one source gets half, the next half of the rest, and there is always one for the next', () => {
    const shares = new Shares(16, 100)
    const got = ['a', 'b', 'c', 'd', 'e'].map((source) => taken(shares, source, 20))
    expect([got, shares.taken]).toEqual([[8, 4, 2, 1, 1], 16])
    expect(shares.take('f')).toBe(false)
  })

  it('nobody gets more than the most for one, however much is free', () => {
    expect(taken(new Shares(100, 3), 'a', 20)).toBe(3)
  })

  it('clients without an address are one source, and what is given back is free again', () => {
    const shares = new Shares(4, 4)
    expect(taken(shares, null, 5)).toBe(2)
    shares.give(null)
    expect([shares.taken, taken(shares, null, 5)]).toEqual([1, 1])
  })

  it('never counts more or fewer than are held', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.boolean()), { maxLength: 200 }), (steps) => {
        const shares = new Shares(9, 5)
        const held = new Map<string, number>()
        for (const [source, takes] of steps) {
          const own = held.get(source) ?? 0
          if (takes && shares.take(source)) held.set(source, own + 1)
          else if (!takes && own > 0) {
            shares.give(source)
            held.set(source, own - 1)
          }
          const all = [...held.values()]
          expect(shares.taken).toBe(all.reduce((sum, count) => sum + count, 0))
          expect(Math.max(0, ...all)).toBeLessThanOrEqual(5)
          expect(shares.taken).toBeLessThanOrEqual(9)
        }
      }),
    )
  })
})
