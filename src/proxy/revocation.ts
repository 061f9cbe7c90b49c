// What a changed policy ends: requests and tunnels under way, and connections on which nothing could be allowed any more.

import type { Socket } from 'node:net'
import { type Asker, couldPermit, heldDemands, passesStill, permitsStill, type Route } from '../core/revocation.ts'
import type { Demand, Permit } from '../core/rule.ts'
import type { Attempt } from './attempt.ts'
import type { Deps, Judgement } from './deps.ts'
import type { Proceed } from './judge.ts'
import type { Open } from './live.ts'
import type { ClientLink, Interruption } from './message.ts'
import type { Served } from './tracked.ts'

/** Each watch lasts until its result is called. */
type Unwatch = () => void

/** Lets go of the client of a permitted request once the request is permitted no more; what it had upstream goes with it. */
export class RequestUnderway implements Open {
  readonly #attempt: Attempt
  readonly #judged: Proceed
  readonly #link: ClientLink
  readonly #held: readonly Demand[]

  constructor(attempt: Attempt, judged: Proceed, link: ClientLink) {
    this.#attempt = attempt
    this.#judged = judged
    this.#link = link
    this.#held = heldDemands(attempt.judgement.policy, judged.permit)
  }

  rejudge(judgement: Judgement): void {
    const { subject, asker } = this.#judged
    const { address } = this.#attempt.sent
    if (!permitsStill(judgement, { asker, subject, held: this.#held, address })) this.#link.interrupt('policy_revoked')
  }

  interrupt(why: Interruption): void {
    // Without a record nothing was sent, and the client is told so.
    if (this.#attempt.decided) this.#link.interrupt(why)
  }
}

/** Aborts `revoked`, with the reason, once the tunnel may be passed through no more. */
export function watchTunnel(
  attempt: Attempt,
  asker: Asker,
  permit: Permit,
  revoked: AbortController,
  deps: Deps,
): Unwatch {
  const { scheme, host, port } = permit
  const rejudge = (judgement: Judgement): void => {
    if (!passesStill(judgement, { asker, scheme, host, port }, attempt.upstreamAddress)) revoked.abort('policy_revoked')
  }
  const interrupt = (why: Interruption): void => {
    if (attempt.decided) revoked.abort(why)
  }
  return watch({ rejudge, interrupt }, attempt.judgement, deps)
}

/** Closes the connection while it waits for a request that could not be allowed. `route` null: nothing is known of the next one. */
export function watchIdle(http: Served, route: () => Route | null, deps: Deps): Unwatch {
  const rejudge = (judgement: Judgement): void => {
    const leadsTo = route()
    if (leadsTo !== null && !couldPermit(judgement, leadsTo)) http.closeIdle()
  }
  return watch({ rejudge }, deps.judgement(), deps)
}

/** Closes an accepted CONNECT on which nothing could be allowed, as long as nothing was said inside: then it is no attempt yet. */
export function watchSilent(socket: Socket, route: Route, deps: Deps): Unwatch {
  const before = socket.bytesRead
  const rejudge = (judgement: Judgement): void => {
    if (socket.bytesRead === before && !couldPermit(judgement, route)) socket.destroy()
  }
  return watch({ rejudge }, deps.judgement(), deps)
}

function watch(open: Open, judgedBy: Judgement, { live }: Deps): Unwatch {
  live.add(open, judgedBy)
  return () => live.remove(open)
}
