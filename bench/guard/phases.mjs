// What the guard counts, in the order in which the subjects end their phases: each is run to warm up, then so often again to be counted.

/** The first is the fixed piece of JavaScript that the others are divided by. */
export const STEPS = ['reference', 'request head', 'decision', 'records', 'response head'].map((name) => ({
  name,
  warm: 800,
  counted: 1_000,
}))

/** Through the whole proxy, one after the other, so that nothing depends on what happens to arrive together. */
export const EXCHANGES = [
  { name: 'keep-alive request', warm: 150, counted: 200 },
  { name: 'new connection', warm: 15, counted: 30 },
  { name: 'new host', warm: 5, counted: 15 },
]

/**
 * Instructions of one of each, by name. `counts` has those of every phase: the start, then two for each entry.
 * @param {readonly { name: string, counted: number }[]} phases
 * @param {readonly number[]} counts
 * @returns {Map<string, number>}
 */
export function instructionsEach(phases, counts) {
  if (counts.length !== 1 + 2 * phases.length) {
    throw new Error(`${counts.length} phases were counted, not ${1 + 2 * phases.length}`)
  }
  return new Map(phases.map(({ name, counted }, index) => [name, counts[2 + 2 * index] / counted]))
}
