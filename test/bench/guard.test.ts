// What the guard makes of its counts: what has grown fails it, with a line that says what, and nothing goes missing in silence.

import { describe, expect, it } from 'vitest'

interface Compared {
  readonly name: string
  readonly now: number | null
  readonly accepted: number | null
  readonly verdict: string
}
interface Phase {
  readonly name: string
  readonly counted: number
}

const COMPARE = new URL('../../bench/guard/compare.mjs', import.meta.url).href
const PHASES = new URL('../../bench/guard/phases.mjs', import.meta.url).href
const { ratios, compare, report } = (await import(COMPARE)) as {
  ratios(counts: ReadonlyMap<string, number>): Record<string, number>
  compare(now: Record<string, number>, accepted: Record<string, number> | null): Compared[]
  report(counts: ReadonlyMap<string, number>, compared: readonly Compared[], engine: string): string
}
const { instructionsEach } = (await import(PHASES)) as {
  instructionsEach(phases: readonly Phase[], counts: readonly number[]): Map<string, number>
}

describe('ratios', () => {
  it('divides every count by that of the reference, which is not among them', () => {
    const counts = new Map([
      ['reference', 3_000],
      ['request head', 1_000],
      ['decision', 6_000],
    ])
    expect(ratios(counts)).toEqual({ 'request head': 0.3333, decision: 2 })
  })

  it('does not go on without a reference', () => {
    expect(() => ratios(new Map([['decision', 1]]))).toThrow('the reference was not counted')
  })
})

describe('compare', () => {
  it.each<[string, Record<string, number>, Record<string, number> | null, string]>([
    ['what is as it was is the same', { head: 2 }, { head: 2 }, 'same'],
    ['15 % more is still allowed', { head: 2.3 }, { head: 2 }, 'same'],
    ['more than 15 % more has grown', { head: 2.31 }, { head: 2 }, 'grew'],
    ['15 % less is no gain yet', { head: 1.7 }, { head: 2 }, 'same'],
    ['more than 15 % less has shrunk', { head: 1.69 }, { head: 2 }, 'shrank'],
    ['what was never accepted is unknown', { head: 2 }, {}, 'unknown'],
    ['what is no longer counted is unknown', {}, { head: 2 }, 'unknown'],
    ['an engine without a baseline has nothing accepted', { head: 2 }, null, 'unaccepted'],
  ])('%s', (_sentence, now, accepted, verdict) => {
    expect(compare(now, accepted).map((one) => one.verdict)).toEqual([verdict])
  })
})

describe('report', () => {
  const counts = new Map([
    ['reference', 1_000],
    ['head', 2_500],
  ])

  it.each<[string, Record<string, number>, Record<string, number> | null, string[]]>([
    [
      'names what grew, by how much and how to accept it',
      { head: 2.5 },
      { head: 2 },
      ['FAILED: head', '+25.0 %', '--accept'],
    ],
    ['names what was never accepted', { head: 2.5 }, {}, ['FAILED: head was never accepted']],
    ['names what is no longer counted', {}, { head: 2 }, ['FAILED: head was accepted and is no longer counted']],
    ['has a gain kept', { head: 2.5 }, { head: 5 }, ['head takes -50.0 %', 'keep the gain']],
    ['says that it only reports', { head: 2.5 }, null, ['reported only', 'node 99, z80']],
  ])('%s', (_sentence, now, accepted, parts) => {
    const text = report(counts, compare(now, accepted), 'node 99, z80')
    for (const part of parts) expect(text).toContain(part)
  })

  it('is a table and nothing else when all is as it was', () => {
    const text = report(counts, compare({ head: 2.5 }, { head: 2.5 }), 'node 99, z80')
    expect(text).not.toContain('guard:')
    expect(text.trim().split('\n')).toHaveLength(2)
    expect(text).toMatch(/head +2,500 +2\.5 +2\.5 +\+0\.0 %/)
  })
})

describe('instructionsEach', () => {
  const phases = [
    { name: 'one', counted: 10 },
    { name: 'two', counted: 4 },
  ]

  it('takes the counted half of each and leaves the start and the warm-up out', () => {
    expect([...instructionsEach(phases, [99, 7, 100, 8, 20])]).toEqual([
      ['one', 10],
      ['two', 5],
    ])
  })

  it.each([
    ['a mark too few', [99, 7, 100, 8]],
    ['a mark too many', [99, 7, 100, 8, 20, 1]],
  ])('does not guess with %s', (_sentence, counts) => {
    expect(() => instructionsEach(phases, counts)).toThrow('phases were counted, not 5')
  })
})
