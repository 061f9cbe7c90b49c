// The file of the trail on disk: who may touch it, where its chain ends, and writes that do not block the process.

import fs, { constants } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { MAX_RECORD_BYTES } from '../core/record.ts'
import { type ChainHead, EMPTY_CHAIN, readLine } from './chain.ts'
import { takeLock } from './lock.ts'

/** What the trail writes to. Every method settles once; none blocks. */
export interface LogFile {
  /** Bytes written from `offset` on; may be fewer than there are. */
  write(bytes: Buffer, offset: number): Promise<number>
  /** fdatasync(2). */
  sync(): Promise<void>
  close(): void
}

/** Where a file stands when it is opened; `instance` is null while it holds no record. */
export interface Tail {
  readonly instance: string | null
  readonly head: ChainHead
}

interface OpenedLog {
  readonly file: LogFile
  readonly tail: Tail
}

/** Enough for the longest record behind a number of torn ones. */
const TAIL_BYTES = 8 * MAX_RECORD_BYTES
/** How often the file is looked for while it is written to. */
const PRESENCE_INTERVAL_MS = 1_000

/**
 * Opens or makes the file and takes its lock. Throws an Error that names the file and the fix, for a file that others could
 * write to, that somebody writes to, or that does not end as a trail does.
 */
export function openLogFile(path: string, durability: 'os' | 'sync', now: Date): OpenedLog {
  const folder = openFolder(dirname(resolve(path)))
  const release = attempt(path, 'give each proxy an audit.path of its own', () =>
    takeLock(`${resolve(path)}.lock`, now),
  )
  let fd = -1
  try {
    fd = openOwn(path)
    const { tail, unterminated } = readTail(fd, path)
    // A torn line is evidence: it is ended, never cut off. The chain goes on from the last whole record.
    if (unterminated) attempt(path, 'make room for it', () => fs.writeSync(fd, '\n'))
    if (durability === 'sync') {
      fs.fsyncSync(fd)
      syncFolder(folder)
    }
    return { file: logFile(fd, release), tail }
  } catch (error) {
    if (fd >= 0) fs.closeSync(fd)
    release()
    throw error
  }
}

function openFolder(folder: string): string {
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
  const { mode } = fs.statSync(folder)
  // SECURITY: whoever may rename in the folder may put another file in place of ours. Sticky folders forbid that.
  if ((mode & 0o002) !== 0 && (mode & 0o1000) === 0)
    throw refused(folder, 'is a folder anyone may write to', `chmod o-w ${folder}`)
  return folder
}

// SECURITY: O_NOFOLLOW, or a planted link makes us append to any file; O_NONBLOCK, or a planted FIFO hangs the start.
const OPEN_FLAGS =
  constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK

function openOwn(path: string): number {
  const fd = attempt(path, 'audit.path must name a regular file, or nothing yet', () =>
    fs.openSync(path, OPEN_FLAGS, 0o600),
  )
  const stat = fs.fstatSync(fd)
  const why = stat.isFile() ? ((stat.mode & 0o022) === 0 ? null : 'can be written by others') : 'is not a regular file'
  if (why === null) return fd
  fs.closeSync(fd)
  throw refused(path, why, stat.isFile() ? `chmod 600 ${path}` : 'audit.path must name a regular file, or nothing yet')
}

function readTail(fd: number, path: string): { readonly tail: Tail; readonly unterminated: boolean } {
  const { size } = fs.fstatSync(fd)
  const start = Math.max(0, size - TAIL_BYTES)
  const bytes = Buffer.alloc(size - start)
  for (let read = 0; read < bytes.length; ) {
    const count = fs.readSync(fd, bytes, read, bytes.length - read, start + read)
    if (count === 0) throw refused(path, 'became shorter while it was read', 'see who else writes to it')
    read += count
  }
  const lines = bytes.toString('latin1').split('\n')
  const unterminated = lines.at(-1) !== ''
  // The window may begin inside a line, which then says nothing.
  const first = start === 0 ? 0 : 1
  for (let at = lines.length - 1; at >= first; at--) {
    const line = readLine(lines[at] ?? '')
    if (line.kind === 'record') return { tail: { instance: line.instance, head: line.head }, unterminated }
    if (line.kind === 'foreign') throw refused(path, 'does not end as an audit trail', 'point audit.path elsewhere')
    if (line.kind === 'forged') {
      throw refused(
        path,
        'ends in a record that does not match its hash',
        `keep ${path} as evidence: move it away and start again`,
      )
    }
  }
  if (start > 0)
    throw refused(path, `has no whole record in its last ${TAIL_BYTES} bytes`, 'move it away and start again')
  return { tail: { instance: null, head: EMPTY_CHAIN }, unterminated }
}

function logFile(fd: number, release: () => void): LogFile {
  let seen = performance.now()
  return {
    write: async (bytes, offset) => {
      if (performance.now() - seen > PRESENCE_INTERVAL_MS) {
        seen = performance.now()
        // Writes to a file without a name succeed and are lost with the process.
        if ((await links(fd)) === 0) throw new Error('the file was removed while it was written to')
      }
      return new Promise((done, fail) => {
        fs.write(fd, bytes, offset, bytes.length - offset, null, (error, count) =>
          error === null ? done(count) : fail(error),
        )
      })
    },
    sync: () => new Promise((done, fail) => fs.fdatasync(fd, (error) => (error === null ? done() : fail(error)))),
    close: () => {
      fs.closeSync(fd)
      release()
    },
  }
}

function links(fd: number): Promise<number> {
  return new Promise((done, fail) => fs.fstat(fd, (error, stat) => (error === null ? done(stat.nlink) : fail(error))))
}

/** A new name is on disk only once its folder is. */
function syncFolder(folder: string): void {
  const fd = fs.openSync(folder, constants.O_RDONLY)
  try {
    fs.fsyncSync(fd)
  } finally {
    fs.closeSync(fd)
  }
}

function attempt<T>(path: string, fix: string, action: () => T): T {
  try {
    return action()
  } catch (error) {
    const link = (error as NodeJS.ErrnoException).code === 'ELOOP'
    throw refused(path, link ? 'is a symbolic link' : `can not be used, ${(error as Error).message}`, fix, error)
  }
}

function refused(path: string, why: string, fix: string, cause?: unknown): Error {
  return new Error(`audit trail ${path} ${why}: ${fix}`, { cause })
}
