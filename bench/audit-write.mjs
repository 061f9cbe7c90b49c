// node bench/audit-write.mjs [os|sync]: what the trail costs a request: processor time at saturation, waiting time at a steady rate.
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { newId } from '../dist/audit/id.js'
import { openTrail } from '../dist/audit/trail.js'
import { median, spread } from './quantities.mjs'

const ROUNDS = 7
const REQUESTS = 40_000
/** Requests under way at a time. */
const CONCURRENCY = 256
const RATE = 200
const RATE_SECONDS = 10

const durability = process.argv[2] === 'sync' ? 'sync' : 'os'
const POLICY = 'a'.repeat(64)

const decided = (id, index) => ({
  event: 'request.decided',
  request_id: id,
  connection_id: id,
  door: 'transparent',
  client: { name: 'github-mcp', source: '172.30.0.5' },
  decision: 'allow',
  enforced: true,
  rule: 'github-read',
  reason: null,
  mode: 'enforce',
  policy: POLICY,
  method: 'GET',
  scheme: 'https',
  host: 'api.github.com',
  port: 443,
  path: `/repos/acme/app/issues/${index}`,
  query: 'state=open&per_page=100',
  protocol: 'http/1.1',
  sni: 'api.github.com',
  original_destination: '140.82.121.6:443',
  security_flags: [],
})

const completed = (id) => ({
  event: 'request.completed',
  request_id: id,
  outcome: 'completed',
  reason: null,
  status: 200,
  upstream_address: '140.82.121.6:443',
  bytes_sent: 0,
  bytes_received: 31_337,
  duration_ms: 84.125,
  timings: { dns: 1.5, connect: 20, tls: 30.5, first_byte: 60.25 },
})

/** Microseconds of processor time for both records of one request. */
async function saturated(trail) {
  const before = process.cpuUsage()
  let next = 0
  const client = async () => {
    while (next < REQUESTS) {
      const id = newId(Date.now())
      await trail.append(decided(id, next++))
      trail.append(completed(id)).catch(() => undefined)
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, client))
  const { user, system } = process.cpuUsage(before)
  return (user + system) / REQUESTS
}

/** Milliseconds from the decision to the permission to proceed, one for each request. */
async function steady(trail) {
  const waits = []
  const started = performance.now()
  for (let index = 0; index < RATE * RATE_SECONDS; index++) {
    const due = started + (index * 1_000) / RATE - performance.now()
    if (due > 0) await new Promise((resolve) => setTimeout(resolve, due))
    const id = newId(Date.now())
    const asked = performance.now()
    void trail.append(decided(id, index)).then(() => waits.push(performance.now() - asked))
    void trail.append(completed(id))
  }
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  return waits.sort((a, b) => a - b)
}

const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-bench-'))
try {
  const path = join(folder, 'audit.jsonl')
  const trail = await openTrail({ path, durability, now: () => new Date() })
  await saturated(trail)
  const rounds = []
  for (let round = 0; round < ROUNDS; round++) rounds.push(await saturated(trail))
  const bytes = statSync(path).size / REQUESTS / (ROUNDS + 1)
  const waits = await steady(trail)
  const at = (share) => waits[Math.floor(waits.length * share)].toFixed(3)
  process.stdout.write(`| durability ${durability} | |\n|---|---:|\n`)
  process.stdout.write(
    `| processor time of both records of a request, ${CONCURRENCY} at a time | ${median(rounds).toFixed(1)} µs ± ${spread(rounds).toFixed(0)} % |\n`,
  )
  process.stdout.write(`| on disk for a request | ${bytes.toFixed(0)} bytes |\n`)
  process.stdout.write(`| waiting for the record at ${RATE} requests a second, p50 | ${at(0.5)} ms |\n`)
  process.stdout.write(`| the same, p99 | ${at(0.99)} ms |\n`)
  await trail.close()
} finally {
  rmSync(folder, { recursive: true, force: true })
}
