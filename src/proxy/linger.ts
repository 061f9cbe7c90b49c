// Ends a connection so that the peer reads what was written: half-close, drain within bounds, then close.

import type { Socket } from 'node:net'

/** What a refused client may still send while it has not noticed (CONTRACT §3): a reset would destroy the answer on its way. */
const LINGER_BYTES = 8 * 1024 * 1024
const LINGER_MS = 2_000

export function lingerThenClose(socket: Socket, peerEnded: boolean): void {
  if (socket.destroyed) return
  if (peerEnded) return socket.destroySoon()
  let drained = 0
  const close = (): void => {
    clearTimeout(timer)
    socket.destroySoon()
  }
  const timer = setTimeout(close, LINGER_MS)
  socket.on('data', (chunk: Buffer) => {
    drained += chunk.length
    if (drained > LINGER_BYTES) close()
  })
  socket.on('end', close)
  socket.on('close', () => clearTimeout(timer))
  socket.on('error', () => clearTimeout(timer))
  socket.end()
  socket.resume()
}
