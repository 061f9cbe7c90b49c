// Follows a trail as it grows: over rotations, restarts and recoveries, and no record twice.

import { type FSWatcher, watch } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { closeFiles, isAt, lineHead, LineSplitter, readTrailFile, type Skipped, trailFiles } from '../audit/read.ts'

/** Where nothing tells of changes, or where something is missed. */
const POLL_MS = 500
const CHUNK_BYTES = 1_048_576

/** How far a trail was read: the last record, and where it ends in which file. */
export interface Position {
  readonly instance: string
  readonly seq: number
  readonly inode: number
  readonly offset: number
}

/**
 * The lines that follow `from`, or those to come where it is null; an empty list at least every `POLL_MS`, so that a reader can look at
 * the clock. Ends when `stop` is aborted.
 */
export async function* follow(
  active: string,
  from: Position,
  skipped: Skipped,
  stop: AbortSignal,
): AsyncGenerator<readonly string[]> {
  const seen = new Seen(from)
  const bell = new Bell(dirname(active), stop)
  let handle: FileHandle | null = null
  let offset = 0
  /** No line of the open file was read yet. */
  let first = true
  let splitter = new LineSplitter(skipped)
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
  const readOn = async (): Promise<string[] | null> => {
    if (handle === null) return null
    const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES, offset)
    offset += bytesRead
    return bytesRead === 0 ? null : splitter.take(buffer.subarray(0, bytesRead))
  }
  try {
    while (!stop.aborted) {
      if (handle === null) {
        handle = await openNow(active)
        if (handle !== null) {
          const { ino, size } = await handle.stat()
          offset = ino === from.inode && seen.isFresh && size >= from.offset ? from.offset : 0
          splitter = new LineSplitter(skipped, offset)
          first = true
        }
      }
      // Looked at before the last read: whoever renames a file has written all of it.
      const moved = handle !== null && (!(await isAt(handle, active)) || (await handle.stat()).size < offset)
      for (let lines = await readOn(); lines !== null && !stop.aborted; lines = await readOn()) {
        if (first && lines.length > 0) yield* missed(active, lines[0], seen)
        first &&= lines.length === 0
        yield seen.fresh(lines)
      }
      if (moved) {
        yield seen.fresh(splitter.finish())
        await handle?.close()
        handle = null
      } else {
        yield []
        await bell.rung()
      }
    }
  } finally {
    bell.close()
    await handle?.close()
  }
}

async function openNow(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

/** What closed segments hold between the last record seen and `first`, the first one of the active file. */
async function* missed(active: string, first: string | undefined, seen: Seen): AsyncGenerator<readonly string[]> {
  if (first === undefined || !seen.leavesGap(first)) return
  const files = await trailFiles(active).catch(() => [])
  try {
    const closed = files.slice(0, -1)
    for (const [at, file] of closed.entries()) {
      const next = closed[at + 1]?.firstSeq ?? Number.POSITIVE_INFINITY
      if (next <= seen.next) continue
      for await (const { lines } of readTrailFile(file, { torn: 0, foreign: 0 })) yield seen.fresh(lines)
    }
  } finally {
    await closeFiles(files)
  }
}

/** Lets each record pass once. */
class Seen {
  #instance: string
  #seq: number
  /** Nothing was read yet. */
  isFresh = true

  constructor({ instance, seq }: Position) {
    this.#instance = instance
    this.#seq = seq
  }

  /** Number of the record that has to follow. */
  get next(): number {
    return this.#seq + 1
  }

  leavesGap(line: string): boolean {
    const head = lineHead(line)
    return head !== null && head.instance === this.#instance && head.seq > this.next
  }

  fresh(lines: readonly string[]): string[] {
    this.isFresh = false
    return lines.filter((line) => {
      const head = lineHead(line)
      if (head === null || (head.instance === this.#instance && head.seq <= this.#seq)) return false
      this.#instance = head.instance
      this.#seq = head.seq
      return true
    })
  }
}

/** Rings when something changes in a folder, when the time is up, or when it is over. */
class Bell {
  readonly #stop: AbortSignal
  #watcher: FSWatcher | null = null
  #ring: () => void = () => undefined
  #pending = false

  constructor(folder: string, stop: AbortSignal) {
    this.#stop = stop
    try {
      this.#watcher = watch(folder, { persistent: false }, () => this.#now())
      this.#watcher.on('error', () => this.close())
    } catch {
      // Polling alone, then: inotify has few watches, and network file systems have none.
    }
  }

  #now(): void {
    this.#pending = true
    this.#ring()
  }

  async rung(): Promise<void> {
    if (!this.#pending) {
      const timer = new AbortController()
      const changed = new Promise<void>((resolve) => (this.#ring = resolve))
      const signal = AbortSignal.any([timer.signal, this.#stop])
      await Promise.race([changed, delay(POLL_MS, undefined, { signal }).catch(() => undefined)])
      timer.abort()
    }
    this.#pending = false
  }

  close(): void {
    this.#watcher?.close()
    this.#watcher = null
  }
}
