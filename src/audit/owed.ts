// What could not be written during an outage and is written after it: it is about something that has a record already.

import { endOf, type Entry, type OpenRequests } from './entry.ts'
import type { SealedEntry } from './sealer.ts'

/** Each belongs to a request that was under way when the outage began, and those are bounded. */
const MAX_OWED = 65_536

const OWED: ReadonlySet<string> = new Set([
  'request.completed',
  'request.malformed',
  'tunnel.opened',
  'tunnel.closed',
  'proxy.started',
  'proxy.stopped',
  'config.loaded',
  'config.rejected',
  'audit.restored',
])

export function isOwed({ event }: Entry): boolean {
  return event !== null && OWED.has(event.event)
}

export class Owed {
  #entries: Entry[] = []

  /** What is not owed is forgotten: nothing was done on account of it. */
  add(entry: Entry): void {
    if (isOwed(entry) && this.#entries.length < MAX_OWED) this.#entries.push(entry)
  }

  /** Of a refused group `reached` lines stand in the file nevertheless: their decisions have an end, the others are owed. */
  addRefused(lines: readonly SealedEntry[], reached: number, timestamp: string): void {
    for (const [at, { entry }] of lines.entries()) {
      if (at >= reached) this.add(entry)
      else if (entry.event?.event === 'request.decided') this.add(endOf(entry.event.request_id, 'refused', timestamp))
    }
  }

  /** All of it, once. What belongs to a decision that never reached the file has nothing to belong to. */
  take(open: OpenRequests): Entry[] {
    const entries = this.#entries
    this.#entries = []
    return entries.filter(({ event }) => event === null || !('request_id' in event) || open.has(event.request_id))
  }
}
