// What Node's own HTTP parser makes of a stream of requests: the reading of an origin that is not ours.

import { METHODS } from 'node:http'
import { createRequire } from 'node:module'
import { methodNumber } from '../../support/llhttp.ts'

export interface ReadRequest {
  readonly method: string
  readonly target: string
  /** Flat: name, value… */
  readonly fields: readonly string[]
  readonly body: string
  readonly trailers: readonly string[]
}

type Callback = (...values: never[]) => unknown

interface Parser {
  initialize(type: number, resource: object, maxHeaderSize: number): void
  /** Bytes read, or an Error that carries the parser's code. */
  execute(bytes: Buffer): number | Error
  [event: number]: Callback
}

interface ParserClass {
  new (): Parser
  readonly REQUEST: number
  readonly kOnMessageBegin: number
  readonly kOnHeaders: number
  readonly kOnHeadersComplete: number
  readonly kOnBody: number
  readonly kOnMessageComplete: number
}

const { HTTPParser } = createRequire(import.meta.url)('_http_common') as { HTTPParser: ParserClass }

/** Wider than anything that may reach an origin. */
const MAX_HEAD_BYTES = 256 * 1024

const NAMES: ReadonlyMap<number, string> = new Map(METHODS.map((name) => [methodNumber(name), name]))

export class RequestReader {
  /** Those that ended. */
  readonly requests: ReadRequest[] = []
  readonly #parser: Parser = new HTTPParser()
  #reading = false
  #error: string | null = null
  #fields: string[] = []
  #head = { method: '', target: '', fields: [] as string[] }
  #body = ''

  constructor() {
    const parser = this.#parser
    parser.initialize(HTTPParser.REQUEST, {}, MAX_HEAD_BYTES)
    parser[HTTPParser.kOnMessageBegin] = () => {
      this.#reading = true
      this.#fields = []
      this.#head = { method: '', target: '', fields: [] }
      this.#body = ''
    }
    parser[HTTPParser.kOnHeaders] = (fields: string[], target: string) => {
      this.#fields.push(...fields)
      this.#head.target ||= target
    }
    parser[HTTPParser.kOnHeadersComplete] = (
      _major: number,
      _minor: number,
      fields: string[] | undefined,
      method: number,
      target: string | undefined,
    ) => {
      this.#head = {
        method: NAMES.get(method) ?? `method ${method}`,
        target: target ?? this.#head.target,
        fields: [...this.#fields, ...(fields ?? [])],
      }
      this.#fields = []
      return 0
    }
    parser[HTTPParser.kOnBody] = (bytes: Buffer) => {
      this.#body += bytes.toString('latin1')
    }
    parser[HTTPParser.kOnMessageComplete] = () => {
      this.#reading = false
      this.requests.push({ ...this.#head, body: this.#body, trailers: this.#fields })
    }
  }

  /** The parser's code once it has refused something; nothing is read after that. */
  get error(): string | null {
    return this.#error
  }

  /** A request has begun and not ended. */
  get unfinished(): boolean {
    return this.#reading
  }

  push(bytes: Buffer): this {
    if (this.#error !== null) return this
    const read = this.#parser.execute(bytes)
    if (read instanceof Error) this.#error = String(Reflect.get(read, 'code'))
    return this
  }
}
