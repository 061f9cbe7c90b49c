// The pure pieces of the measures: whether memory grows, and what the scripts that read a trail have printed.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

interface Sample {
  readonly x: number
  readonly y: number
}
interface Trend {
  readonly slope: number
  readonly growth: number
  readonly flat: boolean
}
interface Row {
  readonly name: string
  readonly label: string
  readonly cells: Readonly<Record<string, number>>
  readonly remark?: string
}

const TREND = new URL('../../bench/measures/trend.mjs', import.meta.url).href
const READING = new URL('../../bench/measures/reading.mjs', import.meta.url).href
const { trendOf } = (await import(TREND)) as { trendOf(samples: readonly Sample[]): Trend }
const { readingRows } = (await import(READING)) as {
  readingRows(name: string, ended: { stdout: string; stderr: string; status: number | null }): Row[]
}

const series = (ofX: (x: number) => number): Sample[] => Array.from({ length: 20 }, (_, x) => ({ x, y: ofX(x) }))

describe('trendOf', () => {
  it.each<[string, (x: number) => number, boolean]>([
    ['the same all the time is flat', () => 100, true],
    ['a saw around one level is flat', (x) => 100 + (x % 2) * 8, true],
    ['what grew at first only is flat', (x) => 20 + Math.min(x, 10) * 10, true],
    ['what becomes less is flat', (x) => 100 - x, true],
    ['a leak is none, however slow it began', (x) => 100 + Math.max(0, x - 9) * 2, false],
    ['a leak under a saw is none', (x) => 100 + x * 2 + (x % 2) * 8, false],
  ])('%s', (_sentence, ofX, flat) => {
    expect(trendOf(series(ofX)).flat).toBe(flat)
  })

  it('finds the line that the samples lie on', () => {
    const whole = fc.integer({ min: -1_000, max: 1_000 })
    fc.assert(
      fc.property(whole, whole, fc.integer({ min: 4, max: 40 }), (slope, from, length) => {
        const found = trendOf(Array.from({ length }, (_, x) => ({ x, y: from + slope * x })))
        const steps = length - (length >> 1) - 1
        expect(found.slope).toBeCloseTo(slope, 6)
        expect(found.growth).toBeCloseTo(slope * steps, 6)
      }),
    )
  })

  it('says nothing about one sample', () => {
    expect(() => trendOf([{ x: 1, y: 1 }])).toThrow('two different places')
  })
})

describe('readingRows', () => {
  const ended = (stdout: string, status: number | null = 0): Parameters<typeof readingRows>[1] => ({
    stdout,
    stderr: 'why',
    status,
  })

  it('reads the table of audit-verify', () => {
    const table = `1000000 records, 712 bytes each, 4 segments

|            | records/s | records per CPU second |
| ---------- | --------: | ---------------------: |
| plain      | 332184 ± 7 % | 346952 ± 1 % |
| compressed | 305682 ± 8 % | 284386 ± 3 % |
`
    expect(readingRows('audit-verify', ended(table))).toEqual([
      { name: 'plain', label: 'verify, plain', cells: { rate: 332_184 } },
      { name: 'compressed', label: 'verify, compressed', cells: { rate: 305_682 } },
    ])
  })

  it('reads the lines of audit-query, failures too', () => {
    const lines = `100000 records made in 1.2 s, Node v20.20.2
query --decision deny                           4.47 s     22349 records/s 
sql: count by host of requests (joined)         1.98 s     50469 records/s FAILED no such column
`
    expect(readingRows('audit-query', ended(lines))).toEqual([
      { name: 'query --decision deny', label: 'query --decision deny', cells: { rate: 22_349 } },
      {
        name: 'sql: count by host of requests (joined)',
        label: 'sql: count by host of requests (joined)',
        cells: {},
        remark: 'FAILED no such column',
      },
    ])
  })

  it.each<[string, string, number | null, RegExp]>([
    ['printed nothing', '', 0, /printed no figures/],
    ['failed', '', 1, /ended with 1: why/],
    ['was ended at its deadline', '', null, /ended with null/],
    ['failed behind its first figures', 'show   1.00 s   100000 records/s \n', 2, /ended with 2: why/],
  ])('has a row that says so for a script that %s', (_sentence, stdout, status, remark) => {
    expect(readingRows('audit-query', ended(stdout, status)).at(-1)?.remark).toMatch(remark)
  })
})
