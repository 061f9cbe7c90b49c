// The account of one sink: what arrived, what is tried again, what is set aside, and where it goes on.

import { mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MAX_BATCH_BYTES, MAX_BATCH_RECORDS, type Pace, REFUSALS_BEFORE_ASIDE, Sink } from '../../src/audit/sink.ts'
import { cursorPath, MAX_REJECTED_BYTES, readCursor, rejectedPath } from '../../src/audit/sink-cursor.ts'
import type { Delivery, Destination, ShippedRecord } from '../../src/audit/sink-record.ts'
import { createGate, TrailSource } from '../../src/audit/sink-source.ts'
import { INSTANCE, type SinkTrail, sinkTrail } from './support/sink-trail.ts'
import { until } from './support/until.ts'

const FAST: Pace = { lingerMs: 1, pollMs: 20, backoffMs: 1, maxBackoffMs: 4, deliveryMs: 5_000 }
const NEVER = new AbortController().signal

type Receiver = (batch: readonly ShippedRecord[], signal: AbortSignal) => Promise<Delivery> | Delivery

let trail: SinkTrail
let stops: (() => Promise<void>)[]
beforeEach(() => {
  trail = sinkTrail()
  stops = []
})
afterEach(async () => {
  for (const stop of stops) await stop()
  trail.close()
})

interface Running {
  readonly sink: Sink
  /** Batches as they were delivered, by their numbers. */
  readonly batches: number[][]
  readonly arrived: number[]
  readonly said: { level: string; message: string; detail: Readonly<Record<string, unknown>> }[]
  stop(): Promise<void>
}

function run(receive: Receiver = () => ({ kind: 'accepted' }), pace: Partial<Pace> = {}, maxRecords = 500): Running {
  const batches: number[][] = []
  const arrived: number[] = []
  const said: Running['said'] = []
  const gate = createGate()
  const cursorFile = cursorPath(trail.path, 'siem')
  const cursor = readCursor(cursorFile)
  const after = cursor === null || cursor === 'damaged' ? null : cursor.seq
  const destination: Destination = {
    maxRecords,
    deliver: async (batch, signal) => {
      batches.push(batch.map(({ seq }) => seq))
      const delivery = await receive(batch, signal)
      const refused = delivery.kind === 'partly' ? delivery.refused : new Map<number, string>()
      if (delivery.kind === 'accepted' || delivery.kind === 'partly')
        arrived.push(...batch.flatMap(({ seq }, at) => (refused.has(at) ? [] : [seq])))
      return delivery
    },
    close: () => undefined,
  }
  const sink = new Sink({
    name: 'siem',
    path: trail.path,
    instance: INSTANCE,
    cursorFile,
    after,
    source: new TrailSource({ path: trail.path, instance: INSTANCE, after, gate }),
    destination,
    gate,
    pace: { ...FAST, ...pace },
    now: () => 1_000_000,
    random: () => 0.5,
    log: (level, message, detail) => said.push({ level, message, detail }),
  })
  sink.start()
  const stop = (): Promise<void> => sink.stop(AbortSignal.timeout(2_000))
  stops.push(stop)
  return { sink, batches, arrived, said, stop }
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, at) => from + at)
const cursor = (): unknown => readCursor(cursorPath(trail.path, 'siem'))
const asideLines = (): { record: string; why: string }[] =>
  readFileSync(rejectedPath(trail.path, 'siem'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { record: string; why: string })

describe('a sink', () => {
  it('ships everything in order, and what is written later', async () => {
    trail.write(1_200)
    const { sink, arrived, batches } = run()
    await until('all', () => arrived.length === 1_200)
    trail.write(3)
    sink.wake()
    await until('more', () => arrived.length === 1_203)
    expect(arrived).toEqual(range(0, 1_203))
    expect(Math.max(...batches.map((batch) => batch.length))).toBe(MAX_BATCH_RECORDS)
    expect(sink.report).toMatchObject({ seq: 1_202, errors: 0, rejected: 0, missed: 0, lastSuccess: 1_000_000 })
  })

  it('takes no batch of more bytes than the bound, give or take a record', async () => {
    trail.write(100, `"event":"checkpoint","padding":"${'x'.repeat(20_000)}"`)
    const { batches, arrived } = run()
    await until('all', () => arrived.length === 100)
    expect(batches[0]?.length).toBe(Math.ceil(MAX_BATCH_BYTES / trail.line(0).length))
  })

  it('finds by itself what nobody woke it for', async () => {
    const { arrived } = run()
    trail.write(2)
    await until('all', () => arrived.length === 2)
    expect(arrived).toEqual([0, 1])
  })

  it('writes its cursor, and goes on from it after a restart', async () => {
    trail.write(10)
    const first = run()
    await until('all', () => first.arrived.length === 10)
    await first.stop()
    expect(cursor()).toEqual({ instance: INSTANCE, seq: 9 })
    expect(statSync(cursorPath(trail.path, 'siem')).mode & 0o777).toBe(0o600)
    trail.write(5)
    const second = run()
    await until('the rest', () => second.arrived.length === 5)
    expect(second.arrived).toEqual(range(10, 15))
  })

  it('moves its cursor only behind what was accepted', async () => {
    trail.write(10)
    let open = false
    const { arrived, sink } = run(() => (open ? { kind: 'accepted' } : { kind: 'failed', why: 'down', afterMs: null }))
    await until('some failures', () => sink.report.errors >= 5)
    expect(cursor()).toBeNull()
    expect(sink.report.seq).toBeNull()
    open = true
    await until('all', () => arrived.length === 10)
    expect(arrived).toEqual(range(0, 10))
  })

  it('tries again ever more slowly, up to a bound, and not before the receiver says', async () => {
    trail.write(1)
    const waits: unknown[] = []
    let failures = 0
    const { said, arrived } = run(
      () => {
        failures += 1
        if (failures === 4) return { kind: 'failed', why: 'busy', afterMs: 70 }
        return failures < 8 ? { kind: 'failed', why: 'down', afterMs: null } : { kind: 'accepted' }
      },
      { backoffMs: 8, maxBackoffMs: 32 },
    )
    const begun = performance.now()
    await until('it', () => arrived.length === 1)
    waits.push(...said.map(({ detail }) => detail['waitMs']))
    // 8 16 32 70 32 32 32, of which each but the fourth is taken at three quarters.
    expect(performance.now() - begun).toBeGreaterThan(6 + 12 + 24 + 70 + 24 * 3 - 10)
    expect(waits[0]).toBe(6)
    // Said once, and once that it is over: not for each try.
    expect(said.map(({ message }) => message)).toEqual([
      'records can not be shipped: trying again',
      'the receiver takes records again',
    ])
  })

  it('is not hurried by what is written while it waits', async () => {
    trail.write(1)
    const { sink, batches } = run(() => ({ kind: 'failed', why: 'down', afterMs: 400 }))
    await until('a try', () => batches.length === 1)
    const begun = performance.now()
    const hurry = setInterval(() => sink.wake(), 1)
    await until('another', () => batches.length === 2)
    clearInterval(hurry)
    expect(performance.now() - begun).toBeGreaterThan(300)
  })

  it('takes a receiver that throws for one that failed', async () => {
    trail.write(1)
    let thrown = false
    const { arrived, sink } = run(() => {
      if (thrown) return { kind: 'accepted' }
      thrown = true
      throw new Error('a fault of ours')
    })
    await until('it', () => arrived.length === 1)
    expect(sink.report.errors).toBe(1)
  })

  it('gives up a delivery that takes too long, and delivers again', async () => {
    trail.write(2)
    let hung = 0
    const { arrived } = run(
      async (_batch, signal) => {
        if (hung > 0) return { kind: 'accepted' }
        hung += 1
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        return { kind: 'failed', why: 'no answer', afterMs: null }
      },
      { deliveryMs: 30 },
    )
    await until('both', () => arrived.length === 2)
    expect(hung).toBe(1)
  })
})

describe('a record that the receiver refuses', () => {
  const poison = (...bad: number[]): Receiver => {
    return (batch) => {
      const found = batch.find(({ seq }) => bad.includes(seq))
      return found === undefined ? { kind: 'accepted' } : { kind: 'refused', why: `400 bad ${found.seq}` }
    }
  }

  it('is found among the others, tried again, set aside with its line, and holds nobody up', async () => {
    trail.write(1_000)
    const { sink, arrived, batches, said } = run(poison(300, 301, 777))
    await until('the others', () => arrived.length === 997)
    await until('the cursor', () => JSON.stringify(cursor()).includes('999'))
    expect(arrived).toEqual(range(0, 1_000).filter((seq) => ![300, 301, 777].includes(seq)))
    expect(asideLines().map(({ record, why }) => [record, why])).toEqual(
      [300, 301, 777].map((seq) => [trail.line(seq), `400 bad ${seq}`]),
    )
    expect(sink.report.rejected).toBe(3)
    expect(batches.filter((batch) => batch.length === 1 && batch[0] === 777)).toHaveLength(REFUSALS_BEFORE_ASIDE)
    expect(said.filter(({ message }) => message.includes('set aside'))).toHaveLength(3)
    expect(statSync(rejectedPath(trail.path, 'siem')).mode & 0o777).toBe(0o600)
  })

  it('is set aside at once where the receiver says which one it was', async () => {
    trail.write(5)
    const { arrived, batches } = run((batch) =>
      batch.length === 5 ? { kind: 'partly', refused: new Map([[2, 'mapping']]) } : { kind: 'accepted' },
    )
    await until('the others', () => arrived.length === 4)
    await until('the cursor', () => JSON.stringify(cursor()).includes('"seq":4'))
    expect(batches).toEqual([range(0, 5)])
    expect(asideLines()).toMatchObject([{ record: trail.line(2), why: 'mapping' }])
  })

  it('a receiver that refuses everything is asked slowly, not record by record as fast as it answers', async () => {
    trail.write(500)
    const { sink, batches } = run(() => ({ kind: 'refused', why: '400' }), { backoffMs: 200, maxBackoffMs: 200 })
    await until('single records', () => batches.at(-1)?.length === 1)
    const singles = batches.length
    expect(singles).toBeLessThan(12)
    const begun = performance.now()
    await until('more', () => batches.length >= singles + 2)
    expect(performance.now() - begun).toBeGreaterThan(200)
    expect(sink.report.rejected).toBeLessThanOrEqual(1)
  })

  it('stays where it is while it can not be set aside', async () => {
    trail.write(3)
    const file = rejectedPath(trail.path, 'siem')
    writeFileSync(file, '', { mode: 0o600 })
    const { truncateSync } = await import('node:fs')
    truncateSync(file, MAX_REJECTED_BYTES)
    const { arrived, said, sink } = run(poison(1), { maxBackoffMs: 10 })
    await until('the complaint', () => sink.report.errors > 6)
    expect(arrived).toEqual([0])
    expect(cursor()).toMatchObject({ seq: 0 })
    expect(said.length).toBeGreaterThan(0)
    rmSync(file)
    await until('the rest', () => arrived.length === 2)
  })
})

describe('what is missing', () => {
  it('is said and counted', async () => {
    trail.write(5)
    const first = run()
    await until('all', () => first.arrived.length === 5)
    await first.stop()
    trail.write(5)
    const closed = trail.rotate()
    trail.write(2)
    rmSync(closed)
    const second = run()
    await until('the rest', () => second.arrived.length === 2)
    expect(second.sink.report.missed).toBe(5)
    expect(second.said).toMatchObject([{ level: 'error', detail: { sink: 'siem', from: 5, to: 9 } }])
  })
})

describe('the end', () => {
  it('ships what is left', async () => {
    const { sink, arrived, stop } = run(undefined, { pollMs: 60_000, lingerMs: 60_000 })
    await until('that it waits', () => sink.report.errors === 0)
    trail.write(1_100)
    await stop()
    expect(arrived).toEqual(range(0, 1_100))
    expect(cursor()).toMatchObject({ seq: 1_099 })
  })

  it('does not wait for a receiver that fails', async () => {
    trail.write(1)
    const { sink, batches } = run(() => ({ kind: 'failed', why: 'down', afterMs: 60_000 }))
    await until('a try', () => batches.length > 0)
    await sink.stop(NEVER)
    expect(cursor()).toBeNull()
  })

  it('breaks off a receiver that hangs', async () => {
    trail.write(1)
    let broken = false
    const { sink, batches } = run(async (_batch, signal) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      broken = true
      return { kind: 'failed', why: 'stopped', afterMs: null }
    })
    await until('a try', () => batches.length > 0)
    await sink.stop(AbortSignal.timeout(20))
    await until('the signal', () => broken)
    expect(cursor()).toBeNull()
  })

  it('does not wait for one that does not even hear the signal', async () => {
    trail.write(1)
    const { sink, batches } = run(() => new Promise<Delivery>(() => undefined))
    await until('a try', () => batches.length > 0)
    await sink.stop(AbortSignal.timeout(20))
    expect(batches).toEqual([[0]])
  })

  it('may come before the start', async () => {
    trail.write(1)
    const { sink, batches } = run()
    await sink.stop(AbortSignal.abort())
    expect(batches).toEqual([])
  })
})

describe('the cursor', () => {
  it.each([
    ['empty', ''],
    ['cut', '{"instance":"01JD8'],
    ['of another shape', '{"instance":1,"seq":"2"}'],
    ['null', 'null'],
  ])('%s says nothing', (_name, text) => {
    writeFileSync(cursorPath(trail.path, 'siem'), text)
    expect(cursor()).toBe('damaged')
  })

  it('is not read through a link', () => {
    symlinkSync('/etc/hostname', cursorPath(trail.path, 'siem'))
    expect(cursor).toThrow('is a symbolic link. Fix: remove it')
  })

  it('that can not be written is said, and does not stop the shipping', async () => {
    mkdirSync(join(`${cursorPath(trail.path, 'siem')}.tmp`))
    trail.write(3)
    const { arrived, said } = run()
    await until('all', () => arrived.length === 3)
    await until('the complaint', () => said.some(({ message }) => message === 'the cursor can not be written'))
    expect(cursor()).toBeNull()
  })
})
