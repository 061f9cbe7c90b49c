// Entries that share a write and with it their fate.

import { type Entry, ENVELOPE_BYTES } from './entry.ts'

/** Not written down, so nothing may leave. `cause` says why. */
export class TrailUnavailable extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'TrailUnavailable'
  }
}

/** Waiting records; over either bound what has no record yet is refused at once. Ends of what has one are always taken. */
export const MAX_QUEUED_RECORDS = 16_384
export const MAX_QUEUED_BYTES: number = 16 * 1_048_576

export class Group {
  readonly entries: Entry[]
  readonly promise: Promise<void>
  /** Somebody waits for it to be written. */
  pressing: boolean
  /** Its callers were told no; what reaches the file all the same is settled when that is known. */
  refused = false
  #bytes = 0
  #resolve: () => void = () => undefined
  #reject: (error: TrailUnavailable) => void = () => undefined

  constructor(entries: Entry[] = []) {
    this.entries = entries
    this.pressing = entries.length > 0
    this.promise = new Promise<void>((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    // A caller that gave up must not bring the process down with an unhandled rejection.
    this.promise.catch(() => undefined)
  }

  get decisions(): number {
    return this.entries.filter(({ event }) => event?.event === 'request.decided').length
  }

  get full(): boolean {
    return this.#bytes >= MAX_QUEUED_BYTES || this.entries.length >= MAX_QUEUED_RECORDS
  }

  add(entry: Entry): void {
    this.entries.push(entry)
    this.#bytes += entry.fields.length + ENVELOPE_BYTES
  }

  resolve(): void {
    this.#resolve()
  }

  refuse(error: TrailUnavailable): void {
    this.refused = true
    this.#reject(error)
  }
}
