// One open file of the trail: who may touch it, and writes that do not block the process and notice what became of the file.

import fs, { constants } from 'node:fs'
import { refused } from './refused.ts'

/** What the trail writes to. Every method settles once; none blocks. */
export interface LogFile {
  /** Bytes written from `offset` on; may be fewer than there are. */
  write(bytes: Buffer, offset: number): Promise<number>
  /** fdatasync(2). */
  sync(): Promise<void>
  /** What became of the file behind our back, null: nothing. `lost`: what was written to it is in no folder any more. */
  damage(): { readonly lost: boolean; readonly what: string } | null
  /** Bytes in it, by our own account. */
  readonly size: number
  close(): void
}

/** Which file a name or a descriptor leads to. */
export interface FileIdentity {
  readonly dev: number
  readonly ino: number
}

// SECURITY: O_NOFOLLOW, or a planted link makes us append to any file; O_NONBLOCK, or a planted FIFO hangs the start.
const OPEN_FLAGS =
  constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK

const REGULAR = 'audit.path must name a regular file, or nothing yet'

/** The descriptor of the file at `path`, made if it is not there. Throws an Error that names the file and the fix. */
export function openOwn(path: string): number {
  const fd = attempt(path, REGULAR, () => fs.openSync(path, OPEN_FLAGS, 0o600))
  const stat = fs.fstatSync(fd)
  const why = stat.isFile() ? ((stat.mode & 0o022) === 0 ? null : 'can be written by others') : 'is not a regular file'
  if (why === null) return fd
  fs.closeSync(fd)
  throw refused(path, why, stat.isFile() ? `chmod 600 ${path}` : REGULAR)
}

/** A file that is not there yet. */
export function openNew(path: string): Promise<number> {
  return new Promise((done, fail) => {
    fs.open(path, OPEN_FLAGS | constants.O_EXCL, 0o600, (error, fd) => (error === null ? done(fd) : fail(error)))
  })
}

/** `size`: of the file as it is now. */
export function logFile(fd: number, size: number): LogFile {
  let expected = size
  return {
    write: async (bytes, offset) => {
      const count = await writeSome(fd, bytes, offset)
      expected += count
      return count
    },
    sync: () => new Promise((done, fail) => fs.fdatasync(fd, (error) => (error === null ? done() : fail(error)))),
    // Answered from the inode in memory, about a microsecond: a call of its own on another thread would cost twenty.
    damage: () => {
      const stat = fs.fstatSync(fd)
      // SECURITY: writes to a file without a name succeed and are lost with the process.
      if (stat.nlink === 0) return { lost: true, what: 'the file was removed while it was written to' }
      if (stat.size === expected) return null
      const how = stat.size < expected ? 'became shorter' : 'was written to by somebody else'
      return { lost: false, what: `the file ${how}: ${stat.size} bytes where ${expected} were expected` }
    },
    get size() {
      return expected
    },
    close: () => fs.closeSync(fd),
  }
}

/** SECURITY: never tried again. After a failed sync the kernel may call lost pages clean, and a second sync would succeed. */
export async function synced(file: LogFile): Promise<void> {
  try {
    await file.sync()
  } catch (error) {
    const why = (error as Error).message
    throw new Error(`fdatasync(2) failed, the last records before may be lost with the power: ${why}`, { cause: error })
  }
}

export function writeSome(fd: number, bytes: Buffer, offset: number): Promise<number> {
  return new Promise((done, fail) => {
    fs.write(fd, bytes, offset, bytes.length - offset, null, (error, count) =>
      error === null ? done(count) : fail(error),
    )
  })
}

/** Runs `action`; what it throws becomes an Error that names `path` and the fix. */
export function attempt<T>(path: string, fix: string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    const link = (error as NodeJS.ErrnoException).code === 'ELOOP'
    throw refused(path, link ? 'is a symbolic link' : `can not be used, ${(error as Error).message}`, fix, error)
  }
}
