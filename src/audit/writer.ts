// Group commit: one write in flight, the next group gathering meanwhile, and an exact account of what reached the file.

import type { ChainHead, SealedLine } from './chain.ts'
import type { LogFile } from './file.ts'

/** Not written down, so nothing may leave. `cause` says why. */
export class TrailUnavailable extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'TrailUnavailable'
  }
}

/** Waiting records; over either bound an append is refused at once. */
export const MAX_QUEUED_RECORDS = 16_384
export const MAX_QUEUED_BYTES: number = 16 * 1_048_576
/** A write or sync that takes longer is a failure: a disk that hangs must not hang every request. */
export const WRITE_TIMEOUT_MS = 2_000

/** Failures of write(2) after which the file is known to hold exactly what was counted. */
const RECOVERABLE: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT'])

/**
 * `open`: serving. `failed`: refusing; the next line is the trial that may open it again. `trial`: that line is under way.
 * `broken`: what is on disk is not known, nobody writes on until the file is opened anew. `closed`: by us.
 */
type State = 'open' | 'failed' | 'trial' | 'broken' | 'closed'

interface Group {
  readonly lines: SealedLine[]
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: TrailUnavailable) => void
}

export interface WriterOptions {
  readonly file: LogFile
  readonly durability: 'os' | 'sync'
  readonly head: ChainHead
  /** Called once when service stops, not for each refused line. */
  readonly onFailure: (error: Error) => void
  readonly onWritten: (records: number) => void
}

export class GroupWriter {
  readonly #options: WriterOptions
  #state: State = 'open'
  #failure: Error | null = null
  #gathering: Group | null = null
  #inFlight: Group | null = null
  #gatheredBytes = 0
  /** Bytes of a record that was begun and not finished; they go out before anything else, so no line is ever torn by us. */
  #carry: Buffer = Buffer.alloc(0)
  #head: ChainHead
  #drained: (() => void) | null = null
  #closing: Promise<void> | null = null

  constructor(options: WriterOptions) {
    this.#options = options
    this.#head = options.head
  }

  get available(): boolean {
    return this.#state === 'open'
  }

  /** The last record that is in the file, or will be before the next one is. */
  get head(): ChainHead {
    return this.#head
  }

  /** Whether a line is taken now. `trial` tells the caller to go on from `head`: what it sealed since is lost. */
  admit(): { readonly kind: 'open' | 'trial' } | { readonly kind: 'refused'; readonly error: TrailUnavailable } {
    if (this.#state === 'failed' && this.#inFlight === null) return { kind: 'trial' }
    if (this.#state !== 'open') return { kind: 'refused', error: this.#unavailable() }
    const full = this.#gatheredBytes >= MAX_QUEUED_BYTES || (this.#gathering?.lines.length ?? 0) >= MAX_QUEUED_RECORDS
    return full
      ? { kind: 'refused', error: new TrailUnavailable('the audit trail is behind: its queue is full') }
      : { kind: 'open' }
  }

  /** Only after `admit`. Resolves when the line is in the file; lines of one group share their fate and their promise. */
  append(line: SealedLine): Promise<void> {
    if (this.#state === 'failed') this.#state = 'trial'
    this.#gathering ??= newGroup()
    const group = this.#gathering
    group.lines.push(line)
    this.#gatheredBytes += line.text.length
    if (this.#inFlight === null) void this.#drain()
    return group.promise
  }

  /** Takes no more lines; resolves when those taken were written or refused. */
  close(): Promise<void> {
    this.#closing ??= this.#finish()
    return this.#closing
  }

  async #finish(): Promise<void> {
    const stuck = this.#state === 'failed'
    this.#state = 'closed'
    if (this.#inFlight === null) this.#options.file.close()
    else if (!stuck) await new Promise<void>((resolve) => (this.#drained = resolve))
  }

  async #drain(): Promise<void> {
    while (this.#gathering !== null) {
      const group = this.#gathering
      this.#inFlight = group
      this.#gathering = null
      this.#gatheredBytes = 0
      await this.#commit(group)
      this.#inFlight = null
    }
    // Only now: a descriptor closed under a hanging write may belong to somebody else when the write goes on.
    if (this.#state === 'closed') this.#options.file.close()
    this.#drained?.()
  }

  async #commit(group: Group): Promise<void> {
    const carried = this.#carry.length
    const text = Buffer.from(group.lines.map((line) => line.text).join(''), 'latin1')
    const bytes = carried === 0 ? text : Buffer.concat([this.#carry, text])
    const watchdog = setTimeout(
      () => this.#fail(group, new Error(`no answer from the disk in ${WRITE_TIMEOUT_MS} ms`)),
      WRITE_TIMEOUT_MS,
    )
    let written = 0
    try {
      while (written < bytes.length) {
        const count = await this.#options.file.write(bytes, written)
        if (count === 0) throw new Error('write(2) took no byte')
        written += count
        watchdog.refresh()
      }
      if (this.#options.durability === 'sync') await this.#sync()
      this.#settle(group, bytes, carried, written)
      if (this.#state === 'trial') this.#reopen()
      this.#options.onWritten(group.lines.length)
      group.resolve()
    } catch (error) {
      this.#settle(group, bytes, carried, written)
      this.#fail(group, error as Error)
      if (this.#state === 'failed' && !RECOVERABLE.has((error as NodeJS.ErrnoException).code)) this.#state = 'broken'
    } finally {
      clearTimeout(watchdog)
    }
  }

  /** SECURITY: never tried again. After a failed sync the kernel may call lost pages clean, and a second sync would succeed. */
  async #sync(): Promise<void> {
    try {
      await this.#options.file.sync()
    } catch (error) {
      throw new Error('fdatasync(2) failed, what is on disk is not known', { cause: error })
    }
  }

  /** Moves head and carry to where `written` bytes of `bytes` have brought the file. */
  #settle(group: Group, bytes: Buffer, carried: number, written: number): void {
    if (written < carried) {
      this.#carry = bytes.subarray(written, carried)
      return
    }
    let end = carried
    for (const line of group.lines) {
      if (end >= written) break
      end += line.text.length
      this.#head = line.head
    }
    this.#carry = bytes.subarray(written, end)
  }

  #reopen(): void {
    this.#state = 'open'
    this.#failure = null
  }

  /** The group and all behind it are refused: a record after a missing one would break the chain. */
  #fail(group: Group, error: Error): void {
    const before = this.#state
    this.#failure = error
    if (before === 'open' || before === 'trial') this.#state = 'failed'
    const refusal = this.#unavailable()
    group.reject(refusal)
    this.#gathering?.reject(refusal)
    this.#gathering = null
    this.#gatheredBytes = 0
    this.#drained?.()
    if (before === 'open' || before === 'closed') this.#options.onFailure(error)
  }

  #unavailable(): TrailUnavailable {
    const why = this.#failure === null ? 'it is closed' : this.#failure.message
    return new TrailUnavailable(`the audit trail can not be written: ${why}`, this.#failure)
  }
}

function newGroup(): Group {
  const { promise, resolve, reject } = withResolvers()
  // A caller that gave up must not bring the process down with an unhandled rejection.
  promise.catch(() => undefined)
  return { lines: [], promise, resolve, reject }
}

/** Promise.withResolvers, which Node 20 does not have. */
function withResolvers(): Pick<Group, 'promise' | 'resolve' | 'reject'> {
  let resolve: Group['resolve'] = () => undefined
  let reject: Group['reject'] = () => undefined
  const promise = new Promise<void>((done, fail) => {
    resolve = done
    reject = fail
  })
  return { promise, resolve, reject }
}
