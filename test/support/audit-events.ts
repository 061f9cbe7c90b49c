// One plausible event of every kind, and the independent checker of the chain they make.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { AuditEvent, RequestCompleted, RequestDecided } from '../../src/core/record.ts'

const LIFECYCLE = { version: '0.1.0', policy: 'a'.repeat(64), mode: 'enforce' } as const

export const DECIDED: RequestDecided = {
  event: 'request.decided',
  request_id: '01JD8Y6Z3M7Q2W4E6R8T0Y1V3A',
  connection_id: '01JD8Y6Z3M7Q2W4E6R8T0Y1V3B',
  door: 'transparent',
  client: { name: 'github-mcp', source: '172.30.0.5' },
  decision: 'allow',
  enforced: true,
  rule: 'github-read',
  reason: null,
  mode: 'enforce',
  policy: 'a'.repeat(64),
  method: 'GET',
  scheme: 'https',
  host: 'api.github.com',
  port: 443,
  path: '/repos/acme/app/issues',
  query: 'state=open&per_page=100',
  protocol: 'http/1.1',
  sni: 'api.github.com',
  original_destination: '140.82.121.6:443',
  security_flags: [],
}

export const COMPLETED: RequestCompleted = {
  event: 'request.completed',
  request_id: DECIDED.request_id,
  outcome: 'completed',
  reason: null,
  status: 200,
  upstream_address: '140.82.121.6:443',
  bytes_sent: 0,
  bytes_received: 31_337,
  duration_ms: 84.125,
  timings: { dns: 1.5, connect: 20, tls: null, first_byte: 60.25 },
}

export const SAMPLES: readonly AuditEvent[] = [
  { event: 'proxy.started', ...LIFECYCLE },
  { event: 'config.loaded', ...LIFECYCLE },
  { event: 'config.rejected', ...LIFECYCLE, problems: ['rules[0].allow.hosts: "*" is not a host', 'version: missing'] },
  DECIDED,
  COMPLETED,
  {
    ...DECIDED,
    decision: 'deny',
    reason: 'identity_mismatch',
    rule: null,
    client: { name: 'anonymous', source: null },
    names: { connect: 'a.example:443', sni: 'b.example', host: 'c.example', url: 'http://d.example/' },
    security_flags: ['connect_sni_mismatch'],
  },
  {
    ...DECIDED,
    method: null,
    scheme: null,
    host: null,
    port: null,
    path: null,
    query: null,
    sni: null,
    protocol: 'unknown',
  },
  {
    ...COMPLETED,
    outcome: 'refused',
    reason: 'address_denied',
    status: 403,
    upstream_address: null,
    security_flags: ['trailer_dropped:x'],
  },
  {
    event: 'request.malformed',
    request_id: DECIDED.request_id,
    code: 'HPE_INVALID_HEADER_TOKEN',
    length: 812,
    fingerprint: 'hmac:0123456789abcdef',
    request_line: 'GET /x HTTP/1.1',
    headers: [
      { name: 'Host', length: 14 },
      { name: 'X bad', length: 3 },
    ],
  },
  {
    event: 'tls.rejected',
    connection_id: DECIDED.connection_id,
    door: 'connect',
    client: DECIDED.client,
    sni: 'api.github.com',
    host: 'api.github.com',
    port: 443,
    cause: 'certificate_rejected',
  },
  { event: 'tunnel.opened', request_id: DECIDED.request_id, kind: 'websocket' },
  {
    event: 'tunnel.closed',
    request_id: DECIDED.request_id,
    kind: 'passthrough',
    bytes_sent: 517,
    bytes_received: 4_096,
    frames_sent: null,
    frames_received: null,
    duration_ms: 1_200,
  },
  {
    event: 'dns.question',
    client: DECIDED.client,
    question: { name: 'evil.example', type: 'TXT' },
    decision: 'deny',
    enforced: true,
    rule: null,
    reason: 'no_matching_rule',
    mode: 'enforce',
    policy: 'a'.repeat(64),
    answer: 'none',
    count: 1,
    security_flags: [],
  },
  { event: 'checkpoint', records: 11, key_id: '2026-a', signature: 'c2lnbmF0dXJl' },
  { event: 'proxy.stopped', ...LIFECYCLE, cause: 'SIGTERM' },
]

/** The records of a file after checking every byte of its chain; lines that are no records (torn ones) are counted. */
export function verifyFile(path: string): { readonly records: Record<string, unknown>[]; readonly torn: number } {
  const bytes = readFileSync(path)
  const records: Record<string, unknown>[] = []
  let previous = '0'.repeat(64)
  let torn = 0
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(0x0a, start)
    if (end < 0) throw new Error('the last line has no newline')
    const line = bytes.subarray(start, end)
    start = end + 1
    const seal = line.lastIndexOf(',"hash":')
    if (!/,"hash":"[0-9a-f]{64}"\}$/.test(line.toString('latin1'))) {
      torn++
      continue
    }
    if (line.some((byte) => byte < 0x20 || byte > 0x7e)) throw new Error('a line is not printable ASCII')
    const record = JSON.parse(line.toString('latin1')) as Record<string, unknown>
    const hash = createHash('sha256').update(line.subarray(0, seal)).digest('hex')
    if (record['hash'] !== hash) throw new Error(`seq ${String(record['seq'])}: the hash is not that of the line`)
    if (record['prev_hash'] !== previous)
      throw new Error(`seq ${String(record['seq'])}: does not follow the record before`)
    if (record['seq'] !== records.length) throw new Error(`seq ${String(record['seq'])}: ${records.length} expected`)
    previous = hash
    records.push(record)
  }
  return { records, torn }
}
