import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  endOfLine,
  isByteOf,
  lineFault,
  scanFieldLine,
  scanPlainFieldLine,
  skip,
  TARGET,
  TOKEN,
  trimOws,
  VALUE,
} from '../../src/core/field-line.ts'

const ALL_BYTES = Array.from({ length: 256 }, (_, byte) => byte)
const bytesOf = (kind: number): string =>
  ALL_BYTES.filter((byte) => isByteOf(byte, kind))
    .map((byte) => String.fromCharCode(byte))
    .join('')
const codes = (from: number, to: number): string =>
  String.fromCharCode(...Array.from({ length: to - from + 1 }, (_, i) => from + i))

describe('classes of bytes', () => {
  it('has the token characters of RFC 9110 §5.6.2', () => {
    expect(bytesOf(TOKEN)).toBe("!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~")
  })
  it('has printable ASCII for targets', () => {
    expect(bytesOf(TARGET)).toBe(codes(0x21, 0x7e))
  })
  it('has HTAB, SP, printable ASCII and obs-text for values', () => {
    expect(bytesOf(VALUE)).toBe(`\t${codes(0x20, 0x7e)}${codes(0x80, 0xff)}`)
  })
  it('ends a run at the end of the text', () => {
    expect(skip('abc', 1, TOKEN)).toBe(3)
    expect(skip('ab:c', 0, TOKEN)).toBe(2)
  })
})

describe('scanFieldLine', () => {
  it.each([
    ['takes a field', 'Host: a\r\n', ['Host', 'a']],
    ['keeps the case and the inner blanks', 'X-a:B  \t c\r\n', ['X-a', 'B  \t c']],
    ['trims SP and HTAB around the value', 'X: \t v \t\r\n', ['X', 'v']],
    ['takes an empty value', 'X:\r\n', ['X', '']],
    ['takes a blank value as empty', 'X: \t \r\n', ['X', '']],
    ['takes a value of colons', 'X:::\r\n', ['X', '::']],
    ['takes obs-text in a value, and does not trim it', 'X: \xa0caf\xe9\x85\r\n', ['X', '\xa0caf\xe9\x85']],
    ['takes an object property as a name like any other [B43]', '__proto__: x\r\n', ['__proto__', 'x']],
    ['takes an underscore in a name that frames nothing', 'content_length2: 5\r\n', ['content_length2', '5']],
    ['takes an underscore in a name as long as one that frames', 'content_langth: 5\r\n', ['content_langth', '5']],
    ['takes the framing names themselves', 'Content-Length: 5\r\n', ['Content-Length', '5']],
  ])('%s', (_, line, field) => {
    const headers: string[] = []
    expect(scanFieldLine(line, 0, headers)).toBe(line.length)
    expect(headers).toEqual(field)
  })

  it('starts where it is told and appends', () => {
    const headers = ['A', '1']
    expect(scanFieldLine('A: 1\r\nB: 2\r\n\r\n', 6, headers)).toBe(12)
    expect(headers).toEqual(['A', '1', 'B', '2'])
  })

  it.each([
    ['a space before the colon [B08]', 'Transfer-Encoding : chunked\r\n', 'SPACE_BEFORE_COLON'],
    ['a tab before the colon [B08]', 'Content-Length\t: 34\r\n', 'SPACE_BEFORE_COLON'],
    ['no colon but a space [B16]', 'Content-Length 10\r\n', 'SPACE_BEFORE_COLON'],
    ['a leading space [B09]', ' Transfer-Encoding: chunked\r\n', 'OBS_FOLD'],
    ['a leading tab [B09]', '\tTransfer-Encoding: chunked\r\n', 'OBS_FOLD'],
    ['a line break in the name [B11]', 'Transfer-\r\nEncoding: chunked\r\n', 'BAD_NAME'],
    ['a bare LF in the name [B16]', 'Te\nst: x\r\n', 'BARE_LF'],
    ['an empty name [B16]', ': ignored\r\n', 'BAD_NAME'],
    ['a colon alone [B16]', ':\r\n', 'BAD_NAME'],
    ['no colon at all [B16]', 'Test\r\n', 'BAD_NAME'],
    ['a bare CR in the value [B12]', 'X: a\rTransfer-Encoding: chunked\r\n', 'BARE_CR'],
    ['a bare LF after the value [B13]', 'X: a\n', 'BARE_LF'],
    ['NUL in the value [B14]', 'X: a\0b\r\n', 'BAD_VALUE'],
    ['vertical tab in a value [B07]', 'Transfer-Encoding: \x0bchunked\r\n', 'BAD_VALUE'],
    ['ESC in the value [B42]', 'X: \x1b[2J\r\n', 'BAD_VALUE'],
    ['DEL in the value [B42]', 'X: \x7f\r\n', 'BAD_VALUE'],
    ['an 8-bit name [B42]', 'X\xe9: a\r\n', 'BAD_NAME'],
    ['separators in the name [B42]', 'X()<>@: a\r\n', 'BAD_NAME'],
    ['an underscore for the dash of a framing name [B41]', 'Transfer_Encoding: chunked\r\n', 'UNDERSCORE_FRAMING'],
    ['the same in another case [B41]', 'CONTENT_LENGTH: 5\r\n', 'UNDERSCORE_FRAMING'],
  ])('refuses %s', (_, line, fault) => {
    expect(scanFieldLine(line, 0, [])).toBe(fault)
  })

  it('asks for more at every unfinished place, and takes nothing yet', () => {
    const headers: string[] = []
    const line = 'Host: a.test\r\n'
    for (let end = 0; end < line.length; end++) expect(scanFieldLine(line.slice(0, end), 0, headers)).toBe('MORE')
    expect(headers).toEqual([])
  })
})

describe('scanPlainFieldLine', () => {
  const plain = (text: string, headers: string[], at = 0): number =>
    scanPlainFieldLine(Buffer.from(text, 'latin1'), text, at, headers)

  it.each([
    ['a field', 'Host: a\r\n', ['Host', 'a']],
    ['a value without a space before it', 'Host:a\r\n', ['Host', 'a']],
    ['an empty value', 'Host:\r\n', ['Host', '']],
    ['a blank for a value', 'Host: \r\n', ['Host', '']],
    ['obs-text and inner blanks', 'X: a \t\xe9\r\n', ['X', 'a \t\xe9']],
  ])('takes %s', (_, line, field) => {
    const headers: string[] = []
    expect(plain(line, headers)).toBe(line.length)
    expect(headers).toEqual(field)
  })

  it.each([
    ['a blank behind the value', 'X: a \r\n'],
    ['a tab behind the value', 'X: a\t\r\n'],
    ['two blanks before it', 'X:  a\r\n'],
    ['a tab before it', 'X:\ta\r\n'],
    ['an underscore', 'Content_Length: 5\r\n'],
    ['an empty name', ': a\r\n'],
    ['a bare LF', 'X: a\n'],
    ['a bare CR', 'X: a\rb\r\n'],
    ['the end of the text in the name', 'X'],
    ['the end of the text behind the colon', 'X:'],
    ['the end of the text in the value', 'X: a'],
    ['the end of the text behind the CR', 'X: a\r'],
  ])('leaves %s to the strict reading', (_, line) => {
    const headers: string[] = []
    expect([plain(line, headers), headers]).toEqual([-1, []])
  })

  it('does not look behind the text, whatever the bytes go on with', () => {
    const bytes = Buffer.from('X: a\r\nY', 'latin1')
    for (let end = 0; end < 6; end++) expect(scanPlainFieldLine(bytes, 'X: a\r\n'.slice(0, end), 0, [])).toBe(-1)
  })

  it('takes nothing that the strict reading takes otherwise', () => {
    const piece = fc.constantFrom(
      'Host',
      'X-A',
      'a_b',
      'Content_Length',
      ':',
      ': ',
      ' ',
      '\t',
      'v',
      '\xe9',
      '\r',
      '\n',
      '\r\n',
      '\0',
      '\x7f',
      '(',
    )
    const line = fc.oneof(
      fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join('')),
      fc.array(piece, { maxLength: 4 }).map((pieces) => `Host: ${pieces.join('')}\r\n`),
    )
    fc.assert(
      fc.property(line, fc.nat(3), (text, at) => {
        const [fast, strict]: [string[], string[]] = [[], []]
        const end = plain(text, fast, at)
        const expected = [scanFieldLine(text, at, strict), strict]
        expect([end, fast]).toEqual(end === -1 ? [-1, []] : expected)
      }),
      { numRuns: 5000 },
    )
  })
})

describe('ends of lines', () => {
  it.each([
    ['a\r\n', 3],
    ['a', 'MORE'],
    ['a\r', 'MORE'],
    ['a\rb', 'BARE_CR'],
    ['a\n', 'BARE_LF'],
    ['a\0', 'OTHER'],
  ])('%j gives %s', (text, outcome) => {
    expect(endOfLine(text, 1, 'OTHER')).toBe(outcome)
  })
  it('names a bare LF and leaves the rest to the caller', () => {
    expect([lineFault('\n', 0, 'OTHER'), lineFault('x', 0, 'OTHER'), lineFault('', 0, 'OTHER')]).toEqual([
      'BARE_LF',
      'OTHER',
      'OTHER',
    ])
  })
})

describe('trimOws', () => {
  it.each([
    ['\t a b \t', 'a b'],
    ['   ', ''],
    ['', ''],
    ['\x0ba\xa0', '\x0ba\xa0'],
  ])('%j becomes %j', (text, trimmed) => {
    expect(trimOws(text, 0, text.length)).toBe(trimmed)
  })
})
