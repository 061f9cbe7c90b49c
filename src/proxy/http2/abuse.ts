// What a peer may do that costs us work and brings nobody anything: counted by kind, and borne within a budget.

/** What is held against a peer, by kind, and the code of the fault when it was one too many. The first two are resets: of the peer's, and of ours for its fault. */
const CODE_OF = {
  rst_stream: 'H2_RESET_FLOOD',
  stream_error: 'H2_RESET_FLOOD',
  ping: 'H2_PING_FLOOD',
  settings: 'H2_SETTINGS_FLOOD',
  priority: 'H2_PRIORITY_FLOOD',
  empty_data: 'H2_EMPTY_DATA_FLOOD',
  window_update: 'H2_WINDOW_UPDATE_FLOOD',
  closed_stream: 'H2_CLOSED_STREAM_FLOOD',
  unknown: 'H2_UNKNOWN_FRAME_FLOOD',
} as const

export type Glitch = keyof typeof CODE_OF

/** Streams whose work was for nothing (CVE-2023-44487, CVE-2025-8671). A client that cancels in earnest does so a few times a second. */
const RESETS = { burst: 200, perSecond: 33 } as const
/** Frames that carry nothing (CVE-2019-9512 and its kin). */
const FRAMES = { burst: 1_000, perSecond: 100 } as const
/** A peer that reads what we send has reason to widen two windows for it, and to measure the path (BDP probes). */
const EARNED_BY_DATA = 4

interface Rate {
  readonly burst: number
  readonly perSecond: number
}

class Bucket {
  readonly #rate: Rate
  #left: number
  #at: number

  constructor(rate: Rate, now: number) {
    this.#rate = rate
    this.#left = rate.burst
    this.#at = now
  }

  add(count: number): void {
    this.#left = Math.min(this.#rate.burst, this.#left + count)
  }

  take(now: number): boolean {
    this.add(((now - this.#at) * this.#rate.perSecond) / 1_000)
    this.#at = now
    if (this.#left < 1) return false
    this.#left -= 1
    return true
  }
}

export class AbuseBudget {
  readonly #now: () => number
  readonly #resets: Bucket
  readonly #frames: Bucket
  readonly #counts = new Map<Glitch, number>()

  /** `now` in milliseconds, of a clock that does not go back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
    this.#resets = new Bucket(RESETS, now())
    this.#frames = new Bucket(FRAMES, now())
  }

  /** Null while the budget lasts, else the code of the fault. */
  spend(glitch: Glitch): string | null {
    this.#counts.set(glitch, (this.#counts.get(glitch) ?? 0) + 1)
    const bucket = glitch === 'rst_stream' || glitch === 'stream_error' ? this.#resets : this.#frames
    return bucket.take(this.#now()) ? null : CODE_OF[glitch]
  }

  /** A DATA frame with something in it went out. */
  earn(): void {
    this.#frames.add(EARNED_BY_DATA)
  }

  /** For the record: `rst_stream=201 ping=3`. */
  get counts(): string {
    return [...this.#counts].map(([glitch, count]) => `${glitch}=${count}`).join(' ')
  }
}
