import { describe, expect, it } from 'vitest'
import { newId } from '../../src/audit/id.ts'

const FUTURE = Date.UTC(2030, 0, 1)

describe('newId', () => {
  it('is a ULID of its moment', () => {
    expect(newId(1_469_918_176_385)).toMatch(/^01ARYZ6S41[0-9A-HJKMNP-TV-Z]{16}$/)
  })

  it('is always greater than the one before: within a millisecond, past it, and when the clock goes back [K14]', () => {
    const moments = [
      ...Array.from({ length: 5_000 }, () => FUTURE),
      FUTURE + 1,
      FUTURE - 10_000,
      FUTURE + 0.5,
      FUTURE + 2,
    ]
    const ids = moments.map((now) => newId(now))
    expect(ids.every((id) => id.length === 26)).toBe(true)
    expect(ids).toEqual([...new Set(ids)].sort())
  })

  it('is greater than the one before over a million within a millisecond', () => {
    // More than the last four characters count to, so that the ones before them must move.
    let last = newId(FUTURE + 500)
    let broken = 0
    for (let count = 0; count < 1_100_000; count++) {
      const id = newId(FUTURE + 500)
      if (id <= last || id.length !== 26) broken++
      last = id
    }
    expect(broken).toBe(0)
  })

  it('draws again for every new millisecond', () => {
    const tails = Array.from({ length: 2_000 }, (_, at) => newId(FUTURE + 1_000 + at).slice(10))
    expect(new Set(tails).size).toBe(2_000)
    // Drawn, not counted: neighbours do not share their first random characters.
    expect(new Set(tails.map((tail) => tail.slice(0, 4))).size).toBeGreaterThan(1_900)
  })
})
