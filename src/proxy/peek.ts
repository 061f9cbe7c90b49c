// Looks at the first bytes of a connection, within a size and a time, and puts them back for whoever reads next.

import type { Socket } from 'node:net'
import { type Hello, MAX_HELLO_BYTES, parseHello } from '../core/hello.ts'

/** A client that has connected must begin to speak within this time, or it is let go without an attempt. */
const SILENCE_DEADLINE_MS = 60_000
/** A ClientHello must be whole this long after its first byte (byte-at-a-time hellos). */
const HELLO_DEADLINE_MS = 10_000

const TLS_HANDSHAKE_RECORD = 0x16

export type Peeked =
  | { readonly kind: 'tls'; readonly hello: Extract<Hello, { kind: 'hello' }> }
  | { readonly kind: 'plain' }
  | { readonly kind: 'bad'; readonly code: string; readonly bytes: Buffer }
  | { readonly kind: 'slow'; readonly bytes: Buffer }
  | { readonly kind: 'nothing' }

export interface PeekDeadlines {
  readonly silenceMs: number
  readonly helloMs: number
}

export const PEEK_DEADLINES: PeekDeadlines = { silenceMs: SILENCE_DEADLINE_MS, helloMs: HELLO_DEADLINE_MS }

/** `rest` are bytes that were read before (after a CONNECT). On `tls` and `plain` the socket is paused and has all bytes again. */
export function peek(socket: Socket, rest: Buffer, deadlines: PeekDeadlines = PEEK_DEADLINES): Promise<Peeked> {
  return new Promise((resolve) => {
    let bytes = rest
    let timer = setTimeout(onDeadline, deadlines.silenceMs)
    function onDeadline(): void {
      settle(bytes.length === 0 ? { kind: 'nothing' } : { kind: 'slow', bytes })
    }
    function onData(chunk: Buffer): void {
      if (bytes.length === 0) {
        clearTimeout(timer)
        timer = setTimeout(onDeadline, deadlines.helloMs)
      }
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk])
      look()
    }
    function onEnd(): void {
      settle(bytes.length === 0 ? { kind: 'nothing' } : { kind: 'bad', code: 'TRUNCATED_HELLO', bytes })
    }
    function look(): void {
      if (bytes[0] !== TLS_HANDSHAKE_RECORD) return settle({ kind: 'plain' })
      const hello = parseHello(bytes)
      if (hello.kind === 'hello') return settle({ kind: 'tls', hello })
      if (hello.kind === 'bad') return settle({ kind: 'bad', code: hello.why, bytes })
      if (bytes.length >= MAX_HELLO_BYTES) settle({ kind: 'bad', code: 'HELLO_TOO_LARGE', bytes })
    }
    function settle(result: Peeked): void {
      clearTimeout(timer)
      socket.pause()
      socket.removeListener('data', onData)
      socket.removeListener('end', onEnd)
      socket.removeListener('close', onEnd)
      if ((result.kind === 'tls' || result.kind === 'plain') && bytes.length > 0) socket.unshift(bytes)
      resolve(result)
    }
    socket.on('data', onData)
    socket.on('end', onEnd)
    socket.on('close', onEnd)
    socket.resume()
    if (bytes.length > 0) look()
  })
}
