// Waits for what a decision needs, and no longer than the policy that asks for it is in force.

import type { Attempt } from './attempt.ts'
import type { Deps } from './deps.ts'

/** `reloaded`: another policy than that of the attempt has come into force, whether `reading` is done or not. */
export async function unlessReloaded<T>(reading: Promise<T>, attempt: Attempt, deps: Deps): Promise<T | 'reloaded'> {
  let rejudge = (): void => undefined
  const reloaded = new Promise<'reloaded'>((resolve) => {
    rejudge = () => resolve('reloaded')
  })
  const waiting = { rejudge: () => rejudge() }
  deps.live.add(waiting, attempt.judgement)
  const first = await Promise.race([reading, reloaded])
  deps.live.remove(waiting)
  return deps.judgement() === attempt.judgement ? first : 'reloaded'
}
