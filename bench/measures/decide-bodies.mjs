// node decide-bodies.mjs ROUNDS MS: microseconds to judge one body by a rule with conditions, as one JSON line for each body.
import { gzipSync } from 'node:zlib'
import { parseServerName } from '../../dist/core/address.js'
import { judgeBody } from '../../dist/core/body-judgement.js'
import { compilePolicy, decide } from '../../dist/core/policy.js'
import { decodeContent } from '../../dist/proxy/content-coding.js'
import { cpuMs } from './own-cpu.mjs'
import { quantity } from '../quantities.mjs'

const [rounds, roundMs] = process.argv.slice(2).map(Number)
/** Between two looks at the clock. */
const BATCH = 16
/** For the compiler, whose own time counts too. */
const WARM_ROUNDS = 4
const KIB = 1_024

const MAIL = { host: parseServerName('mail.example.com'), path: '/email' }
const CONDITIONS = ['Bcc', 'From', 'Tag']
const ABOUT = [
  { must: 'be-absent' },
  { must: 'match', value: '*@acme.example' },
  { must: 'be-in', value: ['invoice', 'reminder'] },
]
const fields = (kind) => CONDITIONS.map((name, at) => ({ in: kind, path: name, ...ABOUT[at] }))
const RULE = {
  id: 'send-mail',
  kind: 'allow',
  match: { hosts: ['mail.example.com'] },
  body: {
    json: [
      ...CONDITIONS.map((name, at) => ({ path: `$.${name}`, ...ABOUT[at] })),
      { path: '$.Items[*].Sku', must: 'match', value: 'sku-*' },
    ],
    form: fields('form'),
    multipart: fields('multipart'),
  },
}

const OWN = { From: 'billing@acme.example', Tag: 'invoice', To: 'you@example.com' }
/** One text in four has something to escape. */
const item = (at) => ({
  Sku: `sku-${at}`,
  Name: at % 4 === 0 ? `A thing in "quotes", number ${at}` : `A thing without them, number ${at}`,
  Price: at * 1.25,
  Tags: ['a', null, true],
})
const asJson = (count) => JSON.stringify({ ...OWN, Items: Array.from({ length: count }, (_, at) => item(at)) })
const line = (at) => [`item-${at}`, `A thing & its price, number ${at}`]
const asForm = (count) =>
  new URLSearchParams([...Object.entries(OWN), ...Array.from({ length: count }, (_, at) => line(at))]).toString()
const part = ([name, value]) => `--B\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
const asParts = (count) =>
  `${[...Object.entries(OWN), ...Array.from({ length: count }, (_, at) => line(at))].map(part).join('')}--B--\r\n`

/** The longest that `make` makes of whole items within so many bytes. */
function upTo(bytes, make) {
  let [low, high] = [1, bytes]
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if (Buffer.byteLength(make(middle)) <= bytes) low = middle
    else high = middle - 1
  }
  return Buffer.from(make(low))
}

const JSON_TYPE = 'application/json'
const small = upTo(10 * KIB, asJson)
const BODIES = [
  ['JSON, 10 KiB', small, JSON_TYPE],
  ['JSON, 100 KiB', upTo(100 * KIB, asJson), JSON_TYPE],
  ['JSON, 1 MiB', upTo(KIB * KIB, asJson), JSON_TYPE],
  [
    'JSON of one long string, 10 KiB',
    Buffer.from(JSON.stringify({ ...OWN, Items: [item(0)], Html: 'x'.repeat(10_000) })),
    JSON_TYPE,
  ],
  ['a form, 10 KiB', upTo(10 * KIB, asForm), 'application/x-www-form-urlencoded'],
  ['form data, 10 KiB', upTo(10 * KIB, asParts), 'multipart/form-data; boundary=B'],
  ['JSON of 10 KiB in gzip', gzipSync(small), JSON_TYPE, 'gzip'],
]

const compiled = compilePolicy({ mode: 'enforce', clients: [], rules: [RULE] })
if (compiled.kind !== 'ok') throw new Error(JSON.stringify(compiled.problems))
const { policy } = compiled
const about = { client: 'anonymous', scheme: 'https', method: 'POST', port: 443, encodedSlash: false }
const subject = { ...about, ...MAIL, target: MAIL.path, upgrade: null, overrideHeaders: [] }
const needs = decide(policy, subject)
const known = { knows: () => true }

function judge(bytes, contentType) {
  const { verdict } = judgeBody(
    policy,
    subject,
    needs,
    { bytes, complete: true, contentType, undecodable: null },
    known,
  )
  if (verdict.kind !== 'permit') throw new Error(verdict.hint)
}

/** `coding` null: without a turn of the event loop, as it is judged when it is there whole. */
async function measure(bytes, contentType, coding) {
  const each = []
  for (let round = -WARM_ROUNDS; round < rounds; round++) {
    const started = cpuMs()
    let done = 0
    while (cpuMs() < started + roundMs) {
      for (let one = 0; one < BATCH; one++) {
        if (coding === null) judge(bytes, contentType)
        else judge((await decodeContent(bytes, coding)).bytes, contentType)
      }
      done += BATCH
    }
    if (round >= 0) each.push(((cpuMs() - started) * 1e3) / done)
  }
  return quantity(each)
}

for (const [name, bytes, contentType, coding = null] of BODIES) {
  const judged = await measure(bytes, contentType, coding)
  process.stdout.write(`${JSON.stringify({ name, bytes: bytes.length, judged })}\n`)
}
