import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { cursorPath } from '../../src/audit/sink-cursor.ts'
import { openSigningKey, type SigningKey } from '../../src/audit/signing.ts'
import { addAuditPrune } from '../../src/cli/audit-prune.ts'
import { addAuditVerify } from '../../src/cli/audit-verify.ts'
import {
  completed,
  decided,
  INSTANCE,
  LOADED,
  opened,
  put,
  Sealed,
  STARTED,
  temporaryFolder,
  textOf,
} from '../audit/support/sealed.ts'
import { type Ended, run } from './capture.ts'

const DAY_MS = 86_400_000

let folder: string
let key: SigningKey
let all: readonly string[]
beforeEach(() => {
  folder = temporaryFolder()
  key = openSigningKey(join(folder, 'certs'))
  configure('')
  all = writeTrail()
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function configure(section: string): void {
  writeFileSync(join(folder, 'mcp-egress.yaml'), `version: 1\naudit:\n  path: audit.jsonl\n${section}`)
}

const ago = (days: number): string => new Date(Date.now() - days * DAY_MS).toISOString()
const name = (seq: number): string => `audit.${String(seq).padStart(12, '0')}.jsonl`

/** Four closed segments of ten records, 40 to 10 days old, the second one compressed, and the active file. */
function writeTrail(): string[] {
  const trail = new Sealed(INSTANCE, key)
  const starts: number[] = []
  for (const age of [40, 30, 20, 10, 0]) {
    const from = trail.lines.length
    starts.push(from)
    trail.add(opened(from === 0 ? null : name(from - 10), from === 0 ? 'start' : 'age'), ago(age))
    if (from === 0) trail.add(STARTED, ago(age)).add(LOADED, ago(age))
    for (let index = from; trail.lines.length < from + 8; index++)
      trail.add(decided(index), ago(age)).add(completed(index), ago(age))
    while (trail.lines.length < from + 10) trail.checkpoint()
  }
  for (const [index, start] of starts.entries()) {
    const text = textOf(trail.lines.slice(start, starts[index + 1]))
    put(folder, index === 4 ? 'audit.jsonl' : `${name(start)}${index === 1 ? '.gz' : ''}`, text)
  }
  return trail.lines
}

async function audit(...args: string[]): Promise<Ended> {
  const [verb = '', ...rest] = args
  return run(
    (output) => {
      const command = new Command('audit').exitOverride()
      addAuditPrune(command, output)
      addAuditVerify(command, output)
      return command
    },
    [verb, '-c', join(folder, 'mcp-egress.yaml'), ...rest],
  )
}

const segments = (): string[] => readdirSync(folder).filter((each) => /^audit\.\d/.test(each))
const closed = (from: number, to: number): string[] =>
  [0, 10, 20, 30].filter((seq) => seq >= from && seq <= to).map((seq) => `${name(seq)}${seq === 10 ? '.gz' : ''}`)

describe('audit prune', () => {
  it('deletes by age, counted from the last record of a segment', async () => {
    const ended = await audit('prune', '--keep', '25d', '--json')
    expect(ended).toMatchObject({ code: 0 })
    expect(JSON.parse(ended.out)).toMatchObject({
      pruned: [{ first_seq: 0, last_seq: 9, file: join(folder, name(0)) }],
      left: 3,
      held: [],
      dry_run: false,
    })
    expect(segments()).toEqual(closed(10, 30))
  })

  it('deletes by number and by size', async () => {
    await audit('prune', '--keep-segments', '2')
    expect(segments()).toEqual(closed(20, 30))
    await audit('prune', '--keep-size', '1')
    expect(segments()).toEqual([])
    expect(existsSync(join(folder, 'audit.jsonl'))).toBe(true)
  })

  it('leaves a signed record of what it deleted, and the rest verifies', async () => {
    await audit('prune', '--keep-segments', '1')
    const [stone] = readFileSync(join(folder, 'audit.pruned.jsonl'), 'utf8').trim().split('\n')
    expect(JSON.parse(stone ?? '')).toMatchObject({ instance: INSTANCE, first_seq: 0, last_seq: 29, key_id: key.keyId })
    const ended = await audit('verify', '--json')
    expect(JSON.parse(ended.out)).toMatchObject({
      ok: true,
      first_seq: 30,
      pruned: { last_seq: 29, signed: true },
      warnings: [],
    })
    const complete = await audit('verify', '--complete')
    expect(complete).toMatchObject({ code: 3, out: expect.stringContaining('incomplete') as string })
    await audit('prune', '--keep-segments', '0')
    expect(readFileSync(join(folder, 'audit.pruned.jsonl'), 'utf8').trim().split('\n')).toHaveLength(2)
  })

  it('the record of another chain, or with another signature, vouches for nothing', async () => {
    await audit('prune', '--keep-segments', '1')
    const path = join(folder, 'audit.pruned.jsonl')
    const stone = readFileSync(path, 'utf8')
    writeFileSync(path, stone.replace(/"signature":"..../, '"signature":"AAAA'))
    expect((await audit('verify')).out).toContain('is not signed by a key given')
    writeFileSync(path, stone.replace(/"last_hash":"."?/, '"last_hash":"0'))
    expect((await audit('verify')).out).toContain('no record says that they were pruned')
  })

  it('a dry run says the same and deletes nothing', async () => {
    const ended = await audit('prune', '--keep', '25d', '--dry-run')
    expect(ended).toMatchObject({ code: 0, out: expect.stringContaining('1 segments would be deleted') as string })
    expect(segments()).toEqual(closed(0, 30))
    expect(existsSync(join(folder, 'audit.pruned.jsonl'))).toBe(false)
  })

  it('deletes nothing that does not verify', async () => {
    put(folder, name(0), textOf(all.slice(0, 10).with(3, (all[3] as string).replace('"GET"', '"PUT"'))))
    const ended = await audit('prune', '--keep-segments', '0')
    expect(ended).toMatchObject({ code: 3, message: 'nothing was deleted: what does not verify is evidence' })
    expect(ended.out).toContain('edited')
    expect(segments()).toEqual(closed(0, 30))
  })

  it('deletes nothing that the rest does not stand on', async () => {
    put(folder, name(0), textOf(all.slice(0, 9)))
    const ended = await audit('prune', '--keep-segments', '3')
    expect(ended).toMatchObject({ code: 2, message: expect.stringContaining('does not go on from') as string })
    expect(segments()).toEqual(closed(0, 30))
  })

  it('deletes nothing before a segment whose first record was changed', async () => {
    const changed = (all[10] as string).replace('"cause":"age"', '"cause":"size"')
    put(folder, `${name(10)}.gz`, textOf([changed, ...all.slice(11, 20)]))
    expect(await audit('prune', '--keep-segments', '3')).toMatchObject({ code: 2 })
    expect(segments()).toEqual(closed(0, 30))
  })

  it('never deletes what a sink has not got', async () => {
    configure('  sinks:\n    - { name: siem, type: syslog, address: "tcp://127.0.0.1:1" }\n')
    const active = join(folder, 'audit.jsonl')
    const none = await audit('prune', '--keep-segments', '0')
    expect(none).toMatchObject({ code: 3, message: expect.stringContaining('sink siem has nothing') as string })
    writeFileSync(cursorPath(active, 'siem'), JSON.stringify({ instance: INSTANCE, seq: 18 }))
    expect(await audit('prune', '--keep-segments', '0')).toMatchObject({
      code: 3,
      message: expect.stringContaining('seq 18') as string,
    })
    expect(segments()).toEqual(closed(10, 30))
    writeFileSync(cursorPath(active, 'siem'), JSON.stringify({ instance: INSTANCE, seq: 39 }))
    expect(await audit('prune', '--keep-segments', '0')).toMatchObject({ code: 0 })
    expect(segments()).toEqual([])
  })

  it('keeps the last closed segment as long as the active file has no record: the chain ends in it', async () => {
    writeFileSync(join(folder, 'audit.jsonl'), '')
    expect(await audit('prune', '--keep-segments', '0')).toMatchObject({ code: 0 })
    expect(segments()).toEqual(closed(30, 30))
  })

  it.each([
    [[], 'nothing says what to keep'],
    [['--keep', 'long'], '--keep long can not be understood'],
    [['--keep-size', '1XB'], '--keep-size 1XB can not be understood'],
    [['--keep-segments', '-1'], '--keep-segments -1 can not be understood'],
  ])('%j is a mistake', async (args, message) => {
    expect(await audit('prune', ...args)).toMatchObject({
      code: 1,
      message: expect.stringContaining(message) as string,
    })
  })
})

describe('audit verify', () => {
  it('takes the whole trail of a configuration, with the keys of its CA folder', async () => {
    const ended = await audit('verify')
    expect(ended).toMatchObject({ code: 0, message: '' })
    expect(ended.out).toMatch(/^OK: 50 records in 5 files\n/)
    expect(ended.out).toMatch(/checkpoints {2}\d+, signatures verified \d+\n$/)
  })

  it('says where the first bad record is', async () => {
    put(folder, name(20), textOf(all.slice(20, 30).toSpliced(3, 1)))
    const ended = await audit('verify')
    expect(ended.code).toBe(3)
    expect(ended.out).toContain(
      `BROKEN at seq 23: removed\n  record 23 is missing\n  ${join(folder, name(20))}, line 4, byte `,
    )
    const asJson = await audit('verify', '--json')
    expect(JSON.parse(asJson.out)).toMatchObject({ ok: false, fault: { reason: 'removed', seq: 23, line: 4 } })
  })

  it('an active file brings its closed segments with it', async () => {
    const out: string[] = []
    const command = new Command('audit').exitOverride()
    addAuditVerify(command, { out: (text) => void out.push(text), err: () => undefined, colour: false })
    const publicKey = join(folder, 'certs/audit.pub')
    await command.parseAsync(['verify', join(folder, 'audit.jsonl'), '--public-key', publicKey], { from: 'user' })
    expect(out.join('')).toMatch(/^OK: 50 records in 5 files\n/)
    out.length = 0
    await command.parseAsync(['verify', join(folder, name(20)), '--public-key', publicKey], { from: 'user' })
    expect(out.join('')).toMatch(/^OK: 10 records in 1 file\n/)
  })

  it('finds a tail that was cut off by a checkpoint that was kept', async () => {
    const kept = put(folder, 'kept.txt', `hello\n${all.at(-1)}\n`)
    expect(await audit('verify', '--from-checkpoint', kept)).toMatchObject({ code: 0 })
    put(folder, 'audit.jsonl', textOf(all.slice(40, 48)))
    expect(await audit('verify')).toMatchObject({ code: 0 })
    const ended = await audit('verify', '--from-checkpoint', kept)
    expect(ended).toMatchObject({ code: 3, out: expect.stringContaining('BROKEN at seq 48: cut_off') as string })
  })

  it('what can not be read is no verdict', async () => {
    expect(await audit('verify', '--from-checkpoint', join(folder, 'nowhere'))).toMatchObject({ code: 2 })
    rmSync(join(folder, 'certs'), { recursive: true })
    const ended = await audit('verify')
    expect(ended).toMatchObject({ code: 2, message: expect.stringContaining('--public-key') as string })
    expect(await audit('verify', '--allow-unsigned')).toMatchObject({ code: 0 })
  })

  it.each([
    [['x.jsonl'], 'both files and --config'],
    [['--instance', 'abc'], '--instance abc'],
  ])('%j is a mistake', async (args, message) => {
    expect(await audit('verify', ...args)).toMatchObject({
      code: 1,
      message: expect.stringContaining(message) as string,
    })
  })
})
