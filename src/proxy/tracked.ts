// What connections tell the listener about themselves, so that a shutdown knows what it may end and what it must wait for.

import type { Socket } from 'node:net'
import type { Interruption } from './message.ts'

/** A client connection that speaks HTTP, whichever version. */
export interface Served {
  /** No further request is taken; those under way go on, and the connection ends behind them. */
  drain(): void
  /** Closes it if nothing is under way. */
  closeIdle(): void
  /** Ends it now, with what is under way on it. */
  interrupt(why: Interruption): void
}

export interface Tracked {
  /** `raw` is the TCP socket. Call the result when the connection no longer speaks HTTP. */
  track(connection: Served, raw: Socket): () => void
  /** Something other than HTTP is under way on the socket, until the result is called. */
  hold(raw: Socket): () => void
}
