// Ends a connection so that the peer reads what was written: half-close, drain within bounds, then close.

import type { Socket } from 'node:net'

/** What a refused client may still send while it has not noticed (CONTRACT §3): a reset would destroy the answer on its way. */
const LINGER_BYTES = 8 * 1024 * 1024
const LINGER_MS = 2_000
/** What is left for a peer that does not read: a buffer's worth. As long as for an answer under way (`Http1Sink`). */
const FLUSH_MS = 600_000

/** Closes it behind what was written, which the peer has a bounded time to take. */
export function flushThenClose(socket: Socket): void {
  if (socket.destroyed) return
  // SECURITY: `destroySoon` waits for the peer to read, and a zero window keeps it waiting for ever.
  const timer = setTimeout(() => socket.destroy(), FLUSH_MS).unref()
  socket.once('close', () => clearTimeout(timer))
  socket.destroySoon()
}

export function lingerThenClose(socket: Socket, peerEnded: boolean): void {
  if (socket.destroyed) return
  if (peerEnded) return flushThenClose(socket)
  let drained = 0
  const onData = (chunk: Buffer): void => {
    drained += chunk.length
    if (drained > LINGER_BYTES) close()
  }
  const close = (): void => {
    clearTimeout(timer)
    socket.removeListener('data', onData).removeListener('end', close)
    // Nobody reads any more, or a peer that takes nothing could send for as long as it likes.
    socket.pause()
    flushThenClose(socket)
  }
  const timer = setTimeout(close, LINGER_MS)
  socket.on('data', onData)
  socket.on('end', close)
  socket.on('close', () => clearTimeout(timer))
  socket.on('error', () => clearTimeout(timer))
  socket.end()
  socket.resume()
}
