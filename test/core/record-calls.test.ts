import { describe, expect, it } from 'vitest'
import type { RecordedMcpMessage } from '../../src/core/event.ts'
import { encodeRecord, MAX_RECORD_BYTES } from '../../src/core/record.ts'
import { graphqlOperations, MAX_CALLS, mcpMessages } from '../../src/core/record-calls.ts'
import { DECIDED } from '../support/audit-events.ts'

const parsed = (member: string): unknown => JSON.parse(`{${member.slice(1)}}`)
const CALL: RecordedMcpMessage = { method: 'tools/call', tool: 'get_issue', resource: null, id: '"7"' }

describe('what a request calls', () => {
  it('stands in its order', () => {
    const cut: string[] = []
    const other = { method: 'resources/read', tool: null, resource: 'file:///\u202e\n', id: null }
    expect(parsed(mcpMessages([CALL, other], cut))).toEqual({ mcp: [CALL, other] })
    const operations = [{ operation: 'query', name: null } as const, { operation: 'mutation', name: '"' } as const]
    expect(parsed(graphqlOperations(operations, cut))).toEqual({ graphql: operations })
    expect(mcpMessages([CALL], cut)).toBe(
      ',"mcp":[{"method":"tools/call","tool":"get_issue","resource":null,"id":"\\"7\\""}]',
    )
    expect(cut).toEqual([])
  })

  it('is not there where nobody has looked', () => {
    expect([mcpMessages(undefined, []), graphqlOperations(undefined, [])]).toEqual(['', ''])
  })

  it('is bounded: one text, their number, all together', () => {
    const cut: string[] = []
    const long = parsed(mcpMessages([{ ...CALL, tool: 'x'.repeat(300) }], cut)) as { mcp: RecordedMcpMessage[] }
    expect(long.mcp[0]?.tool).toBe(`${'x'.repeat(256)}[cut 44]`)
    const many = parsed(
      mcpMessages(
        Array.from({ length: MAX_CALLS + 1 }, () => CALL),
        cut,
      ),
    ) as { mcp: unknown[] }
    expect(many.mcp).toHaveLength(MAX_CALLS)
    const heavy = Array.from({ length: 9 }, () => ({ ...CALL, resource: 'x'.repeat(256) }))
    const { mcp } = parsed(mcpMessages(heavy, cut)) as { mcp: unknown[] }
    expect(mcp).toHaveLength(6)
    const { graphql } = parsed(
      graphqlOperations(
        Array.from({ length: 17 }, () => ({ operation: 'query', name: 'a' }) as const),
        cut,
      ),
    ) as { graphql: unknown[] }
    expect(graphql).toHaveLength(MAX_CALLS)
    expect(cut).toEqual(['mcp', 'mcp', 'mcp', 'graphql'])
  })

  it('has room in the longest of records [K19]', () => {
    const long = (length: number): string => '\u009b'.repeat(length)
    const texts = ['request_id', 'connection_id', 'rule', 'policy', 'method', 'host', 'path', 'query', 'sni']
    const line = encodeRecord(
      {
        schema: 'mcp-egress.audit/1',
        instance: 'i'.repeat(26),
        seq: Number.MAX_SAFE_INTEGER,
        timestamp: 't'.repeat(24),
      },
      {
        ...DECIDED,
        ...Object.fromEntries(texts.map((name) => [name, long(70_000)])),
        original_destination: long(2_000),
        client: { name: long(2_000), source: long(2_000) },
        names: { connect: long(2_000), sni: long(2_000), host: long(2_000), url: long(2_000) },
        mcp: Array.from({ length: 17 }, (_, at) => ({ ...CALL, tool: 'x'.repeat(at < 15 ? 60 : 400) })),
        graphql: Array.from({ length: 17 }, () => ({ operation: 'subscription', name: long(2_000) }) as const),
        security_flags: Array.from({ length: 100 }, () => long(500)),
        request_headers: Array.from({ length: 300 }, () => ['aaaa', 'x'.repeat(1_020)] as const),
      },
      'a'.repeat(64),
    ).body
    expect(JSON.parse(`${line}}`)).toMatchObject({ truncated: expect.arrayContaining(['mcp', 'graphql']) as unknown })
    expect(line.length + 75).toBeLessThanOrEqual(MAX_RECORD_BYTES)
    expect(line.length).toBeGreaterThan(60_000)
  })
})
