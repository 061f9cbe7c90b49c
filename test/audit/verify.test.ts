import { createHash } from 'node:crypto'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EMPTY_CHAIN } from '../../src/audit/chain.ts'
import { openSigningKey, readPublicKeys, type SigningKey } from '../../src/audit/signing.ts'
import { keptCheckpoints } from '../../src/audit/verify-checkpoints.ts'
import { DECIDED } from '../support/audit-events.ts'
import {
  completed,
  decided,
  INSTANCE,
  LOADED,
  opened,
  OTHER_INSTANCE,
  put,
  requestId,
  sampleTrail,
  Sealed,
  STARTED,
  STOPPED,
  temporaryFolder,
  textOf,
  TIME,
  verifyPaths,
} from './support/sealed.ts'

let folder: string
let key: SigningKey
beforeAll(() => {
  folder = temporaryFolder()
  key = openSigningKey(folder)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let count = 0
/** A file of its own for every text. */
const file = (text: string, name = `trail-${++count}.jsonl`): string => put(folder, name, text)
const begun = (): Sealed => new Sealed().add(opened(null, 'start')).add(STARTED).add(LOADED)
const faultOf = async (trail: Sealed): Promise<unknown> => (await verifyPaths([file(textOf(trail.lines))])).fault

describe('several files', () => {
  const lines = sampleTrail(301, null).lines
  const pieces = [lines.slice(0, 101), lines.slice(101, 201), lines.slice(201)]
  const write = (name: string, at: number, extension = ''): string =>
    put(folder, `${name}.${String(at).padStart(12, '0')}.jsonl${extension}`, textOf(pieces[at] as string[]))

  it('in any order, plain and compressed', async () => {
    const paths = [write('mixed', 2), write('mixed', 0, '.gz'), write('mixed', 1, '.gz')]
    const report = await verifyPaths(paths)
    expect(report).toMatchObject({ ok: true, fault: null, records: 301, segments: 3, first_seq: 0, last_seq: 300 })
    expect(report).toMatchObject({ instance: INSTANCE, first_time: TIME, last_time: TIME })
  })

  it('with one missing between', async () => {
    const { fault } = await verifyPaths([write('missing', 0), write('missing', 2)])
    expect(fault).toMatchObject({ reason: 'gap', seq: 101, line: 1, offset: 0 })
  })

  it('with the oldest gone, as pruning leaves it: a warning, and a fault where the whole is asked for', async () => {
    const paths = [write('pruned', 1), write('pruned', 2)]
    const report = await verifyPaths(paths)
    expect(report).toMatchObject({ ok: true, first_seq: 101 })
    expect(report.warnings.join()).toContain('begins at seq 101: earlier segments are not here')
    expect((await verifyPaths(paths, { complete: true })).fault).toMatchObject({ reason: 'incomplete', seq: 0 })
  })

  it('an end of a request that was decided in a pruned one is no fault, one of later is', async () => {
    const trail = new Sealed(INSTANCE, null, { seq: 9, hash: 'a'.repeat(64) }).add(opened('x.jsonl'))
    trail.add(completed(1))
    expect((await verifyPaths([file(textOf(trail.lines))])).fault).toBeNull()
    trail.add({ ...completed(0), request_id: '7ZZZZZZZZZZZZZZZZZZZZZZZZZ' } as never)
    expect((await verifyPaths([file(textOf(trail.lines))])).fault).toMatchObject({ reason: 'duplicate_end', seq: 12 })
  })

  it('an archive that is damaged', async () => {
    const path = write('damaged', 0, '.gz')
    const bytes = readFileSync(path)
    writeFileSync(path, bytes.subarray(0, bytes.length - 40))
    expect((await verifyPaths([path])).fault).toMatchObject({ reason: 'damaged_archive', file: path })
  })

  it('a file that can not be read is no fault of the trail', async () => {
    await expect(verifyPaths([join(folder, 'nowhere.jsonl')])).rejects.toThrow('ENOENT')
  })

  it('without a record', async () => {
    const report = await verifyPaths([file('')])
    expect(report).toMatchObject({ ok: true, records: 0, instance: null, warnings: ['there are no records'] })
  })

  it('lines across the borders of blocks', async () => {
    const trail = begun()
    for (let index = 0; trail.lines.length < 9_000; index++) trail.add(decided(index)).add(completed(index))
    const report = await verifyPaths(
      [file(textOf(trail.lines)), file(textOf(trail.lines), 'again.jsonl.gz')].slice(0, 1),
    )
    expect(report).toMatchObject({ ok: true, records: trail.lines.length })
    expect(await verifyPaths([join(folder, 'again.jsonl.gz')])).toMatchObject({ ok: true, records: trail.lines.length })
  })
})

describe('a line that a crash broke off', () => {
  const before = (): Sealed => begun().add(decided(1)).add(completed(1))
  const torn = (trail: Sealed): string => {
    const next = new Sealed(INSTANCE, null, trail.head).add(decided(2)).lines[0] as string
    return next.slice(0, 200)
  }

  it('is tolerated at the end, with and without its newline, and with the NULs of a power cut', async () => {
    const trail = before()
    for (const end of [torn(trail), `${torn(trail)}\n`, `${torn(trail)}${'\0'.repeat(5_000)}`]) {
      const report = await verifyPaths([file(textOf(trail.lines) + end)])
      expect(report).toMatchObject({ ok: true, records: 5, torn: 1 })
    }
  })

  it('is tolerated where a restart follows', async () => {
    const trail = before()
    const text = `${textOf(trail.lines)}${torn(trail)}\n`
    const after = new Sealed(INSTANCE, null, trail.head).add(STARTED)
    expect(await verifyPaths([file(text + textOf(after.lines))])).toMatchObject({ ok: true, records: 6, torn: 1 })
  })

  it('is a fault anywhere else', async () => {
    const trail = before()
    const text = `${textOf(trail.lines)}${torn(trail)}\n`
    const after = new Sealed(INSTANCE, null, trail.head).add(decided(3))
    const { fault } = await verifyPaths([file(text + textOf(after.lines))])
    expect(fault).toMatchObject({ reason: 'torn', seq: 5, line: 6, offset: textOf(trail.lines).length })
  })

  it('a whole record that only lacks its newline counts', async () => {
    expect(await verifyPaths([file(textOf(before().lines).slice(0, -1))])).toMatchObject({ ok: true, records: 5 })
  })

  it('anything else that is no record does not', async () => {
    const { fault } = await verifyPaths([file(`${textOf(before().lines)}{"level":30}\n`)])
    expect(fault).toMatchObject({ reason: 'not_a_record', seq: 5 })
    const endless = await verifyPaths([file(textOf(before().lines) + 'x'.repeat(9_000_000))])
    expect(endless.fault).toMatchObject({ reason: 'not_a_record', seq: 5 })
  })
})

describe('decisions and ends', () => {
  it('a second end', async () => {
    const trail = begun().add(decided(1)).add(completed(1)).add(completed(1))
    expect(await faultOf(trail)).toMatchObject({ reason: 'duplicate_end', seq: 5 })
  })

  it('a second decision', async () => {
    expect(await faultOf(begun().add(decided(1)).add(decided(1)))).toMatchObject({
      reason: 'duplicate_decision',
      seq: 4,
    })
  })

  it('an end that is missing when the proxy stops: named where it was decided', async () => {
    const trail = begun().add(decided(1)).add(decided(2)).add(completed(1)).add(STOPPED)
    expect(await faultOf(trail)).toMatchObject({ reason: 'missing_end', seq: 4, line: 5 })
  })

  it('an end that comes after a crash, and one that never comes', async () => {
    const trail = begun().add(decided(1)).add(decided(2)).add(STARTED).add(LOADED).add(completed(1))
    expect(await faultOf(trail)).toBeNull()
    expect(await faultOf(trail.add(STARTED))).toMatchObject({ reason: 'missing_end', seq: 4 })
  })

  it('open ones at the tail of a trail that goes on are none', async () => {
    const trail = begun().add(decided(1)).add(decided(2)).add(completed(1))
    expect(await verifyPaths([file(textOf(trail.lines))])).toMatchObject({ ok: true, still_open: 1 })
  })

  it('ends that an outage kept from being written are counted', async () => {
    const restored = { event: 'audit.restored', since: TIME, duration_ms: 1, refused: 2, cause: 'ENOSPC' } as const
    const trail = begun().add(decided(1)).add(restored).add(STOPPED)
    const report = await verifyPaths([file(textOf(trail.lines))])
    expect(report).toMatchObject({ ok: true, lost_ends: 1, still_open: 0 })
  })

  it('a policy that was never loaded', async () => {
    const trail = begun().add({ ...DECIDED, request_id: requestId(1), policy: 'b'.repeat(64) })
    expect(await faultOf(trail)).toMatchObject({ reason: 'unknown_policy', seq: 3 })
  })

  it('a byte outside printable ASCII, whatever its hash', async () => {
    for (const byte of ['\xc9', '\x7f', '\x1b']) {
      const line = begun().add(decided(1)).lines[3] as string
      const body = line.slice(0, line.lastIndexOf(',"hash":')).replace('"GET"', `"G${byte}T"`)
      const hash = createHash('sha256').update(body, 'latin1').digest('hex')
      const text = `${textOf(begun().lines)}${body},"hash":"${hash}"}\n`
      expect((await verifyPaths([file(text)])).fault).toMatchObject({ reason: 'edited', seq: 3, line: 4 })
    }
  })

  it('a client that writes like a policy deceives nobody', async () => {
    const path = `/x","policy":"${'c'.repeat(64)}","y":"`
    const trail = begun().add({ ...DECIDED, request_id: requestId(1), client: { name: path, source: path }, path })
    expect(await faultOf(trail)).toBeNull()
  })
})

describe('checkpoints', () => {
  const keys = (): ReturnType<typeof readPublicKeys> => readPublicKeys([join(folder, 'audit.pub')])

  it('that count wrong', async () => {
    const trail = begun().add({ event: 'checkpoint', records: 7, key_id: null, signature: null })
    expect(await faultOf(trail)).toMatchObject({ reason: 'edited', seq: 3 })
  })

  it('of keys that changed over time', async () => {
    const second = openSigningKey(join(folder, 'second'))
    const trail = begun().checkpoint(key).checkpoint(second)
    const path = file(textOf(trail.lines))
    expect((await verifyPaths([path], { keys: keys() })).fault).toMatchObject({ reason: 'unknown_key', seq: 4 })
    const both = readPublicKeys([join(folder, 'audit.pub'), join(folder, 'second/audit.pub')])
    expect(await verifyPaths([path], { keys: both })).toMatchObject({
      ok: true,
      checkpoints: { found: 2, verified: 2 },
    })
  })

  it('without a signature pass where that is allowed, and are said to be without', async () => {
    const path = file(textOf(begun().checkpoint(null).lines))
    const report = await verifyPaths([path], { keys: keys(), allowUnsigned: true })
    expect(report).toMatchObject({ ok: true, checkpoints: { found: 1, verified: 0 }, uncovered: 4 })
    expect(report.warnings.join()).toContain('1 checkpoints are not signed')
  })

  it('whose signatures nobody looked at are said to be unchecked', async () => {
    const report = await verifyPaths([file(textOf(begun().checkpoint(key).lines))])
    expect(report.warnings.join()).toContain('signatures of checkpoints were not checked')
  })

  it('what follows the last one is said not to be covered', async () => {
    const report = await verifyPaths([file(textOf(begun().checkpoint(key).add(decided(1)).lines))], { keys: keys() })
    expect(report).toMatchObject({ ok: true, uncovered: 1 })
    expect(report.warnings.join()).toContain('1 records behind seq 3 are not covered')
  })
})

describe('keptCheckpoints', () => {
  it('takes checkpoints from among other lines, with CR LF too', () => {
    const line = begun().checkpoint(key).lines.at(-1) as string
    const kept = keptCheckpoints(`listening on 3128\r\n${line}\r\n\r\n`, 'kept')
    expect(kept).toMatchObject([{ seq: 3, place: { file: 'kept', line: 2 } }])
  })

  it('refuses one that was changed, and a text without any', () => {
    const line = begun().checkpoint(key).lines.at(-1) as string
    expect(() => keptCheckpoints(line.replace('"records":3', '"records":4'), 'kept')).toThrow('kept, line 1')
    expect(() => keptCheckpoints('hello\n', 'kept')).toThrow('holds no checkpoint')
  })

  it('those of another trail do not count when the trail is named', async () => {
    const kept = [
      ...keptCheckpoints(textOf(begun().checkpoint(key).lines), 'kept'),
      ...keptCheckpoints(textOf(new Sealed(OTHER_INSTANCE).add(opened(null)).checkpoint(key).lines), 'kept'),
    ]
    const path = file(textOf(begun().checkpoint(key).lines))
    expect((await verifyPaths([path], { kept })).fault).toMatchObject({ reason: 'spliced' })
    expect(await verifyPaths([path], { kept, instance: INSTANCE })).toMatchObject({ ok: true, kept: { found: 1 } })
  })

  it('those from before the beginning are counted', async () => {
    const early = new Sealed().add(opened(null, 'start')).checkpoint(key)
    const later = new Sealed(INSTANCE, null, early.head).add(opened('x')).checkpoint(key)
    const kept = keptCheckpoints(textOf([...early.lines, ...later.lines]), 'kept')
    const report = await verifyPaths([file(textOf(later.lines))], { kept })
    expect(report).toMatchObject({ ok: true, kept: { given: 2, found: 1, before: 1 } })
  })
})

it('accepts whatever the trail writes', async () => {
  const hostile = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc.constantFrom(
      '\r\n{"schema":"mcp-egress.audit/1"',
      '","hash":"',
      '\u2028',
      '\ud800',
      '\\',
      '"}',
      ',"policy":"',
      '\0',
    ),
  )
  const events = fc.array(
    fc.record({
      method: hostile,
      host: hostile,
      path: hostile,
      query: fc.option(hostile),
      rule: fc.option(hostile),
      name: hostile,
    }),
    { maxLength: 20 },
  )
  await fc.assert(
    fc.asyncProperty(events, async (asked) => {
      const trail = begun()
      for (const [index, { name, ...members }] of asked.entries()) {
        trail.add({ ...DECIDED, ...members, request_id: requestId(index), client: { name, source: null } })
        if (index % 3 > 0) trail.add(completed(index))
      }
      const report = await verifyPaths([file(textOf(trail.lines), 'property.jsonl')])
      expect(report).toMatchObject({ fault: null, records: trail.lines.length })
    }),
    { numRuns: 60 },
  )
})

it('begins where a chain begins', async () => {
  const trail = new Sealed(INSTANCE, null, { ...EMPTY_CHAIN, hash: 'a'.repeat(64) }).add(opened(null, 'start'))
  expect(await faultOf(trail)).toMatchObject({ reason: 'edited', seq: 0 })
})
