// The HTTP/2 sessions that are kept: found by origin, shared by many requests, given up when they are old or outdated.

import type { AddressPolicy } from '../../core/address-class.ts'
import type { OriginSession } from './origin-session.ts'

/** Each carries a hundred requests: more are the remains of a burst, or of an origin that takes few at once. */
const MAX_IDLE_PER_ORIGIN = 8

/** When a connection was made, and the addresses that were allowed then. */
export interface Provenance {
  readonly born: number
  readonly judgedBy: AddressPolicy
}

interface Kept extends Provenance {
  readonly session: OriginSession
}

export class OriginSessions {
  readonly #addresses: () => AddressPolicy
  readonly #maxAgeMs: number
  readonly #kept = new Map<string, Kept[]>()

  /** `maxAgeMs`: one that is older takes no more requests, so that its name is resolved and judged again. */
  constructor(addresses: () => AddressPolicy, maxAgeMs: number) {
    this.#addresses = addresses
    this.#maxAgeMs = maxAgeMs
  }

  add(key: string, session: OriginSession, provenance: Provenance): void {
    const list = this.#kept.get(key) ?? []
    list.push({ session, ...provenance })
    this.#kept.set(key, list)
    session.onIdle(() => this.#onIdle(key))
    session.onClose(() => this.#forget(key, session))
  }

  /** One with room for a request, which must then be sent on it or released; `not`: another one than that. */
  claim(key: string, not: unknown): OriginSession | undefined {
    for (const kept of this.#kept.get(key) ?? []) {
      const { session } = kept
      if (this.#outdated(kept)) {
        this.#forget(key, session)
        session.drain()
      } else if (session !== not && session.claim()) {
        return session
      }
    }
    return undefined
  }

  /** What a session still serves goes on; it takes nothing new. */
  close(): void {
    const all = [...this.#kept.values()].flat()
    this.#kept.clear()
    for (const { session } of all) session.drain()
  }

  #onIdle(key: string): void {
    const idle = this.#kept.get(key)?.filter(({ session }) => session.idle) ?? []
    if (idle.length > MAX_IDLE_PER_ORIGIN) idle[0]?.session.drain()
  }

  #outdated({ born, judgedBy }: Kept): boolean {
    // SECURITY: a reload may forbid the address this leads to; the next dial judges it anew.
    return judgedBy !== this.#addresses() || performance.now() - born > this.#maxAgeMs
  }

  #forget(key: string, session: OriginSession): void {
    const list = this.#kept.get(key)?.filter((kept) => kept.session !== session)
    if (list === undefined) return
    if (list.length === 0) this.#kept.delete(key)
    else this.#kept.set(key, list)
  }
}
