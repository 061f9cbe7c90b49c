import { Buffer } from 'node:buffer'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { type FileTrail, openTrail, type TrailOptions } from '../../src/audit/trail.ts'
import type { AuditEvent } from '../../src/core/record.ts'
import { createRedactor } from '../../src/core/redact.ts'
import { COMPLETED, DECIDED, SAMPLES, unevenRequests, verifyFile, verifyTrail } from '../support/audit-events.ts'
import { compileTrail } from './support/compile.ts'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'trail-'))
  path = join(folder, 'audit.jsonl')
})
afterEach(() => rmSync(folder, { recursive: true }))

const open = (options: Partial<TrailOptions> = {}): Promise<FileTrail> =>
  openTrail({ path, durability: 'os', now: () => new Date(), ...options })

/** The records of the file, verified, less those in which the trail tells of itself. */
function told(): ReturnType<typeof verifyFile> {
  const { records, torn } = verifyFile(path)
  const own = (record: Record<string, unknown>): boolean =>
    record['event'] === 'segment.opened' || record['outcome'] === 'interrupted'
  return { records: records.filter((record) => !own(record)), torn }
}

async function write(...events: AuditEvent[]): Promise<string> {
  const trail = await open()
  for (const event of events) await trail.append(event)
  await trail.close()
  return trail.instance
}

describe('one chain', () => {
  it.each(['os', 'sync'] as const)('of every kind of event, durability %s', async (durability) => {
    const trail = await open({ durability })
    for (const event of SAMPLES) await trail.append(event)
    await trail.close()
    const records = verifyFile(path).records.slice(1)
    expect(records.map((record) => record['event'])).toEqual(SAMPLES.map(({ event }) => event))
    expect(new Set(records.map((record) => record['instance']))).toEqual(new Set([trail.instance]))
  })

  it('of 10,000 appends at once: gapless, in order, a line for each', async () => {
    let written = 0
    const trail = await open({ onWritten: (count) => (written += count) })
    await Promise.all(Array.from({ length: 10_000 }, (_, at) => trail.append({ ...DECIDED, path: `/${at}` })))
    await trail.close()
    const { records } = told()
    expect(records.map((record) => record['path'])).toEqual(Array.from({ length: 10_000 }, (_, at) => `/${at}`))
    expect(readFileSync(path, 'latin1').split('\n')).toHaveLength(10_002)
    expect(written).toBe(10_001)
  })

  it('goes on after a restart, with its instance [K12]', async () => {
    const first = await write(DECIDED, COMPLETED)
    const second = await write(DECIDED)
    expect(second).toBe(first)
    expect(told().records).toHaveLength(3)
  })

  it.each([1, 40, 300, 700])(
    'goes on after a line torn %d bytes before its end: the piece stays, its number is used again',
    async (bytes) => {
      await write(DECIDED, COMPLETED, DECIDED)
      truncateSync(path, readFileSync(path).length - bytes)
      const before = readFileSync(path)
      await write(COMPLETED)
      expect(readFileSync(path).subarray(0, before.length)).toEqual(before)
      const { records, torn } = told()
      // One byte less is a whole record without its newline.
      expect([records.length, torn]).toEqual(bytes === 1 ? [4, 0] : [3, 1])
    },
  )

  it('a clock that goes back changes no order [K14]', async () => {
    let time = Date.UTC(2026, 10, 21)
    const trail = await open({ now: () => new Date((time -= 60_000)) })
    for (const event of [DECIDED, COMPLETED, DECIDED]) await trail.append(event)
    await trail.close()
    const times = told().records.map((record) => String(record['timestamp']))
    expect(times).toEqual([...times].sort().reverse())
    expect(new Set(times).size).toBe(3)
  })
})

describe('the checker of these tests finds', () => {
  const edit = (change: (lines: string[]) => string[]): void => {
    const lines = readFileSync(path, 'latin1').split('\n').slice(0, -1)
    writeFileSync(path, `${change(lines).join('\n')}\n`)
  }
  it.each<[string, (lines: string[]) => string[], string]>([
    ['an edited record', (l) => l.map((line, at) => (at === 2 ? line.replace('200', '201') : line)), 'seq 2: the hash'],
    ['a removed record', (l) => l.filter((_, at) => at !== 2), 'seq 3: does not follow'],
    ['records out of order', (l) => [l[0], l[1], l[3], l[2]].map(String), 'seq 3: does not follow'],
    ['a record that stands twice', (l) => [l[0], l[0], l[1]].map(String), 'seq 0: does not follow'],
  ])('%s [K11]', async (_case, change, message) => {
    await write(DECIDED, COMPLETED, DECIDED)
    edit(change)
    expect(() => verifyFile(path)).toThrow(message)
  })
})

describe('what a peer writes into it', () => {
  it('forges no record [K01]', async () => {
    const forged = '/\r\n{"schema":"mcp-egress.audit/1","event":"request.decided","decision":"allow"}\r\n\u2028\u009b2J'
    await write(
      { ...DECIDED, decision: 'deny', path: forged, sni: forged, host: forged, security_flags: [forged] },
      COMPLETED,
    )
    const { records, torn } = told()
    expect([records.length, torn]).toEqual([2, 0])
    expect(records[0]).toMatchObject({ decision: 'deny', path: forged, sni: forged })
  })

  it('leaves no secret on the disk [K15] [K16]', async () => {
    const redactor = createRedactor(Buffer.alloc(32, 1))
    const canary = 'c4n4ry5ecret0123456789ABCDEF'
    const targets: [path: string, query: string | null][] = [
      [`/bot123456:${canary}/sendMessage`, null],
      [`/repos/ghp_${canary}`, `access_token=${canary}&page=2`],
      ['/callback', `code=${canary}&redirect=https%3A%2F%2Fme%3A${canary}%40h%2F%3Ftoken%3D${canary}`],
      ['/a', `X-Amz-Signature=${canary}&%74oken=${canary}`],
    ]
    const line = `GET /x?password=${canary} HTTP/1.1`
    const headers = [{ name: 'Authorization', length: canary.length }]
    await write(
      ...targets.map(([target, query]) => ({ ...DECIDED, path: redactor.path(target), query: redactor.query(query) })),
      {
        event: 'request.malformed',
        request_id: DECIDED.request_id,
        code: 'HPE_INVALID_TOKEN',
        length: 100,
        fingerprint: redactor.fingerprint(Buffer.from(`Authorization: Bearer ${canary}`)),
        request_line: redactor.text(line),
        headers,
      },
    )
    const found = readdirSync(folder).filter((name) => readFileSync(join(folder, name), 'latin1').includes(canary))
    expect(found).toEqual([])
    expect(told().records[1]).toMatchObject({
      query: expect.stringMatching(/^access_token=hmac:[0-9a-f]{16}&page=2$/) as unknown,
    })
  })
})

describe('the published schema', () => {
  const published = JSON.parse(readFileSync('schemas/audit.schema.json', 'utf8')) as Record<string, unknown> & {
    $defs: Record<string, { properties?: Record<string, unknown> }>
    oneOf: { $ref: string }[]
  }
  const schema = z.fromJSONSchema(published as Parameters<typeof z.fromJSONSchema>[0])

  it('describes every record the trail writes, also cut ones', async () => {
    await write(...SAMPLES, {
      ...DECIDED,
      path: '/'.repeat(20_000),
      host: 'a'.repeat(2_000),
      security_flags: Array(100).fill('\0'.repeat(99)) as string[],
      mcp: Array.from({ length: 17 }, () => ({
        method: 'tools/call',
        tool: '\0'.repeat(999),
        resource: null,
        id: '1',
      })),
      graphql: [{ operation: 'query', name: null }],
    })
    for (const record of verifyFile(path).records) expect(schema.safeParse(record).error?.issues ?? []).toEqual([])
  })

  it('has a definition for every event, and the samples cover each', () => {
    const defined = published.oneOf.map(({ $ref }) => $ref.replace('#/$defs/', ''))
    expect([...new Set(SAMPLES.map(({ event }) => event))].sort()).toEqual(defined.sort())
  })

  it('takes nothing else', async () => {
    await write(DECIDED)
    const [record] = told().records
    const { seq: _, ...withoutSeq } = record as Record<string, unknown>
    const wrong = [
      { ...record, extra: 1 },
      { ...record, reason: 'because' },
      { ...record, event: 'request.completed' },
      { ...record, seq: -1 },
      withoutSeq,
    ]
    expect(wrong.filter((candidate) => schema.safeParse(candidate).success)).toEqual([])
  })

  it('and docs/audit-log.md explain every member of every event', () => {
    const page = readFileSync('docs/audit-log.md', 'utf8')
    const members = Object.values(published.$defs).flatMap(({ properties = {} }) => Object.keys(properties))
    const names = [...members, ...published.oneOf.map(({ $ref }) => $ref.replace('#/$defs/', ''))]
    expect(names.filter((name) => !page.includes(`\`${name}\``))).toEqual([])
  })
})

const compiled = { folder: '' }
describe('processes', () => {
  beforeAll(() => {
    compiled.folder = compileTrail()
  })
  afterAll(() => rmSync(compiled.folder, { recursive: true }))

  /** Appends for ever; prints the number of each acknowledged record. */
  const WRITER = `
    const { openTrail } = await import(process.argv[1] + '/audit/trail.js')
    const [, , path, durability, event] = process.argv
    const trail = await openTrail({ path, durability, now: () => new Date() })
    let next = 0
    const worker = async () => {
      for (;;) {
        const n = next++
        await trail.append({ ...JSON.parse(event), path: '/' + n })
        process.stdout.write(n + '\\n')
      }
    }
    for (let at = 0; at < 20; at++) worker()
  `
  const start = (durability: string) => {
    const child = spawn(process.execPath, [
      '--input-type=module',
      '-e',
      WRITER,
      compiled.folder,
      path,
      durability,
      JSON.stringify(DECIDED),
    ])
    child.stderr.pipe(process.stderr)
    return child
  }

  it.each([
    ['os', 1],
    ['os', 333],
    ['os', 5_000],
    ['sync', 200],
  ] as const)('SIGKILL loses no acknowledged record (durability %s, after %d) [K07]', async (durability, after) => {
    const child = start(durability)
    const acknowledged: number[] = []
    const ended = once(child, 'close')
    for await (const line of createInterface(child.stdout)) {
      acknowledged.push(Number(line))
      if (acknowledged.length === after) child.kill('SIGKILL')
    }
    await ended
    expect(child.signalCode).toBe('SIGKILL')
    // Opening repairs a torn last line; nobody holds the lock any more.
    await (await open()).close()
    const recorded = new Set(told().records.map((record) => record['path']))
    expect(acknowledged.length).toBeGreaterThanOrEqual(after)
    expect(acknowledged.filter((n) => !recorded.has(`/${n}`))).toEqual([])
  })

  it('a second process on the same file is refused, until the first is killed [K13]', async () => {
    const child = start('os')
    const ended = once(child, 'close')
    await once(child.stdout, 'data')
    await expect(open()).rejects.toThrow(`it is being written by another process (pid ${child.pid} since `)
    child.stdout.resume()
    child.kill('SIGKILL')
    await ended
    await (await open()).close()
    verifyFile(path)
  })
})

const mayMount = ((): boolean => {
  const at = mkdtempSync(join(tmpdir(), 'mount-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', at], { stdio: 'ignore' })
    execFileSync('umount', [at])
    return true
  } catch {
    console.warn('SKIPPED: the test of a full disk needs to mount a tmpfs (root)')
    return false
  } finally {
    rmSync(at, { recursive: true })
  }
})()

describe.skipIf(!mayMount)('a full disk [K04]', () => {
  beforeEach(() => void execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k,mode=700', 'tmpfs', folder]))
  afterEach(() => void execFileSync('umount', [folder]))

  const fill = (): void => writeFileSync(join(folder, 'ballast'), Buffer.alloc(163_840))

  it('refuses while it is full, and serves again by itself when there is room', async () => {
    fill()
    const failures: string[] = []
    const trail = await open({ onFailure: (why) => failures.push(why.message) })
    const outcomes: boolean[] = []
    const append = (n: number): Promise<boolean> =>
      trail.append({ ...DECIDED, path: `/${n}`, request_id: `01JD8Y6Z3M7Q2W4E6R${String(n).padStart(8, '0')}` }).then(
        () => true,
        () => false,
      )
    while (outcomes.at(-1) !== false) outcomes.push(await append(outcomes.length))
    const acknowledged = outcomes.length - 1
    expect(acknowledged).toBeGreaterThan(10)
    expect([trail.available(), await append(10_000_000), await append(10_000_001)]).toEqual([false, false, false])
    expect(failures).toEqual([expect.stringContaining('ENOSPC')])
    // The record that hit the end of the disk is torn now: the case is the one it claims to be.
    expect(readFileSync(path).at(-1)).not.toBe(0x0a)

    unlinkSync(join(folder, 'ballast'))
    await vi.waitFor(() => expect(trail.available()).toBe(true), { timeout: 2_000, interval: 10 })
    expect(await append(1_000)).toBe(true)
    expect([await append(1_001), trail.available()]).toEqual([true, true])
    await trail.close()
    await (await open()).close()
    const { records, torn } = verifyTrail(path)
    const paths = records.flatMap((record) => (record['event'] === 'request.decided' ? [record['path']] : []))
    expect(torn).toBe(1)
    expect(paths.slice(0, acknowledged)).toEqual(Array.from({ length: acknowledged }, (_, n) => `/${n}`))
    expect(paths.slice(-2)).toEqual(['/1000', '/1001'])
    expect(records.filter(({ event }) => event === 'audit.restored')).toMatchObject([
      { refused: 3, cause: expect.stringContaining('ENOSPC') as unknown },
    ])
    expect(unevenRequests(records)).toEqual([])
  })

  it('a start on a full disk with a torn line fails and says what to do', async () => {
    await write(DECIDED, COMPLETED)
    appendFileSync(path, '{"schema":"mcp-egress.audit/1","inst')
    // To the last byte of the file's own page too, or the newline would still fit.
    const { bsize, bavail } = statfsSync(folder)
    writeFileSync(join(folder, 'ballast'), Buffer.alloc(bsize * bavail))
    const room = bsize - (readFileSync(path).length % bsize)
    appendFileSync(path, '\0'.repeat(room))
    await expect(open()).rejects.toThrow(/ENOSPC.*: make room for it/)
    expect(existsSync(path)).toBe(true)
    unlinkSync(join(folder, 'ballast'))
    await (await open()).close()
    expect(told()).toMatchObject({ torn: 1, records: { length: 2 } })
  })
})
