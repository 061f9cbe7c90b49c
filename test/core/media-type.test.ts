// Content-Type as all readers read it, or not at all.

import { describe, expect, it } from 'vitest'
import { parseMediaType, parseParameters } from '../../src/core/media-type.ts'

describe('a media type', () => {
  it.each([
    ['application/json', 'application/json', {}],
    [' Application/JSON ', 'application/json', {}],
    ['text/plain; Charset=UTF-8', 'text/plain', { charset: 'UTF-8' }],
    ['multipart/form-data; boundary="a b\'c"', 'multipart/form-data', { boundary: "a b'c" }],
    ['application/vnd.api+json;a=1 ; b="2"', 'application/vnd.api+json', { a: '1', b: '2' }],
  ])('%s', (text, type, parameters) => {
    const read = parseMediaType(text)
    expect(read?.type).toBe(type)
    expect(Object.fromEntries(read?.parameters ?? [])).toEqual(parameters)
  })

  it.each([
    [null],
    [''],
    ['json'],
    ['application/json, text/plain'],
    ['application/json;'],
    ['application/json; charset'],
    ['application/json; charset='],
    ['application/json; charset=utf-8; Charset=utf-7'],
    ['application/json; charset="utf-8'],
    ['application/json; charset="utf\\-8"'],
    ['application/json; charset=utf-8 x'],
  ])('not %s', (text) => {
    expect(parseMediaType(text)).toBeNull()
  })

  it('has parameters that keep their case, by names that do not', () => {
    expect(parseParameters(['Name="To"', ' FILENAME=a.txt'])).toEqual(
      new Map([
        ['name', 'To'],
        ['filename', 'a.txt'],
      ]),
    )
  })
})
