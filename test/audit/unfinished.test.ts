import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type FileTrail, openTrail, type TrailOptions } from '../../src/audit/trail.ts'
import type { AuditEvent } from '../../src/core/record.ts'
import { COMPLETED, DECIDED, unevenRequests, verifyTrail } from '../support/audit-events.ts'

let folder: string
let path: string
beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'unfinished-'))
  path = join(folder, 'audit.jsonl')
})
afterEach(() => fs.rmSync(folder, { recursive: true }))

const ID = (n: number): string => `01JD8Y6Z3M7Q2W4E6R${String(n).padStart(8, '0')}`
const LIFECYCLE = { version: '0.1.0', policy: 'a'.repeat(64), mode: 'enforce' } as const
const STARTED: AuditEvent = { event: 'proxy.started', ...LIFECYCLE }
const decided = (n: number): AuditEvent => ({ ...DECIDED, request_id: ID(n) })
const ended = (n: number): AuditEvent => ({ ...COMPLETED, request_id: ID(n) })
const opened = (n: number): AuditEvent => ({ event: 'tunnel.opened', request_id: ID(n), kind: 'passthrough' })
const closed = (n: number): AuditEvent => ({
  event: 'tunnel.closed',
  request_id: ID(n),
  kind: 'passthrough',
  bytes_sent: 1,
  bytes_received: 1,
  frames_sent: null,
  frames_received: null,
  duration_ms: 1,
})

/** `|`: a new file is begun. The mark is what a crash leaves: that of the last file begun, or none. */
async function crashedAfter(
  steps: readonly (AuditEvent | '|')[],
  mark: 'kept' | 'lost',
  options: Partial<TrailOptions> = {},
): Promise<void> {
  const trail = await openTrail({ path, durability: 'os', now: () => new Date(), ...options })
  for (const step of steps) {
    if (step === '|') await begunAnew(trail)
    else await trail.append(step)
  }
  const left = fs.existsSync(`${path}.open`) ? fs.readFileSync(`${path}.open`) : null
  await trail.close()
  if (mark === 'lost' || left === null) fs.rmSync(`${path}.open`)
  else fs.writeFileSync(`${path}.open`, left)
}

/** With its mark, which is written a little later. */
async function begunAnew(trail: FileTrail): Promise<void> {
  const files = fs.readdirSync(folder).filter((name) => /\.\d{12}\./.test(name)).length
  fs.rmSync(`${path}.open`, { force: true })
  trail.rotate('signal')
  await vi.waitFor(() => {
    const names = fs.readdirSync(folder)
    const isDone = names.includes('audit.jsonl.open') && names.filter((name) => /\.\d{12}\./.test(name)).length > files
    if (!isDone) throw new Error(`no new file: ${names.join(' ')}`)
  })
}

const markOf = (): unknown => JSON.parse(fs.readFileSync(`${path}.open`, 'utf8'))

/** The records that the next start adds, less the first of a new file. */
async function repaired(): Promise<Record<string, unknown>[]> {
  const before = verifyTrail(path).records.length
  await (await openTrail({ path, durability: 'os', now: () => new Date() })).close()
  const { records } = verifyTrail(path)
  expect(unevenRequests(records)).toEqual([])
  return records.slice(before)
}

const interrupted = (n: number): object => ({
  event: 'request.completed',
  request_id: ID(n),
  outcome: 'interrupted',
  bytes_sent: null,
  duration_ms: null,
})

describe.each(['kept', 'lost'] as const)('after a crash, mark %s [K07]', (mark) => {
  it.each<[string, (AuditEvent | '|')[], object[]]>([
    ['nothing is open', [STARTED, decided(1), ended(1)], []],
    [
      'two of three are open',
      [STARTED, decided(1), decided(2), ended(1), decided(3)],
      [interrupted(2), interrupted(3)],
    ],
    [
      'a tunnel is open: its close, then its end',
      [STARTED, decided(1), opened(1)],
      [{ event: 'tunnel.closed', request_id: ID(1), kind: 'passthrough', bytes_sent: null }, interrupted(1)],
    ],
    ['a tunnel was closed, its request not ended', [STARTED, decided(1), opened(1), closed(1)], [interrupted(1)]],
    [
      'open since the file before',
      [STARTED, decided(1), decided(2), '|', ended(2), decided(3)],
      [interrupted(1), interrupted(3)],
    ],
    [
      'open since two files before',
      [STARTED, decided(1), opened(1), '|', decided(2), '|', ended(2), closed(1)],
      [interrupted(1)],
    ],
  ])('%s', async (_case, steps, added) => {
    await crashedAfter(steps, mark)
    expect(await repaired()).toMatchObject(added)
    expect(await repaired()).toEqual([])
  })
})

it('a record that was torn decided nothing', async () => {
  await crashedAfter([STARTED, decided(1), ended(1), decided(2)], 'lost')
  fs.truncateSync(path, fs.statSync(path).size - 40)
  await (await openTrail({ path, durability: 'os', now: () => new Date() })).close()
  const { records, torn } = verifyTrail(path)
  expect([records.length, torn, unevenRequests(records)]).toEqual([4, 1, []])
})

it('compressed files are read as well', async () => {
  await crashedAfter([STARTED, decided(1), '|', decided(2), ended(2)], 'lost', { compress: true })
  const trail = await openTrail({ path, durability: 'os', now: () => new Date(), compress: true })
  await vi.waitFor(() => expect(fs.readdirSync(folder)).toContain('audit.000000000000.jsonl.gz'), { timeout: 5_000 })
  await trail.close()
  expect(unevenRequests(verifyTrail(path).records)).toEqual([])
})

it.each<[string, (mark: Record<string, unknown>) => unknown]>([
  ['of another trail', (mark) => ({ ...mark, instance: ID(9) })],
  ['of another record', (mark) => ({ ...mark, seq: 7 })],
  ['that points into the middle of a line', (mark) => ({ ...mark, offset: 5 })],
  ['that lists something else', (mark) => ({ ...mark, open: [['x', null]] })],
  ['that is no mark', () => []],
])('a mark %s is not believed', async (_case, change) => {
  await crashedAfter([STARTED, decided(1), '|', decided(2)], 'kept')
  fs.writeFileSync(`${path}.open`, JSON.stringify(change(markOf() as Record<string, unknown>)))
  expect(await repaired()).toMatchObject([interrupted(1), interrupted(2)])
})

it('after an orderly stop nothing is read again', async () => {
  await crashedAfter([STARTED, decided(1), ended(1)], 'kept')
  const trail = await openTrail({ path, durability: 'os', now: () => new Date() })
  await trail.close()
  const mark = markOf() as { offset: number; open: unknown }
  expect(mark).toMatchObject({ offset: fs.statSync(path).size, open: [] })
})
