// One HTTP connection of a client while it is served, whichever version it speaks: known to the listener, and closed idle when it is of no use.

import type { Socket } from 'node:net'
import type { Route } from '../core/revocation.ts'
import type { Connection } from './connection.ts'
import type { Deps } from './deps.ts'
import { watchIdle } from './revocation.ts'
import type { Served, Tracked } from './tracked.ts'

/** What came of a connection so far. */
export interface Visit {
  /** A request was read, or what was meant as one. */
  served: boolean
  /** Where its next request would lead, null while nothing is known of that. */
  route: Route | null
}

/** Of a connection that nothing was said on yet. */
export function visitOf(connection: Connection): Visit {
  const { expected, scheme } = connection.names
  return { served: false, route: expected === null ? null : { asker: connection, scheme, ...expected } }
}

/** Resolves when it is served to its end. */
export async function serveTracked(
  http: Served & { serve(): Promise<void> },
  raw: Socket,
  visit: Visit,
  deps: Deps,
  tracked: Tracked,
): Promise<void> {
  const untrack = tracked.track(http, raw)
  const unwatch = watchIdle(http, () => visit.route, deps)
  try {
    await http.serve()
  } finally {
    untrack()
    unwatch()
  }
}
