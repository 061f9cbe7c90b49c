// How long a record that nobody waits for waits for others: a write costs as much as ten records.

import { clearTimeout, setTimeout } from 'node:timers'

/** The next decision takes it along; where none comes, this is how late it is written. */
const COMPANY_MS = 5

export class Company {
  readonly #onAlone: () => void
  #timer: NodeJS.Timeout | null = null

  /** `onAlone` is called when nobody came. */
  constructor(onAlone: () => void) {
    this.#onAlone = onAlone
  }

  await(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      this.#onAlone()
    }, COMPANY_MS)
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }
}
