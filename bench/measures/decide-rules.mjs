// node decide-rules.mjs ROUNDS MS: nanoseconds of one decision against the number of rules, as one JSON line for each mix of rules and number.
import { parseServerName } from '../../dist/core/address.js'
import { compilePolicy, decide } from '../../dist/core/policy.js'
import { cpuMs } from './own-cpu.mjs'
import { quantity } from '../quantities.mjs'

const [rounds, roundMs] = process.argv.slice(2).map(Number)
const COUNTS = [10, 100, 1_000, 10_000, 100_000]
/** More would be about the processor's caches and not about rules. */
const SUBJECTS = 1_000
/** Between two looks at the clock. */
const BATCH = 512

const ofOwner = (index) => ({ host: 'api.example.com', path: `/repos/owner-${index}/app` })
/** Where nine of ten deny, the one that allows; counts are multiples of ten. */
const allowing = (index) => index - (index % 10) + 9

/**
 * How rule number `index` is written, and a request that one of the rules allows, from each of them. Denied are those of rules that there are
 * not, or what `denied` says.
 */
const MIXES = {
  'exact host': {
    rule: (index) => ({ match: { hosts: [`h${index}.example.com`] } }),
    allowed: (index) => ({ host: `h${index}.example.com`, path: '/v1/item' }),
  },
  'wildcard host': {
    rule: (index) => ({ match: { hosts: [`**.d${index}.example.com`] } }),
    allowed: (index) => ({ host: `a.b.d${index}.example.com`, path: '/v1/item' }),
  },
  'path of one host': {
    rule: (index) => ({ match: { hosts: ['api.example.com'], paths: [`/repos/owner-${index}/**`] } }),
    allowed: ofOwner,
  },
  'path and body': {
    rule: (index) => ({
      match: { hosts: ['api.example.com'], methods: ['GET', 'POST'], paths: [`/repos/owner-${index}/**`] },
      body: { json: [{ path: '$.Bcc', must: 'be-absent' }] },
    }),
    allowed: ofOwner,
    verdict: 'needs-body',
  },
  '9 of 10 deny': {
    rule: (index) =>
      index === allowing(index)
        ? { match: { hosts: [`h${index}.example.com`] } }
        : { kind: 'deny', match: { hosts: ['**.example.com'], paths: [`/admin/${index}/**`] } },
    allowed: (index) => ({ host: `h${allowing(index)}.example.com`, path: '/v1/item' }),
    denied: (index) => ({ host: 'h9.example.com', path: `/admin/${index - (index % 10)}/users` }),
  },
}

function compile(rule, count) {
  const rules = Array.from({ length: count }, (_, index) => ({ id: `rule-${index}`, kind: 'allow', ...rule(index) }))
  const started = cpuMs()
  const compiled = compilePolicy({ mode: 'enforce', clients: [], rules })
  if (compiled.kind !== 'ok') throw new Error(JSON.stringify(compiled.problems.slice(0, 3)))
  return { policy: compiled.policy, compileMs: cpuMs() - started }
}

function subjectOf({ host, path }) {
  const target = { method: 'GET', host: parseServerName(host), port: 443, path, encodedSlash: false, target: path }
  return { client: 'anonymous', scheme: 'https', ...target, upgrade: null, overrideHeaders: [] }
}

/** Requests spread over all the rules. */
function subjectsOf(asks, count) {
  const number = Math.min(count, SUBJECTS)
  return Array.from({ length: number }, (_, at) => subjectOf(asks(Math.floor((at * count) / number))))
}

function measure(policy, subjects, expected) {
  if (subjects.some((subject) => decide(policy, subject).kind !== expected))
    throw new Error(`not all are a ${expected}`)
  const each = []
  for (let round = -1; round < rounds; round++) {
    const started = cpuMs()
    let done = 0
    while (cpuMs() < started + roundMs) {
      for (let one = 0; one < BATCH; one++) decide(policy, subjects[(done + one) % subjects.length])
      done += BATCH
    }
    // The first round is for the compiler.
    if (round >= 0) each.push(((cpuMs() - started) * 1e6) / done)
  }
  return quantity(each)
}

for (const [mix, { rule, allowed, verdict = 'permit', denied }] of Object.entries(MIXES)) {
  for (const count of COUNTS) {
    const { policy, compileMs } = compile(rule, count)
    const hit = measure(policy, subjectsOf(allowed, count), verdict)
    const miss = measure(policy, subjectsOf(denied ?? ((index) => allowed(index + count)), count), 'denial')
    process.stdout.write(`${JSON.stringify({ mix, count, compileMs, hit, miss })}\n`)
  }
}
