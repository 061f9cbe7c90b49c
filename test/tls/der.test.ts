import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as der from '../../src/tls/der.ts'

const hex = (node: der.Node): string => der.encode(node).toString('hex')

describe('writing DER', () => {
  it.each([
    ['a sequence', der.sequence(der.nullValue(), der.trueValue()), '300505000101ff'],
    ['an empty sequence', der.sequence(), '3000'],
    ['an object identifier', der.objectIdentifier('1.2.840.10045.4.3.2'), '06082a8648ce3d040302'],
    [
      'an object identifier with arcs of several bytes',
      der.objectIdentifier('2.16.840.1.113894.746875.1.1'),
      '060c6086480186f966adca7b0101',
    ],
    ['a small integer', der.smallInteger(2), '020102'],
    ['zero', der.smallInteger(0), '020100'],
    ['a small integer whose top bit is set', der.smallInteger(128), '02020080'],
    ['a small integer of two bytes', der.smallInteger(2048), '02020800'],
    ['an integer', der.integer(Uint8Array.of(0x40, 0x00)), '02024000'],
    ['a bit string with unused bits', der.bitString(Uint8Array.of(0x06), 1), '03020106'],
    ['an octet string', der.octetString(Uint8Array.of(0xff, 0x00)), '0402ff00'],
    ['UTF-8', der.utf8String('é'), '0c02c3a9'],
    ['UTF-16', der.bmpString('a'), '1e020061'],
    ['[0] EXPLICIT', der.explicit(0, der.nullValue()), 'a0020500'],
    ['[7] IMPLICIT', der.implicit(7, Uint8Array.of(127, 0, 0, 1)), '87047f000001'],
    ['[2] IMPLICIT, which is no INTEGER to shorten', der.implicit(2, Uint8Array.of(0, 1)), '82020001'],
    ['a set in the order of its encodings', der.setOf(der.smallInteger(2), der.trueValue()), '31060101ff020102'],
    ['a time before 2050', der.time(new Date('2049-12-31T23:59:59Z')), '170d3439313233313233353935395a'],
    ['a time from 2050 on', der.time(new Date('2050-01-01T00:00:00Z')), '180f32303530303130313030303030305a'],
  ])('%s', (_, node, expected) => {
    expect(hex(node)).toBe(expected)
  })
})

describe('reading DER', () => {
  it('takes apart what was written, lengths of every size included', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 }), (contents) => {
        const encoded = der.encode(der.sequence(...contents.map((bytes) => der.octetString(bytes))))
        const members = der.readMembers(der.readElement(encoded))
        expect(members.map((member) => Buffer.from(member.content))).toEqual(
          contents.map((bytes) => Buffer.from(bytes)),
        )
        expect(der.encode(der.encoded(encoded))).toEqual(encoded)
      }),
    )
  })

  it.each(['', '30', '3001', '3081', '308201', '30820100'])('throws on %j, cut short', (bytes) => {
    expect(() => der.readElement(Buffer.from(bytes, 'hex'))).toThrow(RangeError)
  })
})
