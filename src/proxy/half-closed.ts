// Tells a client that has said all it wants to say from one that is gone, after a plain FIN.

import type { Socket } from 'node:net'

/** After a plain FIN an answer may go on; a peer that is gone answers our next bytes with a reset, one that hangs is cut here. */
const HALF_CLOSED_GRACE_MS = 75

/** Calls `leave` once nothing more is written to the socket while somebody is `waiting`. */
export function watchHalfClosed(socket: Socket, waiting: () => boolean, leave: () => void, written = -1): void {
  if (!waiting()) return
  const progress = socket.bytesWritten
  if (progress === written) return leave()
  setTimeout(() => watchHalfClosed(socket, waiting, leave, progress), HALF_CLOSED_GRACE_MS)
}
