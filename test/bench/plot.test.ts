// The curves of the benchmark: every point in its place, between lines that say what they are.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

interface Point {
  readonly x: number
  readonly y: number
}
interface Given {
  readonly title: string
  readonly note: string
  readonly xTitle: string
  readonly panels: readonly {
    readonly title: string
    readonly curves: readonly { readonly label: string; readonly points: readonly Point[] }[]
  }[]
  readonly wanted: readonly Point[]
}

const PLOT = new URL('../../bench/plot.mjs', import.meta.url).href
const { decades, logScale, plot } = (await import(PLOT)) as {
  decades(values: readonly number[]): number[]
  logScale(ticks: readonly number[], from: number, to: number): (value: number) => number
  plot(given: Given): string
}

describe('a logarithmic axis', () => {
  it.each<[string, number[], number[]]>([
    ['is as long as its values', [12, 340], [10, 100, 1_000]],
    ['ends at a value that is a power of ten', [10, 1_000], [10, 100, 1_000]],
    ['goes below one', [0.2, 3], [0.1, 1, 10]],
    ['has two ends for one value', [10], [10, 100]],
  ])('%s', (_sentence, values, expected) => {
    expect(decades(values).map((tick) => Number(tick.toPrecision(6)))).toEqual(expected)
  })

  it('puts every value between its ends, the greater ones further', () => {
    const value = fc.double({ min: 0.01, max: 1e6, noNaN: true })
    fc.assert(
      fc.property(value, value, (one, other) => {
        const place = logScale(decades([one, other]), 0, 100)
        const [low, high] = [Math.min(one, other), Math.max(one, other)].map(place) as [number, number]
        expect(low).toBeGreaterThanOrEqual(-1e-9)
        expect(high).toBeLessThanOrEqual(100 + 1e-9)
        expect(low).toBeLessThanOrEqual(high)
      }),
    )
  })
})

describe('a plot', () => {
  const curve = (label: string, ...ys: number[]): { label: string; points: Point[] } => ({
    label,
    points: ys.map((y, at) => ({ x: 10 ** (at + 1), y })),
  })
  const given: Given = {
    title: 'Cost <of> "it"',
    note: 'a & b',
    xTitle: 'rules',
    panels: [
      { title: 'allowed', curves: [curve('flat', 1, 1, 1), curve('steep', 0.2, 2, 20)] },
      { title: 'denied', curves: [curve('flat', 2, 2, 2), curve('steep', 0.3, 3, 30)] },
    ],
    wanted: [{ x: 100, y: 2 }],
  }
  const svg = plot(given)

  it('has a line for every curve of every panel, and a mark for every point and every name', () => {
    expect(svg.match(/class="c\d line"/g)).toHaveLength(4)
    expect(svg.match(/<circle class="c0"/g)).toHaveLength(2 * 3 + 1)
    expect(svg.match(/<rect class="c1"/g)).toHaveLength(2 * 3 + 1)
    expect(svg.match(/class="wanted" d=/g)).toHaveLength(2)
  })

  it('draws a flat curve flat, and a steep one upwards', () => {
    const [flat = '', steep = ''] = [...svg.matchAll(/class="c\d line" d="([^"]+)"/g)].map(([, path]) => path ?? '')
    const heights = (path: string): number[] =>
      path
        .split(/[ML]/)
        .slice(1)
        .map((pair) => Number(pair.trim().split(' ')[1]))
    expect(new Set(heights(flat)).size).toBe(1)
    const [first = 0, second = 0, third = 0] = heights(steep)
    expect(first - second).toBeCloseTo(second - third, 0)
    expect(first).toBeGreaterThan(second)
  })

  it('is one element in which every text is text and every number is one', () => {
    expect(svg).toContain('Cost &#60;of&#62; &#34;it&#34;')
    expect(svg).toContain('a &#38; b')
    expect(svg).not.toMatch(/NaN|undefined|Infinity/)
    expect(svg.match(/<svg /g)).toHaveLength(1)
    expect(svg.trimEnd().endsWith('</svg>')).toBe(true)
  })
})
