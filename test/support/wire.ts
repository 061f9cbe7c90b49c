// One end of a connection in a test: what has arrived and was not yet taken, message by message, and how it ended.

import type { Socket } from 'node:net'

const DEADLINE_MS = 6_000
/** The real ones, also in a test that moves the clock of the proxy. */
const { setTimeout: later, clearTimeout: never } = globalThis

/** `end`: the peer closed in order. `broken`: a reset, or TLS that was cut. */
export type Ending = 'end' | 'broken'

/** One HTTP/1.x message as it stood on the wire. */
export interface Message {
  readonly startLine: string
  /** 0 for a request. */
  readonly status: number
  readonly fields: readonly (readonly [name: string, value: string])[]
  readonly body: string
  readonly trailers: readonly (readonly [name: string, value: string])[]
}

export class Wire {
  readonly socket: Socket
  /** latin1. */
  #text = ''
  #counting = false
  #ending: Ending | null = null
  #watchers = new Set<() => void>()
  /** Bytes that arrived, taken or not. */
  bytes = 0

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length
      if (!this.#counting) this.#text += chunk.toString('latin1')
      this.#changed()
    })
    socket.on('end', () => this.#end('end'))
    socket.on('error', () => undefined)
    socket.on('close', () => this.#end('broken'))
  }

  get ending(): Ending | null {
    return this.#ending
  }

  /** What has arrived and was not taken. */
  get text(): string {
    return this.#text
  }

  write(data: string | Buffer): boolean {
    return this.socket.write(typeof data === 'string' ? Buffer.from(data, 'latin1') : data)
  }

  /** From now on only `bytes` grows: for bodies too large to keep. */
  count(): void {
    this.#counting = true
    this.#text = ''
  }

  /** Resolves when `met`; rejects when the connection ends first, or after a deadline. */
  until(what: string, met: () => boolean): Promise<void> {
    return this.#wait(what, met, false)
  }

  /** Resolves to how it ended. */
  async closed(): Promise<Ending> {
    await this.#wait('the end', () => this.#ending !== null, true)
    return this.#ending as Ending
  }

  /** The next `length` bytes, taken. */
  async take(length: number): Promise<string> {
    await this.until(`${length} bytes`, () => this.#text.length >= length)
    return this.#cut(length)
  }

  /** Everything up to and with `mark`, taken. */
  async takeUntil(mark: string): Promise<string> {
    await this.until(JSON.stringify(mark), () => this.#text.includes(mark))
    return this.#cut(this.#text.indexOf(mark) + mark.length)
  }

  /** One head, taken, with its empty line. */
  head(): Promise<string> {
    return this.takeUntil('\r\n\r\n')
  }

  /** One whole message, taken; `bodyless`: the answer to a HEAD. */
  async message(bodyless = false): Promise<Message> {
    const head = parseHead(await this.head())
    return { ...head, ...(bodyless || isBodyless(head.status) ? NO_BODY : await this.body(head)) }
  }

  /** The body that follows a head, taken. */
  async body(head: Pick<Message, 'fields' | 'status'>): Promise<Pick<Message, 'body' | 'trailers'>> {
    if (valuesOf(head, 'transfer-encoding').length > 0) return this.#chunked()
    const [length] = valuesOf(head, 'content-length')
    if (length !== undefined) return { body: await this.take(Number(length)), trailers: [] }
    if (head.status === 0) return NO_BODY
    await this.closed()
    return { body: this.#cut(this.#text.length), trailers: [] }
  }

  async #chunked(): Promise<Pick<Message, 'body' | 'trailers'>> {
    let body = ''
    for (;;) {
      const size = Number.parseInt(await this.takeUntil('\r\n'), 16)
      if (size === 0) break
      body += (await this.take(size + 2)).slice(0, size)
    }
    const lines: string[] = []
    for (;;) {
      const line = await this.takeUntil('\r\n')
      if (line === '\r\n') return { body, trailers: lines.map(parseField) }
      lines.push(line.slice(0, -2))
    }
  }

  #cut(length: number): string {
    const taken = this.#text.slice(0, length)
    this.#text = this.#text.slice(length)
    return taken
  }

  #end(how: Ending): void {
    this.#ending ??= how
    this.#changed()
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher()
  }

  #wait(what: string, met: () => boolean, ending: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const state = (): string => `${this.#ending ?? 'still open'}, got ${JSON.stringify(this.#text.slice(0, 400))}`
      const timer = later(() => finish(new Error(`no ${what} in time: ${state()}`)), DEADLINE_MS)
      const finish = (error: Error | null): void => {
        never(timer)
        this.#watchers.delete(look)
        if (error === null) resolve()
        else reject(error)
      }
      const look = (): void => {
        if (met()) return finish(null)
        if (this.#ending !== null && !ending) finish(new Error(`no ${what}: ${state()}`))
      }
      this.#watchers.add(look)
      look()
    })
  }
}

const NO_BODY = { body: '', trailers: [] } as const

function isBodyless(status: number): boolean {
  return (status >= 100 && status < 200) || status === 204 || status === 304
}

function parseField(line: string): [string, string] {
  const colon = line.indexOf(':')
  return [line.slice(0, colon), line.slice(colon + 1).trim()]
}

export function parseHead(text: string): Pick<Message, 'startLine' | 'status' | 'fields'> {
  const [startLine = '', ...lines] = text.slice(0, -4).split('\r\n')
  const status = startLine.startsWith('HTTP/') ? Number(startLine.split(' ')[1]) : 0
  return { startLine, status, fields: lines.map(parseField) }
}

/** Every value of the field, in order; `name` in lower case. */
export function valuesOf(message: Pick<Message, 'fields'>, name: string): string[] {
  return message.fields.filter(([field]) => field.toLowerCase() === name).map(([, value]) => value)
}
