// What each origin turned out to speak, where it is only one version of HTTP: remembered for a time.

import type { Permit } from '../../core/rule.ts'
import type { HttpProtocol } from '../dial.ts'

/** Origins that are remembered; past it the one that was learnt first is forgotten. */
const MAX_ORIGINS = 4_096
/** An origin may have been changed: it is asked anew after this long. */
const REMEMBERED_MS = 600_000

interface Learnt {
  readonly only: HttpProtocol
  readonly until: number
}

export class OriginProtocols {
  readonly #learnt = new Map<string, Learnt>()

  /** What a request will go out as, as far as is known; `prefers` is what its client speaks. */
  expected(permit: Permit, prefers: HttpProtocol): HttpProtocol {
    if (permit.scheme === 'http') return 'http/1.1'
    // Next to every request: an origin of one version only is the exception.
    if (this.#learnt.size === 0) return prefers
    const key = keyOf(permit)
    const learnt = this.#learnt.get(key)
    if (learnt === undefined) return prefers
    if (learnt.until > performance.now()) return learnt.only
    this.#learnt.delete(key)
    return prefers
  }

  /** The origin does not speak the other one. */
  learn(permit: Permit, only: HttpProtocol): void {
    const key = keyOf(permit)
    this.#learnt.delete(key)
    if (this.#learnt.size >= MAX_ORIGINS) {
      const oldest = this.#learnt.keys().next().value
      if (oldest !== undefined) this.#learnt.delete(oldest)
    }
    this.#learnt.set(key, { only, until: performance.now() + REMEMBERED_MS })
  }
}

/** Connections are kept and shared by this: where they lead, and nothing of who asked. */
export function keyOf({ scheme, host, port }: Permit): string {
  return `${scheme} ${host.text} ${port}`
}
