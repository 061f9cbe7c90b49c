// Reads the trail for a sink from the files alone: from a record on, over rotations, compressed segments and pruned ones.

import { constants } from 'node:fs'
import { type FileHandle, open as openHandle, stat } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { MAX_RECORD_BYTES } from '../core/record.ts'
import { segmentsOf } from './segments.ts'
import { parseShipped, type ShippedRecord } from './sink-record.ts'

/** Runs one task at a time: file operations of all sinks together take one thread of libuv's four, also on a disk that hangs. */
export type Gate = <T>(task: () => Promise<T>) => Promise<T>

export function createGate(): Gate {
  let last: Promise<unknown> = Promise.resolve()
  return (task) => {
    const done = last.then(task)
    last = done.catch(() => undefined)
    return done
  }
}

export interface Taken {
  readonly records: readonly ShippedRecord[]
  /** Records before these that are in no file any more. */
  readonly missing: { readonly from: number; readonly to: number } | null
  /** Whether this is all there is for now. */
  readonly idle: boolean
}

const CHUNK_BYTES = 256 * 1_024
/** What is longer is no record, and is passed over up to its newline. */
const MAX_LINE_BYTES: number = 2 * MAX_RECORD_BYTES

interface OpenSegment {
  readonly handle: FileHandle
  readonly inode: number
  readonly active: boolean
  /** Number of the first record, as the name says; of the active file as its first record says, until then of the one before. */
  firstSeq: number
  named: boolean
  /** `end`: nothing more for now, for a file that can grow. */
  readonly chunks: AsyncGenerator<Buffer | 'end', undefined>
  carry: string
  /** In the middle of a line that is too long. */
  skipping: boolean
}

const FRESH = { carry: '', skipping: false }

export interface SourceOptions {
  /** The active file. */
  readonly path: string
  readonly instance: string
  /** The last record that was shipped; null: none, begin with the oldest there is. */
  readonly after: number | null
  readonly gate: Gate
}

export class TrailSource {
  readonly #options: SourceOptions
  #open: OpenSegment | null = null
  /** Number of the last record taken; null while nothing is known. */
  #last: number | null
  /** Up to here everything was shipped before; behind it records are taken in the order of the file. */
  #shipped: number
  #lines: string[] = []

  constructor(options: SourceOptions) {
    this.#options = options
    this.#last = options.after
    this.#shipped = options.after ?? -1
  }

  /** The next records, at most so many and so many bytes; at least one if there is one. */
  async take(maxRecords: number, maxBytes: number): Promise<Taken> {
    const records: ShippedRecord[] = []
    let bytes = 0
    while (records.length < maxRecords && bytes < maxBytes) {
      const line = this.#lines.pop()
      if (line === undefined) {
        if (await this.#read()) continue
        return { records, missing: null, idle: true }
      }
      const record = parseShipped(line)
      if (record === null || record.instance !== this.#options.instance) continue
      if (this.#open?.named === false) Object.assign(this.#open, { firstSeq: record.seq, named: true })
      if (record.seq <= this.#shipped) continue
      const expected = this.#last === null ? record.seq : this.#last + 1
      if (record.seq > expected) {
        // What stands before the hole goes first; the record comes again.
        if (records.length > 0) {
          this.#lines.push(line)
          return { records, missing: null, idle: false }
        }
        this.#last = record.seq
        return { records: [record], missing: { from: expected, to: record.seq - 1 }, idle: false }
      }
      this.#last = record.seq
      records.push(record)
      bytes += record.text.length
    }
    return { records, missing: null, idle: false }
  }

  async close(): Promise<void> {
    const open = this.#open
    this.#open = null
    this.#lines = []
    if (open === null) return
    await open.chunks.return(undefined).catch(() => undefined)
    await open.handle.close().catch(() => undefined)
  }

  /** Puts the lines of the next piece into `#lines`, the next one last. False: there is nothing more for now. */
  async #read(): Promise<boolean> {
    const segment = this.#open
    if (segment === null) return this.#advance()
    const piece = await this.#nextChunk(segment)
    if (piece === null) return this.#advance()
    if (piece === 'end') {
      if (segment.active && (await this.#stillActive(segment))) return false
      // Renamed: what was written between the last read and the renaming is still to be had.
      const rest = await this.#nextChunk(segment)
      if (rest === null || rest === 'end') return this.#advance()
      this.#split(segment, rest)
      return true
    }
    this.#split(segment, piece)
    return true
  }

  async #nextChunk(segment: OpenSegment): Promise<Buffer | 'end' | null> {
    try {
      const { value, done } = await segment.chunks.next()
      return done === true ? null : value
    } catch (error) {
      // A damaged archive will not get better: what it held is missing, and is said to be where the next segment begins.
      if (isDamage(error)) return null
      await this.close()
      throw error
    }
  }

  #split(segment: OpenSegment, chunk: Buffer): void {
    const text = segment.carry + chunk.toString('latin1')
    const end = text.lastIndexOf('\n')
    segment.carry = text.slice(end + 1)
    if (end >= 0) {
      const lines = text.slice(0, end).split('\n')
      if (segment.skipping) lines.shift()
      segment.skipping = false
      // On the way to where a sink was, whole chunks are passed over by their last record.
      const last = segment.named ? parseShipped(lines.at(-1) ?? '') : null
      const isPast = last?.instance === this.#options.instance && last.seq <= this.#shipped
      this.#lines = isPast ? [] : lines.reverse()
    }
    if (segment.carry.length <= MAX_LINE_BYTES) return
    segment.carry = ''
    segment.skipping = true
  }

  async #stillActive({ inode }: OpenSegment): Promise<boolean> {
    const found = await this.#options.gate(() => stat(this.#options.path).catch(() => null))
    return found?.ino === inode
  }

  /** Opens the next segment in place of the one that is read. False: there is none yet. */
  async #advance(): Promise<boolean> {
    const { path, gate } = this.#options
    const before = this.#open
    // First the active file, then the listing: a segment that is closed in between is in the listing then, and goes first.
    const active = await openFile(path, gate)
    const closed = segmentsOf(path).flatMap(({ firstSeq, ...segment }) =>
      firstSeq === null ? [] : [{ ...segment, firstSeq }],
    )
    const next =
      before === null ? firstToRead(closed, this.#shipped + 1) : closed.find((each) => each.firstSeq > before.firstSeq)
    if (next !== undefined) {
      await active?.handle.close()
      const file = await openFile(next.path, gate)
      if (file === null) return false
      await this.close()
      const plain = chunksOf(file.handle, gate)
      const chunks = next.compressed ? unzipped(plain) : plain
      this.#open = { ...FRESH, ...file, active: false, firstSeq: next.firstSeq, named: true, chunks }
      return true
    }
    if (active === null || active.inode === before?.inode) {
      await active?.handle.close()
      return false
    }
    await this.close()
    const chunks = chunksOf(active.handle, gate)
    this.#open = { ...FRESH, ...active, active: true, firstSeq: before?.firstSeq ?? -1, named: false, chunks }
    return true
  }
}

/** The last segment that begins at or before `seq`, else the first one; records that are in the active file are found behind it. */
function firstToRead<T extends { readonly firstSeq: number }>(closed: readonly T[], seq: number): T | undefined {
  return closed.findLast(({ firstSeq }) => firstSeq <= seq) ?? closed[0]
}

// SECURITY: O_NOFOLLOW and O_NONBLOCK, as for the trail itself: a planted link would be shipped, a planted FIFO would hang.
const READ_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

async function openFile(path: string, gate: Gate): Promise<{ handle: FileHandle; inode: number } | null> {
  return gate(async () => {
    try {
      const handle = await openHandle(path, READ_FLAGS)
      const { ino } = await handle.stat()
      return { handle, inode: ino }
    } catch (error) {
      // Renamed, compressed or pruned just now: the next listing says what there is.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    }
  })
}

async function* chunksOf(handle: FileHandle, gate: Gate): AsyncGenerator<Buffer | 'end', undefined> {
  for (let position = 0; ; ) {
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
    const { bytesRead } = await gate(() => handle.read(buffer, 0, CHUNK_BYTES, position))
    position += bytesRead
    yield bytesRead === 0 ? 'end' : buffer.subarray(0, bytesRead)
  }
}

async function* unzipped(plain: AsyncGenerator<Buffer | 'end', undefined>): AsyncGenerator<Buffer, undefined> {
  const compressed = Readable.from(untilEnd(plain), { objectMode: false })
  const gunzip = createGunzip()
  compressed.once('error', (error) => gunzip.destroy(error))
  for await (const chunk of compressed.pipe(gunzip)) yield chunk as Buffer
  return undefined
}

async function* untilEnd(chunks: AsyncGenerator<Buffer | 'end', undefined>): AsyncGenerator<Buffer, undefined> {
  for await (const chunk of chunks) {
    if (chunk === 'end') return undefined
    yield chunk
  }
  return undefined
}

function isDamage(error: unknown): boolean {
  return String((error as NodeJS.ErrnoException).code).startsWith('Z_')
}
