// What a client of the tests can do in either version of HTTP, and one request of it on its way.

import type { Readable, Writable } from 'node:stream'
import type { Socket } from 'node:net'
import { ArrivingBody, type Ending, type Fields } from './protocol-body.ts'

/** A connection through a door, inside TLS where there is any. */
export type Open = () => Promise<Socket>

export interface Ask {
  readonly method?: string
  /** With its query. */
  readonly path: string
  /** What is said in Host or :authority, if it is not the name of the connection. */
  readonly authority?: string
  readonly fields?: Fields
  /** Sent at once, with its length. */
  readonly body?: string | Buffer
  /** The test writes the body; its length is told only by a field of its own. */
  readonly streamed?: boolean
  /** Behind a streamed body. */
  readonly trailers?: Readonly<Record<string, string>>
}

export interface Head {
  readonly status: number
  readonly fields: Fields
}

export interface Answer extends Head {
  readonly body: string
  readonly ending: Ending
  readonly trailers: Fields
  readonly interim: readonly Head[]
}

export interface ProtocolClient {
  begin(ask: Ask): Exchange
  /** Breaks off every connection it has. */
  drop(): void
  close(): void
}

/** `body` whole: what is sent of its length. */
export function lengthOf({ body }: Ask): Fields {
  return body === undefined ? [] : [['Content-Length', String(Buffer.byteLength(body))]]
}

export class Exchange {
  readonly #out: Writable
  readonly #leave: () => void
  readonly #arrived: Promise<{ head: Head; body: ArrivingBody; trailers: () => Fields }>
  #onArrived: (head: Head, from: Readable, trailers: () => Fields) => void = () => undefined
  #onContinue: () => void = () => undefined
  readonly interim: Head[] = []
  /** The proxy asks for the body. */
  readonly continued: Promise<void>

  /** `leave` gives up the request, as its version does it. */
  constructor(out: Writable, leave: () => void) {
    this.#out = out
    this.#leave = leave
    this.#arrived = new Promise((resolve, reject) => {
      this.#onArrived = (head, from, trailers) => resolve({ head, body: new ArrivingBody(from), trailers })
      out.on('error', reject)
      out.on('close', () => reject(new Error('it ended without an answer')))
    })
    // A test that leaves does not ask how it went.
    this.#arrived.catch(() => undefined)
    this.continued = new Promise((resolve) => {
      this.#onContinue = resolve
    })
  }

  /** `trailers`: asked for when the body has ended. */
  arrived(head: Head, from: Readable, trailers: () => Fields): void {
    this.#onArrived(head, from, trailers)
  }

  informed(head: Head): void {
    this.interim.push(head)
    if (head.status === 100) this.#onContinue()
  }

  async head(): Promise<Head> {
    return (await this.#arrived).head
  }

  /** The next `length` bytes of the answer. */
  async take(length: number): Promise<string> {
    return (await this.#arrived).body.take(length)
  }

  /** To be asked for once. */
  async answer(): Promise<Answer> {
    const { head, body, trailers } = await this.#arrived
    const ending = await body.ended()
    return { ...head, ending, body: body.content(), trailers: trailers(), interim: this.interim }
  }

  /** Resolves when it was handed over, or nobody takes it any more. */
  write(data: string | Buffer): Promise<void> {
    return new Promise((resolve) => void this.#out.write(data, () => resolve()))
  }

  end(): void {
    this.#out.end()
  }

  leave(): void {
    this.#leave()
  }
}
