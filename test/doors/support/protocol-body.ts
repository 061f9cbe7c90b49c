// One body as it arrives at either end of a test, in either version of HTTP: its bytes, and whether it came to its end.

import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'

const DEADLINE_MS = 8_000
/** Longer bodies are told by their hash. */
const KEPT_BYTES = 4_096

/** `broken`: it was cut off, whatever the version has for that. */
export type Ending = 'whole' | 'broken'

export class ArrivingBody {
  readonly #hash = createHash('sha256')
  readonly #watchers = new Set<() => void>()
  /** The beginning, latin1. */
  #text = ''
  #taken = 0
  #ending: Ending | null = null
  bytes = 0

  constructor(from: Readable) {
    from.on('data', (part: Buffer) => {
      if (this.bytes < KEPT_BYTES) this.#text += part.toString('latin1')
      this.bytes += part.length
      this.#hash.update(part)
      this.#changed()
    })
    from.on('end', () => this.#end('whole'))
    // node:http2 ends a request of its compatibility layer also when it was cut off, but says this first.
    for (const event of ['aborted', 'error', 'close']) from.on(event, () => this.#end('broken'))
  }

  /** The next `length` bytes, out of the first few thousand. */
  async take(length: number): Promise<string> {
    await this.#until(`${length} bytes`, () => this.#text.length >= this.#taken + length || this.#ending !== null)
    this.#taken += length
    return this.#text.slice(this.#taken - length, this.#taken)
  }

  async ended(): Promise<Ending> {
    await this.#until('end', () => this.#ending !== null)
    return this.#ending as Ending
  }

  /** What has arrived, as text or as a hash of it. To be asked for once. */
  content(): string {
    const hash = this.#hash.digest('hex')
    return this.bytes <= KEPT_BYTES ? this.#text : `${this.bytes} bytes of SHA-256 ${hash}`
  }

  #end(how: Ending): void {
    this.#ending ??= how
    this.#changed()
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher()
  }

  #until(what: string, met: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#watchers.delete(look)
        reject(new Error(`no ${what} in time, got ${JSON.stringify(this.#text.slice(0, 200))}`))
      }, DEADLINE_MS)
      const look = (): void => {
        if (!met()) return
        clearTimeout(timer)
        this.#watchers.delete(look)
        resolve()
      }
      this.#watchers.add(look)
      look()
    })
  }
}

/** Names in lower case, values as they came. */
export type Fields = readonly (readonly [name: string, value: string])[]

/** About the connection, its framing or the time of day: not the same in two versions, or twice. */
const NOT_OF_THE_MESSAGE = new Set(['connection', 'keep-alive', 'transfer-encoding', 'host', 'date'])

/** A flat list as Node has it: the fields of the message, in order. */
export function fieldsOf(raw: readonly string[]): Fields {
  const fields: [string, string][] = []
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = (raw[at] as string).toLowerCase()
    if (!name.startsWith(':') && !NOT_OF_THE_MESSAGE.has(name)) fields.push([name, raw[at + 1] as string])
  }
  return fields
}
