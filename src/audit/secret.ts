// The key of the redactor's fingerprints: made once, kept, readable by its owner alone.

import { randomBytes } from 'node:crypto'
import { closeSync, constants, fstatSync, fsyncSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

const KEY_BYTES = 32

/** The 32 bytes in `file`, made at the first call. Throws an Error that says what to do for a file that can not be trusted. */
export function openRedactionKey(file: string): Buffer {
  return read(file) ?? create(file)
}

function read(file: string): Buffer | null {
  let fd: number
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return null
    if (code === 'ELOOP') throw refused(file, 'is a symbolic link', 'put the file itself there')
    throw error
  }
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile())
      throw refused(file, 'is not a regular file', 'move it away; a new key is made at the next start')
    // SECURITY: whoever reads the key can try guesses of a secret against its fingerprint.
    if ((stat.mode & 0o077) !== 0) throw refused(file, 'can be read or written by others', `chmod 600 ${file}`)
    if (stat.size !== KEY_BYTES) {
      throw refused(
        file,
        `has ${stat.size} bytes, not ${KEY_BYTES}`,
        'move it away; a new key is made at the next start',
      )
    }
    return readFileSync(fd)
  } finally {
    closeSync(fd)
  }
}

function create(file: string): Buffer {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  const key = randomBytes(KEY_BYTES)
  const fd = openSync(file, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600)
  try {
    writeSync(fd, key)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  return key
}

function refused(file: string, why: string, fix: string): Error {
  return new Error(`redaction key ${file} ${why}: ${fix}`)
}
