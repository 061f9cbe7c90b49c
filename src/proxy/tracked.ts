// What connections tell the listener about themselves, so that a shutdown knows what it may end and what it must wait for.

import type { Socket } from 'node:net'
import type { Http1Connection } from './http1-connection.ts'

export interface Tracked {
  /** `raw` is the TCP socket. Call the result when the connection no longer speaks HTTP. */
  track(connection: Http1Connection, raw: Socket): () => void
  /** Something other than HTTP is under way on the socket, until the result is called. */
  hold(raw: Socket): () => void
}
