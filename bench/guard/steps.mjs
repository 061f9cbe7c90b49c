// What the guard counts without a socket: the steps of one request, each by itself, and a fixed piece of JavaScript to divide by.
// Run by run.mjs under callgrind; each os.uptime() ends a phase, one to warm up and one to count for each step.
import { createHash } from 'node:crypto'
import { uptime } from 'node:os'
import { EMPTY_CHAIN } from '../../dist/audit/chain.js'
import { entryOf } from '../../dist/audit/entry.js'
import { Sealer } from '../../dist/audit/sealer.js'
import { frameRequest, frameResponse } from '../../dist/core/framing.js'
import { parseRequestHead, parseStatusHead, serializeHead } from '../../dist/core/http1.js'
import { decide } from '../../dist/core/policy.js'
import { readSubject } from '../../dist/core/subject.js'
import { parseServerName } from '../../dist/core/address.js'
import { completed, decided, policyOf, REQUEST_HEAD, STATUS_HEAD } from './request.mjs'
import { STEPS } from './phases.mjs'

const WORDS = Array.from({ length: 16 }, (_, index) => `word-${index}`)
const host = parseServerName('api.bench.example')
const names = { scheme: 'https', expected: { host, port: 443 }, port: 443, absolute: false }
const policy = policyOf(100)
const sealer = new Sealer('01KAKX5Y7N8Q2R4S6T8V0W2X4Y', null)
const TIME = '2026-11-21T10:00:00.000Z'
let chain = EMPTY_CHAIN

/** Strings, maps, objects, JSON and a hash, as a request needs them. Changing it changes every ratio: accept a new baseline then. */
function reference() {
  const counts = new Map()
  let text = ''
  for (const word of WORDS) {
    text += `${word}: ${word.length}\r\n`
    counts.set(word.toUpperCase(), text.length)
  }
  let sum = 0
  for (let at = 0; at < text.length; at++) sum = (sum * 31 + text.charCodeAt(at)) | 0
  const copy = JSON.parse(JSON.stringify({ sum, counts: [...counts] }))
  return createHash('sha256').update(Buffer.from(text, 'latin1')).digest('hex').length + copy.counts.length
}

function requestHead() {
  const parsed = parseRequestHead(REQUEST_HEAD)
  return readSubject(names, parsed.head, frameRequest(parsed.head))
}

const { subject } = requestHead()
const asked = { ...subject, client: 'anonymous' }

/** By the names of phases.mjs. */
const STEP_OF = {
  reference,
  'request head': requestHead,
  decision: () => decide(policy, asked),
  records: () => {
    const sealed = sealer.seal([entryOf(decided(), TIME), entryOf(completed(), TIME)], chain, 0)
    chain = sealed.lines.at(-1).head
    return sealed
  },
  'response head': () => {
    const parsed = parseStatusHead(STATUS_HEAD)
    return frameResponse('GET', parsed.head).kind === 'bad'
      ? null
      : serializeHead('HTTP/1.1 200 OK', parsed.head.headers)
  },
}

function repeat(step, times) {
  for (let round = 0; round < times; round++) if (!step()) throw new Error(`${step.name} did nothing`)
  uptime()
}

if (decide(policy, asked).kind !== 'permit') throw new Error('the request of the guard is not permitted')
uptime()
for (const { name, warm, counted } of STEPS) {
  repeat(STEP_OF[name], warm)
  repeat(STEP_OF[name], counted)
}
process.disconnect()
