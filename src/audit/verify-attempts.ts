// Whether every decision of a trail has exactly one end, and every policy that decided was in force.

import type { FaultReason, Place } from './verify-report.ts'

interface OpenAttempt {
  readonly seq: number
  readonly place: Place
  readonly run: number
  /** The trail could not be written while it was open: its end may have been refused. */
  outage: boolean
}

/** `seq`, `place`: where the record is that is wrong, if it is not the present one. */
export interface AttemptFault {
  readonly reason: FaultReason
  readonly message: string
  readonly seq?: number
  readonly place?: Place
}

/** More at a time than any proxy holds connections. */
const MAX_OPEN = 2 ** 20
/** Changed policies of one trail; a hash that was forgotten is not complained of. */
const MAX_POLICIES = 65_536
/** An end in a trail whose beginning is gone may belong to a decision there; clocks may have been set back that much meanwhile. */
const CLOCK_SLACK_MS = 60_000
const CROCKFORD = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

export class Attempts {
  readonly #open = new Map<string, OpenAttempt>()
  readonly #policies = new Set<string>()
  #run = 0
  #lost = 0
  #loaded: boolean
  readonly #beginning: number | null

  /** `beginning`: when a trail without its first records begins, in milliseconds; null: it begins at 0. */
  constructor(beginning: number | null) {
    this.#beginning = beginning
    this.#loaded = beginning === null
  }

  get stillOpen(): number {
    return this.#open.size
  }

  /** Decisions whose end an outage kept from being written. */
  get lost(): number {
    return this.#lost
  }

  decided(id: string, seq: number, place: Place): AttemptFault | null {
    if (this.#open.has(id)) return { reason: 'duplicate_decision', message: `request ${id} is decided a second time` }
    if (this.#open.size < MAX_OPEN) this.#open.set(id, { seq, place, run: this.#run, outage: false })
    return null
  }

  ended(id: string): AttemptFault | null {
    if (this.#open.delete(id) || this.#mayBeEarlier(id) || this.#open.size >= MAX_OPEN) return null
    return {
      reason: 'duplicate_end',
      message: `request ${id} ends here and is not open: it ended before, or was never decided`,
    }
  }

  loaded(policy: string): void {
    this.#loaded = true
    if (this.#policies.size < MAX_POLICIES) this.#policies.add(policy)
  }

  decidedBy(policy: string): AttemptFault | null {
    if (this.#policies.has(policy) || this.#policies.size >= MAX_POLICIES) return null
    if (this.#loaded)
      return { reason: 'unknown_policy', message: `decided by policy ${policy}, which was never loaded` }
    this.#policies.add(policy)
    return null
  }

  outage(): void {
    for (const attempt of this.#open.values()) attempt.outage = true
  }

  /** What a crash left open gets its end in the next run; what it has not got by the run after that is missing. */
  started(): AttemptFault | null {
    const missing = this.#expect((attempt) => attempt.run < this.#run)
    this.#run += 1
    return missing
  }

  stopped(): AttemptFault | null {
    return this.#expect(() => true)
  }

  #expect(due: (attempt: OpenAttempt) => boolean): AttemptFault | null {
    for (const [id, attempt] of this.#open) {
      if (!due(attempt)) continue
      this.#open.delete(id)
      if (attempt.outage) this.#lost += 1
      else return { reason: 'missing_end', message: `request ${id} was decided and has no end`, ...attempt }
    }
    return null
  }

  #mayBeEarlier(id: string): boolean {
    return this.#beginning !== null && timeOf(id) <= this.#beginning + CLOCK_SLACK_MS
  }
}

/** When a ULID was made, in milliseconds since the epoch. */
function timeOf(id: string): number {
  let time = 0
  for (const digit of id.slice(0, 10)) time = time * 32 + CROCKFORD.indexOf(digit)
  return time
}
