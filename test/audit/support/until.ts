// Waits for what comes about by itself.

const DEADLINE_MS = 10_000
const INTERVAL_MS = 5

/** Polls; rejects, naming what was waited for, after a generous time. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  deadlineMs = DEADLINE_MS,
): Promise<void> {
  const deadline = performance.now() + deadlineMs
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS))
  }
}
