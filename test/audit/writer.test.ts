import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { EMPTY_CHAIN } from '../../src/audit/chain.ts'
import type { LogFile } from '../../src/audit/file.ts'
import { MAX_QUEUED_BYTES, MAX_QUEUED_RECORDS } from '../../src/audit/group.ts'
import type { NewSegment, Store } from '../../src/audit/store.ts'
import { type FileTrail, type TrailOptions, TrailUnavailable, trailOn } from '../../src/audit/trail.ts'
import { RETRY_MS, WRITE_TIMEOUT_MS } from '../../src/audit/writer.ts'
import { COMPLETED, DECIDED } from '../support/audit-events.ts'

const NOW = new Date('2026-11-21T10:00:00.000Z')
type Damage = ReturnType<LogFile['damage']>

/** A disk in memory whose next calls do what the test says; without word from it they work. */
class FakeDisk implements Store, LogFile {
  /** What is in the files, the active one last. */
  segments: string[] = ['']
  writes: number[] = []
  syncs = 0
  closed = 0
  begins: NewSegment[] = []
  readonly begun = NOW.getTime()
  /** Answers for the next writes: how many bytes at most, an error, or what to wait for first. */
  readonly plan: (number | Error | Promise<number | Error>)[] = []
  readonly syncPlan: (Error | Promise<void>)[] = []
  /** Answers for the next new files. */
  readonly beginPlan: (Error | null | Promise<Error | null>)[] = []
  readonly damagePlan: Damage[] = []

  get file(): LogFile {
    return this
  }

  get content(): string {
    return this.segments.join('')
  }

  get size(): number {
    return this.segments.at(-1)?.length ?? 0
  }

  async write(bytes: Buffer, offset: number): Promise<number> {
    this.writes.push(bytes.length - offset)
    const answer = (await this.plan.shift()) ?? Number.POSITIVE_INFINITY
    if (typeof answer !== 'number') throw answer
    const taken = bytes.subarray(offset, offset + Math.min(answer, bytes.length))
    this.segments[this.segments.length - 1] += taken.toString('latin1')
    return taken.length
  }

  async sync(): Promise<void> {
    this.syncs++
    const answer = await this.syncPlan.shift()
    if (answer instanceof Error) throw answer
  }

  damage(): Damage {
    return this.damagePlan.shift() ?? null
  }

  async begin(next: NewSegment): Promise<void> {
    this.begins.push(next)
    const answer = await this.beginPlan.shift()
    if (answer instanceof Error) throw answer
    const text = next.compose('before').toString('latin1')
    if (next.torn) this.segments[this.segments.length - 1] += '\n'
    this.segments.push(text)
  }

  close(): void {
    this.closed++
  }
}

/** A write takes along what this turn of the event loop brings, and begins at its end. */
const turnEnd = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
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
let restored: number
let written: number
function trailFor(durability: 'os' | 'sync' = 'os', options: Partial<TrailOptions> = {}): FileTrail {
  disk = new FakeDisk()
  failures = []
  written = 0
  restored = 0
  return trailOn(
    { store: disk, tail: { instance: null, head: EMPTY_CHAIN } },
    {
      durability,
      now: () => NOW,
      onFailure: (why) => failures.push(why),
      onRestored: () => (restored += 1),
      onWritten: (count) => (written += count),
      ...options,
    },
  )
}

interface Line {
  readonly event: string
  readonly seq: number
  readonly path?: string
  readonly request_id?: string
}

/** The records in file order, after checking that they are one gapless chain, and how many lines are none. */
function records(): { readonly whole: (Line & Record<string, unknown>)[]; readonly torn: number } {
  let previous = EMPTY_CHAIN.hash
  let torn = 0
  const whole: (Line & Record<string, unknown>)[] = []
  for (const line of disk.segments.flatMap((segment) => segment.split('\n')).filter((text) => text !== '')) {
    if (!/,"hash":"[0-9a-f]{64}"\}$/.test(line)) {
      torn++
      continue
    }
    const record = JSON.parse(line) as Line & Record<string, unknown>
    expect(record).toMatchObject({ seq: whole.length, prev_hash: previous })
    previous = createHash('sha256')
      .update(line.slice(0, line.lastIndexOf(',"hash":')))
      .digest('hex')
    expect(record['hash']).toBe(previous)
    whole.push(record)
  }
  return { whole, torn }
}

/** Paths of the decisions. */
const paths = (): (string | undefined)[] =>
  records().whole.flatMap(({ event, path }) => (event === 'request.decided' ? [path] : []))
const events = (): string[] => records().whole.map(({ event }) => event)

const append = (trail: FileTrail, path: string): Promise<void> =>
  trail.append({ ...DECIDED, path, request_id: idOf(path) })
/** Twenty-six characters that say which. */
const idOf = (path: string): string => createHash('sha256').update(path).digest('hex').slice(0, 26).toUpperCase()
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
    const appends = ['/1', '/2'].map((path) => append(trail, path))
    expect(disk.writes).toHaveLength(0)
    await turnEnd()
    appends.push(...['/3', '/4'].map((path) => append(trail, path)))
    await turnEnd()
    expect(disk.writes).toHaveLength(1)
    first.open(Number.POSITIVE_INFINITY)
    await Promise.all(appends)
    expect(disk.writes).toHaveLength(2)
    expect(paths()).toEqual(['/1', '/2', '/3', '/4'])
    expect(written).toBe(4)
  })

  describe('an end, for which nobody waits', () => {
    const end = (trail: FileTrail): Promise<void> => trail.append({ ...COMPLETED, request_id: idOf('/1') })

    it('goes with the next decision', async () => {
      const trail = trailFor()
      await append(trail, '/1')
      const ended = end(trail)
      await Promise.all([append(trail, '/2'), ended])
      expect(disk.writes).toHaveLength(2)
      expect(events()).toEqual(['request.decided', 'request.completed', 'request.decided'])
    })

    it('is written all the same when no decision comes, and not twice', async () => {
      const trail = trailFor()
      await append(trail, '/1')
      const ended = end(trail)
      await turnEnd()
      expect(disk.writes).toHaveLength(1)
      await ended
      await append(trail, '/2')
      expect(events()).toEqual(['request.decided', 'request.completed', 'request.decided'])
      expect(disk.writes).toHaveLength(3)
    })

    it('that came during a write waits for company, too', async () => {
      const trail = trailFor()
      const first = gate<number>()
      disk.plan.push(first.promise)
      const decided = append(trail, '/1')
      await turnEnd()
      const ended = end(trail)
      first.open(Number.POSITIVE_INFINITY)
      await decided
      await turnEnd()
      expect(disk.writes).toHaveLength(1)
      await ended
      expect(disk.writes).toHaveLength(2)
    })

    it('does not wait at the close', async () => {
      const trail = trailFor()
      await append(trail, '/1')
      const ended = end(trail)
      await trail.close()
      await ended
      expect(events()).toEqual(['request.decided', 'request.completed'])
    })
  })

  it('resolves only when its own line is written', async () => {
    const trail = trailFor()
    const first = gate<number>()
    const second = gate<number>()
    disk.plan.push(first.promise, second.promise)
    const settled: string[] = []
    const one = append(trail, '/1').then(() => settled.push('/1'))
    await turnEnd()
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
    ['bytes', Math.ceil(MAX_QUEUED_BYTES / 16_800), '/'.repeat(16_000)],
  ])('over its bound of %s an append is refused, the others are not', async (_bound, count, path) => {
    const trail = trailFor()
    const first = gate<number>()
    disk.plan.push(first.promise)
    const appends = Array.from({ length: 1 + count }, () => append(trail, path))
    const over = Array.from({ length: 20 }, () => outcome(append(trail, path)))
    expect(await over.at(-1)).toBe('the audit trail is behind: its queue is full')
    expect(trail.available()).toBe(true)
    // The end of what has a record is taken all the same.
    const end = trail.append({ ...COMPLETED, request_id: idOf(path) })
    first.open(Number.POSITIVE_INFINITY)
    const taken = (await Promise.all([...appends.map(outcome), ...over])).filter((text) => text === 'written')
    await end
    expect(paths()).toHaveLength(taken.length)
    expect(taken.length).toBeLessThan(appends.length + over.length)
  })
})

describe('an outage [K04] [K06]', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())
  const retry = (): Promise<unknown> => vi.advanceTimersByTimeAsync(RETRY_MS)

  it.each(['ENOSPC', 'EDQUOT', 'EIO', 'EROFS', 'EBADF'])(
    '%s refuses the group and all behind it, and the trail goes on in a new file when one can be begun',
    async (code) => {
      const trail = trailFor()
      await append(trail, '/0')
      const first = gate<Error>()
      disk.plan.push(first.promise)
      const refused = [outcome(append(trail, '/1')), outcome(append(trail, '/2'))]
      first.open(error(code))
      const why = `the audit trail can not be written: ${code}: made by the test`
      expect(await Promise.all(refused)).toEqual([why, why])
      expect([trail.available(), failures.length]).toEqual([false, 1])

      disk.beginPlan.push(error(code))
      await retry()
      await expect(append(trail, '/still down')).rejects.toThrow(TrailUnavailable)
      expect([trail.available(), disk.writes.length, restored]).toEqual([false, 2, 0])
      await retry()
      expect([trail.available(), restored, failures.length]).toEqual([true, 1, 1])
      await append(trail, '/3')
      expect(disk.segments).toHaveLength(2)
      expect(events()).toEqual(['request.decided', 'segment.opened', 'audit.restored', 'request.decided'])
      expect(records().whole.slice(1, 3)).toMatchObject([
        { previous: 'before', cause: 'recovery' },
        { since: NOW.toISOString(), duration_ms: 2 * RETRY_MS, refused: 3, cause: `${code}: made by the test` },
      ])
    },
  )

  it('a record of which a part was written is torn, and its number is given again', async () => {
    const trail = trailFor()
    disk.plan.push(100, error('ENOSPC'))
    await expect(append(trail, '/begun')).rejects.toThrow('ENOSPC')
    await retry()
    await append(trail, '/next')
    expect(disk.begins).toMatchObject([{ torn: true, firstSeq: 0 }])
    expect([paths(), records().torn]).toEqual([['/next'], 1])
  })

  it('a record that lacks only its newline is whole: its number is not given again', async () => {
    const trail = trailFor()
    const whole = gate<number>()
    disk.plan.push(whole.promise, error('ENOSPC'))
    const refused = outcome(append(trail, '/whole'))
    whole.open((disk.writes[0] ?? 0) - 1)
    expect(await refused).toContain('ENOSPC')
    await retry()
    await append(trail, '/next')
    expect([paths(), records().torn]).toEqual([['/whole', '/next'], 0])
  })

  it('a refused decision that reached the file has its end, of a request from which nothing was sent', async () => {
    const trail = trailFor('sync')
    disk.syncPlan.push(error('EIO'))
    await expect(append(trail, '/1')).rejects.toThrow('fdatasync(2) failed')
    await retry()
    expect(records().whole.at(-1)).toMatchObject({
      event: 'request.completed',
      request_id: idOf('/1'),
      outcome: 'refused',
      reason: 'audit_unavailable',
      bytes_sent: 0,
    })
    expect([disk.writes.length, disk.syncs]).toEqual([2, 2])
  })

  it('what is about a request with a record is written afterwards, and about one without not', async () => {
    const trail = trailFor()
    await append(trail, '/open')
    disk.plan.push(error('EIO'))
    const about = (path: string) => ({ request_id: idOf(path) })
    await expect(append(trail, '/lost')).rejects.toThrow('EIO')
    for (const path of ['/open', '/lost']) {
      await expect(trail.append({ ...COMPLETED, ...about(path), outcome: 'interrupted' })).rejects.toThrow('EIO')
    }
    await retry()
    expect(records().whole.slice(3)).toMatchObject([{ event: 'request.completed', ...about('/open') }])
    expect(records().whole).toHaveLength(4)
  })

  it('ends that are owed are owed still when the new file fails at once', async () => {
    const trail = trailFor()
    await append(trail, '/open')
    disk.plan.push(error('EIO'), error('ENOSPC'))
    await expect(trail.append({ ...COMPLETED, request_id: idOf('/open') })).rejects.toThrow('EIO')
    await retry()
    expect(trail.available()).toBe(false)
    await retry()
    expect(events()).toEqual([
      'request.decided',
      'segment.opened',
      'segment.opened',
      'audit.restored',
      'audit.restored',
      'request.completed',
    ])
  })

  it('a file that was removed is noticed with the next record, and without one within a second', async () => {
    const trail = trailFor()
    disk.damagePlan.push({ lost: true, what: 'removed' })
    expect(await outcome(append(trail, '/nowhere'))).toContain('removed')
    await retry()
    await append(trail, '/1')
    disk.damagePlan.push({ lost: true, what: 'removed again' })
    await vi.advanceTimersByTimeAsync(1_000 + RETRY_MS)
    expect(failures.map(({ message }) => message)).toEqual(['removed', 'removed again'])
    expect([trail.available(), restored]).toEqual([true, 2])
    // The chain does not count what no file holds.
    expect(disk.begins.map(({ firstSeq }) => firstSeq)).toEqual([0, 3])
  })

  it('whatever was written of whatever group, the chain goes on', async () => {
    const cut = fc.record({ lines: fc.integer({ min: 1, max: 4 }), bytes: fc.integer({ min: 0, max: 3_000 }) })
    await fc.assert(
      fc.asyncProperty(fc.array(cut, { minLength: 1, maxLength: 6 }), async (cuts) => {
        const trail = trailFor()
        const acknowledged: string[] = []
        const tryAppend = (path: string): Promise<unknown> =>
          append(trail, path)
            .then(() => acknowledged.push(path))
            .catch(() => undefined)
        for (const [at, { lines, bytes }] of cuts.entries()) {
          const hold = gate<number>()
          disk.plan.push(hold.promise)
          if (bytes > 0) disk.plan.push(bytes)
          disk.plan.push(error('ENOSPC'))
          const appends = Array.from({ length: 1 + lines }, (_, line) => tryAppend(`/${at} ${line}`))
          hold.open(Number.POSITIVE_INFINITY)
          await Promise.all(appends)
          disk.plan.length = 0
          await retry()
        }
        await append(trail, '/last')
        const { whole } = records()
        const recorded = new Set(paths())
        expect(recorded.has('/last')).toBe(true)
        expect(acknowledged.filter((path) => !recorded.has(path))).toEqual([])
        // Every decision that reached the file without being acknowledged has one end.
        const ends = whole.flatMap((record) => (record.event === 'request.completed' ? [record.request_id] : []))
        const unacknowledged = [...recorded].filter((path) => path !== '/last' && !acknowledged.includes(path ?? ''))
        expect(new Set(ends)).toEqual(new Set(unacknowledged.map((path) => idOf(path ?? ''))))
        expect(ends).toHaveLength(unacknowledged.length)
        await trail.close()
      }),
      { numRuns: 200 },
    )
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

  it('is a failure after two seconds, is called by nobody meanwhile, and serves again when the write is back', async () => {
    const trail = trailFor()
    const stuck = gate<number>()
    disk.plan.push(stuck.promise)
    const waiting = [outcome(append(trail, '/1'))]
    await turnEnd()
    waiting.push(outcome(append(trail, '/2')))
    await vi.advanceTimersByTimeAsync(WRITE_TIMEOUT_MS - 1)
    expect(trail.available()).toBe(true)
    await vi.advanceTimersByTimeAsync(1)
    expect(await Promise.all(waiting)).toEqual([hanging, hanging])
    await vi.advanceTimersByTimeAsync(10 * RETRY_MS)
    expect(await outcome(append(trail, '/3'))).toBe(hanging)
    expect([disk.writes.length, disk.begins.length]).toEqual([1, 0])

    stuck.open(Number.POSITIVE_INFINITY)
    await vi.advanceTimersByTimeAsync(RETRY_MS)
    expect(trail.available()).toBe(true)
    await append(trail, '/4')
    expect(paths()).toEqual(['/1', '/4'])
    expect(events()).toEqual([
      'request.decided',
      'segment.opened',
      'audit.restored',
      'request.completed',
      'request.decided',
    ])
    expect(failures).toHaveLength(1)
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

  it('in the middle of a rotation refuses what waits, and serves again when that is over', async () => {
    const trail = trailFor()
    await append(trail, '/0')
    const stuck = gate<Error | null>()
    disk.beginPlan.push(stuck.promise)
    trail.rotate('signal')
    const waiting = outcome(append(trail, '/1'))
    await turnEnd()
    await vi.advanceTimersByTimeAsync(WRITE_TIMEOUT_MS)
    expect(await waiting).toBe(hanging)
    stuck.open(null)
    await vi.advanceTimersByTimeAsync(RETRY_MS)
    await append(trail, '/2')
    expect(paths()).toEqual(['/0', '/2'])
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

describe('a new file', () => {
  it('is begun between two groups once the old one is big enough: no record stands in two [K26]', async () => {
    const trail = trailFor('os', { rotate: { size: 2_000, age: Number.POSITIVE_INFINITY } })
    for (let at = 0; at < 12; at++) await append(trail, `/${at}`)
    expect(paths()).toHaveLength(12)
    expect(disk.segments.length).toBeGreaterThan(3)
    for (const segment of disk.segments.slice(1)) {
      expect(JSON.parse(segment.slice(0, segment.indexOf('\n')))).toMatchObject({
        event: 'segment.opened',
        cause: 'size',
      })
    }
  })

  it('that can not be begun is no outage: the old one goes on, and it is not tried with every record', async () => {
    const notices: string[] = []
    const trail = trailFor('os', {
      rotate: { size: 1, age: Number.POSITIVE_INFINITY },
      onNotice: (text) => notices.push(text),
    })
    disk.beginPlan.push(error('EACCES'))
    for (const path of ['/1', '/2', '/3']) await append(trail, path)
    expect([paths(), disk.segments.length, disk.begins.length]).toEqual([['/1', '/2', '/3'], 1, 1])
    expect(notices).toEqual([expect.stringContaining('EACCES')])
    trail.rotate('signal')
    await append(trail, '/4')
    expect(disk.segments).toHaveLength(2)
  })

  it('is begun for its age also when nothing is written', async () => {
    vi.useFakeTimers()
    let now = NOW.getTime()
    const trail = trailFor('os', { rotate: { size: 1e9, age: 60_000 }, now: () => new Date(now) })
    await append(trail, '/1')
    await vi.advanceTimersByTimeAsync(1_000)
    expect(disk.segments).toHaveLength(1)
    now += 60_001
    await vi.advanceTimersByTimeAsync(1_000)
    vi.useRealTimers()
    expect(records().whole.at(-1)).toMatchObject({ event: 'segment.opened', cause: 'age' })
    await trail.close()
  })
})

describe('checkpoints', () => {
  const signed: string[] = []
  const lines: string[] = []
  const checkpoints = {
    every: 60_000,
    records: 10,
    signer: { keyId: '0123456789abcdef', sign: (statement: string) => `signature ${signed.push(statement)}` },
    onCheckpoint: (line: string) => lines.push(line),
  }
  beforeEach(() => {
    vi.useFakeTimers()
    signed.length = 0
    lines.length = 0
  })
  afterEach(() => void vi.useRealTimers())

  it('stand behind every so many records, every minute also when idle, and at the end', async () => {
    const trail = trailFor('os', { checkpoints })
    await Promise.all(Array.from({ length: 25 }, (_, at) => append(trail, `/${at}`)))
    await vi.advanceTimersByTimeAsync(60_000)
    await vi.advanceTimersByTimeAsync(60_000)
    await trail.close()
    const { whole } = records()
    const found = whole.filter(({ event }) => event === 'checkpoint')
    expect(found.map(({ seq }) => seq)).toEqual([10, 21, 27, 28, 29])
    expect(found.map(({ records: before, key_id, signature }) => [before, key_id, signature])).toEqual(
      [10, 21, 27, 28, 29].map((seq, at) => [seq, '0123456789abcdef', `signature ${at + 1}`]),
    )
    expect(signed.at(-1)).toBe(
      `mcp-egress.audit/1 checkpoint\n${trail.instance}\n29\n${String(found.at(-1)?.['prev_hash'])}\n`,
    )
    expect(lines.map((line) => (JSON.parse(line) as Line).seq)).toEqual([10, 21, 27, 28, 29])
  })

  it('are told of only when they are down', async () => {
    const trail = trailFor('os', { checkpoints })
    disk.plan.push(error('EIO'))
    await Promise.all(Array.from({ length: 10 }, (_, at) => outcome(append(trail, `/${at}`))))
    expect(lines).toEqual([])
    await trail.close()
  })

  it('without a key say so', async () => {
    const trail = trailFor('os', { checkpoints: { ...checkpoints, signer: null } })
    await append(trail, '/1')
    await trail.close()
    expect(records().whole.at(-1)).toMatchObject({ event: 'checkpoint', records: 1, key_id: null, signature: null })
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
