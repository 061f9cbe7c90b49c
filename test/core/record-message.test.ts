import { describe, expect, it } from 'vitest'
import type { RecordedField } from '../../src/core/event.ts'
import { encodeRecord, MAX_RECORD_BYTES } from '../../src/core/record.ts'
import { headerFields, messageBody } from '../../src/core/record-message.ts'
import { COMPLETED, DECIDED } from '../support/audit-events.ts'

const BODY = {
  bytes: 5,
  sha256: 'a'.repeat(64),
  prefix: 'hello',
  encoding: 'text',
  redacted: false,
  truncated: false,
} as const
const parsed = (member: string): unknown => JSON.parse(`{${member.slice(1)}}`)

describe('header fields', () => {
  it('stand in their order, with their duplicates', () => {
    const fields: RecordedField[] = [
      ['Accept', '*/*'],
      ['X-A', '"\u0001'],
      ['X-A', ''],
    ]
    const cut: string[] = []
    expect(parsed(headerFields('h', fields, cut))).toEqual({ h: fields })
    expect(headerFields('h', [], cut)).toBe(',"h":[]')
    expect(headerFields('h', undefined, cut)).toBe('')
    expect(cut).toEqual([])
  })

  it('are bounded: one value, their number, all together', () => {
    const cut: string[] = []
    const long = parsed(headerFields('h', [['a', 'b'.repeat(5_000)]], cut)) as { h: RecordedField[] }
    expect(long.h[0]?.[1]).toBe(`${'b'.repeat(4_096)}[cut 904]`)
    const many = Array.from({ length: 200 }, (): RecordedField => ['a', 'b'])
    expect((parsed(headerFields('m', many, cut)) as { m: RecordedField[] }).m).toHaveLength(128)
    const heavy = Array.from({ length: 100 }, (): RecordedField => ['a', 'b'.repeat(1_000)])
    expect((parsed(headerFields('w', heavy, cut)) as { w: RecordedField[] }).w).toHaveLength(12)
    expect(cut).toEqual(['h', 'm', 'w'])
  })
})

describe('bodies [K18]', () => {
  it('are told by size, hash and beginning', () => {
    expect(parsed(messageBody('b', BODY, []))).toEqual({ b: BODY })
    expect(messageBody('b', undefined, [])).toBe('')
    const hidden = { ...BODY, sha256: null, prefix: null, encoding: null }
    expect(parsed(messageBody('b', hidden, []))).toEqual({ b: hidden })
  })

  it('a beginning that is too long as it is written is cut, and the body is named', () => {
    const cut: string[] = []
    const { b } = parsed(messageBody('b', { ...BODY, prefix: '"'.repeat(10_000) }, cut)) as { b: { prefix: string } }
    expect(b.prefix).toBe(`${'"'.repeat(8_192)}[cut 1808]`)
    expect(cut).toEqual(['b'])
  })
})

describe('in a record [K19]', () => {
  const long = (length: number): string => '\u009b'.repeat(length)
  const fields = Array.from({ length: 300 }, (): RecordedField => [long(400), long(9_000)])
  const body = { ...BODY, sha256: long(400), prefix: long(20_000) }
  const envelope = { schema: 'mcp-egress.audit/1', instance: 'i', seq: 1, timestamp: 't' } as const

  it.each([
    [
      'a decision',
      {
        ...DECIDED,
        ...Object.fromEntries(
          ['method', 'host', 'path', 'query', 'sni', 'original_destination'].map((name) => [name, long(70_000)]),
        ),
        client: { name: long(2_000), source: long(2_000) },
        names: { connect: long(2_000), sni: long(2_000), host: long(2_000), url: long(2_000) },
        security_flags: Array.from({ length: 100 }, () => long(500)),
        request_headers: fields,
      },
    ],
    [
      'an end',
      {
        ...COMPLETED,
        upstream_address: long(2_000),
        security_flags: Array.from({ length: 100 }, () => long(500)),
        response_headers: fields,
        request_body: body,
        response_body: body,
      },
    ],
  ])('%s with everything too long stays within the line', (_case, event) => {
    const line = encodeRecord(envelope, event, 'a'.repeat(64)).body
    expect(line.length + 75).toBeLessThanOrEqual(MAX_RECORD_BYTES)
    expect(line).toMatch(/^[\x20-\x7e]+$/)
  })
})
