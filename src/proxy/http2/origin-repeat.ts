// A request body that can be sent once more from its start, as long as little of it has been read.

import type { BodyPart, BodyReader } from '../message.ts'

/** As much as an origin takes of a request before it refuses the stream, at its initial window. */
const MAX_KEPT_BYTES = 64 * 1024

/**
 * Every GOAWAY of an origin that closes its sessions in turn meets requests on the way, and those of gRPC all have a body. What the
 * origin certainly did not process (RFC 9113 §8.7) goes to the next session whole.
 */
export class RepeatableBody implements BodyReader {
  readonly #reader: BodyReader
  /** What was read, or is being read, from the start. */
  #kept: Promise<BodyPart>[] = []
  #bytes = 0
  #at = 0
  #whole = true

  constructor(reader: BodyReader) {
    this.#reader = reader
  }

  read(): Promise<BodyPart> {
    // One that a former sender still waits for is waited for again: the reader has one caller at a time.
    const kept = this.#kept[this.#at]
    if (kept !== undefined) {
      this.#at += 1
      return kept
    }
    if (!this.#whole) {
      this.#kept = []
      return Promise.resolve(this.#reader.read())
    }
    const part = Promise.resolve(this.#reader.read()).then((read) => this.#count(read))
    this.#at = this.#kept.push(part)
    return part
  }

  /** Begins again. False: its start is no longer there. */
  rewind(): boolean {
    if (this.#whole) this.#at = 0
    return this.#whole
  }

  /** It will not be sent again: what its sender has passed need not be kept. */
  forget(): void {
    this.#whole = false
  }

  #count(part: BodyPart): BodyPart {
    if (part.kind === 'data') this.#bytes += part.data.length
    if (this.#bytes > MAX_KEPT_BYTES) this.#whole = false
    return part
  }
}
