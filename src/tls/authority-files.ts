// Where a CA lives on disk, and how its public files are written: whole or not at all.

import { randomBytes } from 'node:crypto'
import { closeSync, fchmodSync, fsyncSync, openSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

const PUBLIC_MODE = 0o644

/** Something on disk is not as it must be; `message` names the path and how to put it right. */
export class AuthorityError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'AuthorityError'
  }
}

export interface AuthorityPaths {
  readonly directory: string
  readonly ca: string
  readonly bundle: string
  readonly truststore: string
  readonly privateDirectory: string
  readonly key: string
}

export function authorityPaths(directory: string): AuthorityPaths {
  const privateDirectory = join(directory, 'private')
  return {
    directory,
    ca: join(directory, 'ca.pem'),
    bundle: join(directory, 'bundle.pem'),
    truststore: join(directory, 'truststore.p12'),
    privateDirectory,
    key: join(privateDirectory, 'ca.key'),
  }
}

/** Throws an AuthorityError where the answer can not be had, such as for a folder of another user. */
export function fileExists(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined
  } catch (error) {
    throw unreadable(path, error)
  }
}

export function unreadable(path: string, error: unknown): AuthorityError {
  const uid = process.getuid?.() ?? 'of this process'
  return new AuthorityError(
    `${path}: can not be read (${errorCode(error)}). Fix: give it to the user that runs mcp-egress, chown ${uid} ${path}`,
  )
}

/** The errno name of a file system error, such as `EACCES`. */
export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error)
}

/** Writes a world-readable file so that a reader sees the old content or the new, whatever the umask and whoever crashes. */
export function publishFile(path: string, content: string | Uint8Array): void {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(8).toString('hex')}`)
  const descriptor = openSync(temporary, 'wx', PUBLIC_MODE)
  try {
    try {
      fchmodSync(descriptor, PUBLIC_MODE)
      writeFileSync(descriptor, content)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}
