// What a sink reads: every record once and in order, from wherever it was, whatever became of the files meanwhile.

import { rmSync, symlinkSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createGate, TrailSource, type Taken } from '../../src/audit/sink-source.ts'
import { INSTANCE, type SinkTrail, sinkTrail } from './support/sink-trail.ts'
import { until } from './support/until.ts'

let trail: SinkTrail
let sources: TrailSource[]
beforeEach(() => {
  trail = sinkTrail()
  sources = []
})
afterEach(async () => {
  for (const source of sources) await source.close()
  trail.close()
})

function open(after: number | null = null, instance = INSTANCE): TrailSource {
  const source = new TrailSource({ path: trail.path, instance, after, gate: createGate() })
  sources.push(source)
  return source
}

interface Everything {
  readonly seqs: readonly number[]
  readonly lines: readonly string[]
  readonly missing: readonly Taken['missing'][]
}

/** Takes until there is no more for now. */
async function all(source: TrailSource, records = 100, bytes = 1_000_000): Promise<Everything> {
  const lines: string[] = []
  const seqs: number[] = []
  const missing: Taken['missing'][] = []
  for (;;) {
    const taken = await source.take(records, bytes)
    expect(taken.records.length).toBeLessThanOrEqual(records)
    seqs.push(...taken.records.map(({ seq }) => seq))
    lines.push(...taken.records.map(({ text }) => text))
    if (taken.missing !== null) missing.push(taken.missing)
    if (taken.idle) return { seqs, lines, missing }
  }
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, at) => from + at)

describe('TrailSource', () => {
  it('gives the lines of the file as they are', async () => {
    const lines = trail.write(3)
    expect((await all(open())).lines).toEqual(lines)
  })

  it('begins behind the record it is told', async () => {
    trail.write(1_000)
    expect((await all(open(997))).seqs).toEqual([998, 999])
    expect((await all(open(999))).seqs).toEqual([])
  })

  it('goes on with what is written later', async () => {
    const source = open()
    expect(await all(source)).toEqual({ seqs: [], lines: [], missing: [] })
    trail.write(2)
    expect((await all(source)).seqs).toEqual([0, 1])
    trail.write(2)
    expect((await all(source)).seqs).toEqual([2, 3])
  })

  it('waits for the end of a line', async () => {
    const source = open()
    trail.write(1)
    const [line = ''] = trail.write(1)
    const whole = 2 * (line.length + 1)
    truncateSync(trail.path, whole - 10)
    expect((await all(source)).seqs).toEqual([0])
    trail.raw(`${line}\n`.slice(-10))
    expect((await all(source)).lines).toEqual([line])
  })

  it('keeps to its bounds, and gives at least one record', async () => {
    trail.write(10)
    const source = open()
    expect((await source.take(3, 1_000_000)).records).toHaveLength(3)
    expect((await source.take(100, 1)).records).toHaveLength(1)
    expect((await all(source)).seqs).toEqual(range(4, 10))
  })

  it('follows rotation, also when much is written and closed between two looks', async () => {
    const source = open()
    trail.write(2)
    expect((await all(source)).seqs).toEqual([0, 1])
    trail.write(1)
    trail.rotate()
    trail.write(3)
    trail.rotate()
    trail.write(3)
    trail.rotate()
    expect((await all(source)).seqs).toEqual(range(2, 9))
    trail.write(1)
    expect((await all(source)).seqs).toEqual([9])
  })

  it('reads closed and compressed segments, and finds its place in the middle of one', async () => {
    trail.write(2_000)
    trail.compress(trail.rotate())
    trail.write(10)
    trail.rotate()
    trail.write(10)
    trail.compress(trail.rotate())
    trail.write(5)
    expect((await all(open())).seqs).toEqual(range(0, 2_025))
    expect((await all(open(1_500))).seqs).toEqual(range(1_501, 2_025))
    expect((await all(open(1_999))).seqs).toEqual(range(2_000, 2_025))
    expect((await all(open(2_012))).seqs).toEqual(range(2_013, 2_025))
  })

  it('does not mind that the segment it reads is compressed under it', async () => {
    trail.write(50)
    const source = open()
    expect((await source.take(5, 1_000_000)).records).toHaveLength(5)
    trail.compress(trail.rotate())
    trail.write(5)
    expect((await all(source)).seqs).toEqual(range(5, 55))
  })

  it('says which records were pruned before their turn, and goes on behind them', async () => {
    trail.write(10)
    const closed = trail.rotate()
    trail.write(5)
    trail.rotate()
    trail.write(5)
    rmSync(closed)
    expect(await all(open(3))).toMatchObject({ seqs: range(10, 20), missing: [{ from: 4, to: 9 }] })
    // A sink that is new has missed nothing.
    expect(await all(open())).toMatchObject({ seqs: range(10, 20), missing: [] })
    expect(await all(open(9))).toMatchObject({ seqs: range(10, 20), missing: [] })
  })

  it('says a hole in the middle at its place', async () => {
    trail.write(3)
    trail.rotate()
    trail.write(3)
    const closed = trail.rotate()
    trail.write(3)
    rmSync(closed)
    expect(await all(open())).toMatchObject({ seqs: [0, 1, 2, 6, 7, 8], missing: [{ from: 3, to: 5 }] })
  })

  it('passes over a damaged archive, and says what it held', async () => {
    trail.write(3)
    trail.rotate()
    trail.write(500)
    const damaged = trail.compress(trail.rotate())
    trail.write(3)
    writeFileSync(damaged, 'no archive')
    expect(await all(open())).toMatchObject({ seqs: [0, 1, 2, 503, 504, 505], missing: [{ from: 3, to: 502 }] })
  })

  it('passes over torn lines, lines of others, and what is longer than any record', async () => {
    trail.write(1)
    trail.raw(`${trail.line(0).slice(0, 100)}\n`)
    trail.raw('\n{"not":"ours"}\n')
    trail.write(1)
    trail.raw(`${'x'.repeat(400_000)}\n`)
    trail.write(1)
    expect(await all(open())).toMatchObject({ seqs: [0, 1, 2], missing: [] })
  })

  it('reads the records of its own chain only', async () => {
    trail.write(2)
    expect((await all(open(null, '01JD8Y6Z3M7Q2W4E6R8T0Y1V3Z'))).seqs).toEqual([])
  })

  it('goes on after the active file was deleted', async () => {
    const source = open()
    trail.write(2)
    expect((await all(source)).seqs).toEqual([0, 1])
    unlinkSync(trail.path)
    expect((await all(source)).seqs).toEqual([])
    trail.write(1)
    expect(await all(source)).toMatchObject({ seqs: [2], missing: [] })
  })

  it('goes through lines that lie across the pieces in which a file is read', async () => {
    trail.write(3_000)
    expect((await all(open())).seqs).toEqual(range(0, 3_000))
  })

  it('opens no link', async () => {
    const other = sinkTrail()
    other.write(1)
    symlinkSync(other.path, trail.path)
    await expect(open().take(1, 1_000)).rejects.toThrow('ELOOP')
    other.close()
  })
})

describe('a rotation at any moment of a look', () => {
  const MOMENTS = 24
  const CASES = ['before', 'after'].flatMap((side) => [false, true].map((compressed) => [side, compressed] as const))

  it.each(CASES)('%s each file operation loses nothing (compressed: %s)', async (side, compressed) => {
    for (let moment = 0; moment < MOMENTS; moment++) {
      const own = sinkTrail()
      let operations = 0
      const rotate = (): void => {
        own.write(1)
        const closed = own.rotate()
        own.write(1)
        if (compressed) own.compress(closed)
      }
      const source = new TrailSource({
        path: own.path,
        instance: INSTANCE,
        after: null,
        gate: async (task) => {
          const due = operations === moment
          operations += 1
          if (due && side === 'before') rotate()
          const done = await task()
          if (due && side === 'after') rotate()
          return done
        },
      })
      own.write(2)
      own.rotate()
      own.write(2)
      const looks: Everything[] = []
      await until('the moment', async () => looks.push(await all(source)) > 0 && operations > moment)
      looks.push(await all(source))
      expect(looks.flatMap(({ missing }) => missing)).toEqual([])
      expect(looks.flatMap(({ seqs }) => seqs)).toEqual(range(0, own.next()))
      expect(own.next()).toBe(6)
      await source.close()
      own.close()
    }
  })
})

describe('createGate', () => {
  it('lets one at a time through, and the next one also after a failure', async () => {
    const gate = createGate()
    const order: string[] = []
    const task = (name: string) => async (): Promise<void> => {
      order.push(`${name} begins`)
      await new Promise((resolve) => setImmediate(resolve))
      order.push(`${name} ends`)
      if (name === 'a') throw new Error('a failed')
    }
    await Promise.allSettled([gate(task('a')), gate(task('b'))])
    expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends'])
  })
})
