// node decide-rules.mjs ROUNDS MS: nanoseconds of one decision against the number of rules, as one JSON line for each kind and number.
import { parseServerName } from '../../dist/core/address.js'
import { compilePolicy, decide } from '../../dist/core/policy.js'
import { quantity } from '../quantities.mjs'

const [rounds, roundMs] = process.argv.slice(2).map(Number)
const COUNTS = [10, 100, 1_000, 10_000, 100_000]
/** More would be about the processor's caches and not about rules. */
const SUBJECTS = 1_000
/** Between two looks at the clock. */
const BATCH = 64

/** How rule number `index` is written, and a request that only it permits. */
const KINDS = {
  'exact host': {
    match: (index) => ({ hosts: [`h${index}.example.com`] }),
    asks: (index) => ({ host: `h${index}.example.com`, path: '/v1/item' }),
  },
  'wildcard host': {
    match: (index) => ({ hosts: [`**.d${index}.example.com`] }),
    asks: (index) => ({ host: `a.b.d${index}.example.com`, path: '/v1/item' }),
  },
  'path of one host': {
    match: (index) => ({ hosts: ['api.example.com'], paths: [`/repos/owner-${index}/**`] }),
    asks: (index) => ({ host: 'api.example.com', path: `/repos/owner-${index}/app` }),
  },
}

function compile(match, count) {
  const rules = Array.from({ length: count }, (_, index) => ({
    id: `rule-${index}`,
    kind: 'allow',
    match: match(index),
  }))
  const started = performance.now()
  const compiled = compilePolicy({ mode: 'enforce', clients: [], rules })
  if (compiled.kind !== 'ok') throw new Error(JSON.stringify(compiled.problems.slice(0, 3)))
  return { policy: compiled.policy, compileMs: performance.now() - started }
}

function subjectOf({ host, path }) {
  const target = { method: 'GET', host: parseServerName(host), port: 443, path, encodedSlash: false, target: path }
  return { client: 'anonymous', scheme: 'https', ...target, upgrade: null, overrideHeaders: [] }
}

/** Requests spread over all the rules; `from` 0 is the first rule's, `count` the first that no rule permits. */
function subjectsOf(asks, from, count) {
  const number = Math.min(count, SUBJECTS)
  return Array.from({ length: number }, (_, at) => subjectOf(asks(from + Math.floor((at * count) / number))))
}

function measure(policy, subjects, expected) {
  if (subjects.some((subject) => decide(policy, subject).kind !== expected))
    throw new Error(`not all are a ${expected}`)
  const each = []
  for (let round = -1; round < rounds; round++) {
    const started = performance.now()
    let done = 0
    while (performance.now() < started + roundMs) {
      for (let one = 0; one < BATCH; one++) decide(policy, subjects[(done + one) % subjects.length])
      done += BATCH
    }
    // The first round is for the compiler.
    if (round >= 0) each.push(((performance.now() - started) * 1e6) / done)
  }
  return quantity(each)
}

for (const [kind, { match, asks }] of Object.entries(KINDS)) {
  for (const count of COUNTS) {
    const { policy, compileMs } = compile(match, count)
    const hit = measure(policy, subjectsOf(asks, 0, count), 'permit')
    const miss = measure(policy, subjectsOf(asks, count, count), 'denial')
    process.stdout.write(`${JSON.stringify({ kind, count, compileMs, hit, miss })}\n`)
  }
}
