import { describe, expect, it } from 'vitest'
import { eachReading, endOfWholeEscapes, escapedPlace, unescaped } from '../../src/core/redact-layers.ts'

function readings(raw: string): string[] | null {
  const texts: string[] = []
  const readable = eachReading(raw, ({ text, offsets }) => {
    texts.push(text)
    // Every character knows where it stands, and the end too.
    const places = offsets ?? Array.from({ length: raw.length + 1 }, (_, at) => at)
    expect(places).toHaveLength(text.length + 1)
    expect(places.at(-1)).toBe(raw.length)
    expect(places.toSorted((a, b) => a - b)).toEqual(places)
  })
  return readable ? texts : null
}

describe('readings of a text', () => {
  it.each<[string, string[]]>([
    ['plain', ['plain']],
    ['%61b', ['%61b', 'ab']],
    ['%2561b', ['%2561b', '%61b', 'ab']],
    ['\\u0061b\\x63\\/d', ['\\u0061b\\x63\\/d', 'abc/d']],
    ['\\\\\\\\u0061b', ['\\\\\\\\u0061b', 'ab']],
    ['a\\nb', ['a\\nb']],
    ['\\u002561b', ['\\u002561b', '%61b', 'ab']],
    ['a\0b\0', ['a\0b\0', 'ab']],
    ['%61\0b', ['%61\0b', 'a\0b', '%61b', 'ab']],
  ])('%j', (raw, texts) => {
    expect(readings(raw)).toEqual(texts)
  })

  it('more layers than anybody decodes are no reading, whatever they stand in', () => {
    const deep = `%${'25'.repeat(5)}61`
    expect(readings(deep)).toBeNull()
    expect(readings(`\\u0025${'25'.repeat(5)}61`)).toBeNull()
    expect(readings(`%\0${'25'.repeat(5)}61`)).toBeNull()
  })

  it('a place in a reading is a place in the text', () => {
    const raw = 'x\\u0061%62c'
    const places: string[] = []
    eachReading(raw, ({ text, offsets }) => {
      const at = text.indexOf('abc')
      if (at >= 0) places.push(raw.slice(offsets?.[at], offsets?.[at + 3]))
    })
    expect(places).toEqual(['\\u0061%62c'])
  })

  it('half a megabyte of backslashes is read in time that grows with it', () => {
    expect(readings('\\'.repeat(524_288))).toHaveLength(1)
    expect(readings('\\\\u00'.repeat(87_381))).toHaveLength(1)
  })
})

describe('one round without the places', () => {
  it.each<[string, string | null]>([
    ['plain', null],
    ['100 % of it \\n', null],
    ['%61\\u0062\\x63\\/%2561', 'abc/%61'],
    ['\\\\\\u0061', 'a'],
  ])('%j', (raw, text) => {
    expect(unescaped(raw)).toBe(text)
  })

  it('a place in what it reads is a place in what it was', () => {
    const raw = 'x%61\\u0062c%64'
    const places = Array.from('xabcd', (_, at) => raw.slice(escapedPlace(raw, at)))
    expect(places).toEqual([raw, '%61\\u0062c%64', '\\u0062c%64', 'c%64', '%64'])
    expect(escapedPlace(raw, 5)).toBe(raw.length)
    expect(escapedPlace('plain', 3)).toBe(3)
  })

  it.each<[string, string]>([
    ['whole', ''],
    ['whole %61', ''],
    ['a %', '%'],
    ['a %6', '%6'],
    ['a \\', '\\'],
    ['a \\\\u006', '\\\\u006'],
    ['a \\u0061', ''],
    ['a \\x6', '\\x6'],
    [`a ${'\\'.repeat(40)}`, '\\'.repeat(16)],
  ])('the escape that the end of %j cuts through', (raw, begun) => {
    expect(raw.slice(endOfWholeEscapes(raw))).toBe(begun)
  })
})
