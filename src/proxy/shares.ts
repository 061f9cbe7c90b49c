// How a bounded number of places is shared out by source: what one takes, however greedily, leaves room for the next.

/** Places that somebody without an address takes: over a Unix socket. */
const NO_ADDRESS = ''

export class Shares {
  readonly #bound: number
  readonly #most: number
  readonly #held = new Map<string, number>()
  #taken = 0

  /** `bound`: places in all; `most`: for one source. */
  constructor(bound: number, most: number) {
    this.#bound = bound
    this.#most = most
  }

  get taken(): number {
    return this.#taken
  }

  /**
   * False: not so many places for this source. SECURITY: nobody gets more than what is still free, so that greedy sources, however many,
   * leave some.
   */
  take(source: string | null, places = 1): boolean {
    const held = (this.#held.get(source ?? NO_ADDRESS) ?? 0) + places
    if (held > Math.min(this.#most, this.#bound - this.#taken)) return false
    this.#held.set(source ?? NO_ADDRESS, held)
    this.#taken += places
    return true
  }

  /** Once for all places that were taken. */
  give(source: string | null, places = 1): void {
    const held = (this.#held.get(source ?? NO_ADDRESS) ?? places) - places
    if (held === 0) this.#held.delete(source ?? NO_ADDRESS)
    else this.#held.set(source ?? NO_ADDRESS, held)
    this.#taken -= places
  }
}
