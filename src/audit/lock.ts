// One writer for one trail: an advisory lock of the kernel on a file beside it.

import { closeSync, constants, fstatSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'
import { lstat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type * as Koffi from 'koffi'

// flock(2), the same values on Linux and macOS.
const LOCK_EX = 2
const LOCK_NB = 4

/** Another process has it. */
export class LockHeld extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'LockHeld'
  }
}

export interface Lock {
  /** False: the lock file was removed or replaced, so that another process could take one of the same name. */
  isThere(): Promise<boolean>
  release(): void
}

/**
 * Takes `file` until it is released or the process ends, and writes the process id and `now` into it for a reader.
 * The kernel drops the lock with its holder, so none is ever stale; process ids, which repeat from container to container,
 * decide nothing. The file itself stays: removing it would let two processes lock two files of one name.
 */
export function takeLock(file: string, now: Date): Lock {
  const fd = openSync(file, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o600)
  try {
    if (flock()(fd, LOCK_EX | LOCK_NB) !== 0) {
      const holder = readFileSync(fd, 'latin1').slice(0, 64).trim()
      throw new LockHeld(
        `it is being written by another process (${/^pid \d+ since [\dTZ:.-]+$/.exec(holder)?.[0] ?? 'unknown'})`,
      )
    }
    ftruncateSync(fd)
    writeSync(fd, `pid ${process.pid} since ${now.toISOString()}\n`, 0)
  } catch (error) {
    closeSync(fd)
    throw error
  }
  const own = fstatSync(fd)
  return {
    isThere: () =>
      lstat(file).then(
        ({ ino, dev }) => ino === own.ino && dev === own.dev,
        () => false,
      ),
    release: () => closeSync(fd),
  }
}

function flock(): (fd: number, operation: number) => number {
  const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi
  // null is the running program: Node carries the C library's symbols, glibc's and musl's alike.
  return koffi.load(null).func('flock', 'int', ['int', 'int']) as ReturnType<typeof flock>
}
