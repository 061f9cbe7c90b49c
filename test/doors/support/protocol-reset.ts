// The rude end of a connection.

import type { Socket } from 'node:net'

/** TCP's own reset, under TLS too. */
export function resetConnection(socket: Socket): void {
  const below = (socket as unknown as { _parent?: Socket })._parent
  ;(below ?? socket).resetAndDestroy()
}
