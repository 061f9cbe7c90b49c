// What is a question and what is not, byte by byte, and that every answer is small and can be read.

import { decode, encode, type OptAnswer } from 'dns-packet'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Answer, MAX_ADDRESSES, RCODE, readMessage, type Read, writeAnswer } from '../../src/jail/dns/message.ts'
import { addressesOf, question, rcodeOf } from '../support/dns.ts'

function edited(message: Buffer, edit: (bytes: Buffer) => void): Buffer {
  const copy = Buffer.from(message)
  edit(copy)
  return copy
}

/** A question whose labels are these bytes. */
function questionOf(...labels: string[]): Buffer {
  const name = labels.map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label, 'latin1')]))
  const header = Buffer.from('123401000001000000000000', 'hex')
  return Buffer.concat([header, ...name, Buffer.from('0000010001', 'hex')])
}

const queryOf = (message: Buffer): Extract<Read, { kind: 'query' }>['query'] => {
  const read = readMessage(message)
  if (read.kind !== 'query') throw new Error(read.kind)
  return read.query
}

/** 250 characters, the longest that wire and text allow is 253. */
const LONG = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(61)}`

describe('a question', () => {
  it('is read: identifier, name, type, class', () => {
    expect(queryOf(question('API.Test', 'AAAA'))).toMatchObject({
      id: 0x1234,
      name: 'API.Test',
      type: 28,
      typeName: 'AAAA',
      class: 1,
      edns: null,
    })
  })

  it.each([
    [65, 'HTTPS'],
    [64, 'SVCB'],
    [16, 'TXT'],
    [255, 'ANY'],
    [10, 'NULL'],
    [65_280, 'TYPE65280'],
  ])('of type %i is one of %s', (type, typeName) => {
    const bytes = edited(question('a.test'), (copy) => copy.writeUInt16BE(type, copy.length - 4))
    expect(queryOf(bytes)).toMatchObject({ type, typeName })
  })

  it.each([
    ['a full stop inside a label', ['api.test', 'evil'], 'api\\046test.evil'],
    ['NUL', ['api\0', 'test'], 'api\\000.test'],
    ['bytes beyond ASCII', ['\xc3\xa9', 'test'], '\\195\\169.test'],
    ['a backslash', ['\\046', 'test'], '\\092046.test'],
    ['nothing', [], ''],
  ])('with %s keeps it apart from every other name', (_what, labels, name) => {
    expect(queryOf(questionOf(...labels)).name).toBe(name)
  })

  it('of the longest name', () => {
    expect(queryOf(question(LONG)).name).toBe(LONG)
  })

  it('may have another additional record', () => {
    const record = encode({ additionals: [{ type: 'A', name: 'a.test', data: '192.0.2.1' }] }).subarray(12)
    const bytes = edited(Buffer.concat([question('a.test'), record]), (copy) => copy.writeUInt16BE(1, 10))
    expect(queryOf(bytes).edns).toBeNull()
  })

  it('with EDNS says so', () => {
    expect(queryOf(question('a.test', 'A', true)).edns).toEqual({ version: 0, dnssecOk: false })
    const secure = edited(question('a.test', 'A', true), (copy) => copy.writeUInt16BE(0x8000, copy.length - 4))
    expect(queryOf(secure).edns).toEqual({ version: 0, dnssecOk: true })
  })
})

describe('what is no question', () => {
  const plain = question('a.test')
  const withOpt = question('a.test', 'A', true)
  const opt = withOpt.subarray(plain.length)
  /** A sound record of a.test, which would be read without complaint where it may stand. */
  const record = encode({ answers: [{ type: 'A', name: 'a.test', data: '192.0.2.1' }] }).subarray(12)
  const withRecords = (at: number, count: number): Buffer =>
    edited(Buffer.concat([plain, ...Array<Buffer>(count).fill(record)]), (copy) => copy.writeUInt16BE(count, at))

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['half a header', plain.subarray(0, 11)],
    ['an answer', edited(plain, (copy) => copy.writeUInt16BE(0x8180, 2))],
    ['an answer that is malformed', edited(plain.subarray(0, 12), (copy) => copy.writeUInt16BE(0x8180, 2))],
  ])('%s is left without an answer', (_what, bytes) => {
    expect(readMessage(bytes)).toEqual({ kind: 'ignored' })
  })

  it.each<[string, number, Buffer]>([
    ['a header alone', RCODE.formatError, plain.subarray(0, 12)],
    ['a header that promises 65,535 of everything', RCODE.formatError, Buffer.from('12340100ffffffffffffffff', 'hex')],
    ['two questions', RCODE.formatError, edited(plain, (copy) => copy.writeUInt16BE(2, 4))],
    ['no question', RCODE.formatError, edited(plain, (copy) => copy.writeUInt16BE(0, 4))],
    ['a question with an answer', RCODE.formatError, withRecords(6, 1)],
    ['a question with an authority', RCODE.formatError, withRecords(8, 1)],
    ['three additional records', RCODE.formatError, withRecords(10, 3)],
    ['an additional record that is not there', RCODE.formatError, edited(plain, (copy) => copy.writeUInt16BE(1, 10))],
    ['a question cut off', RCODE.formatError, plain.subarray(0, -1)],
    ['a name cut off', RCODE.formatError, plain.subarray(0, 15)],
    ['something behind the question', RCODE.formatError, Buffer.concat([plain, Buffer.from('data')])],
    ['a pointer for a name', RCODE.formatError, Buffer.from('123401000001000000000000c00c00010001', 'hex')],
    [
      'a pointer to itself after a label',
      RCODE.formatError,
      Buffer.from('1234010000010000000000000161c00c00010001', 'hex'),
    ],
    ['a label of 64', RCODE.formatError, questionOf('a'.repeat(64))],
    ['a name of 256 bytes', RCODE.formatError, questionOf(...Array.from({ length: 127 }, () => 'a'), 'b')],
    ['two OPT records', RCODE.formatError, edited(Buffer.concat([withOpt, opt]), (copy) => copy.writeUInt16BE(2, 10))],
    ['an OPT of version 1', RCODE.badVersion, edited(withOpt, (copy) => copy.writeUInt8(1, copy.length - 5))],
    ['a status request', RCODE.notImplemented, edited(plain, (copy) => copy.writeUInt16BE(2 << 11, 2))],
    ['an update', RCODE.notImplemented, edited(plain, (copy) => copy.writeUInt16BE(5 << 11, 2))],
  ])('%s is answered with %i', (_what, rcode, bytes) => {
    expect(readMessage(bytes)).toMatchObject({ kind: 'bad', rcode })
  })
})

describe('an answer', () => {
  const answered = (message: Buffer, answer: Answer): ReturnType<typeof decode> =>
    decode(writeAnswer(queryOf(message), answer))

  it('repeats the question byte for byte, its case too', () => {
    const message = question('wWw.ExAmPlE.cOm')
    const bytes = writeAnswer(queryOf(message), { rcode: RCODE.noError, addresses: ['198.18.0.1'] })
    expect(bytes.subarray(12, message.length)).toEqual(message.subarray(12))
    const packet = decode(bytes)
    expect(packet).toMatchObject({
      id: 0x1234,
      flag_qr: true,
      flag_rd: true,
      flag_ra: true,
      flag_aa: false,
      flag_tc: false,
    })
    expect(packet.answers).toMatchObject([
      { name: 'wWw.ExAmPlE.cOm', type: 'A', class: 'IN', ttl: 5, data: '198.18.0.1' },
    ])
  })

  it('of IPv6 addresses', () => {
    const packet = answered(question('a.test', 'AAAA'), {
      rcode: RCODE.noError,
      addresses: ['2001:2::1', '2001:db8::53'],
    })
    expect(addressesOf(packet)).toEqual(['2001:2::1', '2001:db8::53'])
  })

  it.each([RCODE.noError, RCODE.nameError])('without addresses (%i) says how long that holds', (rcode) => {
    const { authorities, answers } = answered(question('a.test'), { rcode })
    expect(answers).toEqual([])
    expect(authorities).toMatchObject([{ name: '.', type: 'SOA', ttl: 5, data: { minimum: 5 } }])
  })

  it.each([RCODE.refused, RCODE.serverFailure, RCODE.formatError])('of an error (%i) holds for nothing', (rcode) => {
    expect(answered(question('a.test'), { rcode })).toMatchObject({ answers: [], authorities: [], additionals: [] })
  })

  it('speaks EDNS to those who do, with the reason (RFC 8914)', () => {
    const { additionals } = answered(question('a.test', 'A', true), { rcode: RCODE.nameError, extendedError: 15 })
    const [opt] = (additionals ?? []) as OptAnswer[]
    expect(opt).toMatchObject({ type: 'OPT', udpPayloadSize: 1232, ednsVersion: 0, extendedRcode: 0, flag_do: false })
    expect(opt?.options).toMatchObject([{ code: 15, data: Buffer.from([0, 15]) }])
    const plain = answered(question('a.test'), { rcode: RCODE.nameError, extendedError: 15 })
    expect(plain.additionals).toEqual([])
  })

  it('to a version of EDNS that nobody knows yet is BADVERS', () => {
    const message = edited(question('a.test', 'A', true), (copy) => copy.writeUInt8(1, copy.length - 5))
    const read = readMessage(message)
    if (read.kind !== 'bad') throw new Error(read.kind)
    const packet = decode(writeAnswer(read.asked, { rcode: read.rcode }))
    const [opt] = (packet.additionals ?? []) as OptAnswer[]
    expect([rcodeOf(packet), opt?.extendedRcode, opt?.ednsVersion]).toEqual(['NOERROR', 1, 0])
  })

  it('to a question that can not be read repeats none', () => {
    const read = readMessage(question('a.test').subarray(0, 15))
    if (read.kind !== 'bad') throw new Error(read.kind)
    expect(decode(writeAnswer(read.asked, { rcode: read.rcode }))).toMatchObject({ id: 0x1234, questions: [] })
  })

  it('fits into 512 bytes, whatever was asked', () => {
    const addresses = Array.from({ length: MAX_ADDRESSES }, (_value, index) => `2001:db8::${index + 1}`)
    const bytes = writeAnswer(queryOf(question(LONG, 'AAAA', true)), { rcode: RCODE.noError, addresses })
    expect(bytes.length).toBeLessThanOrEqual(512)
    expect(addressesOf(decode(bytes))).toHaveLength(MAX_ADDRESSES)
  })

  it.each([
    ['an allowed name', { rcode: RCODE.noError, addresses: ['198.18.0.1'] }],
    ['a denied one', { rcode: RCODE.nameError, extendedError: 15 }],
  ])('for %s is no amplifier: less than twice the question and 24 bytes', (_what, answer) => {
    for (const name of ['a.bc', 'api.github.com', LONG]) {
      for (const edns of [true, false]) {
        const message = question(name, 'A', edns)
        expect(writeAnswer(queryOf(message), answer as Answer).length).toBeLessThan(message.length * 2 + 24)
      }
    }
  })
})

describe('any bytes', () => {
  /** What is wrong with the answer to `bytes`; null: nothing, or there is none. */
  const problemWith = (bytes: Buffer): string | null => {
    const read = readMessage(bytes)
    if (read.kind === 'ignored') return null
    const [asked, rcode] = read.kind === 'query' ? [read.query, RCODE.nameError] : [read.asked, read.rcode]
    const answer = writeAnswer(asked, { rcode })
    const { type, id, answers = [] } = decode(answer)
    const sound = type === 'response' && id === bytes.readUInt16BE(0) && answers.length === 0 && answer.length <= 512
    return sound ? null : answer.toString('hex')
  }

  it('are read without a crash, and answered in a form that can be read', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        expect(problemWith(Buffer.from(bytes))).toBeNull()
      }),
      { numRuns: 2_000 },
    )
  })

  it('behind a sound header and name', () => {
    const types = [
      'A',
      'TXT',
      'SOA',
      'OPT',
      'DNSKEY',
      'NSEC',
      'NSEC3',
      'SSHFP',
      'CAA',
      'NAPTR',
      'RRSIG',
      'TLSA',
      'HINFO',
    ]
    const tail = fc.record({
      type: fc.constantFrom(...types),
      data: fc.uint8Array({ maxLength: 40 }),
      count: fc.nat(3),
    })
    fc.assert(
      fc.property(tail, ({ type, data, count }) => {
        const code = encode({ questions: [{ name: '.', type: type as 'A' }] }).readUInt16BE(13)
        const head = Buffer.alloc(11)
        head.writeUInt16BE(code, 1)
        head.writeUInt16BE(data.length, 9)
        const message = Buffer.concat([question('a.test'), head, data])
        message.writeUInt16BE(count, 10)
        expect(problemWith(message)).toBeNull()
      }),
      { numRuns: 2_000 },
    )
  })

  it('one byte changed in a sound question', () => {
    const sound = question('api.allowed.test', 'A', true)
    fc.assert(
      fc.property(fc.nat(sound.length - 1), fc.nat(255), (at, byte) => {
        const bytes = edited(sound, (copy) => copy.writeUInt8(byte, at))
        expect(problemWith(bytes)).toBeNull()
      }),
      { numRuns: 2_000 },
    )
  })
})
