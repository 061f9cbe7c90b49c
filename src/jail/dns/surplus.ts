// Questions over a bound of the name server: counted by client, and written down once a second instead of one by one.

import type { Reason } from '../../core/refusal.ts'

const FLUSH_MS = 1_000
/** Sources and reasons told apart between two writings; what is over is counted for nobody in particular. */
const MAX_SURPLUSES = 1_024

export interface Surplus {
  readonly client: string
  /** Null: of more clients than are told apart. */
  readonly source: string | null
  readonly reason: Reason
  readonly count: number
}

export class SurplusCounter {
  readonly #write: (surplus: Surplus) => Promise<boolean>
  #counts = new Map<string, Surplus>()
  #timer: NodeJS.Timeout | null = null

  /** `write` resolves to false where the record could not be made; it is counted on then. */
  constructor(write: (surplus: Surplus) => Promise<boolean>) {
    this.#write = write
  }

  add(client: string, source: string, reason: Reason): void {
    this.#count({ client, source, reason, count: 1 })
    this.#timer ??= setTimeout(() => void this.flush(), FLUSH_MS).unref()
  }

  /** Resolves when all that was counted is written, or could not be. */
  async flush(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const counted = this.#counts
    this.#counts = new Map()
    const written = await Promise.all(Array.from(counted.values(), (one) => this.#write(one)))
    for (const [index, one] of [...counted.values()].entries()) if (written[index] === false) this.#count(one)
  }

  #count(more: Surplus): void {
    const own = `${more.source} ${more.reason}`
    const full = this.#counts.size >= MAX_SURPLUSES && !this.#counts.has(own)
    const key = full ? `others ${more.reason}` : own
    const { client, source } = full ? { client: 'anonymous', source: null } : more
    const before = this.#counts.get(key)?.count ?? 0
    this.#counts.set(key, { client, source, reason: more.reason, count: before + more.count })
  }
}
