// Tells TLS that was closed from TLS that was cut off, which Node.js reports by the same 'end'.

import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

/** What is used of the undocumented handle under a socket; every part may be missing. */
interface StreamHandle {
  readonly reading?: boolean
  readonly readStart?: () => number
  readonly readStop?: () => number
}

/**
 * `raw` is the TCP socket under `tls`. The function it returns is true once `tls` has ended without close_notify (RFC 8446 §6.1):
 * whoever sits on the way can send such an end at any byte. Where Node.js does not let us know, it stays false.
 */
export function watchForCutOff(tls: TLSSocket, raw: Socket): () => boolean {
  let ended = false
  let cutOff = false
  const push = tls.push.bind(tls)
  // The end is pushed in the turn in which it was noticed, by OpenSSL or by the kernel. The 'end' event waits for the reader of
  // the data before it, and then the two look alike.
  tls.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    if (chunk === null && !ended) {
      ended = true
      cutOff = handleOf(tls)?.reading === true && hasStopped(handleOf(raw))
    }
    return push(chunk, encoding)
  }
  return () => cutOff
}

function handleOf(socket: Socket): StreamHandle | null {
  return (socket as Socket & { readonly _handle?: StreamHandle | null })._handle ?? null
}

/** At the end of the connection libuv stops reading by itself; until then a second start is refused with EALREADY. */
function hasStopped(handle: StreamHandle | null): boolean {
  if (handle?.readStart?.() !== 0) return false
  handle.readStop?.()
  return true
}
