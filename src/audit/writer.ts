// Group commit: one write in flight, the next group gathering meanwhile, and an exact account of what reached the file.

import { setImmediate } from 'node:timers'
import type { SegmentCause } from '../core/record.ts'
import type { ChainHead } from './chain.ts'
import { Company } from './company.ts'
import { checkpointEntry, type Entry, entryOf, type OpenRequests, segmentEntry } from './entry.ts'
import { synced } from './file.ts'
import { Group, TrailUnavailable } from './group.ts'
import { isOwed, Owed } from './owed.ts'
import { checkpointLines, type SealedEntry, type Sealer } from './sealer.ts'
import type { Store } from './store.ts'
import { type Watchdog, watchFor } from './watchdog.ts'
export { WRITE_TIMEOUT_MS } from './watchdog.ts'

/** How often a trail that can not be written is tried again, and a rotation that failed. */
export const RETRY_MS = 500
const ROTATION_RETRY_MS = 60_000

export interface WriterOptions {
  readonly store: Store
  readonly sealer: Sealer
  readonly head: ChainHead
  readonly open: OpenRequests
  readonly durability: 'os' | 'sync'
  readonly now: () => Date
  readonly rotateBytes: number
  /** Called once when service stops, not for each refused record. */
  readonly onFailure: (error: Error) => void
  readonly onRestored: () => void
  readonly onWritten: (records: number) => void
  readonly onCheckpoint: (line: string) => void
  readonly onBegun: (firstSeq: number) => void
  /** Something that does not stop the service. */
  readonly onNotice: (text: string) => void
}

interface Outage {
  readonly since: string
  readonly started: number
  readonly error: Error
  refused: number
}

export class GroupWriter {
  readonly #options: WriterOptions
  /** The last record that is in the file. */
  #head: ChainHead
  /** Records behind the last checkpoint. */
  #since = 0
  #gathering: Group | null = null
  /** A call to the disk is under way, the only one. */
  #busy = false
  #wanted: SegmentCause | null = null
  #rotateAfter = 0
  /** The file ends in a part of a record. */
  #torn = false
  #outage: Outage | null = null
  readonly #owed = new Owed()
  #retry: NodeJS.Timeout | null = null
  #closing: Promise<boolean> | null = null
  #turned: () => void = () => undefined
  #begins = false
  readonly #company = new Company(() => this.#press())

  constructor(options: WriterOptions) {
    this.#options = options
    this.#head = options.head
  }

  get available(): boolean {
    return this.#outage === null && this.#closing === null
  }

  get head(): ChainHead {
    return this.#head
  }

  /** Resolves when the entry is in the file; entries of one group share their promise. `pressing`: something waits for that. */
  append(entry: Entry, pressing = true): Promise<void> {
    if (this.#outage !== null || this.#closing !== null) return Promise.reject(this.#turnAway(entry))
    const group = (this.#gathering ??= new Group())
    if (group.full && !isOwed(entry))
      return Promise.reject(new TrailUnavailable('the audit trail is behind: its queue is full'))
    group.add(entry)
    group.pressing ||= pressing
    if (!this.#busy) this.#proceed()
    return group.promise
  }

  /** A write costs as much as ten records, so it takes along what the rest of this turn of the event loop brings. */
  #proceed(): void {
    if (this.#gathering?.pressing !== true && this.#wanted === null) return this.#company.await()
    if (this.#begins) return
    this.#begins = true
    setImmediate(() => {
      this.#begins = false
      if (!this.#busy) void this.#drain()
    })
  }

  #press(): void {
    if (this.#gathering === null) return
    this.#gathering.pressing = true
    if (!this.#busy) void this.#drain()
  }

  checkpoint(): void {
    this.append(checkpointEntry(this.#timestamp())).catch(() => undefined)
  }

  /** Begins a new file once what is under way is written. */
  rotate(cause: SegmentCause): void {
    if (!this.available || (cause !== 'signal' && performance.now() < this.#rotateAfter)) return
    this.#wanted ??= cause
    if (!this.#busy) void this.#drain()
  }

  /** For a clock: a file that was removed is noticed early. */
  look(): void {
    const what = this.#busy || !this.available ? undefined : this.#options.store.file.damage()?.what
    if (what !== undefined) this.#fail(null, new Error(what))
  }

  /** Takes no more; resolves when all is written or refused, a checkpoint last if `last`. False: a call hangs, and closes the store. */
  close(last: boolean): Promise<boolean> {
    this.#closing ??= this.#finish(last && this.#outage === null)
    return this.#closing
  }

  async #finish(last: boolean): Promise<boolean> {
    this.#company.stop()
    if (last) (this.#gathering ??= new Group()).add(checkpointEntry(this.#timestamp()))
    this.#press()
    while (this.#outage === null && (this.#busy || this.#gathering !== null)) await this.#turn()
    if (this.#retry !== null) clearInterval(this.#retry)
    if (!this.#busy) return true
    // SECURITY: a descriptor closed under a hanging write may belong to somebody else when the write goes on.
    void this.#turn().then(() => this.#options.store.close())
    return false
  }

  /** Resolves when the call under way is over, or has failed to be in time. */
  #turn(): Promise<void> {
    return new Promise((resolve) => (this.#turned = resolve))
  }

  async #drain(): Promise<void> {
    if (this.#outage !== null) return
    this.#busy = true
    const [cause, group] = [this.#wanted, this.#gathering]
    this.#wanted = null
    if (cause !== null) await this.#rotate(cause)
    else if (group?.pressing === true) {
      this.#gathering = null
      await this.#commit(group)
    }
    this.#busy = false
    this.#turned()
    if (this.#outage === null && (this.#gathering ?? this.#wanted) !== null) this.#proceed()
  }

  async #commit(group: Group): Promise<void> {
    const { store, sealer, durability } = this.#options
    const sealed = sealer.seal(group.entries, this.#head, this.#since)
    const watchdog = this.#watch(group)
    let [written, lost] = [0, false]
    let failure: Error | null = null
    try {
      while (written < sealed.bytes.length) {
        const count = await store.file.write(sealed.bytes, written)
        if (count === 0) throw new Error('write(2) took no byte')
        written += count
        watchdog.refresh()
      }
      if (durability === 'sync') await synced(store.file)
      const damage = store.file.damage()
      lost = damage?.lost === true
      if (damage !== null) throw new Error(damage.what)
    } catch (error) {
      failure = error as Error
    }
    watchdog.stop()
    const reached = this.#settle(sealed.lines, lost ? 0 : written)
    if (failure !== null) this.#fail(group, failure)
    if (group.refused) return this.#owed.addRefused(sealed.lines, reached, this.#timestamp())
    for (const line of checkpointLines(sealed)) this.#options.onCheckpoint(line)
    this.#options.onWritten(sealed.lines.length)
    group.resolve()
    if (store.file.size >= this.#options.rotateBytes && this.#closing === null) this.rotate('size')
  }

  #watch(group: Group | null): Watchdog {
    return watchFor((silence) => this.#fail(group, silence))
  }

  /** Moves the chain to where `written` bytes have brought the file; returns how many lines are whole in it. */
  #settle(lines: readonly SealedEntry[], written: number): number {
    let whole = 0
    let reached = 0
    for (const { entry, end, head } of lines) {
      // A record that lacks only its newline is whole.
      if (written < end - 1) break
      whole = end
      reached += 1
      this.#head = head
      this.#since = entry.event === null ? 0 : this.#since + 1
      this.#options.open.noteEntry(entry)
    }
    this.#torn = written > 0 && written !== whole
    return reached
  }

  #turnAway(entry: Entry): TrailUnavailable {
    this.#owed.add(entry)
    if (this.#outage !== null && entry.event?.event === 'request.decided') this.#outage.refused += 1
    return this.#unavailable()
  }

  /** The group and all behind it are refused: a record after a missing one would break the chain. */
  #fail(group: Group | null, error: Error): void {
    const first = this.#outage === null
    this.#outage ??= { since: this.#timestamp(), started: performance.now(), error, refused: 0 }
    const waiting = this.#gathering
    this.#gathering = this.#wanted = null
    if (group?.refused === false) {
      this.#outage.refused += group.decisions
      group.refuse(this.#unavailable())
    }
    for (const entry of waiting?.entries ?? []) this.#turnAway(entry)
    waiting?.refuse(this.#unavailable())
    if (!first) return
    this.#turned()
    this.#retry = setInterval(() => void this.#recover(), RETRY_MS).unref()
    this.#options.onFailure(error)
  }

  #unavailable(): TrailUnavailable {
    const { error = null } = this.#outage ?? {}
    return new TrailUnavailable(`the audit trail can not be written: ${error?.message ?? 'it is closed'}`, error)
  }

  async #rotate(cause: SegmentCause): Promise<void> {
    const watchdog = this.#watch(null)
    try {
      await this.#begin(cause)
    } catch (error) {
      this.#rotateAfter = performance.now() + ROTATION_RETRY_MS
      this.#options.onNotice(`the audit trail goes on in the same file, a new one can not be begun: ${String(error)}`)
    }
    watchdog.stop()
  }

  /** SECURITY: what a failed call left in a file is never written behind: the trail goes on in a new one. */
  async #recover(): Promise<void> {
    if (this.#busy || this.#closing !== null) return
    this.#busy = true
    const begun = await this.#begin('recovery').then(
      () => true,
      () => false,
    )
    this.#busy = false
    this.#turned()
    if (begun && this.#closing === null) this.#restore()
  }

  async #begin(cause: SegmentCause): Promise<void> {
    const firstSeq = this.#head.seq + 1
    let lines: readonly SealedEntry[] = []
    const compose = (previous: string | null): Buffer => {
      const entry = segmentEntry(previous, cause, this.#timestamp())
      const sealed = this.#options.sealer.seal([entry], this.#head, this.#since)
      lines = sealed.lines
      return Buffer.from(sealed.bytes)
    }
    await this.#options.store.begin({ firstSeq, torn: this.#torn, compose })
    this.#settle(lines, Number.POSITIVE_INFINITY)
    this.#torn = false
    this.#options.onWritten(lines.length)
    this.#options.onBegun(firstSeq)
  }

  #restore(): void {
    const outage = this.#outage
    if (outage === null) return
    if (this.#retry !== null) clearInterval(this.#retry)
    this.#outage = null
    const { since, error, refused } = outage
    const durationMs = Math.round(performance.now() - outage.started)
    const said = { event: 'audit.restored', since, duration_ms: durationMs, refused, cause: error.message } as const
    this.#gathering = new Group([entryOf(said, this.#timestamp()), ...this.#owed.take(this.#options.open)])
    void this.#drain()
    this.#options.onRestored()
  }

  #timestamp(): string {
    return this.#options.now().toISOString()
  }
}
