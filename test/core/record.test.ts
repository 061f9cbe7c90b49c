import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AUDIT_SCHEMA, type AuditEvent, encodeRecord, MAX_RECORD_BYTES } from '../../src/core/record.ts'
import { COMPLETED, DECIDED, SAMPLES } from '../support/audit-events.ts'

const ENVELOPE = {
  schema: AUDIT_SCHEMA,
  instance: '01JD8Y6Z3M7Q2W4E6R8T0Y1V3C',
  seq: 7,
  timestamp: '2026-11-21T10:00:00.000Z',
} as const
const PREVIOUS = '0'.repeat(64)

const encode = (event: AuditEvent): string =>
  `${encodeRecord(ENVELOPE, event, PREVIOUS).body},"hash":"${'f'.repeat(64)}"}\n`
const parse = (line: string): Record<string, unknown> => JSON.parse(line) as Record<string, unknown>

describe('what a record holds', () => {
  it.each(SAMPLES.map((event) => [event.event, event] as const))(
    '%s: the envelope, every member of the event, the chain',
    (_name, event) => {
      const { schema, instance, seq, timestamp, prev_hash, hash, ...rest } = parse(encode(event))
      expect({ schema, instance, seq, timestamp }).toEqual(ENVELOPE)
      expect(rest).toEqual(event)
      expect({ prev_hash, hash }).toEqual({ prev_hash: PREVIOUS, hash: 'f'.repeat(64) })
    },
  )

  it('stands in one order', () => {
    expect(Object.keys(parse(encode({ ...DECIDED, names: { sni: 'a' } })))).toEqual([
      'schema',
      'instance',
      'seq',
      'timestamp',
      'event',
      'request_id',
      'connection_id',
      'door',
      'client',
      'decision',
      'enforced',
      'rule',
      'reason',
      'mode',
      'policy',
      'method',
      'scheme',
      'host',
      'port',
      'path',
      'query',
      'protocol',
      'sni',
      'names',
      'original_destination',
      'security_flags',
      'prev_hash',
      'hash',
    ])
  })

  it('names none of the names when there is none', () => {
    expect(parse(encode({ ...DECIDED, names: {} }))['names']).toEqual({})
  })

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('a number that JSON has no word for is a bug: %d', (value) => {
    expect(() => encode({ ...COMPLETED, duration_ms: value })).toThrow('audit field duration_ms is not a finite number')
  })
})

describe('one line of printable ASCII, whatever a peer wrote [K01]', () => {
  it.each([
    ['a forged record', '/\r\n{"decision":"allow"}', '/\\u000d\\u000a{\\"decision\\":\\"allow\\"}'],
    ['a line separator', 'a\u2028b', 'a\\u2028b'],
    ['a C1 control', 'a\u009bb', 'a\\u009bb'],
    ['DEL', 'a\u007fb', 'a\\u007fb'],
    ['a right-to-left override', 'a\u202eb', 'a\\u202eb'],
    ['half of a surrogate pair', 'a\ud83db', 'a\\ud83db'],
    ['a pair', 'a\u{1f600}b', 'a\\ud83d\\ude00b'],
    ['NUL', 'a\0b', 'a\\u0000b'],
    ['a backslash at the end', 'a\\', 'a\\\\'],
  ])('%s', (_case, path, encoded) => {
    const line = encode({ ...DECIDED, path, sni: path })
    expect(line).toContain(`,"path":"${encoded}",`)
    expect(line).toContain(`,"sni":"${encoded}",`)
    expect(parse(line)['path']).toBe(path)
  })

  const anything = fc.string({
    unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
    maxLength: 40,
  })

  it('any string comes back as it was', () => {
    fc.assert(
      fc.property(fc.array(anything, { minLength: 5, maxLength: 5 }), ([path, query, host, sni, flag]) => {
        const event = {
          ...DECIDED,
          path: path ?? '',
          query: query ?? '',
          host: host ?? '',
          sni: sni ?? '',
          security_flags: [flag ?? ''],
        }
        const line = encode(event)
        expect(line).toMatch(/^[\x20-\x7e]+\n$/)
        expect(parse(line)).toMatchObject(event)
      }),
    )
  })
})

describe('at most 64 KiB [K19]', () => {
  const long = (length: number): string => '\u009b'.repeat(length)

  it('a long path is cut, says how much is gone, and is named', () => {
    const record = parse(encode({ ...DECIDED, path: `/${'a'.repeat(70_000)}`, query: 'q' }))
    expect(record['path']).toBe(`/${'a'.repeat(16_383)}[cut 53617]`)
    expect(record['truncated']).toEqual(['path'])
    expect(record['query']).toBe('q')
  })

  it('a value at the limit is whole', () => {
    const record = parse(encode({ ...DECIDED, path: 'a'.repeat(16_384), host: `${'b'.repeat(1_018)}\u0080` }))
    expect(record).toMatchObject({ path: 'a'.repeat(16_384), host: `${'b'.repeat(1_018)}\u0080` })
    expect(record).not.toHaveProperty('truncated')
  })

  it.each<[string, AuditEvent, string[]]>([
    [
      'a decision',
      {
        ...DECIDED,
        ...Object.fromEntries(
          ['request_id', 'connection_id', 'rule', 'policy', 'method', 'host', 'path', 'query', 'sni'].map((name) => [
            name,
            long(70_000),
          ]),
        ),
        original_destination: long(2_000),
        client: { name: long(2_000), source: long(2_000) },
        names: { connect: long(2_000), sni: long(2_000), host: long(2_000), url: long(2_000) },
        security_flags: Array.from({ length: 100 }, () => long(500)),
      },
      [
        'request_id',
        'connection_id',
        'client',
        'rule',
        'policy',
        'method',
        'host',
        'path',
        'query',
        'sni',
        'names',
        'original_destination',
        'security_flags',
      ],
    ],
    [
      'malformed bytes',
      {
        event: 'request.malformed',
        request_id: 'a',
        code: long(2_000),
        length: 1,
        fingerprint: long(2_000),
        request_line: long(70_000),
        headers: Array.from({ length: 1_000 }, () => ({ name: long(500), length: Number.MAX_SAFE_INTEGER })),
      },
      ['headers', 'code', 'fingerprint', 'request_line'],
    ],
    [
      'a rejected configuration',
      {
        event: 'config.rejected',
        version: long(2_000),
        policy: 'a',
        mode: 'observe',
        problems: Array.from({ length: 1_000 }, () => long(1_000)),
      },
      ['version', 'problems'],
    ],
    [
      'the end of a request',
      { ...COMPLETED, upstream_address: long(2_000), security_flags: Array.from({ length: 100 }, () => long(500)) },
      ['upstream_address', 'security_flags'],
    ],
  ])('%s with everything too long', (_case, event, truncated) => {
    const line = encode(event)
    expect(line.length).toBeLessThanOrEqual(MAX_RECORD_BYTES)
    expect(parse(line)['truncated']).toEqual(truncated)
  })

  it('more headers than are listed, none of them long, are named too', () => {
    const headers = Array.from({ length: 65 }, () => ({ name: 'a', length: 1 }))
    const malformed = {
      event: 'request.malformed',
      request_id: 'a',
      code: 'b',
      length: 1,
      fingerprint: 'c',
      request_line: null,
    } as const
    const record = parse(encode({ ...malformed, headers }))
    expect(record['headers']).toHaveLength(64)
    expect(record['truncated']).toEqual(['headers'])
  })
})
