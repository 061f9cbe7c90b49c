import { describe, expect, it } from 'vitest'
import { merge, replace } from '../../src/core/redact-range.ts'

describe('places of secrets', () => {
  it('are sorted, joined where they overlap and kept apart where they only touch', () => {
    expect(merge([])).toEqual([])
    const places = [
      { start: 9, end: 12 },
      { start: 0, end: 3 },
      { start: 2, end: 5 },
      { start: 5, end: 7 },
      { start: 10, end: 11 },
    ]
    expect(merge(places)).toEqual([
      { start: 0, end: 5 },
      { start: 5, end: 7 },
      { start: 9, end: 12 },
    ])
  })

  it('of one place found twice, what is known of it stays; of a larger one it does not', () => {
    const known = { start: 1, end: 4, value: 'abc' }
    expect(merge([{ start: 1, end: 4 }, known])).toEqual([known])
    expect(merge([known, { start: 1, end: 4 }])).toEqual([known])
    expect(merge([known, { start: 0, end: 4 }])).toEqual([{ start: 0, end: 4 }])
    expect(merge([known, { start: 3, end: 6 }])).toEqual([{ start: 1, end: 6 }])
  })

  it('are replaced by what stands for the value, the known one before the written', () => {
    const sealed = (value: string): string => `<${value}>`
    expect(replace('0123456789', [], sealed)).toBe('0123456789')
    const places = [
      { start: 1, end: 3 },
      { start: 5, end: 7, value: 'x' },
    ]
    expect(replace('0123456789', places, sealed)).toBe('0<12>34<x>789')
  })
})
