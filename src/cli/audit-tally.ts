// Counts by name in bounded memory: a client that invents names by the million can not push the frequent ones out.

/** Names that are kept of one tally; at twice as many the rarest half is put together as the others. */
const MAX_NAMES = 50_000

export interface Counts {
  requests: number
  denied: number
  bytesSent: number
  bytesReceived: number
}

export class Tally {
  #counts = new Map<string, Counts>()
  /** What came of the names that were dropped; a name that comes back starts anew. */
  readonly others: Counts = noCounts()

  add(name: string, counts: Counts): void {
    const own = this.#counts.get(name)
    if (own !== undefined) return sum(own, counts)
    this.#counts.set(name, { ...counts })
    if (this.#counts.size >= 2 * MAX_NAMES) this.#prune()
  }

  /** Those with the most of what `by` looks at, those with none left out. */
  top(count: number, by: (counts: Counts) => number): [name: string, counts: Counts][] {
    return this.#sorted(by)
      .filter(([, counts]) => by(counts) > 0)
      .slice(0, count)
  }

  /** All, by name. */
  byName(): [name: string, counts: Counts][] {
    return [...this.#counts].sort(([one], [other]) => (one < other ? -1 : 1))
  }

  #prune(): void {
    const sorted = this.#sorted(({ requests }) => requests)
    for (const [, counts] of sorted.slice(MAX_NAMES)) sum(this.others, counts)
    this.#counts = new Map(sorted.slice(0, MAX_NAMES))
  }

  #sorted(by: (counts: Counts) => number): [string, Counts][] {
    return [...this.#counts].sort(([, one], [, other]) => by(other) - by(one))
  }
}

export function noCounts(): Counts {
  return { requests: 0, denied: 0, bytesSent: 0, bytesReceived: 0 }
}

export function sum(total: Counts, more: Counts): void {
  total.requests += more.requests
  total.denied += more.denied
  total.bytesSent += more.bytesSent
  total.bytesReceived += more.bytesReceived
}
