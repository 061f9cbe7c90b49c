import { describe, expect, it } from 'vitest'
import { list, number, quote, text } from '../../src/core/record-text.ts'

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
