// The folder of the trail: opens its active file under its lock, and puts a new one in its place.

import fs, { constants } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import type { ChainHead } from './chain.ts'
import { attempt, type FileIdentity, type LogFile, logFile, openNew, openOwn, writeSome } from './file.ts'
import { type Lock, takeLock } from './lock.ts'
import { LineSplitter, lineHead } from './read.ts'
import { refused } from './refused.ts'
import { closedPath, type Segment, segmentsOf } from './segments.ts'
import { readClosedTail, readTail, type Tail } from './tail.ts'

export interface NewSegment {
  /** Number of its first record. */
  readonly firstSeq: number
  /** The file before ends in a part of a record. */
  readonly torn: boolean
  /** What it begins with; `previous`: where the records before are, null: not where they were. */
  readonly compose: (previous: string | null) => Buffer
}

/** The files of a trail, as its writer needs them. One call at a time. */
export interface Store {
  /** The active one. */
  readonly file: LogFile
  /** When it was begun, in milliseconds since the epoch. */
  readonly begun: number
  /** Resolves when a new active file is there and begins as composed; rejects with everything as it was. */
  begin(next: NewSegment): Promise<void>
  close(): void
}

export interface OpenedStore {
  readonly store: Store
  readonly tail: Tail
  /** Null: the active file has records already. */
  readonly fresh: { readonly previous: string | null } | null
}

/** What has to fit beside the first records before a disk that was full counts as usable. */
const PROOF_BYTES = 16_384
const SCAN_BYTES = 1_048_576

/**
 * Opens or makes the active file and takes its lock. Rejects with an Error that names the file and the fix, for a file that others
 * could write to, that somebody writes to, or that does not end as a trail does.
 */
export async function openStore(path: string, durability: 'os' | 'sync', now: Date): Promise<OpenedStore> {
  const active = resolve(path)
  const folder = openFolder(dirname(active))
  const lock = attempt(path, 'give each proxy an audit.path of its own', () => takeLock(lockPath(active), now))
  let fd = -1
  try {
    // Left by a process that died while it began a file: nothing was acknowledged on account of what is in it.
    fs.rmSync(temporaryPath(active), { force: true })
    fd = openOwn(active)
    const own = readTail(fd, path)
    // A torn line is evidence: it is ended, never cut off. The chain goes on from the last whole record.
    if (own.unterminated) attempt(path, 'make room for it', () => fs.writeSync(fd, '\n'))
    if (durability === 'sync') {
      fs.fsyncSync(fd)
      syncFolder(folder)
    }
    const closed = segmentsOf(active).filter(({ firstSeq }) => firstSeq !== null)
    const last = own.instance === null ? closed.at(-1) : undefined
    const tail = last === undefined ? { instance: own.instance, head: own.head } : await readClosedTail(last)
    const previous = closed.at(-1) ?? null
    const store = new DiskStore({ active, fd, lock, durability, now, head: tail.head, previous: nameOf(previous) })
    return { store, tail, fresh: own.instance === null ? { previous: nameOf(previous) } : null }
  } catch (error) {
    if (fd >= 0) fs.closeSync(fd)
    lock.release()
    throw error
  }
}

interface Opened {
  readonly active: string
  readonly fd: number
  readonly lock: Lock
  readonly durability: 'os' | 'sync'
  readonly now: Date
  readonly head: ChainHead
  readonly previous: string | null
}

class DiskStore implements Store {
  readonly #active: string
  readonly #durability: 'os' | 'sync'
  #lock: Lock
  #fd: number
  #identity: FileIdentity
  #firstSeq: number
  #previous: string | null
  file: LogFile
  begun: number

  constructor({ active, fd, lock, durability, now, head, previous }: Opened) {
    this.#active = active
    this.#durability = durability
    this.#lock = lock
    this.#fd = fd
    this.#identity = fs.fstatSync(fd)
    this.#previous = previous
    const first = firstRecord(fd)
    this.#firstSeq = first?.seq ?? head.seq + 1
    this.begun = first === null ? now.getTime() : Date.parse(first.timestamp)
    this.file = logFile(fd, fs.fstatSync(fd).size)
  }

  async begin({ firstSeq, torn, compose }: NewSegment): Promise<void> {
    const closed = closedPath(this.#active, this.#firstSeq)
    // A file without a record of its own is no segment: the new one takes its place.
    const holds = firstSeq > this.#firstSeq
    const there = await identityOf(this.#active)
    const own = this.#isOwn(there)
    const isClosed = holds && !own && this.#isOwn(await identityOf(closed))
    const previous = holds ? (own || isClosed ? basename(closed) : null) : this.#previous
    const text = compose(previous)
    const temporary = temporaryPath(this.#active)
    const fd = await this.#make(temporary, text)
    try {
      if (!(await this.#lock.isThere())) this.#relock()
      if (own && torn) await writeSome(this.#fd, Buffer.from('\n'), 0).catch(() => undefined)
      if (holds && own) await moveAway(this.#active, closed)
      // SECURITY: what somebody put in place of our file is neither written to nor thrown away.
      else if (there !== null && !own) await moveAway(this.#active, `${this.#active}.replaced-${firstSeq}`)
      await fs.promises.rename(temporary, this.#active)
      if (this.#durability === 'sync') await syncFolderLater(dirname(this.#active))
    } catch (error) {
      fs.close(fd)
      await fs.promises.rm(temporary, { force: true }).catch(() => undefined)
      if (holds && own) await moveAway(closed, this.#active).catch(() => undefined)
      throw error
    }
    fs.close(this.#fd)
    this.#fd = fd
    this.#identity = fs.fstatSync(fd)
    this.#firstSeq = firstSeq
    this.#previous = previous
    this.file = logFile(fd, text.length)
    this.begun = Date.now()
  }

  close(): void {
    this.file.close()
    this.#lock.release()
  }

  #isOwn(found: FileIdentity | null): boolean {
    return found !== null && found.ino === this.#identity.ino && found.dev === this.#identity.dev
  }

  /** The descriptor of a new file that holds `text`, proved to have room for more. */
  async #make(path: string, text: Buffer): Promise<number> {
    await fs.promises.mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await fs.promises.rm(path, { force: true })
    const fd = await openNew(path)
    try {
      const bytes = Buffer.concat([text, Buffer.alloc(PROOF_BYTES)])
      for (let written = 0; written < bytes.length; ) {
        const count = await writeSome(fd, bytes, written)
        if (count === 0) throw new Error('write(2) took no byte')
        written += count
      }
      await truncate(fd, text.length)
      if (this.#durability === 'sync') await sync(fd)
      return fd
    } catch (error) {
      fs.close(fd)
      await fs.promises.rm(path, { force: true }).catch(() => undefined)
      throw error
    }
  }

  /** The folder was removed and its lock with it; whoever made another one meanwhile is another writer. */
  #relock(): void {
    const next = takeLock(lockPath(this.#active), new Date())
    this.#lock.release()
    this.#lock = next
  }
}

function lockPath(active: string): string {
  return `${active}.lock`
}

function temporaryPath(active: string): string {
  return `${active}.new`
}

/** A segment is called by the name it has before it is compressed. */
function nameOf(segment: Segment | null): string | null {
  return segment === null ? null : basename(segment.path, segment.compressed ? '.gz' : '')
}

function openFolder(folder: string): string {
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
  const { mode } = fs.statSync(folder)
  // SECURITY: whoever may rename in the folder may put another file in place of ours. Sticky folders forbid that.
  if ((mode & 0o002) !== 0 && (mode & 0o1000) === 0)
    throw refused(folder, 'is a folder anyone may write to', `chmod o-w ${folder}`)
  return folder
}

function firstRecord(fd: number): { readonly seq: number; readonly timestamp: string } | null {
  const splitter = new LineSplitter({ torn: 0, foreign: 0 })
  const buffer = Buffer.alloc(SCAN_BYTES)
  for (let at = 0; ; ) {
    const count = fs.readSync(fd, buffer, 0, buffer.length, at)
    const line = (count === 0 ? splitter.finish() : splitter.take(buffer.subarray(0, count)))[0]
    if (line !== undefined) return lineHead(line)
    if (count === 0) return null
    at += count
  }
}

/** Of the file itself, not of what a link leads to; null: there is none. */
async function identityOf(path: string): Promise<FileIdentity | null> {
  try {
    return await fs.promises.lstat(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw error
  }
}

/** Renames, but not over another file. */
async function moveAway(from: string, to: string): Promise<void> {
  if ((await identityOf(to)) !== null) throw new Error(`${to} is in the way: move it away`)
  await fs.promises.rename(from, to)
}

const truncate = (fd: number, length: number): Promise<void> =>
  new Promise((done, fail) => fs.ftruncate(fd, length, (error) => (error === null ? done() : fail(error))))
const sync = (fd: number): Promise<void> =>
  new Promise((done, fail) => fs.fsync(fd, (error) => (error === null ? done() : fail(error))))

/** A new name is on disk only once its folder is. */
function syncFolder(folder: string): void {
  const fd = fs.openSync(folder, constants.O_RDONLY)
  try {
    fs.fsyncSync(fd)
  } finally {
    fs.closeSync(fd)
  }
}

async function syncFolderLater(folder: string): Promise<void> {
  const handle = await fs.promises.open(folder, constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
