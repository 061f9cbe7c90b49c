// node bench/audit-query.mjs [RECORDS]: how fast the verbs of `audit` read a trail of so many records, in segments of 256 MiB.
import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EMPTY_CHAIN, seal } from '../dist/audit/chain.js'
import { newId } from '../dist/audit/id.js'
import { closedPath } from '../dist/audit/segments.js'

const SEGMENT_BYTES = 256 * 2 ** 20
/** Records of one write. */
const GROUP = 4_000
const HOSTS = [
  'api.github.com',
  'api.postmarkapp.com',
  'ws.example.com',
  'registry.npmjs.org',
  'updates.vendor.example',
]
const records = Number(process.argv[2] ?? 5_000_000)

/** Decisions and ends in turn, one request in a hundred denied; gives the id of one in the middle. */
function generate(path) {
  const policy = 'a'.repeat(64)
  let time = Date.UTC(2026, 10, 20)
  const instance = newId(time)
  let [head, first, bytes, group] = [EMPTY_CHAIN, 0, 0, []]
  let fd = openSync(path, 'w', 0o600)
  let middle = ''
  let request = null
  for (let at = 0; at < records; at++) {
    time += 5
    if (at % 2 === 0) {
      const number = at / 2
      const denied = number % 100 === 99
      const host = denied ? 'evil.example' : HOSTS[number % HOSTS.length]
      request = { request_id: newId(time), denied }
      if (middle === '' && at >= records / 2) middle = request.request_id
      append({
        event: 'request.decided',
        request_id: request.request_id,
        connection_id: newId(time),
        door: 'transparent',
        client: { name: `client-${number % 11}`, source: `172.30.0.${number % 11}` },
        decision: denied ? 'deny' : 'allow',
        enforced: true,
        rule: denied ? null : `rule-${number % 7}`,
        reason: denied ? 'no_matching_rule' : null,
        mode: 'enforce',
        policy,
        method: number % 3 === 0 ? 'POST' : 'GET',
        scheme: 'https',
        host,
        port: 443,
        path: `/repos/acme/app/issues/${number}`,
        query: 'state=open&per_page=100',
        protocol: 'http/1.1',
        sni: host,
        original_destination: '140.82.121.6:443',
        security_flags: [],
      })
    } else {
      const { request_id, denied } = request
      append({
        event: 'request.completed',
        request_id,
        outcome: denied ? 'refused' : 'completed',
        reason: denied ? 'no_matching_rule' : null,
        status: denied ? 403 : 200,
        upstream_address: denied ? null : '140.82.121.6:443',
        bytes_sent: 120,
        bytes_received: at % 50_000,
        duration_ms: (at % 9_973) / 10,
        timings: { dns: null, connect: null, tls: null, first_byte: 60.25 },
      })
    }
  }
  flush()
  closeSync(fd)
  return middle

  function append(event) {
    const line = seal(event, instance, new Date(time).toISOString(), head)
    head = line.head
    group.push(line.text)
    bytes += line.text.length
    if (group.length === GROUP) flush()
    if (bytes < SEGMENT_BYTES) return
    flush()
    closeSync(fd)
    renameSync(path, closedPath(path, first))
    fd = openSync(path, 'w', 0o600)
    first = head.seq + 1
    bytes = 0
  }

  function flush() {
    writeSync(fd, group.join(''))
    group = []
  }
}

const MAIN = join(import.meta.dirname, '../dist/cli/main.js')

function measure(name, config, ...args) {
  const started = performance.now()
  const { status, stderr } = spawnSync(process.execPath, [MAIN, 'audit', ...args, '-c', config], {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const seconds = (performance.now() - started) / 1_000
  const rate = Math.round(records / seconds)
  console.log(
    `${name.padEnd(44)} ${seconds.toFixed(2).padStart(7)} s ${String(rate).padStart(9)} records/s ${status === 0 ? '' : `FAILED ${stderr}`}`,
  )
}

const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-bench-'))
try {
  const path = join(folder, 'audit.jsonl')
  const started = performance.now()
  const middle = generate(path)
  console.log(
    `${records} records made in ${((performance.now() - started) / 1_000).toFixed(1)} s, Node ${process.version}`,
  )
  const config = join(folder, 'mcp-egress.yaml')
  const fd = openSync(config, 'w')
  writeSync(fd, 'version: 1\naudit: { path: audit.jsonl }\n')
  closeSync(fd)
  measure('query --decision deny', config, 'query', '--decision', 'deny')
  measure('query --host evil.example --status 403', config, 'query', '--host', 'evil.example', '--status', '403')
  measure('query --client nobody', config, 'query', '--client', 'nobody')
  measure('query --newest', config, 'query', '--newest')
  measure('query --json (everything)', config, 'query', '--json')
  measure('stats', config, 'stats')
  measure('show', config, 'show', middle)
  measure('export --format csv', config, 'export', '--format', 'csv')
  measure(
    'sql: count by host of decisions',
    config,
    'query',
    '--sql',
    'select host, count(*) from decisions group by 1',
  )
  measure(
    'sql: count by host of requests (joined)',
    config,
    'query',
    '--sql',
    'select host, count(*) from requests group by 1',
  )
  measure(
    'sql: p99 by host',
    config,
    'query',
    '--sql',
    'select host, quantile_cont(duration_ms, 0.99) from requests group by 1',
  )
} finally {
  rmSync(folder, { recursive: true, force: true })
}
