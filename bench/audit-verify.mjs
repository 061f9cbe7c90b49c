// node bench/audit-verify.mjs [RECORDS]: how many records a second `audit verify` checks, plain and compressed, on one CPU.
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { EMPTY_CHAIN, seal } from '../dist/audit/chain.js'
import { newId } from '../dist/audit/id.js'
import { checkpointStatement, openSigningKey, publicKeysOf, readPublicKeys } from '../dist/audit/signing.js'
import { MAX_UNCOVERED_RECORDS, verifyTrail } from '../dist/audit/verify.js'
import { median, spread } from './quantities.mjs'

const RECORDS = Number(process.argv[2] ?? 1_000_000)
const ROUNDS = 5
const CHECKPOINT_EVERY = 1_000
const SEGMENT_RECORDS = 250_000
const INSTANCE = newId(Date.now())
const POLICY = 'a'.repeat(64)
const TIME = new Date().toISOString()

function decided(id) {
  return {
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
    path: '/repos/acme/app/issues',
    query: 'state=open&per_page=100',
    protocol: 'http/1.1',
    sni: 'api.github.com',
    original_destination: '140.82.121.6:443',
    security_flags: [],
  }
}

function completed(id) {
  return {
    event: 'request.completed',
    request_id: id,
    outcome: 'completed',
    reason: null,
    status: 200,
    upstream_address: '140.82.121.6:443',
    bytes_sent: 0,
    bytes_received: 31_337,
    duration_ms: 84.125,
    timings: { dns: 1.5, connect: 20, tls: null, first_byte: 60.25 },
  }
}

/** The two records of one request after the other, a signed checkpoint every thousand, a segment every quarter million. */
function writeTrail(folder, key) {
  const files = []
  let head = EMPTY_CHAIN
  let fd = -1
  let pending = []
  const flush = () => {
    writeSync(fd, pending.join(''))
    pending = []
  }
  const add = (event) => {
    const line = seal(event, INSTANCE, TIME, head)
    head = line.head
    pending.push(line.text)
    if (pending.length >= 4_096) flush()
  }
  let covered = -1
  while (head.seq < RECORDS) {
    const seq = head.seq + 1
    if (seq >= files.length * SEGMENT_RECORDS) {
      if (fd >= 0) {
        flush()
        closeSync(fd)
      }
      const path = join(folder, `audit.${String(seq).padStart(12, '0')}.jsonl`)
      files.push(path)
      fd = openSync(path, 'wx')
      add({ event: 'segment.opened', previous: null, cause: seq === 0 ? 'start' : 'size' })
      if (seq === 0) add({ event: 'config.loaded', version: '0', policy: POLICY, mode: 'enforce' })
    } else if (seq - covered > CHECKPOINT_EVERY) {
      covered = seq
      const statement = checkpointStatement(INSTANCE, seq, head.hash)
      add({ event: 'checkpoint', records: seq, key_id: key.keyId, signature: key.sign(statement) })
    } else {
      const id = newId(Date.now())
      add(decided(id))
      add(completed(id))
    }
  }
  flush()
  closeSync(fd)
  return files
}

async function measure(files, rules) {
  const rounds = []
  for (let round = -1; round < ROUNDS; round++) {
    const before = process.cpuUsage()
    const started = performance.now()
    const report = await verifyTrail(files, rules)
    const seconds = (performance.now() - started) / 1_000
    const { user, system } = process.cpuUsage(before)
    if (!report.ok) throw new Error(JSON.stringify(report.fault))
    // The first round is for the compiler and the page cache.
    if (round >= 0) rounds.push({ wall: report.records / seconds, cpu: report.records / ((user + system) / 1e6) })
  }
  return rounds
}

const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-verify-'))
try {
  const key = openSigningKey(folder)
  const plain = writeTrail(folder, key)
  const compressed = plain.map((path) => {
    writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 6 }))
    return `${path}.gz`
  })
  const rules = {
    instance: null,
    complete: true,
    keys: readPublicKeys(publicKeysOf(folder)),
    allowUnsigned: false,
    maxUncovered: MAX_UNCOVERED_RECORDS,
    kept: [],
    tombstones: [],
  }
  const bytes = plain.reduce((sum, path) => sum + statSync(path).size, 0)
  process.stdout.write(`${RECORDS} records, ${Math.round(bytes / RECORDS)} bytes each, ${plain.length} segments\n\n`)
  process.stdout.write(
    '|            | records/s | records per CPU second |\n| ---------- | --------: | ---------------------: |\n',
  )
  for (const [name, files] of [
    ['plain', plain.map((path) => ({ path, compressed: false }))],
    ['compressed', compressed.map((path) => ({ path, compressed: true }))],
  ]) {
    const rounds = await measure(files, rules)
    const cell = (values) => `${Math.round(median(values))} ± ${Math.round(spread(values))} %`
    const [wall, cpu] = [rounds.map((each) => each.wall), rounds.map((each) => each.cpu)]
    process.stdout.write(`| ${name.padEnd(10)} | ${cell(wall)} | ${cell(cpu)} |\n`)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
