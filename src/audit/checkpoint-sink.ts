// Hands every checkpoint out of this machine's reach as it is written, so that a trail cut off or rewritten behind it shows.

import { Agent, request } from 'undici'

export interface CheckpointSink {
  /** `line`: the record without its newline. Neither throws nor waits. */
  offer(line: string): void
  /** Resolves when all was taken, or after `FLUSH_MS`. */
  close(): Promise<void>
}

export interface CheckpointSinkOptions {
  /** `stdout`, or an https URL that takes one line a POST. */
  readonly target: string
  /** Writes to stdout; returns nothing later. */
  readonly print: (text: string) => void
  /** Told once when the receiver stops taking them, and once when it takes them again. */
  readonly onState: (failure: string | null) => void
  /** PEM roots that the receiver is trusted by; without, those of the runtime. */
  readonly roots?: readonly string[]
  readonly firstRetryMs?: number
}

/** A day of them at one a minute. Over it the oldest go: a later checkpoint covers all that an earlier one does. */
export const MAX_WAITING = 1_440
const TIMEOUT_MS = 10_000
const FIRST_RETRY_MS = 1_000
const LAST_RETRY_MS = 60_000
const FLUSH_MS = 2_000

export function openCheckpointSink(options: CheckpointSinkOptions): CheckpointSink {
  const { target, print } = options
  if (target !== 'stdout') return new Posting(options)
  return { offer: (line) => print(`${line}\n`), close: () => Promise.resolve() }
}

/** One at a time, in order, each again until it is taken: at least once, as long as the process lives. */
class Posting implements CheckpointSink {
  readonly #options: CheckpointSinkOptions
  readonly #agent: Agent
  readonly #waiting: string[] = []
  #running: Promise<void> | null = null
  #failing = false
  #closed = false
  #wake: () => void = () => undefined

  constructor(options: CheckpointSinkOptions) {
    this.#options = options
    // Never the global dispatcher: whoever sets HTTPS_PROXY for this process must not come between.
    this.#agent = new Agent({
      connections: 1,
      headersTimeout: TIMEOUT_MS,
      bodyTimeout: TIMEOUT_MS,
      connect: { timeout: TIMEOUT_MS, ...(options.roots === undefined ? {} : { ca: [...options.roots] }) },
    })
  }

  offer(line: string): void {
    if (this.#closed) return
    this.#waiting.push(line)
    if (this.#waiting.length > MAX_WAITING) this.#waiting.shift()
    this.#running ??= this.#drain()
  }

  async close(): Promise<void> {
    this.#closed = true
    const timer = setTimeout(() => this.#abandon(), FLUSH_MS)
    this.#wake()
    await this.#running
    clearTimeout(timer)
    await this.#agent.destroy()
  }

  #abandon(): void {
    this.#waiting.length = 0
    this.#wake()
    void this.#agent.destroy()
  }

  async #drain(): Promise<void> {
    let delay = this.#options.firstRetryMs ?? FIRST_RETRY_MS
    for (let line = this.#waiting[0]; line !== undefined; line = this.#waiting[0]) {
      const failure = await this.#post(line)
      if (failure === null) {
        // Over the bound the oldest may have gone meanwhile.
        if (this.#waiting[0] === line) this.#waiting.shift()
        delay = this.#options.firstRetryMs ?? FIRST_RETRY_MS
      }
      this.#tell(failure)
      if (failure === null || this.#waiting.length === 0) continue
      await this.#pause(delay)
      delay = Math.min(2 * delay, LAST_RETRY_MS)
    }
    this.#running = null
  }

  /** Null: taken. */
  async #post(line: string): Promise<string | null> {
    try {
      const { statusCode, body } = await request(this.#options.target, {
        method: 'POST',
        dispatcher: this.#agent,
        headers: { 'Content-Type': 'application/json', 'User-Agent': 'mcp-egress' },
        body: `${line}\n`,
      })
      await body.dump()
      return statusCode >= 200 && statusCode < 300 ? null : `HTTP ${statusCode}`
    } catch (error) {
      return (error as Error).message
    }
  }

  #tell(failure: string | null): void {
    if ((failure !== null) === this.#failing) return
    this.#failing = failure !== null
    this.#options.onState(failure)
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      timer.unref()
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
