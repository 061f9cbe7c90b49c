// Where the messages of a gRPC body end: each is a flag, its length in four bytes, and so many bytes.

import type { Buffer } from 'node:buffer'

const PREFIX_BYTES = 5

export class GrpcMessages {
  #prefix = 0
  #length = 0
  #left = 0

  /** Takes the next bytes. True: a message ends with the last of them. */
  endsWith(data: Buffer): boolean {
    for (let at = 0; at < data.length; ) {
      if (this.#left > 0) {
        const step = Math.min(this.#left, data.length - at)
        this.#left -= step
        at += step
      } else {
        // The flag comes first, and says nothing of the length.
        if (this.#prefix > 0) this.#length = this.#length * 256 + (data[at] as number)
        this.#prefix++
        at++
        if (this.#prefix === PREFIX_BYTES) this.#begin()
      }
    }
    return this.#left === 0 && this.#prefix === 0
  }

  #begin(): void {
    this.#left = this.#length
    this.#prefix = 0
    this.#length = 0
  }
}
