import { describe, expect, it } from 'vitest'
import { AbuseBudget, type Glitch } from '../../../src/proxy/http2/abuse.ts'

function budgetAt(): { budget: AbuseBudget; wait: (ms: number) => void } {
  let now = 1_000
  return {
    budget: new AbuseBudget(() => now),
    wait: (ms) => {
      now += ms
    },
  }
}

/** How many are borne before the first that is not. */
function borne(budget: AbuseBudget, glitch: Glitch): number {
  for (let count = 0; count < 10_000; count += 1) if (budget.spend(glitch) !== null) return count
  return Number.POSITIVE_INFINITY
}

describe('the budget', () => {
  it.each<[Glitch, number, number]>([
    ['rst_stream', 200, 33],
    ['stream_error', 200, 33],
    ['ping', 1_000, 100],
    ['settings', 1_000, 100],
    ['priority', 1_000, 100],
    ['empty_data', 1_000, 100],
    ['window_update', 1_000, 100],
    ['closed_stream', 1_000, 100],
    ['unknown', 1_000, 100],
  ])('%s: a burst of %d, then %d a second', (glitch, burst, perSecond) => {
    const { budget, wait } = budgetAt()
    expect(borne(budget, glitch)).toBe(burst)
    wait(1_000)
    expect(borne(budget, glitch)).toBe(perSecond)
    wait(3_600_000)
    expect(borne(budget, glitch)).toBe(burst)
  })

  it('is one for all frames, and one for all resets', () => {
    const { budget } = budgetAt()
    for (let i = 0; i < 500; i += 1) budget.spend('ping')
    expect(borne(budget, 'settings')).toBe(500)
    for (let i = 0; i < 100; i += 1) budget.spend('rst_stream')
    expect(borne(budget, 'stream_error')).toBe(100)
  })

  it('DATA that went out earns four frames, and no more than the burst', () => {
    const { budget } = budgetAt()
    expect(borne(budget, 'window_update')).toBe(1_000)
    budget.earn()
    expect(borne(budget, 'window_update')).toBe(4)
    for (let i = 0; i < 1_000; i += 1) budget.earn()
    expect(borne(budget, 'window_update')).toBe(1_000)
  })

  it('DATA earns no resets', () => {
    const { budget } = budgetAt()
    for (let i = 0; i < 1_000; i += 1) budget.earn()
    expect(borne(budget, 'rst_stream')).toBe(200)
  })

  it('names what was too much, and counts all', () => {
    const { budget } = budgetAt()
    budget.spend('ping')
    borne(budget, 'rst_stream')
    expect(budget.spend('rst_stream')).toBe('H2_RESET_FLOOD')
    expect(budget.counts).toBe('ping=1 rst_stream=202')
  })
})
