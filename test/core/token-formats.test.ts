import { describe, expect, it } from 'vitest'
import {
  FORMAT_NAMES,
  JSON_WEB_TOKEN,
  NAMED_FORMATS,
  PRIVATE_KEY,
  TOKEN_FORMATS,
} from '../../src/core/token-formats.ts'

describe('the known formats of tokens', () => {
  it('have names that records and configurations can hold', () => {
    expect(FORMAT_NAMES.filter((name) => !/^[a-z0-9_]{3,40}$/.test(name))).toEqual([])
    expect(new Set(FORMAT_NAMES).size).toBe(FORMAT_NAMES.length)
    expect(FORMAT_NAMES).toEqual(expect.arrayContaining(['github_token', 'private_key', 'json_web_token']))
  })

  it('begin as they say they do, with three characters at least', () => {
    const begins = NAMED_FORMATS.flatMap((format) => format.begins)
    expect(begins.filter((begin) => begin.length < 3)).toEqual([])
    for (const { source, begins: own } of NAMED_FORMATS) {
      expect(own).not.toEqual([])
      // Every literal that the source opens with is one that is looked for.
      for (const begin of own) expect(couldBegin(source, begin), `${begin} begins ${source}`).toBe(true)
    }
  })

  it('of what has no name anybody could write something like it: it is only redacted', () => {
    const unnamed = TOKEN_FORMATS.filter(({ name }) => name === null)
    expect(unnamed.map(({ begins }) => begins)).toEqual([[], []])
    expect(NAMED_FORMATS).toEqual([...TOKEN_FORMATS.filter(({ name }) => name !== null), PRIVATE_KEY, JSON_WEB_TOKEN])
  })
})

/** Some continuation of `begin` has the form. */
function couldBegin(source: string, begin: string): boolean {
  const pattern = new RegExp(`^(?:${source})`)
  const before = begin.startsWith(':') ? '123456' : ''
  const endings = ['a', '1', 'A'].map((unit) => unit.repeat(40))
  const middles = ['', '-', 'p-', '1-', '.', '12345:', '1/B1/', ' PRIVATE KEY', '2'.repeat(31), `${'x'.repeat(20)}.`]
  return middles.some((middle) =>
    endings.concat('').some((ending) => {
      const text = before + begin + middle + ending
      return before === '' ? pattern.test(text) : new RegExp(source).test(text)
    }),
  )
}
