import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeFully, decodeLayer, MAX_DECODE_ROUNDS } from '../../src/core/percent.ts'

describe('one round of decoding', () => {
  it.each([
    ['nothing escaped', 'abc', null],
    ['a percent sign that escapes nothing', '50%, 100%zz, %4', null],
    ['one escape', 'a%20b', 'a b'],
    ['hex in either case', '%2f%2F', '//'],
    ['one round only', '%2541', '%41'],
    ['escapes beside percent signs', '%%41%', '%A%'],
    ['bytes, not characters', '%C3%A9', 'Ã©'],
  ])('%s', (_case, raw, expected) => {
    expect(decodeLayer({ text: raw, offsets: null }, raw.length)?.text ?? null).toBe(expected)
  })

  it('knows where each character stands in the raw text, through two rounds', () => {
    const raw = 'a%2541b'
    const once = decodeLayer({ text: raw, offsets: null }, raw.length)
    expect(once).toEqual({ text: 'a%41b', offsets: [0, 1, 4, 5, 6, 7] })
    expect(once && decodeLayer(once, raw.length)).toEqual({ text: 'aAb', offsets: [0, 1, 6, 7] })
  })
})

it('decodes what encodeURIComponent encodes, up to the last round', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'grapheme-ascii' }),
      fc.integer({ min: 1, max: MAX_DECODE_ROUNDS }),
      (value, rounds) => {
        fc.pre(!/%[0-9a-f]{2}/i.test(value))
        let encoded = value
        for (let round = 0; round < rounds; round++) encoded = encodeURIComponent(encoded)
        expect(decodeFully(encoded)).toBe(value)
      },
    ),
  )
})
