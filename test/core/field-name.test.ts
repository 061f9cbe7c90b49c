import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  AUTHENTICATION,
  CONNECTION,
  CONTENT_LENGTH,
  DROPPED_FROM_INTERIM,
  DROPPED_FROM_REQUESTS,
  DROPPED_FROM_RESPONSES,
  EXPECT,
  HOST,
  indexNames,
  namesLike,
  roleOf,
  TRANSFER_ENCODING,
  UPGRADE,
} from '../../src/core/field-name.ts'

const DROPPED = DROPPED_FROM_REQUESTS | DROPPED_FROM_RESPONSES | DROPPED_FROM_INTERIM

/** A reference without an index: by the whole lower-case name. */
const EXPECTED = new Map<string, number>([
  ['host', HOST | DROPPED_FROM_REQUESTS],
  ['expect', EXPECT | DROPPED_FROM_REQUESTS],
  ['content-length', CONTENT_LENGTH | DROPPED_FROM_INTERIM],
  ['alt-svc', DROPPED_FROM_RESPONSES | DROPPED_FROM_INTERIM],
  ['authorization', AUTHENTICATION],
  ['www-authenticate', AUTHENTICATION],
  ['connection', CONNECTION | DROPPED],
  ['transfer-encoding', TRANSFER_ENCODING | DROPPED],
  ['upgrade', UPGRADE | DROPPED],
  ...['keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authentication-info', 'proxy-authorization'].map(
    (name): [string, number] => [name, DROPPED],
  ),
  ...['te', 'trailer', 'http2-settings'].map((name): [string, number] => [name, DROPPED]),
])

describe('the role of a field name', () => {
  it.each([...EXPECTED])('%s', (name, role) => {
    const usual = name.replace(/(?:^|-)[a-z]/g, (start) => start.toUpperCase())
    expect([name, usual, name.toUpperCase()].map((spelled) => roleOf(spelled))).toEqual([role, role, role])
  })

  it.each([
    ['a name of no role', 'user-agent'],
    ['another name of that length and letter', 'hose'],
    ['a name one character longer than the longest', 'proxy-authentication-infos'],
    ['an underscore in place of the dash', 'content_length'],
    ['a name with a blank', 'host '],
    ['no name', ''],
    ['a sign with the low bits of the letter', '(ost'],
  ])('is none for %s', (_, name) => {
    expect(roleOf(name)).toBe(0)
  })

  it('is that of the lower-case name, for any name in any case', () => {
    const known = fc.constantFrom(...EXPECTED.keys())
    const latin1 = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)) })
    const edited = fc
      .tuple(known, fc.nat(30), latin1)
      .map(([name, at, text]) => name.slice(0, at) + text + name.slice(at + 1))
    const name = fc.tuple(fc.oneof(known, edited, latin1), fc.array(fc.boolean(), { minLength: 60, maxLength: 60 }))
    fc.assert(
      fc.property(name, ([text, upper]) => {
        const spelled = Array.from(text, (char, at) => (upper[at] === true ? char.toUpperCase() : char)).join('')
        expect(roleOf(spelled)).toBe(EXPECTED.get(spelled.toLowerCase()) ?? 0)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('an index of names', () => {
  const index = indexNames(['x-one', 'x-two', 'host'])
  it.each([
    ['X_ONE', ['x-one', 'x-two']],
    ['host', ['host']],
    ['most', null],
    ['x-three', null],
  ])('leaves for %s only what has its length and its first letter', (name, expected) => {
    expect(namesLike(index, name)?.map(({ lower }) => lower) ?? null).toEqual(expected)
  })
})
