// The clock of the proxy in the hands of a test: timers only, dates and sockets go on as they are.

import { stat } from 'node:fs/promises'
import { setImmediate as turn } from 'node:timers/promises'
import { vi } from 'vitest'

export const MINUTE = 60_000
/** Small against every deadline of the proxy, that of its disk (2 s) too. */
const STEP = 500

/** From now on; deadlines of the tests themselves stand still with it. */
export function stopClock(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
}

/** Lets the clock of the proxy run and its sockets keep up with it. Every record that is due must be in the trail by then. */
export async function pass(ms: number): Promise<void> {
  // What can be read has been written, but the writer hears of it a moment later: before the answer to what is asked now.
  for (let asked = 0; asked < 3; asked++) await stat('.')
  for (let passed = 0; passed < ms; passed += STEP) {
    vi.advanceTimersByTime(STEP)
    await turn()
    // A checkpoint may have become due, and the disk has a clock of its own.
    await stat('.')
  }
}
