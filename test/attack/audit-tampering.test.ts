// [K11] Whoever changes, removes, inserts, moves or mixes records of a trail is found out, at the first record that is not as it was.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { GENESIS, seal } from '../../src/audit/chain.ts'
import { openSigningKey, readPublicKeys, type SigningKey } from '../../src/audit/signing.ts'
import type { VerifyRules } from '../../src/audit/verify.ts'
import { LOOKAHEAD } from '../../src/audit/verify-diagnosis.ts'
import { Chain } from '../../src/audit/verify-chain.ts'
import { keptCheckpoints } from '../../src/audit/verify-checkpoints.ts'
import type { Fault, VerifyReport } from '../../src/audit/verify-report.ts'
import type { AuditEvent } from '../../src/core/record.ts'
import {
  decided,
  INSTANCE,
  LENIENT,
  OTHER_INSTANCE,
  put,
  requestId,
  sampleTrail,
  temporaryFolder,
  textOf,
  TIME,
  verifyPaths,
} from '../audit/support/sealed.ts'

const RECORDS = 2_000
const EVERY = 100
const SMALL = 50
/** Every so manieth spoiled trail is shown to the verifier in Python as well. */
const SAMPLE = 400

const FORGED: AuditEvent = { event: 'tunnel.opened', request_id: requestId(9_999), kind: 'websocket' }

let folder: string
let key: SigningKey
let keys: VerifyRules['keys']
let lines: readonly string[]
beforeAll(() => {
  folder = temporaryFolder()
  key = openSigningKey(folder)
  keys = readPublicKeys([join(folder, 'audit.pub')])
  lines = sampleTrail(RECORDS, key).lines
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function verifyText(text: string, rules: Partial<VerifyRules> = {}): Promise<VerifyReport> {
  return verifyPaths([put(folder, 'audit.jsonl', text)], { keys, ...rules })
}

const verifyLines = (spoiled: readonly string[]): Promise<VerifyReport> => verifyText(textOf(spoiled))

/** The same without a file, for those who ask thousands of times. */
function faultOf(text: string, trusted = keys): Fault | null {
  const chain = new Chain({ ...LENIENT, keys: trusted })
  chain.file('audit.jsonl')
  chain.take({ bytes: Buffer.from(text, 'latin1'), offset: 0 })
  chain.finish()
  return chain.fault
}

/** What the verifier in Python says of the file that was checked last: the number it stumbles over, or `OK`. */
function python(...options: string[]): { code: number | null; out: string } {
  const script = join(import.meta.dirname, '../../examples/verify/verify_audit.py')
  const { status, stdout, stderr } = spawnSync('python3', [script, ...options, join(folder, 'audit.jsonl')], {
    encoding: 'utf8',
  })
  expect(stderr).toBe('')
  return { code: status, out: stdout }
}

function pythonOf(text: string): { code: number | null; out: string } {
  put(folder, 'audit.jsonl', text)
  return python()
}

/**
 * Spoils the trail at every place and collects those where the answer is not `expected`. Of the trail only what is around the place is
 * looked at, from the segment before it on; every so many times all of it, and in Python too.
 */
function wrongAnswers(
  places: number,
  spoil: (at: number) => readonly string[],
  expected: (at: number) => readonly [seq: number, reason: string],
): unknown[] {
  const wrong: unknown[] = []
  for (let at = 0; at < places; at++) {
    const spoiled = spoil(at)
    const whole = at % SAMPLE === 1
    const text = textOf(whole ? spoiled : spoiled.slice(segmentBefore(at, EVERY), at + 2 * LOOKAHEAD))
    const fault = faultOf(text, whole ? keys : null)
    const [seq, reason] = expected(at)
    if (fault?.seq !== seq || fault.reason !== reason) wrong.push([at, fault])
    if (whole && pythonOf(text).code !== 3) wrong.push([at, 'in Python'])
  }
  return wrong
}

/** Where the segment before the one of record `at` begins. */
function segmentBefore(at: number, every: number): number {
  const segments = Math.floor((at - 1) / every)
  return segments < 2 ? 0 : (segments - 1) * every + 1
}

it('the trail as it was written is good, and the verifier in Python agrees', async () => {
  const report = await verifyLines(lines)
  expect(report).toMatchObject({ ok: true, records: RECORDS, uncovered: 0, torn: 0, warnings: [] })
  expect(report.checkpoints).toEqual({ found: 20, verified: 20, last_seq: RECORDS - 1 })
  expect(python()).toMatchObject({ code: 0 })
})

describe('[K11] over every line of 2,000', () => {
  it('a removed one', () => {
    const wrong = wrongAnswers(
      RECORDS - 1,
      (at) => lines.toSpliced(at, 1),
      (at) => [at, 'removed'],
    )
    expect(wrong).toEqual([])
  }, 120_000)

  it('two neighbours in each other’s place', () => {
    const wrong = wrongAnswers(
      RECORDS - 1,
      (at) => lines.toSpliced(at, 2, lines[at + 1] as string, lines[at] as string),
      (at) => [at, at === 0 ? 'removed' : 'reordered'],
    )
    expect(wrong).toEqual([])
  }, 120_000)

  it('one that stands twice', () => {
    const wrong = wrongAnswers(
      RECORDS,
      (at) => lines.toSpliced(at, 0, lines[at] as string),
      (at) => [at, 'inserted'],
    )
    expect(wrong).toEqual([])
  }, 120_000)

  it('a forged one between two, with a right hash over a wrong predecessor', () => {
    const forged = (at: number): string =>
      seal(FORGED, INSTANCE, TIME, { seq: at - 1, hash: 'f'.repeat(64) }).text.slice(0, -1)
    const wrong = wrongAnswers(
      RECORDS,
      (at) => lines.toSpliced(at, 0, forged(at)),
      (at) => [at, at === 0 ? 'edited' : 'inserted'],
    )
    expect(wrong).toEqual([])
  }, 120_000)

  it('a forged one between two, with a right hash over the right predecessor', () => {
    const hashOf = (at: number): string => (at === 0 ? GENESIS : (lines[at - 1] as string).slice(-66, -2))
    const forged = (at: number): string =>
      seal(FORGED, INSTANCE, TIME, { seq: at - 1, hash: hashOf(at) }).text.slice(0, -1)
    const wrong = wrongAnswers(
      RECORDS - 1,
      (at) => lines.toSpliced(at, 0, forged(at)),
      (at) => [at, 'inserted'],
    )
    expect(wrong).toEqual([])
  }, 120_000)

  it('the end of another trail', () => {
    const other = sampleTrail(RECORDS, key, OTHER_INSTANCE).lines
    const wrong = wrongAnswers(
      RECORDS - 1,
      (at) => [...lines.slice(0, at + 1), ...other.slice(at + 1)],
      (at) => [at + 1, 'spliced'],
    )
    expect(wrong).toEqual([])
  }, 120_000)

  it('the end of another trail that gives itself for this one', () => {
    const other = sampleTrail(RECORDS, key, INSTANCE, 100, '2026-11-22T10:00:00.000Z').lines
    for (let at = 3; at < RECORDS - 1; at += 7) {
      const fault = faultOf(textOf([...lines.slice(0, at), ...other.slice(at)]))
      expect([at, fault?.reason, fault?.seq]).toEqual([at, 'edited', at - 1])
    }
  }, 60_000)
})

describe('[K11] single bytes', () => {
  it('every byte of 50 records', () => {
    const every = 10
    const small = sampleTrail(SMALL, key, INSTANCE, every).lines
    const wrong: unknown[] = []
    for (let record = 0; record < SMALL; record++) {
      const before = textOf(small.slice(segmentBefore(record, every), record))
      const line = `${small[record]}\n`
      const after = textOf(small.slice(record + 1, record + 3))
      for (let at = 0; at < line.length; at++) {
        const code = line.charCodeAt(at)
        // What looks like the work of a crash, a torn line and NULs, is tried at all places where a crash could have been.
        const others = record === SMALL - 1 || at % 7 === record % 7 ? [code ^ 1, 0x0a, 0x00] : [code ^ 1]
        for (const other of others) {
          if (other === code) continue
          const fault = faultOf(before + line.slice(0, at) + String.fromCharCode(other) + line.slice(at + 1) + after)
          if (fault?.seq !== record) wrong.push([at, record, code, other, fault])
        }
      }
    }
    expect(wrong).toEqual([])
  }, 120_000)

  it('a sample of 2,000 records', () => {
    const text = textOf(lines)
    const starts = [0]
    for (const line of lines) starts.push((starts.at(-1) ?? 0) + line.length + 1)
    for (let step = 0; step < 200; step++) {
      const at = (step * 2_654_435_761) % text.length
      const spoiled = text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ 2) + text.slice(at + 1)
      const record = starts.findLastIndex((start) => start <= at)
      expect([at, faultOf(spoiled)?.seq]).toEqual([at, record])
    }
    expect(pythonOf(text.replace('"GET"', '"PUT"')).code).toBe(3)
  }, 120_000)

  it('names line, byte and file', async () => {
    const spoiled = (lines[7] as string).replace('"rule":"github-read"', '"rule":"github-rite"')
    const { fault, records } = await verifyLines(lines.with(7, spoiled))
    expect(fault).toEqual({
      reason: 'edited',
      seq: 7,
      file: join(folder, 'audit.jsonl'),
      line: 8,
      offset: textOf(lines.slice(0, 7)).length,
      message: 'the record does not match its hash',
    })
    expect(records).toBe(7)
    expect(python()).toEqual({ code: 3, out: expect.stringMatching(/seq 7\b/) as string })
  })
})

describe('[K11] by one who can write the whole file', () => {
  it('a record that was sealed again shows in the next one', async () => {
    const { head } = headBefore(500)
    const edited = seal(decided(9_999), INSTANCE, TIME, head).text.slice(0, -1)
    const { fault } = await verifyLines(lines.with(500, edited))
    expect(fault).toMatchObject({ reason: 'edited', seq: 500, line: 501 })
  })

  it('all from there on sealed again shows at the next checkpoint: no key, no signature', async () => {
    const { fault } = await verifyLines(resealedFrom(150))
    expect(fault).toMatchObject({ reason: 'bad_signature', seq: 200 })
    const signatures = ['--public-key', join(folder, 'audit.pub')]
    expect(python(...signatures)).toMatchObject({
      code: 3,
      out: expect.stringMatching(/seq 200: the signature/) as string,
    })
    // Without the key the chain alone is consistent: that is what the signatures are for.
    expect(python()).toMatchObject({ code: 0 })
    await verifyLines(lines)
    expect(python(...signatures)).toMatchObject({ code: 0, out: expect.stringContaining('20 signatures') as string })
  })

  it('signed with a key of his own', async () => {
    const foreign = openSigningKey(join(folder, 'foreign'))
    expect((await verifyLines(sampleTrail(300, foreign).lines)).fault).toMatchObject({
      reason: 'unknown_key',
      seq: 100,
    })
  })

  it('without signatures', async () => {
    expect((await verifyLines(sampleTrail(300, null).lines)).fault).toMatchObject({ reason: 'unsigned', seq: 100 })
  })

  it('without checkpoints', async () => {
    const { fault } = await verifyText(textOf(sampleTrail(300, null, INSTANCE, 10_000).lines.slice(0, -1)), {
      maxUncovered: 200,
    })
    expect(fault).toMatchObject({ reason: 'unsigned', seq: 200 })
  })

  it('a tail that was cut off passes, unless a checkpoint was kept elsewhere', async () => {
    const cut = textOf(lines.slice(0, 1_850))
    expect(await verifyText(cut)).toMatchObject({ ok: true, last_seq: 1_849, uncovered: 49 })
    const kept = keptCheckpoints(textOf([lines[1_700] as string, lines[1_900] as string]), 'kept.jsonl')
    expect((await verifyText(cut, { kept })).fault).toMatchObject({ reason: 'cut_off', seq: 1_850 })
    expect(await verifyText(textOf(lines), { kept })).toMatchObject({
      ok: true,
      kept: { given: 2, found: 2, before: 0 },
    })
  })

  it('a trail rewritten with the stolen key passes, unless a checkpoint was kept elsewhere', async () => {
    const text = textOf(sampleTrail(RECORDS, key, INSTANCE, 100, '2026-11-22T10:00:00.000Z').lines)
    expect(await verifyText(text)).toMatchObject({ ok: true })
    const kept = keptCheckpoints(textOf([lines[1_700] as string]), 'kept.jsonl')
    expect((await verifyText(text, { kept })).fault).toMatchObject({ reason: 'rewritten', seq: 1_700 })
  })

  it('a new trail in place of the old one', async () => {
    const text = textOf(sampleTrail(RECORDS, key, OTHER_INSTANCE).lines)
    const kept = keptCheckpoints(textOf([lines[1_700] as string]), 'kept.jsonl')
    expect((await verifyText(text, { kept })).fault).toMatchObject({ reason: 'spliced' })
    expect((await verifyText(text, { instance: INSTANCE })).fault).toMatchObject({ reason: 'spliced' })
  })
})

function headBefore(seq: number): { head: { seq: number; hash: string } } {
  return { head: { seq: seq - 1, hash: (lines[seq - 1] as string).slice(-66, -2) } }
}

/** Every record from `from` on hashed anew over a changed one, signatures as they were. */
function resealedFrom(from: number): string[] {
  let { head } = headBefore(from)
  return lines.map((line, seq) => {
    if (seq < from) return line
    const body = line.slice(0, line.lastIndexOf(',"prev_hash":'))
    const changed = seq === from ? body.replace('T10:00:00', 'T10:00:01') : body
    const resealed = resealBody(changed, head.hash)
    head = { seq, hash: resealed.slice(-66, -2) }
    return resealed
  })
}

function resealBody(members: string, prevHash: string): string {
  const body = `${members},"prev_hash":"${prevHash}"`
  return `${body},"hash":"${createHash('sha256').update(body, 'latin1').digest('hex')}"}`
}
