// node bench/micro.mjs: what the steps of one request cost by themselves, in this process: head, decision, leaf.
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseServerName } from '../dist/core/address.js'
import { frameRequest } from '../dist/core/framing.js'
import { parseRequestHead } from '../dist/core/http1.js'
import { compilePolicy, decide } from '../dist/core/policy.js'
import { openAuthority } from '../dist/tls/authority.js'
import { mintLeaf } from '../dist/tls/leaf.js'
import { median, spread } from './quantities.mjs'

const ROUNDS = 9
const ROUND_MS = 200
/** Between two looks at the clock. */
const BATCH = 64

/** What an MCP server's fetch sends. */
const HEAD = Buffer.from(
  [
    'POST /repos/acme/app/issues?state=open HTTP/1.1',
    'Host: api.github.com',
    'Connection: keep-alive',
    'Accept: application/vnd.github.v3+json',
    'Content-Type: application/json',
    'User-Agent: modelcontextprotocol/servers/github/v2025.4.8 Node.js/20',
    'Authorization: Bearer 0123456789012345678901234567890123456789',
    'Accept-Language: *',
    'Sec-Fetch-Mode: cors',
    'Accept-Encoding: gzip, deflate',
    'Content-Length: 308',
    '\r\n',
  ].join('\r\n'),
)

/** Nanoseconds for one `step`, the median of rounds that each last `ROUND_MS`; `step` gets a running number. */
function measure(step) {
  const rounds = []
  let index = 0
  for (let round = -1; round < ROUNDS; round++) {
    const started = process.hrtime.bigint()
    const end = started + BigInt(ROUND_MS * 1e6)
    let done = 0
    while (process.hrtime.bigint() < end) {
      for (let one = 0; one < BATCH; one++) step(index++)
      done += BATCH
    }
    const each = Number(process.hrtime.bigint() - started) / done
    // The first round is for the compiler.
    if (round >= 0) rounds.push(each)
  }
  return { median: median(rounds), spread: spread(rounds) }
}

function head() {
  const parsed = parseRequestHead(HEAD)
  if (parsed.kind !== 'head' || frameRequest(parsed.head).kind !== 'ok') throw new Error('the head was refused')
}

/** A tenth of the rules for one host, so that an index by host alone does not answer everything. */
function policyOf(count) {
  const rules = Array.from({ length: count }, (_, index) => ({
    id: `rule-${index}`,
    kind: 'allow',
    match: {
      hosts: [index % 10 === 0 ? 'api.github.com' : `api-${index}.example.com`],
      methods: ['GET', 'POST'],
      paths: [`/repos/owner-${index}/**`],
    },
  }))
  const compiled = compilePolicy({ mode: 'enforce', clients: [], rules })
  if (compiled.kind !== 'ok') throw new Error(JSON.stringify(compiled.problems))
  return compiled.policy
}

/** `owners`: whose path is asked for, by running number. */
function decideAt(count, expected, owners) {
  const policy = policyOf(count)
  const host = parseServerName('api.github.com')
  const subjects = Array.from({ length: count }, (_, index) => {
    const path = `/repos/${owners(index)}/app`
    const target = { method: 'GET', host, port: 443, path, encodedSlash: false, target: path }
    return { client: 'anonymous', scheme: 'https', ...target, upgrade: null, overrideHeaders: [] }
  })
  if (decide(policy, subjects[1]).kind !== expected) throw new Error(`not a ${expected}`)
  return measure((index) => decide(policy, subjects[index % count]))
}

function leaf(directory) {
  const authority = openAuthority(directory, new Date())
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const now = new Date()
  return measure((index) => mintLeaf(authority, publicKey, parseServerName(`h${index}.example.com`), now))
}

function print(step, { median: nanoseconds, spread: percent }) {
  process.stdout.write(`| ${step} | ${(nanoseconds / 1e3).toFixed(2)} µs | ± ${percent.toFixed(0)} % |\n`)
}

process.stdout.write('| step | median | spread |\n|---|---:|---:|\n')
const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-bench-'))
try {
  const known = (count) => (index) => `owner-${(index * 10) % count}`
  const unknown = (index) => `nobody-${index}`
  print(`parse and frame a request head of ${HEAD.length} bytes`, measure(head))
  print('decide, allowed, 10 rules, 1 of them for this host', decideAt(10, 'permit', known(10)))
  print('decide, allowed, 10,000 rules, 1,000 of them for this host', decideAt(10_000, 'permit', known(10_000)))
  print('decide, denied with its hint, the same 10,000 rules', decideAt(10_000, 'denial', unknown))
  print('mint a leaf certificate', leaf(join(folder, 'ca')))
} finally {
  rmSync(folder, { recursive: true, force: true })
}
