// The audit trail: takes events in order, chains them, and says when each is written down (CONTRACT §4).

import type { AuditEvent, SegmentCause } from '../core/record.ts'
import { Compressor } from './compress.ts'
import { checkpointEntry, type Entry, entryOf, OpenRequests, segmentEntry } from './entry.ts'
import { newId } from './id.ts'
import { type CheckpointOptions, Sealer } from './sealer.ts'
import { type OpenedStore, openStore, type Store } from './store.ts'
import type { Tail } from './tail.ts'
import { unfinishedRequests, writeMark } from './unfinished.ts'
import { GroupWriter } from './writer.ts'

export { TrailUnavailable } from './group.ts'

export interface Trail {
  /** ULID of the chain, kept over restarts. */
  readonly instance: string
  /**
   * Resolves when the record is in the file: write(2) has returned, with durability `sync` fdatasync(2) too.
   * Rejects with TrailUnavailable otherwise; the record may be in the file all the same, and nothing may leave on its account.
   */
  append(event: AuditEvent): Promise<void>
  available(): boolean
  /** Resolves when everything appended is written or refused; later appends reject. */
  close(): Promise<void>
}

export interface FileTrail extends Trail {
  /** Begins a new file: the active one is closed, or was renamed by somebody else, such as logrotate. */
  rotate(cause: SegmentCause): void
  /** Number of the last record in the file; -1: none. */
  lastSeq(): number
}

export interface TrailOptions {
  readonly path: string
  /** `os`: survives the process. `sync`: survives power loss. */
  readonly durability: 'os' | 'sync'
  readonly now: () => Date
  /** When a new file is begun: bytes, milliseconds. Never, without it. */
  readonly rotate?: { readonly size: number; readonly age: number }
  /** Closed files are compressed. */
  readonly compress?: boolean
  /** No checkpoints without it. */
  readonly checkpoints?: CheckpointOptions
  /** Told once when the trail becomes unavailable, and once when it is back. */
  readonly onFailure?: (error: Error) => void
  readonly onRestored?: () => void
  /** So many records more are in the file. */
  readonly onWritten?: (records: number) => void
  /** Something went wrong that does not stop the service. */
  readonly onNotice?: (text: string) => void
}

/** How often the age of the file is looked at, and whether it is still there. */
const LOOK_MS = 1_000

/**
 * Rejects with an Error that says what to do when the file can not be a trail, when somebody else writes to it, or when the ends
 * of the requests that were open at a crash can not be written.
 */
export async function openTrail(options: TrailOptions): Promise<FileTrail> {
  const { path, durability, now, compress = false, onNotice = () => undefined } = options
  const opened = await openStore(path, durability, now())
  const { store, tail, fresh } = opened
  try {
    const open = await unfinishedRequests(path, tail)
    const compressor = compress ? new Compressor(path, onNotice) : null
    const trail = trailOn(opened, { ...options, ...(compressor === null ? {} : { compressor }) }, open)
    const timestamp = now().toISOString()
    const first = fresh === null ? [] : [segmentEntry(fresh.previous, 'start', timestamp)]
    // Without it, many short runs that crash would leave any number of records behind the last checkpoint.
    const last = options.checkpoints === undefined || tail.head.seq < 0 ? [] : [checkpointEntry(timestamp)]
    await trail.appendEntries([...first, ...open.interruptedEnds(timestamp), ...last])
    return trail
  } catch (error) {
    store.close()
    throw error
  }
}

interface InnerTrail extends FileTrail {
  appendEntries(entries: readonly Entry[]): Promise<void>
}

type InnerOptions = Omit<TrailOptions, 'path' | 'compress'> & {
  readonly path?: string
  readonly compressor?: Compressor
}

/** A trail on an open store. */
export function trailOn(
  { store, tail }: { readonly store: Store; readonly tail: Tail } | OpenedStore,
  options: InnerOptions,
  open: OpenRequests = new OpenRequests(),
): InnerTrail {
  const { path, now, durability, rotate, checkpoints, compressor, onNotice = () => undefined } = options
  const { onFailure = () => undefined, onRestored = () => undefined, onWritten = () => undefined } = options
  const instance = tail.instance ?? newId(now().getTime())
  const mark = (seq: number, offset: number): Promise<void> =>
    path === undefined
      ? Promise.resolve()
      : writeMark(path, { instance, seq, offset, open: open.entries() }).catch((error: unknown) =>
          onNotice(`the next start will take longer: ${String(error)}`),
        )
  const writer = new GroupWriter({
    store,
    sealer: new Sealer(instance, checkpoints ?? null),
    head: tail.head,
    open,
    durability,
    now,
    rotateBytes: rotate?.size ?? Number.POSITIVE_INFINITY,
    onFailure,
    onRestored,
    onWritten,
    onCheckpoint: checkpoints?.onCheckpoint ?? (() => undefined),
    onBegun: (firstSeq) => {
      void mark(firstSeq, 0)
      compressor?.wake()
    },
    onNotice,
  })
  compressor?.wake(() => writer.available)
  const timers = [
    setInterval(() => {
      writer.look()
      if (now().getTime() - store.begun > (rotate?.age ?? Number.POSITIVE_INFINITY)) writer.rotate('age')
    }, LOOK_MS),
    ...(checkpoints === undefined ? [] : [setInterval(() => writer.checkpoint(), checkpoints.every)]),
  ].map((timer) => timer.unref())
  let closing: Promise<void> | null = null
  const close = async (): Promise<void> => {
    for (const timer of timers) clearInterval(timer)
    compressor?.stop()
    if (!(await writer.close(checkpoints !== undefined))) return
    await mark(writer.head.seq + 1, store.file.size)
    store.close()
  }
  let lastMs = -1
  let lastText = ''
  /** Making the text of a time costs as much as the hash of a record. */
  const timestamp = (): string => {
    const time = now()
    if (time.getTime() === lastMs) return lastText
    lastMs = time.getTime()
    lastText = time.toISOString()
    return lastText
  }
  return {
    instance,
    // Not async: an append must take its place in the chain before its caller goes on.
    append: (event) => {
      try {
        // An end has happened: nobody waits for its record, and a process that dies before it is written leaves it to the next start.
        return writer.append(entryOf(event, timestamp()), event.event !== 'request.completed')
      } catch (error) {
        return Promise.reject(error)
      }
    },
    appendEntries: async (entries) => {
      await Promise.all(entries.map((entry) => writer.append(entry)))
    },
    available: () => writer.available,
    rotate: (cause) => writer.rotate(cause),
    lastSeq: () => writer.head.seq,
    close: () => (closing ??= close()),
  }
}
