// How many client connections the limit of open files leaves room for.

import { readFileSync } from 'node:fs'

/** Each costs some 16 KB, with its upstream connection, while neither says anything. */
export const MAX_CONNECTIONS = 16_384
/** One for the client, one for its origin, and one for all else: kept upstream connections, the trail, DNS, /health. */
const DESCRIPTORS_PER_CONNECTION = 3

/**
 * SECURITY: past the limit the kernel refuses descriptors and with them /health, DNS and a new file of the trail, and connections
 * are closed unseen (accept(2), EMFILE). The bound comes first: it refuses, records, and leaves room. `limit` null: not known.
 */
export function connectionBound(limit: number | null): number {
  if (limit === null) return MAX_CONNECTIONS
  return Math.min(MAX_CONNECTIONS, Math.max(1, Math.floor(limit / DESCRIPTORS_PER_CONNECTION)))
}

/** RLIMIT_NOFILE, which Node.js raises to the hard limit when it starts; null for none, or where there is no procfs. */
export function descriptorLimit(): number | null {
  try {
    const found = /^Max open files +(\d+) /m.exec(readFileSync('/proc/self/limits', 'latin1'))
    return found === null ? null : Number(found[1])
  } catch {
    return null
  }
}
