import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { scanFieldLine } from '../../src/core/field-line.ts'
import { appendRegularFields, regularFieldFault, takePseudoFields } from '../../src/core/http2-fields.ts'

const KNOWN = new Set([':method', ':path'])

describe('pseudo-fields', () => {
  it('are taken up to the first regular field', () => {
    const pseudo = new Map<string, string>()
    expect(takePseudoFields([':path', '/', ':method', 'GET', 'a', 'b', 'c', 'd'], KNOWN, pseudo)).toBe(4)
    expect([...pseudo]).toEqual([
      [':path', '/'],
      [':method', 'GET'],
    ])
  })

  it('may be all there is, or missing', () => {
    expect(takePseudoFields([':path', '/'], KNOWN, new Map())).toBe(2)
    expect(takePseudoFields(['a', 'b'], KNOWN, new Map())).toBe(0)
    expect(takePseudoFields([], KNOWN, new Map())).toBe(0)
  })

  it.each<[string, string[], string]>([
    ['one that nobody knows', [':path', '/', ':x', ''], 'H2_PSEUDO_UNKNOWN'],
    ['one without a name', [':', ''], 'H2_PSEUDO_UNKNOWN'],
    ['one in upper case', [':PATH', '/'], 'H2_PSEUDO_UNKNOWN'],
    ['one with a space', [':path ', '/'], 'H2_PSEUDO_UNKNOWN'],
    ['the same one twice', [':path', '/a', ':path', '/b'], 'H2_PSEUDO_DUPLICATE'],
    ['the same one twice with the same value', [':path', '/', ':path', '/'], 'H2_PSEUDO_DUPLICATE'],
  ])('refuses %s [C08]', (_name, fields, code) => {
    const pseudo = new Map<string, string>()
    expect(takePseudoFields(fields, KNOWN, pseudo)).toBe(code)
    expect(pseudo.size).toBeLessThan(2)
  })
})

describe('a regular field', () => {
  it.each([
    ['accept', '*/*'],
    ['a', ''],
    ["!#$%&'*+-.^_`|~09az", 'x'],
    ['x-text', 'tab\tspace caf\xe9'],
    ['te', 'trailers'],
    ['x_content_length', '1'],
    ['content-length', '1'],
  ])('%j: %j is one', (name, value) => {
    expect(regularFieldFault(name, value)).toBeNull()
  })

  it.each<[string, string, string, string]>([
    ['without a name [C02]', '', 'x', 'BAD_NAME'],
    ['with a colon and a line in its name [C02]', 'foo: bar\r\nx', 'y', 'BAD_NAME'],
    ['with a space in its name', 'a b', 'x', 'BAD_NAME'],
    ['with a NUL in its name', 'a\0', 'x', 'BAD_NAME'],
    ['with a byte beyond ASCII in its name', 'caf\xe9', 'x', 'BAD_NAME'],
    ['with a character that is no byte in its name', 'a\u0141', 'x', 'BAD_NAME'],
    ['in upper case [C02]', 'Accept', 'x', 'H2_UPPERCASE_NAME'],
    ['with one upper-case letter', 'x-Z', 'x', 'H2_UPPERCASE_NAME'],
    ['that is a pseudo-field behind the others [C08]', ':path', '/', 'H2_PSEUDO_MISPLACED'],
    ['with CR LF and a field of its own [C01]', 'a', 'b\r\nTransfer-Encoding: chunked', 'BAD_VALUE'],
    ['with a CR', 'a', 'b\r', 'BAD_VALUE'],
    ['with an LF', 'a', '\nb', 'BAD_VALUE'],
    ['with a NUL', 'a', 'b\0c', 'BAD_VALUE'],
    ['with a DEL', 'a', '\x7f', 'BAD_VALUE'],
    ['with a character that is no byte', 'a', '\u010d\u010a', 'BAD_VALUE'],
    ['connection [C12]', 'connection', 'close', 'H2_CONNECTION_FIELD'],
    ['keep-alive [C12]', 'keep-alive', 'timeout=5', 'H2_CONNECTION_FIELD'],
    ['proxy-connection [C12]', 'proxy-connection', 'keep-alive', 'H2_CONNECTION_FIELD'],
    ['transfer-encoding [C12]', 'transfer-encoding', 'chunked', 'H2_CONNECTION_FIELD'],
    ['upgrade [C12]', 'upgrade', 'websocket', 'H2_CONNECTION_FIELD'],
    ['content-length with an underscore', 'content_length', '5', 'UNDERSCORE_FRAMING'],
    ['transfer-encoding with an underscore', 'transfer_encoding', 'chunked', 'UNDERSCORE_FRAMING'],
  ])('%s is none', (_name, name, value, code) => {
    expect(regularFieldFault(name, value)).toBe(code)
  })

  it('is never more than HTTP/1.1 would read in the same place', () => {
    const name = fc.string({ unit: fc.constantFrom(...'aZ-_: \t\r\n\0\xe9'.split('')), maxLength: 6 })
    const value = fc.string({ unit: fc.constantFrom(...'aZ:;, \t\r\n\0\x7f\xe9'.split('')), maxLength: 6 })
    fc.assert(
      fc.property(name, value, (sentName, sentValue) => {
        if (regularFieldFault(sentName, sentValue) !== null) return
        const line = `${sentName}:${sentValue}\r\n`
        const headers: string[] = []
        expect(scanFieldLine(line, 0, headers)).toBe(line.length)
        expect(headers[0]).toBe(sentName)
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('the fields that are written', () => {
  it('have lower-case names, in order, duplicates kept', () => {
    const block = [':status', '200']
    appendRegularFields(block, ['Set-Cookie', 'a=1', 'X-Text', 'caf\xe9', 'Set-Cookie', 'b=2', 'x', ''])
    expect(block).toEqual([':status', '200', 'set-cookie', 'a=1', 'x-text', 'caf\xe9', 'set-cookie', 'b=2', 'x', ''])
  })

  it.each([
    'Connection',
    'keep-alive',
    'Proxy-Connection',
    'Transfer-Encoding',
    'Upgrade',
    'HTTP2-Settings',
    'Host',
    'TE',
  ])('are without %s', (name) => {
    const block: string[] = []
    appendRegularFields(block, [name, 'x', 'a', 'b'])
    expect(block).toEqual(['a', 'b'])
  })

  it.each<[string, string[]]>([
    ['a line of its own in a value', ['a', 'b\r\nc: d']],
    ['an LF in a value', ['a', 'b\n']],
    ['a NUL in a value', ['a', '\0']],
    ['a character that is no byte in a value', ['a', '\u010a']],
    ['a line of its own in a name', ['a: b\r\nc', 'd']],
    ['a pseudo-field', [':path', '/']],
    ['no name', ['', 'x']],
    ['half a field', ['a']],
  ])('throw for %s: that is a bug of ours', (_name, headers) => {
    expect(() => appendRegularFields([], headers)).toThrow('no field')
  })
})
