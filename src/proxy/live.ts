// Everything that is open by leave of a policy, judged again when another comes into force.

import type { Judgement } from './deps.ts'
import type { Interruption } from './message.ts'

/** How many are judged in one turn of the event loop; everybody else is served between two turns. */
const JUDGED_A_TURN = 256

/** Something open. It ends itself when `judgement` does not permit it. */
export interface Open {
  rejudge(judgement: Judgement): void
  /** Lets go of it, if it has a record that says it was permitted. */
  interrupt?(why: Interruption): void
}

/** Holds at most one entry for each client connection and one for each request on it: the listener bounds the first, HTTP/2 the second. */
export class Live {
  readonly #inForce: () => Judgement
  readonly #open = new Set<Open>()

  constructor(inForce: () => Judgement) {
    this.#inForce = inForce
  }

  /** `judgedBy`: what let it in. SECURITY: when that is no longer in force, it is judged at once. `remove` it at its end. */
  add(open: Open, judgedBy: Judgement): void {
    this.#open.add(open)
    const judgement = this.#inForce()
    if (judgement !== judgedBy) open.rejudge(judgement)
  }

  remove(open: Open): void {
    this.#open.delete(open)
  }

  /** Begins with the first turn's worth before it returns. What opens meanwhile is judged by the policy in force as it is. */
  rejudge(): void {
    // A set is walked in the order of its entries, whatever is added or removed on the way: as many as are open now are enough.
    this.#walk(this.#open.values(), this.#open.size, (open) => open.rejudge(this.#inForce()))
  }

  /** Lets go of everything that is under way. */
  interrupt(why: Interruption): void {
    this.#walk(this.#open.values(), this.#open.size, (open) => open.interrupt?.(why))
  }

  #walk(open: IterableIterator<Open>, left: number, visit: (open: Open) => void): void {
    for (let turn = Math.min(left, JUDGED_A_TURN); turn > 0; turn -= 1) {
      const next = open.next()
      if (next.done === true) return
      visit(next.value)
    }
    if (left > JUDGED_A_TURN) setImmediate(() => this.#walk(open, left - JUDGED_A_TURN, visit))
  }
}
