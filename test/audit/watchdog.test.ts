// When a disk is called silent, by a clock that the test moves.

import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { setImmediate as turn } from 'node:timers/promises'
import { watchFor } from '../../src/audit/watchdog.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => void vi.useRealTimers())

it('calls once when the time is over', async () => {
  const late = vi.fn<(silence: Error) => void>()
  watchFor(late)
  vi.advanceTimersByTime(1_999)
  await turn()
  expect(late).not.toHaveBeenCalled()
  vi.advanceTimersByTime(10_000)
  await turn()
  expect(late).toHaveBeenCalledTimes(1)
})

it('begins anew when something was heard', async () => {
  const late = vi.fn<(silence: Error) => void>()
  const watchdog = watchFor(late)
  vi.advanceTimersByTime(1_500)
  watchdog.refresh()
  vi.advanceTimersByTime(1_500)
  await turn()
  expect(late).not.toHaveBeenCalled()
})

it('listens first to what came while the process itself was stopped', async () => {
  const late = vi.fn<(silence: Error) => void>()
  const watchdog = watchFor(late)
  // The timer is due, and the answer is in the same turn of the loop behind it.
  vi.advanceTimersByTime(60_000)
  watchdog.stop()
  await turn()
  expect(late).not.toHaveBeenCalled()
})
