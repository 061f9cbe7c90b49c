import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeHuffman, HUFFMAN_INVALID, HUFFMAN_TOO_LONG } from '../../src/core/hpack-huffman.ts'

/** The octets 0 to 255 in order, as the codes of RFC 7541 Appendix B; written by another implementation. */
const EVERY_OCTET = Buffer.from(
  'ffc7fffd8fffffe2fffffe3fffffe4fffffe5fffffe6fffffe7fffffe8ffffeafffffff3fffffa7fffffabffffffdfffffebfffffecfff' +
    'ffedfffffeefffffefffffff0ffffff1ffffff2fffffffbfffffcffffffd3fffffd7fffffdbfffffdffffffe3fffffe7fffffebfffffed' +
    '4fe3f9ffaffcabf1febfafefe7fdfd2cbb00089969b71d79fb9f7fff20ffbff3ff50ddbd7f061c58f265cd9f469d5af66dddbf871e5f9c' +
    'ff7ff7fffc3ff9ffe45fff4719242cb34e6e9d68a6a3d7dac426defe3cfaf7fffbfe7ffbffdffffffcfffe6ffff4bfff9ffffa3fffd3ff' +
    'ff53fffd5ffffb3fffeb7fffdaffffb7ffff73fffeeffffdeffffebffffbfffffd9ffffdbfffebffffe0ffffeeffffc3ffff8bffff1fff' +
    'fe4fffee7fffb1ffff97fffd9ffffcdffff9fffffbffffdafffeeffff4ffffb7fffee7fffe8ffffd3fffdeffffd5fffeeffffbdffffe1f' +
    'ffdfffff7fffff5ffffecffff07fff87fffe0ffff17fffedffff87ffff77fffeffffeaffff8bfffe3ffff93ffff87fffcbffff37ffff1f' +
    'ffff83ffffe1fffebfffe3ffff3fffff2ffffa3ffffd9fffff17ffffc7fffff27ffffdefffffbffffff2fffff8fffffb7fff97fff8ffff' +
    'fe6fffffc1fffff87ffffe7fffffc5ffffe5fffe4ffff2fffffd1fffff4ffffffefffffe3fffffc9fffff97fffb3ffffcffffb7fffcdff' +
    'ff4ffff9ffffd1ffffcffffeaffffafffffddffffeffffff4fffff5fffffabffffa7ffffd7fffff9bffffecfffffb7fffff3fffffe8fff' +
    'ffd3fffffabfffff5fffffff7ffffecfffffdbfffffbbfffff7ffffff0fffffbbf',
  'hex',
)

function decoded(hex: string): string | number {
  const octets = Buffer.from(hex, 'hex')
  const out = Buffer.alloc(2 * octets.length)
  const length = decodeHuffman(octets, 0, octets.length, out)
  return length < 0 ? length : out.toString('latin1', 0, length)
}

describe('decodeHuffman', () => {
  it.each([
    ['nothing', '', ''],
    ['RFC 7541 C.4.1', 'f1e3c2e5f23a6ba0ab90f4ff', 'www.example.com'],
    ['RFC 7541 C.4.2', 'a8eb10649cbf', 'no-cache'],
    ['RFC 7541 C.4.3, a name', '25a849e95ba97d7f', 'custom-key'],
    ['RFC 7541 C.4.3, a value', '25a849e95bb8e8b4bf', 'custom-value'],
    ['RFC 7541 C.6.1, a date', 'd07abe941054d444a8200595040b8166e082a62d1bff', 'Mon, 21 Oct 2013 20:13:21 GMT'],
    ['RFC 7541 C.6.1, a location', '9d29ad171863c78f0b97c8e9ae82ae43d3', 'https://www.example.com'],
    ['no padding: eight codes of five bits', '0000000000', '00000000'],
    ['one bit of padding', 'bb', 'B'],
    ['three bits of padding', '07', '0'],
    ['seven bits of padding', '0000007f', '00000'],
    ['a code of 30 bits', 'fffffff3', '\n'],
  ])('reads %s', (_, hex, text) => {
    expect(decoded(hex)).toBe(text)
  })

  it('reads every octet', () => {
    expect(decoded(EVERY_OCTET.toString('hex'))).toBe(String.fromCharCode(...Array.from({ length: 256 }).keys()))
  })

  it.each([
    ['padding of eight bits', 'f8ff'],
    ['padding alone, of eight bits', 'ff'],
    ['padding of zeros', 'ba'],
    ['padding of ones that ends in a zero', '06'],
    ['padding of seven bits that ends in a zero', '0000007e'],
    ['a code that is cut', 'ffffff'],
    ['EOS at the end', 'ffffffff'],
    ['EOS and codes behind it', 'fffffffc00'],
    ['EOS across nibbles, behind a code', '07ffffffff'],
  ])('refuses %s', (_, hex) => {
    expect(decoded(hex)).toBe(HUFFMAN_INVALID)
  })

  it('reads no octet before its start or behind its end', () => {
    const octets = Buffer.from('ffbb07ff', 'hex')
    const out = Buffer.alloc(8)
    expect(decodeHuffman(octets, 1, 2, out)).toBe(1)
    expect(decodeHuffman(octets, 1, 3, out)).toBe(2)
    expect(out.toString('latin1', 0, 2)).toBe('B=')
  })

  it('writes no octet behind the end of its output', () => {
    const zeros = Buffer.from('0000007f', 'hex')
    expect(decodeHuffman(zeros, 0, 4, Buffer.alloc(5))).toBe(5)
    expect(decodeHuffman(zeros, 0, 4, Buffer.alloc(4))).toBe(HUFFMAN_TOO_LONG)
  })

  it('reads a string that is cut as its beginning or not at all', () => {
    const whole = String(decoded(EVERY_OCTET.toString('hex')))
    const cuts = Array.from(EVERY_OCTET.keys(), (end) => decoded(EVERY_OCTET.toString('hex', 0, end)))
    expect(cuts).toContain(HUFFMAN_INVALID)
    expect(cuts.filter((text) => text !== HUFFMAN_INVALID && !whole.startsWith(String(text)))).toEqual([])
  })

  it('answers any octets, with at most eight fifths of them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (octets) => {
        const length = decodeHuffman(octets, 0, octets.length, Buffer.alloc(128))
        expect(length === HUFFMAN_INVALID || (length >= 0 && length * 5 <= octets.length * 8)).toBe(true)
      }),
    )
  })
})
