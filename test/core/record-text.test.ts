import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { list, number, numeral, quote, RepeatedText, text, TextMember } from '../../src/core/record-text.ts'

describe('members as text', () => {
  it('numbers, texts, lists and nothing', () => {
    expect(number('n', 1.5)).toBe(',"n":1.5')
    expect(number('n', null)).toBe(',"n":null')
    expect(text('t', null, 5, [])).toBe(',"t":null')
    expect(text('t', 'abc', 5, [])).toBe(',"t":"abc"')
    expect(list('l', ['a', 'b'], 5, 2, [])).toBe(',"l":["a","b"]')
  })

  it.each([Number.NaN, Number.NEGATIVE_INFINITY])('%d is a bug', (value) => {
    expect(() => number('n', value)).toThrow(new TypeError('audit field n is not a finite number'))
  })

  it('what is too long is cut, says by how much, and its owner is named', () => {
    const cut: string[] = []
    expect(text('t', 'abcdef', 4, cut)).toBe(',"t":"abcd[cut 2]"')
    expect(text('t', 'abcdef', 4, cut, 'owner')).toBe(',"t":"abcd[cut 2]"')
    expect(list('l', ['abcde', 'b', 'c'], 4, 2, cut)).toBe(',"l":["abcd[cut 1]","b"]')
    expect(cut).toEqual(['t', 'owner', 'l', 'l'])
  })

  it('an escape is never cut in two [K01]', () => {
    const cut: string[] = []
    expect(quote('q', 'ab\u2028', 7, cut)).toBe('"ab[cut 1]"')
    expect(quote('q', 'a\u2028', 7, cut)).toBe('"a\\u2028"')
    expect(quote('q', '"\\', 4, cut)).toBe('"\\"\\\\"')
    expect(cut).toEqual(['q'])
  })
})

describe('numbers', () => {
  const times = fc.integer({ min: -10, max: 2_000_000_000 }).map((microseconds) => microseconds / 1_000)

  it.each([-0, 0, 0.001, 0.1, 1.5, 84.125, 999_999.999, 1_000_000, 1e21, 1e-7, 0.0005, -1.5])(
    '%d as String',
    (value) => {
      expect(numeral('n', value)).toBe(String(value))
    },
  )

  it('any number is written as String writes it', () => {
    fc.assert(
      fc.property(fc.oneof(times, fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer()), (value) => {
        expect(numeral('n', value)).toBe(String(value))
      }),
    )
  })
})

describe('a member of many records', () => {
  it('is written as text writes it', () => {
    const member = new TextMember(',"t":', 4, 'owner')
    const cut: string[] = []
    expect(member.write(null, cut)).toBe(',"t":null')
    expect(member.write('a"', cut)).toBe(',"t":"a\\""')
    expect(member.write('abcdef', cut)).toBe(',"t":"abcd[cut 2]"')
    expect(cut).toEqual(['owner'])
  })

  it('that repeats is kept, and never for another value', () => {
    const member = new RepeatedText(new TextMember(',"t":', 8, 't'))
    const said = ['a', 'a', null, null, 'b', 'a', '', 'null'].map((value) => member.write(value, []))
    expect(said.map((written) => (JSON.parse(`{${written.slice(1)}}`) as { t: string | null }).t)).toEqual([
      'a',
      'a',
      null,
      null,
      'b',
      'a',
      '',
      'null',
    ])
  })

  it('that is cut says so every time', () => {
    const member = new RepeatedText(new TextMember(',"t":', 2, 't'))
    const cut: string[] = []
    for (let times = 0; times < 3; times++) expect(member.write('abc', cut)).toBe(',"t":"ab[cut 1]"')
    expect(cut).toEqual(['t', 't', 't'])
  })
})
