// One plausible event of every kind, and the independent checker of the chain they make.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { segmentsOf } from '../../src/audit/segments.ts'
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
  { ...COMPLETED, grpc_status: 0 },
  { ...COMPLETED, outcome: 'upstream_aborted', reason: 'upstream_unreachable', grpc_status: null },
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
    rejections: 3,
    hint: 'the client did not accept our certificate for api.github.com, 3 times: trust the CA (docs/ca.md)',
  },
  {
    ...DECIDED,
    request_headers: [
      ['Host', 'api.github.com'],
      ['Authorization', 'Bearer hmac:0123456789abcdef'],
    ],
  },
  {
    ...COMPLETED,
    response_headers: [['Content-Length', '5']],
    request_body: {
      bytes: 70_000,
      sha256: null,
      prefix: '{"token":"hmac:0123456789abcdef"}',
      encoding: 'text',
      redacted: true,
      truncated: true,
    },
    response_body: { bytes: 5, sha256: 'b'.repeat(64), prefix: null, encoding: null, redacted: false, truncated: true },
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
  { event: 'segment.opened', previous: 'audit.000000000000.jsonl', cause: 'size' },
  {
    event: 'audit.restored',
    since: '2026-11-21T10:00:00.000Z',
    duration_ms: 1_203.5,
    refused: 12,
    cause: 'ENOSPC: no space left on device, write',
  },
  { event: 'checkpoint', records: 11, key_id: '2026-a', signature: 'c2lnbmF0dXJl' },
  { event: 'proxy.stopped', ...LIFECYCLE, cause: 'SIGTERM' },
]

/** The records of a file after checking every byte of its chain; lines that are no records (torn ones) are counted. */
export function verifyFile(path: string): Verified {
  return verifyBytes([readFileSync(path)])
}

/** The same over all segments of the trail whose active file is at `path`. */
export function verifyTrail(path: string): Verified {
  const segments = segmentsOf(path)
  return verifyBytes(
    segments.map((segment) =>
      segment.compressed ? gunzipSync(readFileSync(segment.path)) : readFileSync(segment.path),
    ),
  )
}

interface Verified {
  readonly records: Record<string, unknown>[]
  readonly torn: number
}

function verifyBytes(files: readonly Buffer[]): Verified {
  const records: Record<string, unknown>[] = []
  let previous = '0'.repeat(64)
  let torn = 0
  for (const [index, bytes] of files.entries()) {
    for (let start = 0; start < bytes.length; ) {
      const newline = bytes.indexOf(0x0a, start)
      if (newline < 0 && index === files.length - 1) throw new Error('the last line has no newline')
      const end = newline < 0 ? bytes.length : newline
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
  }
  return { records, torn }
}

/** Request ids whose decisions do not have exactly one end, and those whose tunnels were opened and not closed once. */
export function unevenRequests(records: readonly Record<string, unknown>[]): string[] {
  const counts = new Map<string, [decided: number, ended: number, opened: number, closed: number]>()
  const columns = ['request.decided', 'request.completed', 'tunnel.opened', 'tunnel.closed']
  for (const { event, request_id } of records) {
    const column = columns.indexOf(String(event))
    if (column < 0) continue
    const row = counts.get(String(request_id)) ?? [0, 0, 0, 0]
    row[column] = (row[column] ?? 0) + 1
    counts.set(String(request_id), row)
  }
  return [...counts]
    .filter(([, [decided, ended, opened, closed]]) => decided !== 1 || ended !== 1 || opened !== closed)
    .map(([id]) => id)
}
