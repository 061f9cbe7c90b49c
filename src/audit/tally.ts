// What is counted for every request, in plain numbers: prom-client, which takes 0.7 µs a request for it, only prints them.

import type { Histogram as Metric, Registry } from 'prom-client'

interface Printed {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'histogram'
  readonly aggregator: 'sum'
  readonly values: readonly {
    readonly value: number
    readonly labels: Readonly<Record<string, string | number>>
    readonly metricName?: string
  }[]
}

interface Cell {
  readonly decision: string
  readonly reason: string
  readonly client: string
  count: number
}

/** A counter by decision, reason and client. Its caller bounds the values of each. */
export class DecisionCounter {
  readonly #name: string
  readonly #help: string
  readonly #cells = new Map<string, Cell>()
  /** Nearly every request counts where the one before did. */
  #last: Cell | null = null

  constructor(name: string, help: string, registry: Registry) {
    this.#name = name
    this.#help = help
    print(registry, name, () => this.#printed())
  }

  inc(decision: string, reason: string, client: string): void {
    let cell = this.#last
    if (cell?.decision !== decision || cell.reason !== reason || cell.client !== client) {
      cell = this.#cellOf(decision, reason, client)
      this.#last = cell
    }
    cell.count += 1
  }

  #cellOf(decision: string, reason: string, client: string): Cell {
    const key = `${decision} ${reason} ${client}`
    const known = this.#cells.get(key)
    if (known !== undefined) return known
    const cell = { decision, reason, client, count: 0 }
    this.#cells.set(key, cell)
    return cell
  }

  #printed(): Printed {
    const values = Array.from(this.#cells.values(), ({ decision, reason, client, count }) => ({
      value: count,
      labels: { decision, reason, client },
    }))
    return { name: this.#name, help: this.#help, type: 'counter', aggregator: 'sum', values }
  }
}

/** A histogram without labels. `bounds`: upper bounds of the buckets, inclusive, rising. */
export class Histogram {
  readonly #name: string
  readonly #help: string
  readonly #bounds: readonly number[]
  /** Observations of each bucket alone; the last is above all bounds. */
  readonly #counts: Float64Array
  #sum = 0

  constructor(name: string, help: string, bounds: readonly number[], registry: Registry) {
    this.#name = name
    this.#help = help
    this.#bounds = bounds
    this.#counts = new Float64Array(bounds.length + 1)
    print(registry, name, () => this.#printed())
  }

  /** Throws a TypeError for what is no finite number: it would spoil the sum for good. */
  observe(value: number): void {
    if (!Number.isFinite(value)) throw new TypeError(`${this.#name} takes finite numbers, not ${value}`)
    let bucket = 0
    while (bucket < this.#bounds.length && value > (this.#bounds[bucket] as number)) bucket++
    this.#counts[bucket] = (this.#counts[bucket] as number) + 1
    this.#sum += value
  }

  #printed(): Printed {
    let count = 0
    const buckets = Array.from(this.#counts, (own, at) => {
      count += own
      return { value: count, labels: { le: this.#bounds[at] ?? '+Inf' }, metricName: `${this.#name}_bucket` }
    })
    const values = [
      ...buckets,
      { value: this.#sum, labels: {}, metricName: `${this.#name}_sum` },
      { value: count, labels: {}, metricName: `${this.#name}_count` },
    ]
    return { name: this.#name, help: this.#help, type: 'histogram', aggregator: 'sum', values }
  }
}

/** A registry prints anything that has a name and answers `get`; its type names prom-client's own classes alone. */
function print(registry: Registry, name: string, printed: () => Printed): void {
  const metric: { readonly name: string; get(): Promise<Printed> } = { name, get: () => Promise.resolve(printed()) }
  registry.registerMetric(metric as unknown as Metric)
}
