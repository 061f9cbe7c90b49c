// Tells when an answer from the disk has been out for too long.

import { clearImmediate, setImmediate } from 'node:timers'

/** A write, sync or rotation that takes longer is a failure: a disk that hangs must not hang every request. */
export const WRITE_TIMEOUT_MS = 2_000

export interface Watchdog {
  /** Something was heard: the time begins anew. */
  refresh(): void
  stop(): void
}

/**
 * Calls `onLate` once, unless stopped before. A process that was stopped itself (SIGSTOP, a paused container, a sleeping laptop) finds
 * its timers due before it hears what came meanwhile: whatever is waiting in the event loop gets its turn first.
 */
export function watchFor(onLate: (silence: Error) => void): Watchdog {
  let turn: NodeJS.Immediate | null = null
  const timer = setTimeout(() => {
    turn = setImmediate(() => onLate(new Error(`no answer from the disk in ${WRITE_TIMEOUT_MS} ms`)))
  }, WRITE_TIMEOUT_MS)
  return {
    refresh: () => void timer.refresh(),
    stop: () => {
      clearTimeout(timer)
      if (turn !== null) clearImmediate(turn)
    },
  }
}
