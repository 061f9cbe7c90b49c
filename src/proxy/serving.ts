// One HTTP connection of a client while it is served, whichever version it speaks: known to the listener, and closed idle when it is of no use.

import type { Socket } from 'node:net'
import type { Route } from '../core/revocation.ts'
import type { Deps } from './deps.ts'
import { watchIdle } from './revocation.ts'
import type { Served, Tracked } from './tracked.ts'

/** Resolves when it is served to its end. `route`: where its next request would lead, null while nothing is known of that. */
export async function serveTracked(
  http: Served & { serve(): Promise<void> },
  raw: Socket,
  route: () => Route | null,
  deps: Deps,
  tracked: Tracked,
): Promise<void> {
  const untrack = tracked.track(http, raw)
  const unwatch = watchIdle(http, route, deps)
  try {
    await http.serve()
  } finally {
    untrack()
    unwatch()
  }
}
