// How long a client may take for each thing that is waited for.

/** A head must be complete this long after its first byte (slowloris). */
const HEAD_DEADLINE_MS = 30_000
/** A kept-alive connection, or one that never said anything, is closed after this much silence. */
const IDLE_DEADLINE_MS = 120_000
/** The longest silence in the middle of a request body. */
const BODY_IDLE_DEADLINE_MS = 120_000
/** A WebSocket in which nothing moved for this long, and one that is this old, ends: nobody else's timers watch it. */
const WEBSOCKET_IDLE_MS = 3_600_000
const WEBSOCKET_LIFETIME_MS = 86_400_000

export interface Deadlines {
  readonly headMs: number
  readonly idleMs: number
  readonly bodyIdleMs: number
  readonly webSocketIdleMs: number
  readonly webSocketLifetimeMs: number
}

export const DEADLINES: Deadlines = {
  headMs: HEAD_DEADLINE_MS,
  idleMs: IDLE_DEADLINE_MS,
  bodyIdleMs: BODY_IDLE_DEADLINE_MS,
  webSocketIdleMs: WEBSOCKET_IDLE_MS,
  webSocketLifetimeMs: WEBSOCKET_LIFETIME_MS,
}
