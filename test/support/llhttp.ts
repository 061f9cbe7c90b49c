// What Node's own HTTP parser makes of bytes: the second reader of the differential tests.

import { createRequire } from 'node:module'

type Callback = (...values: never[]) => unknown

interface Parser {
  initialize(type: number, resource: object): void
  /** Bytes read, or an Error that carries the parser's code. */
  execute(bytes: Buffer): number | Error
  finish(): unknown
  [event: number]: Callback
}

interface ParserClass {
  new (): Parser
  readonly REQUEST: number
  readonly RESPONSE: number
  readonly kOnHeaders: number
  readonly kOnHeadersComplete: number
  readonly kOnBody: number
  readonly kOnMessageComplete: number
}

/** Not a public module, but the same on Node 20, 22 and 24. */
const { HTTPParser } = createRequire(import.meta.url)('_http_common') as { HTTPParser: ParserClass }

export interface Reading {
  readonly method: number
  readonly url: string
  readonly version: string
  readonly status: number
  readonly statusText: string
  readonly headers: string[]
  readonly body: string
  readonly trailers: string[]
  /** Messages that ended within the bytes. */
  readonly complete: number
  readonly error: string | null
}

/** Reads `bytes` as one request, or as the response to a request that had (`headRequest`) the method HEAD. */
export class LlhttpReader {
  readonly #parser: Parser = new HTTPParser()
  #head = { method: -1, url: '', version: '', status: 0, statusText: '' }
  #fields: string[] = []
  #headers: string[] = []
  #body = ''
  #complete = 0
  #error: string | null = null

  constructor(kind: 'request' | 'response', headRequest = false) {
    const parser = this.#parser
    parser.initialize(kind === 'request' ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {})
    // The parser hands fields over in batches of 32 and the rest with the event; a request's url comes with the first.
    parser[HTTPParser.kOnHeaders] = (fields: string[], url: string) => {
      this.#fields.push(...fields)
      this.#head.url ||= url
    }
    parser[HTTPParser.kOnHeadersComplete] = (
      major: number,
      minor: number,
      fields: string[] | undefined,
      method: number,
      url: string | undefined,
      status: number,
      statusText: string,
    ) => {
      this.#headers = [...this.#fields, ...(fields ?? [])]
      this.#fields = []
      this.#head = { method, url: url ?? this.#head.url, version: `${major}.${minor}`, status, statusText }
      return headRequest ? 1 : 0
    }
    parser[HTTPParser.kOnBody] = (bytes: Buffer) => {
      this.#body += bytes.toString('latin1')
    }
    parser[HTTPParser.kOnMessageComplete] = () => {
      this.#complete++
    }
  }

  push(bytes: Buffer): this {
    const read = this.#parser.execute(bytes)
    if (read instanceof Error) this.#error ??= `${read.message} ${String(Reflect.get(read, 'code'))}`
    return this
  }

  end(): this {
    const outcome = this.#parser.finish()
    if (outcome instanceof Error) this.#error ??= outcome.message
    return this
  }

  get reading(): Reading {
    return {
      ...this.#head,
      headers: this.#headers,
      body: this.#body,
      trailers: this.#fields,
      complete: this.#complete,
      error: this.#error,
    }
  }
}

/** The parser numbers methods, differently by Node version: the number it gives this name. */
export function methodNumber(name: string): number {
  return new LlhttpReader('request').push(Buffer.from(`${name} / HTTP/1.1\r\nHost: a\r\n\r\n`)).reading.method
}
