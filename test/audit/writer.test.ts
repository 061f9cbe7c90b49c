import type { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { EMPTY_CHAIN } from '../../src/audit/chain.ts'
import type { LogFile } from '../../src/audit/file.ts'
import { type Trail, TrailUnavailable, trailOn } from '../../src/audit/trail.ts'
import { MAX_QUEUED_BYTES, MAX_QUEUED_RECORDS, WRITE_TIMEOUT_MS } from '../../src/audit/writer.ts'
import { DECIDED } from '../support/audit-events.ts'

const NOW = new Date('2026-11-21T10:00:00.000Z')

/** A disk in memory whose next calls do what the test says; without word from it they work. */
class FakeDisk implements LogFile {
  content = ''
  writes: number[] = []
  syncs = 0
  closed = 0
  /** Answers for the next writes: how many bytes at most, an error, or what to wait for first. */
  readonly plan: (number | Error | Promise<number | Error>)[] = []
  readonly syncPlan: (Error | Promise<void>)[] = []

  async write(bytes: Buffer, offset: number): Promise<number> {
    this.writes.push(bytes.length - offset)
    const answer = (await this.plan.shift()) ?? Number.POSITIVE_INFINITY
    if (typeof answer !== 'number') throw answer
    const taken = bytes.subarray(offset, offset + Math.min(answer, bytes.length))
    this.content += taken.toString('latin1')
    return taken.length
  }

  async sync(): Promise<void> {
    this.syncs++
    const answer = await this.syncPlan.shift()
    if (answer instanceof Error) throw answer
  }

  close(): void {
    this.closed++
  }
}

const error = (code: string): Error => Object.assign(new Error(`${code}: made by the test`), { code })

/** A promise that the test settles. */
function gate<T>(): { readonly promise: Promise<T>; readonly open: (value: T) => void } {
  let open: (value: T) => void = () => undefined
  const promise = new Promise<T>((resolve) => {
    open = resolve
  })
  return { promise, open }
}

let disk: FakeDisk
let failures: Error[]
let written: number
function trailFor(durability: 'os' | 'sync' = 'os'): Trail {
  disk = new FakeDisk()
  failures = []
  written = 0
  return trailOn(
    disk,
    { instance: null, head: EMPTY_CHAIN },
    {
      durability,
      now: () => NOW,
      onFailure: (why) => failures.push(why),
      onWritten: (records) => (written += records),
    },
  )
}

/** Paths in file order, after checking that every line is a record of one gapless chain. */
function paths(): string[] {
  let previous = EMPTY_CHAIN.hash
  return disk.content
    .split('\n')
    .slice(0, -1)
    .map((line, at) => {
      const record = JSON.parse(line) as { seq: number; path: string; prev_hash: string; hash: string }
      expect(record).toMatchObject({ seq: at, prev_hash: previous })
      previous = createHash('sha256')
        .update(line.slice(0, line.lastIndexOf(',"hash":')))
        .digest('hex')
      expect(record.hash).toBe(previous)
      return record.path
    })
}

const append = (trail: Trail, path: string): Promise<void> => trail.append({ ...DECIDED, path })
const outcome = (promise: Promise<void>): Promise<string> =>
  promise.then(
    () => 'written',
    (why: Error) => why.message,
  )

describe('group commit', () => {
  it('has one write in flight, and writes all that gathered meanwhile at once', async () => {
    const trail = trailFor()
    const first = gate<number>()
    disk.plan.push(first.promise)
    const appends = ['/1', '/2', '/3', '/4'].map((path) => append(trail, path))
    expect(disk.writes).toHaveLength(1)
    first.open(Number.POSITIVE_INFINITY)
    await Promise.all(appends)
    expect(disk.writes).toHaveLength(2)
    expect(paths()).toEqual(['/1', '/2', '/3', '/4'])
    expect(written).toBe(4)
  })

  it('resolves only when its own line is written', async () => {
    const trail = trailFor()
    const first = gate<number>()
    const second = gate<number>()
    disk.plan.push(first.promise, second.promise)
    const settled: string[] = []
    const one = append(trail, '/1').then(() => settled.push('/1'))
    const two = append(trail, '/2').then(() => settled.push('/2'))
    first.open(Number.POSITIVE_INFINITY)
    await one
    expect(settled).toEqual(['/1'])
    second.open(Number.POSITIVE_INFINITY)
    await two
    expect(settled).toEqual(['/1', '/2'])
  })

  it('with durability sync resolves only after the sync of its group', async () => {
    const trail = trailFor('sync')
    const synced = gate<void>()
    disk.syncPlan.push(synced.promise)
    let done = false
    const appended = append(trail, '/1').then(() => (done = true))
    await vi.waitFor(() => expect(disk.syncs).toBe(1))
    expect([done, paths()]).toEqual([false, ['/1']])
    synced.open()
    await appended
    expect(done).toBe(true)
  })

  it('goes on where a short write stopped', async () => {
    const trail = trailFor()
    disk.plan.push(1, 10, 300)
    await append(trail, '/1')
    expect(disk.writes).toHaveLength(4)
    expect(paths()).toEqual(['/1'])
  })

  it('an event that can not be encoded leaves no gap', async () => {
    const trail = trailFor()
    await append(trail, '/1')
    await expect(trail.append({ ...DECIDED, port: Number.NaN })).rejects.toThrow(TypeError)
    await append(trail, '/2')
    expect(paths()).toEqual(['/1', '/2'])
  })

  it.each([
    ['records', MAX_QUEUED_RECORDS, '/'],
    ['bytes', Math.ceil(MAX_QUEUED_BYTES / 16_900), '/'.repeat(16_000)],
  ])('over its bound of %s an append is refused, the others are not', async (_bound, count, path) => {
    const trail = trailFor()
    const first = gate<number>()
    disk.plan.push(first.promise)
    const appends = Array.from({ length: 1 + count }, () => append(trail, path))
    const over = Array.from({ length: 20 }, () => outcome(append(trail, path)))
    expect(await over.at(-1)).toBe('the audit trail is behind: its queue is full')
    expect(trail.available()).toBe(true)
    first.open(Number.POSITIVE_INFINITY)
    const taken = (await Promise.all([...appends.map(outcome), ...over])).filter((text) => text === 'written')
    expect(paths()).toHaveLength(taken.length)
    expect(taken.length).toBeLessThan(appends.length + over.length)
  })
})

describe('a disk that is full [K04]', () => {
  it('refuses the group and all behind it, and serves again with the first line that fits', async () => {
    const trail = trailFor()
    const first = gate<Error>()
    disk.plan.push(first.promise)
    const refused = [outcome(append(trail, '/1')), outcome(append(trail, '/2'))]
    first.open(error('ENOSPC'))
    expect(await Promise.all(refused)).toEqual(
      Array(2).fill('the audit trail can not be written: ENOSPC: made by the test'),
    )
    expect(trail.available()).toBe(false)

    disk.plan.push(error('ENOSPC'))
    await expect(append(trail, '/still full')).rejects.toThrow(TrailUnavailable)
    expect(failures.map((why) => why.message)).toEqual(['ENOSPC: made by the test'])

    await append(trail, '/3')
    expect(trail.available()).toBe(true)
    await append(trail, '/4')
    expect(paths()).toEqual(['/3', '/4'])
    disk.plan.push(error('EDQUOT'))
    await expect(append(trail, '/5')).rejects.toThrow('EDQUOT')
    expect(failures).toHaveLength(2)
  })

  it('only one line at a time is the trial', async () => {
    const trail = trailFor()
    disk.plan.push(error('ENOSPC'))
    await expect(append(trail, '/1')).rejects.toThrow('ENOSPC')
    const trial = gate<number>()
    disk.plan.push(trial.promise)
    const taken = append(trail, '/2')
    await expect(append(trail, '/3')).rejects.toThrow('ENOSPC')
    trial.open(Number.POSITIVE_INFINITY)
    await taken
    expect(paths()).toEqual(['/2'])
  })

  it('finishes the record that was begun before it writes another: no line is torn, none is lost', async () => {
    const trail = trailFor()
    disk.plan.push(100, error('ENOSPC'))
    await expect(append(trail, '/begun')).rejects.toThrow('ENOSPC')
    disk.plan.push(50, error('ENOSPC'))
    await expect(append(trail, '/refused')).rejects.toThrow('ENOSPC')
    await append(trail, '/next')
    expect(paths()).toEqual(['/begun', '/next'])
  })

  it('whatever was written of whatever group or trial, the chain goes on', async () => {
    const cut = fc.record({
      lines: fc.integer({ min: 1, max: 4 }),
      bytes: fc.integer({ min: 0, max: 3_000 }),
      recovered: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(cut, { minLength: 1, maxLength: 6 }), async (cuts) => {
        const trail = trailFor()
        const acknowledged: string[] = []
        const tryAppend = (path: string): Promise<unknown> =>
          append(trail, path)
            .then(() => acknowledged.push(path))
            .catch(() => undefined)
        for (const [at, { lines, bytes, recovered }] of cuts.entries()) {
          if (recovered) await tryAppend(`/recovered ${at}`)
          const hold = gate<number>()
          if (trail.available()) disk.plan.push(hold.promise)
          if (bytes > 0) disk.plan.push(bytes)
          disk.plan.push(error('ENOSPC'))
          const appends = Array.from({ length: 1 + lines }, (_, line) => tryAppend(`/${at} ${line}`))
          hold.open(Number.POSITIVE_INFINITY)
          await Promise.all(appends)
          disk.plan.length = 0
        }
        await append(trail, '/last')
        const recorded = new Set(paths())
        expect(recorded.has('/last')).toBe(true)
        expect(acknowledged.filter((path) => !recorded.has(path))).toEqual([])
      }),
      { numRuns: 300 },
    )
  })
})

describe('a disk that can not be trusted [K06]', () => {
  it.each(['EIO', 'EBADF', 'EROFS'])('after %s nothing is written on', async (code) => {
    const trail = trailFor()
    disk.plan.push(error(code))
    await expect(append(trail, '/1')).rejects.toThrow(code)
    await expect(append(trail, '/2')).rejects.toThrow(code)
    expect([disk.writes.length, trail.available()]).toEqual([1, false])
  })

  it('a sync that fails once is not tried again, full disk or not', async () => {
    const trail = trailFor('sync')
    disk.syncPlan.push(error('ENOSPC'))
    await expect(append(trail, '/1')).rejects.toThrow('fdatasync(2) failed, what is on disk is not known')
    await expect(append(trail, '/2')).rejects.toThrow('fdatasync(2) failed')
    expect([disk.writes.length, disk.syncs]).toEqual([1, 1])
  })

  it('a write that takes nothing is a failure, not an endless loop', async () => {
    const trail = trailFor()
    disk.plan.push(0)
    await expect(append(trail, '/1')).rejects.toThrow('write(2) took no byte')
  })
})

describe('a disk that hangs', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())
  const hanging = `the audit trail can not be written: no answer from the disk in ${WRITE_TIMEOUT_MS} ms`

  it('is a failure after two seconds; service returns once the write has returned', async () => {
    const trail = trailFor()
    const stuck = gate<number>()
    disk.plan.push(stuck.promise)
    const waiting = [outcome(append(trail, '/1')), outcome(append(trail, '/2'))]
    await vi.advanceTimersByTimeAsync(WRITE_TIMEOUT_MS - 1)
    expect(trail.available()).toBe(true)
    await vi.advanceTimersByTimeAsync(1)
    expect(await Promise.all(waiting)).toEqual([hanging, hanging])
    expect(await outcome(append(trail, '/3'))).toBe(hanging)
    expect(disk.writes).toHaveLength(1)

    stuck.open(Number.POSITIVE_INFINITY)
    await vi.advanceTimersByTimeAsync(0)
    expect(trail.available()).toBe(false)
    await append(trail, '/4')
    expect(trail.available()).toBe(true)
    expect(paths()).toEqual(['/1', '/4'])
    expect(failures).toHaveLength(1)
  })

  it('that then fails for good is broken for good', async () => {
    const trail = trailFor()
    const stuck = gate<Error>()
    disk.plan.push(stuck.promise)
    const waiting = outcome(append(trail, '/1'))
    await vi.advanceTimersByTimeAsync(WRITE_TIMEOUT_MS)
    expect(await waiting).toBe(hanging)
    stuck.open(error('EIO'))
    await vi.advanceTimersByTimeAsync(0)
    expect(await outcome(append(trail, '/2'))).toContain('EIO')
    expect([disk.writes.length, failures.length]).toEqual([1, 1])
  })

  it('slow but steady writes are no failure', async () => {
    const trail = trailFor()
    const steps = [gate<number>(), gate<number>(), gate<number>()]
    disk.plan.push(...steps.map((step) => step.promise))
    const appended = outcome(append(trail, '/1'))
    for (const step of steps) {
      await vi.advanceTimersByTimeAsync(WRITE_TIMEOUT_MS - 1)
      step.open(100)
      await vi.advanceTimersByTimeAsync(0)
    }
    expect(await appended).toBe('written')
  })

  it('does not hang close, and the descriptor is closed only when the write is back', async () => {
    const trail = trailFor()
    const stuck = gate<number>()
    disk.plan.push(stuck.promise)
    const waiting = outcome(append(trail, '/1'))
    const closed = trail.close()
    await vi.advanceTimersByTimeAsync(WRITE_TIMEOUT_MS)
    await closed
    expect([await waiting, disk.closed, failures.length]).toEqual([hanging, 0, 1])
    stuck.open(Number.POSITIVE_INFINITY)
    await vi.advanceTimersByTimeAsync(0)
    expect(disk.closed).toBe(1)
  })

  it('close after the failure does not wait either', async () => {
    const trail = trailFor()
    disk.plan.push(gate<number>().promise)
    const waiting = outcome(append(trail, '/1'))
    await vi.advanceTimersByTimeAsync(WRITE_TIMEOUT_MS)
    await trail.close()
    expect([await waiting, disk.closed]).toEqual([hanging, 0])
  })
})

describe('close', () => {
  it('writes what was taken, takes no more, closes once', async () => {
    const trail = trailFor()
    const first = gate<number>()
    disk.plan.push(first.promise)
    const appends = [append(trail, '/1'), append(trail, '/2')]
    const closing = [trail.close(), trail.close()]
    await expect(append(trail, '/3')).rejects.toThrow('the audit trail can not be written: it is closed')
    first.open(Number.POSITIVE_INFINITY)
    await Promise.all([...appends, ...closing])
    await trail.close()
    expect([paths(), disk.closed, trail.available()]).toEqual([['/1', '/2'], 1, false])
  })
})
