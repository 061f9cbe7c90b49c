// Gathers the small pieces of a message on their way to a socket, so that what is there together leaves as one write.

import type { Socket } from 'node:net'

/** One TLS record, and as much as a part of a large body has: more would only be copied, which costs what fewer system calls save. */
const MAX_HELD_BYTES = 16_384

export class OutgoingBytes {
  readonly #socket: Socket
  #head = ''
  #parts: Buffer[] = []
  #bytes = 0

  constructor(socket: Socket) {
    this.#socket = socket
  }

  /** Whether something has still to be sent. */
  get held(): boolean {
    return this.#bytes > 0
  }

  /** A message begins; `head` is Latin-1. */
  begin(head: string): void {
    this.#head = head
    this.#bytes = head.length
  }

  /** `part` must not change any more. */
  hold(part: Buffer): void {
    this.#parts.push(part)
    this.#bytes += part.length
  }

  /** Sends what is held if it is a TLS record or more. False: the socket has more than it should hold. */
  sendIfFull(): boolean {
    return this.#bytes < MAX_HELD_BYTES || this.send()
  }

  /** False: the socket has more than it should hold. */
  send(): boolean {
    const head = this.#head
    const parts = this.#parts
    const bytes = this.#bytes
    if (bytes === 0) return true
    this.drop()
    if (this.#socket.destroyed) return true
    const [first] = parts
    if (first === undefined) return this.#socket.write(head, 'latin1')
    // Copied into one: half the cost of having the stream gather them (cork), and TLS copies what it gathers as well.
    return this.#socket.write(bytes === first.length ? first : joined(head, parts, bytes))
  }

  /** What is held never goes out. */
  drop(): void {
    this.#head = ''
    this.#parts = []
    this.#bytes = 0
  }
}

function joined(head: string, parts: readonly Buffer[], bytes: number): Buffer {
  const whole = Buffer.allocUnsafe(bytes)
  let at = whole.write(head, 'latin1')
  for (const part of parts) at += part.copy(whole, at)
  return whole
}
