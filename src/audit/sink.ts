// One sink: takes records from the files in order, gives them to its destination, and keeps the account of what arrived.

import { type Cursor, rejectedPath, setAside, writeCursor } from './sink-cursor.ts'
import { type Delivery, type Destination, failed, recordId, type ShippedRecord } from './sink-record.ts'
import type { Gate, TrailSource } from './sink-source.ts'

/** Of one batch. A destination may take fewer records at a time. */
export const MAX_BATCH_RECORDS = 500
export const MAX_BATCH_BYTES: number = 512 * 1_024
/** How often a single record is refused before it is set aside. */
export const REFUSALS_BEFORE_ASIDE = 3
const MAX_RETRY_AFTER_MS = 300_000
/** A lasting failure is said again this often. */
const REMIND_MS = 60_000

export interface Pace {
  /** How long records gather before they go out. */
  readonly lingerMs: number
  /** How often the files are looked at when nothing says that there is more. */
  readonly pollMs: number
  /** The first delay after a failure; doubled up to the last. */
  readonly backoffMs: number
  readonly maxBackoffMs: number
  /** One delivery, from the first byte to the answer. */
  readonly deliveryMs: number
}

export const PACE: Pace = { lingerMs: 200, pollMs: 1_000, backoffMs: 500, maxBackoffMs: 30_000, deliveryMs: 30_000 }

export interface SinkReport {
  readonly name: string
  /** The last record that is with the receiver or set aside; null: none yet. */
  readonly seq: number | null
  /** Milliseconds since the epoch; null: not since the start. */
  readonly lastSuccess: number | null
  /** Since when there has been something to ship and none of it was; null: there is nothing. */
  readonly stalledSince: number | null
  readonly errors: number
  /** Records set aside. */
  readonly rejected: number
  /** Records that were in no file any more when their turn came. */
  readonly missed: number
}

export type SinkLog = (level: 'warn' | 'error', message: string, detail: Readonly<Record<string, unknown>>) => void

export interface SinkOptions {
  readonly name: string
  /** The active file of the trail. */
  readonly path: string
  readonly instance: string
  readonly cursorFile: string
  readonly after: number | null
  readonly source: TrailSource
  readonly destination: Destination
  readonly gate: Gate
  readonly pace: Pace
  readonly now: () => number
  /** From 0 to 1. */
  readonly random: () => number
  readonly log: SinkLog
}

export class Sink {
  readonly #options: SinkOptions
  readonly #aborted = new AbortController()
  /** Taken and not yet with the receiver; at most one batch. */
  #pending: readonly ShippedRecord[] = []
  /** How many records go at a time: halved when a batch is refused, doubled when one is taken. */
  #width: number
  #refusals = 0
  #failures = 0
  #said = Number.NEGATIVE_INFINITY
  #wake: (() => void) | null = null
  #draining = false
  #running: Promise<void> | null = null
  #report: SinkReport

  constructor(options: SinkOptions) {
    this.#options = options
    this.#width = Math.min(options.destination.maxRecords, MAX_BATCH_RECORDS)
    const none = { lastSuccess: null, stalledSince: null, errors: 0, rejected: 0, missed: 0 }
    this.#report = { name: options.name, seq: options.after, ...none }
  }

  get report(): SinkReport {
    return this.#report
  }

  start(): void {
    this.#running ??= this.#run()
  }

  /** There is more in the files. Costs next to nothing: it is called for every group that is written. */
  wake(): void {
    this.#wake?.()
  }

  /** Ships what is in the files until there is no more, the receiver fails, or `signal` fires. */
  async stop(signal: AbortSignal): Promise<void> {
    this.#draining = true
    const abort = (): void => this.#aborted.abort()
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    this.#wake?.()
    const given = new Promise<void>((resolve) => this.#aborted.signal.addEventListener('abort', () => resolve()))
    // A file operation that hangs can not be waited for.
    if (!this.#aborted.signal.aborted) await Promise.race([this.#running, given])
    abort()
    this.#options.destination.close()
  }

  async #run(): Promise<void> {
    this.#report = { ...this.#report, stalledSince: this.#options.now() }
    while (!this.#aborted.signal.aborted) {
      const draining = this.#draining
      const step = await this.#step().catch((error: unknown) => this.#fail(failed(describe(error))))
      if (step === 'more') continue
      // One look more where the stop came during this one: what was written before it goes out.
      if (draining) break
      if (this.#draining) continue
      if (step === 'idle') await this.#idle()
      else await this.#sleep(step, false)
    }
    await this.#options.source.close()
  }

  /** `idle`: nothing to ship. A number: milliseconds to wait after a failure. */
  async #step(): Promise<'more' | 'idle' | number> {
    if (this.#pending.length === 0 && !(await this.#take())) return 'idle'
    const batch = this.#pending.slice(0, this.#width)
    const delivery = await this.#deliver(batch)
    if (this.#aborted.signal.aborted && delivery.kind !== 'accepted') return 'idle'
    return this.#settle(batch, delivery)
  }

  async #take(): Promise<boolean> {
    const { records, missing } = await this.#options.source.take(MAX_BATCH_RECORDS, MAX_BATCH_BYTES)
    this.#pending = records
    if (missing !== null) {
      const missed = missing.to - missing.from + 1
      this.#report = { ...this.#report, missed: this.#report.missed + missed }
      this.#say(
        'error',
        'records are in no file of the trail any more and were not shipped: going on behind them',
        missing,
      )
    }
    return records.length > 0
  }

  async #deliver(batch: readonly ShippedRecord[]): Promise<Delivery> {
    const { destination, pace } = this.#options
    const timeout = new AbortController()
    const timer = setTimeout(() => timeout.abort(), pace.deliveryMs)
    try {
      return await destination.deliver(batch, AbortSignal.any([timeout.signal, this.#aborted.signal]))
    } catch (error) {
      return failed(describe(error))
    } finally {
      clearTimeout(timer)
    }
  }

  async #settle(batch: readonly ShippedRecord[], delivery: Delivery): Promise<'more' | number> {
    if (delivery.kind === 'failed') return this.#fail(delivery)
    if (delivery.kind === 'refused') return this.#refused(batch, delivery.why)
    if (delivery.kind === 'partly') {
      for (const [at, why] of delivery.refused) await this.#setAside(batch[at], why)
    }
    if (this.#failures > 0) this.#say('warn', 'the receiver takes records again', { failures: this.#failures })
    this.#failures = 0
    this.#said = Number.NEGATIVE_INFINITY
    const most = Math.min(this.#options.destination.maxRecords, MAX_BATCH_RECORDS)
    this.#width = Math.min(this.#width * 2, most)
    const now = this.#options.now()
    this.#report = { ...this.#report, lastSuccess: now, stalledSince: now }
    await this.#pass(batch.length)
    return 'more'
  }

  /** A batch that is refused is halved until the record that is the cause stands alone: one bad record must not hold up the rest. */
  async #refused(batch: readonly ShippedRecord[], why: string): Promise<'more' | number> {
    if (batch.length > 1) {
      this.#report = { ...this.#report, errors: this.#report.errors + 1 }
      this.#width = Math.ceil(batch.length / 2)
      return 'more'
    }
    this.#refusals += 1
    if (this.#refusals < REFUSALS_BEFORE_ASIDE) return this.#fail(failed(`it refuses record ${batch[0]?.seq}: ${why}`))
    await this.#setAside(batch[0], why)
    this.#failures = 0
    await this.#pass(1)
    return 'more'
  }

  async #setAside(record: ShippedRecord | undefined, why: string): Promise<void> {
    if (record === undefined) return
    const { path, name, now, gate } = this.#options
    const file = rejectedPath(path, name)
    await setAside(file, record, why, new Date(now()), gate)
    this.#report = { ...this.#report, rejected: this.#report.rejected + 1 }
    this.#say('error', 'the receiver refuses a record: it is set aside', { record: recordId(record), why, file })
  }

  /** The first so many of the pending records are dealt with. */
  async #pass(count: number): Promise<void> {
    const { cursorFile, gate } = this.#options
    const last = this.#pending[count - 1]
    this.#pending = this.#pending.slice(count)
    this.#refusals = 0
    if (last === undefined) return
    this.#report = { ...this.#report, seq: last.seq }
    const cursor: Cursor = { instance: last.instance, seq: last.seq }
    await writeCursor(cursorFile, cursor, gate).catch((error: unknown) => {
      // Shipping goes on: without its cursor a restart sends records twice, and loses none.
      this.#report = { ...this.#report, errors: this.#report.errors + 1 }
      this.#say('warn', 'the cursor can not be written', { file: cursorFile, why: describe(error) })
    })
  }

  /** Counts and says a failure; answers how long to wait. */
  #fail(delivery: Delivery): number {
    const { pace, random, now } = this.#options
    const { why, afterMs } = delivery.kind === 'failed' ? delivery : { why: delivery.kind, afterMs: null }
    this.#report = { ...this.#report, errors: this.#report.errors + 1 }
    this.#failures += 1
    const most = Math.min(pace.backoffMs * 2 ** Math.min(this.#failures - 1, 30), pace.maxBackoffMs)
    // Half of it is random: proxies that lost the same receiver must not come back in step.
    const wait = Math.max(most / 2 + (most / 2) * random(), Math.min(afterMs ?? 0, MAX_RETRY_AFTER_MS))
    if (now() - this.#said >= REMIND_MS) {
      this.#said = now()
      this.#say('error', 'records can not be shipped: trying again', { why, waitMs: Math.round(wait) })
    }
    return wait
  }

  /** Until there is more, and then for as long as records gather. */
  async #idle(): Promise<void> {
    this.#report = { ...this.#report, stalledSince: null }
    await this.#sleep(this.#options.pace.pollMs, true)
    this.#report = { ...this.#report, stalledSince: this.#options.now() }
    if (!this.#draining) await this.#sleep(this.#options.pace.lingerMs, false)
  }

  /** `wakeable`: ends early when there is more in the files; else only to stop. */
  #sleep(ms: number, wakeable: boolean): Promise<void> {
    const { signal } = this.#aborted
    if (signal.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#wake = null
        signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      signal.addEventListener('abort', done, { once: true })
      this.#wake = wakeable ? done : () => (this.#draining ? done() : undefined)
    })
  }

  #say(level: 'warn' | 'error', message: string, detail: Readonly<Record<string, unknown>>): void {
    this.#options.log(level, message, { sink: this.#options.name, ...detail })
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
