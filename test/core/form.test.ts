// Forms as URLSearchParams reads them, and those that two readers could take apart differently.

import { Buffer } from 'node:buffer'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readForm } from '../../src/core/form.ts'

const pairs = (text: string): unknown => {
  const read = readForm(Buffer.from(text))
  return read.kind === 'ok' ? read.fields.map(({ name, value }) => [name, value]) : read.why
}

describe('a form', () => {
  it.each([
    ['', []],
    [
      'To=a%40acme.example&Subject=hello+world',
      [
        ['To', 'a@acme.example'],
        ['Subject', 'hello world'],
      ],
    ],
    [
      'a=1&a=2',
      [
        ['a', '1'],
        ['a', '2'],
      ],
    ],
    ['a', [['a', '']]],
    ['=b', [['', 'b']]],
    ['&&a=1&', [['a', '1']]],
    ['a=b=c', [['a', 'b=c']]],
    ['B%63c=x', [['Bcc', 'x']]],
    ['%C3%A9=%E2%82%AC', [['é', '€']]],
    ['a=%26Bcc%3Dx', [['a', '&Bcc=x']]],
    ['a=%2526', [['a', '%26']]],
    ['a=%00', [['a', '\0']]],
  ])('%s', (text, expected) => {
    expect(pairs(text)).toEqual(expected)
  })

  it('is read as the URL Standard reads it', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }))), (given) => {
        fc.pre(given.every(([name]) => !name.includes('\0') && name.toLowerCase() !== '_charset_'))
        const text = new URLSearchParams(given).toString()
        expect(pairs(text)).toEqual([...new URLSearchParams(text)])
      }),
    )
  })

  it.each([
    ['an escape that is none', 'a=%zz', /not %XX/],
    ['an escape that is cut', 'a=%4', /not %XX/],
    ['an escape of JavaScript', 'a=%u0042', /not %XX/],
    ['UTF-8 that is too long', '%C1%82cc=x', /not UTF-8/],
    ['Latin-1 in escapes', 'a=%E9', /not UTF-8/],
    ['a surrogate', 'a=%ED%A0%80', /not UTF-8/],
    ['a byte beyond ASCII', 'a=é', /has to be escaped/],
    ['a blank', 'a=b c', /has to be escaped/],
    ['a line break', 'a=b\r\nBcc=x', /has to be escaped/],
    ['a byte order mark', '\ufeffa=b', /has to be escaped/],
    ['a semicolon, which separates fields for some', 'a=b;Bcc=x', /;/],
    ['a name with a zero, where it ends for some', 'Bcc%00a=x', /zero/],
    ['a charset of its own', '_charset_=utf-7&a=b', /charset/],
    ['more fields than it may have', 'a&'.repeat(1_001), /more than 1000 fields/],
  ])('is refused with %s', (_what, text, why) => {
    expect(pairs(text)).toMatch(why)
  })
})
