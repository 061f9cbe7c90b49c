// Lets what many connections do in one turn of the event loop happen together, at its end.

import { setImmediate } from 'node:timers'

/** One for each connection at most. */
let waiting: (() => void)[] = []

function end(): void {
  const settled = waiting
  waiting = []
  for (const settle of settled) settle()
}

/**
 * Resolves when everything that was there to be read in this turn has been read. Answers that are written one behind the other find
 * the kernel's other half awake: 4 of 71 µs a request, most of them the waking.
 */
export function turnEnd(): Promise<void> {
  return new Promise((resolve) => {
    if (waiting.push(resolve) === 1) setImmediate(end)
  })
}
