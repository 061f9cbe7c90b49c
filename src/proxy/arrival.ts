// Waits on a client connection for the next bytes of a head, and for no longer than a silence may last.

export class Arrival {
  readonly #idleMs: number
  #idleTimer: NodeJS.Timeout | null = null
  #settle: ((arrived: boolean) => void) | null = null

  /** `idleMs`: how long nothing at all may come. */
  constructor(idleMs: number) {
    this.#idleMs = idleMs
  }

  /** Something arrived, or nothing will any more. */
  signal(): void {
    this.#wake(true)
  }

  /** True at the next signal, false when it was silent for too long. */
  next(): Promise<boolean> {
    // One timer for all the silences of a connection, never stopped between them: it costs a request nothing but its refresh.
    if (this.#idleTimer === null) this.#idleTimer = setTimeout(() => this.#wake(false), this.#idleMs)
    else this.#idleTimer.refresh()
    return this.#woken()
  }

  /** True at the next signal, false when `ms` passed. */
  async within(ms: number): Promise<boolean> {
    this.stop()
    const timer = setTimeout(() => this.#wake(false), Math.max(ms, 1))
    const arrived = await this.#woken()
    clearTimeout(timer)
    return arrived
  }

  /** Nobody waits any more. */
  stop(): void {
    if (this.#idleTimer !== null) clearTimeout(this.#idleTimer)
    this.#idleTimer = null
  }

  #woken(): Promise<boolean> {
    return new Promise((resolve) => (this.#settle = resolve))
  }

  #wake(arrived: boolean): void {
    const settle = this.#settle
    this.#settle = null
    settle?.(arrived)
  }
}
