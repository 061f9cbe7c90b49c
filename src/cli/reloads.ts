// When the configuration is read again: one reload at a time, and one more for all who asked while it ran.

/** Null: it is in force. Else what is wrong, a problem a line; the old one is in force then. */
export type Reloaded = string | null

export class Reloads {
  readonly #reload: () => Promise<Reloaded>
  #running: Promise<Reloaded> | null = null
  #next: Promise<Reloaded> | null = null

  /** `reload` never rejects. */
  constructor(reload: () => Promise<Reloaded>) {
    this.#reload = reload
  }

  /** What comes of a reload that begins after this call: one that is running may have read the file before it was changed. */
  ask(): Promise<Reloaded> {
    if (this.#running === null) return this.#begin()
    this.#next ??= this.#running.then(() => {
      this.#next = null
      return this.#begin()
    })
    return this.#next
  }

  #begin(): Promise<Reloaded> {
    const running = this.#reload().finally(() => {
      if (this.#running === running) this.#running = null
    })
    this.#running = running
    return running
  }
}
