// The one request that the guard counts: its head, the answer's head, the policy that permits it, and what is recorded of it.
import { compilePolicy } from '../../dist/core/policy.js'

/** What an MCP server's fetch sends. */
export const REQUEST_HEAD = Buffer.from(
  [
    'GET /v1/item?state=open HTTP/1.1',
    'Host: api.bench.example',
    'Connection: keep-alive',
    'Accept: application/json',
    'User-Agent: modelcontextprotocol/servers/github/v2025.4.8 Node.js/20',
    'Authorization: Bearer 0123456789012345678901234567890123456789',
    'Accept-Language: *',
    'Sec-Fetch-Mode: cors',
    'Accept-Encoding: gzip, deflate',
    '\r\n',
  ].join('\r\n'),
  'latin1',
)

export const STATUS_HEAD = Buffer.from(
  [
    'HTTP/1.1 200 OK',
    'Server: origin',
    'Date: Sat, 21 Nov 2026 10:00:00 GMT',
    'Content-Type: application/json; charset=utf-8',
    'Content-Length: 308',
    'X-Request-ID: 5f2c8b9e7d6a41c3',
    'Cache-Control: no-store',
    '\r\n',
  ].join('\r\n'),
  'latin1',
)

/** As many allow rules, the last of which permits the request; one in three of the others names its host, and other paths. */
export function rulesOf(count) {
  const others = Array.from({ length: count - 1 }, (_, index) => ({
    id: `other-${index}`,
    kind: 'allow',
    match: {
      hosts: [index % 3 === 2 ? '**.bench.example' : `api-${index}.example.com`],
      methods: ['GET', 'POST'],
      paths: [`/other/${index}/**`],
    },
  }))
  const match = { hosts: ['**.bench.example'], methods: ['GET'], paths: ['/v1/**'] }
  return [...others, { id: 'bench', kind: 'allow', match }]
}

/** Throws when the rules are wrong. */
export function policyOf(count) {
  const compiled = compilePolicy({ mode: 'enforce', clients: [], rules: rulesOf(count) })
  if (compiled.kind !== 'ok') throw new Error(JSON.stringify(compiled.problems))
  return compiled.policy
}

const ID = '01KAKX5Y7N8Q2R4S6T8V0W2X4Y'

export const decided = () => ({
  event: 'request.decided',
  request_id: ID,
  connection_id: ID,
  door: 'transparent',
  client: { name: 'anonymous', source: '127.0.0.1' },
  decision: 'allow',
  enforced: true,
  rule: 'bench',
  reason: null,
  mode: 'enforce',
  policy: 'a'.repeat(64),
  method: 'GET',
  scheme: 'https',
  host: 'api.bench.example',
  port: 443,
  path: '/v1/item',
  query: 'state=open',
  protocol: 'http/1.1',
  sni: 'api.bench.example',
  original_destination: '127.0.0.2:443',
  security_flags: [],
})

export const completed = () => ({
  event: 'request.completed',
  request_id: ID,
  outcome: 'completed',
  reason: null,
  status: 200,
  upstream_address: '127.0.0.2:443',
  bytes_sent: 0,
  bytes_received: 308,
  duration_ms: 84.125,
  timings: { dns: null, connect: null, tls: null, first_byte: 60.25 },
})
