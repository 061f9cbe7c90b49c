// How long a client may take for each thing that is waited for.

/** A head must be complete this long after its first byte (slowloris). */
const HEAD_DEADLINE_MS = 30_000
/** A kept-alive connection, or one that never said anything, is closed after this much silence. */
const IDLE_DEADLINE_MS = 120_000
/** The longest silence in the middle of a request body. */
const BODY_IDLE_DEADLINE_MS = 120_000

export interface Deadlines {
  readonly headMs: number
  readonly idleMs: number
  readonly bodyIdleMs: number
}

export const DEADLINES: Deadlines = {
  headMs: HEAD_DEADLINE_MS,
  idleMs: IDLE_DEADLINE_MS,
  bodyIdleMs: BODY_IDLE_DEADLINE_MS,
}
