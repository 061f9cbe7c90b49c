// Gathers the small pieces of a message on their way to a socket, so that what is there together leaves as one write.

import type { Socket } from 'node:net'
import { encodeChunk } from '../core/chunked.ts'

/** One TLS record, and as much as a part of a large body has: more would only be copied, which costs what fewer system calls save. */
const MAX_HELD_BYTES = 16_384

export class OutgoingBytes {
  readonly #socket: Socket
  #head = ''
  #parts: Buffer[] = []
  /** The data of a chunk that has not ended. */
  #chunk: Buffer[] = []
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
    if (this.#chunk.length > 0) this.#endChunk()
    this.#parts.push(part)
    this.#bytes += part.length
  }

  /**
   * The same for data of a body in chunks. SECURITY: what leaves together is one chunk: sizes as the sender chose them would say something
   * to the receiver that nobody judged or wrote down.
   */
  holdInChunk(data: Buffer): void {
    this.#chunk.push(data)
    this.#bytes += data.length
  }

  #endChunk(): void {
    const [first] = this.#chunk
    const data = this.#chunk.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunk)
    this.#chunk = []
    this.#bytes -= data.length
    for (const piece of encodeChunk(data)) this.hold(piece)
  }

  /** Sends what is held if it is a TLS record or more. False: the socket has more than it should hold. */
  sendIfFull(): boolean {
    return this.#bytes < MAX_HELD_BYTES || this.send()
  }

  /** False: the socket has more than it should hold. */
  send(): boolean {
    if (this.#chunk.length > 0) this.#endChunk()
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
    this.#chunk = []
    this.#bytes = 0
  }
}

function joined(head: string, parts: readonly Buffer[], bytes: number): Buffer {
  const whole = Buffer.allocUnsafe(bytes)
  let at = whole.write(head, 'latin1')
  for (const part of parts) at += part.copy(whole, at)
  return whole
}
