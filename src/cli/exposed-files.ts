// Refuses a policy that somebody else could replace while it is in force.

import { accessSync, constants, existsSync, realpathSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

const ANYBODY_WRITES = 0o002
const STICKY = 0o1000

/** Throws for the first of `files` that anybody on this machine may write, or put another one in the place of. */
export function refuseExposed(files: readonly string[]): void {
  // What is not there is somebody else's complaint.
  for (const file of files) if (existsSync(file)) refuse(file)
}

function refuse(file: string): void {
  if ((statSync(file).mode & ANYBODY_WRITES) !== 0) throw exposed(file)
  // Of a link both: whoever replaces either has another file read.
  for (const folder of new Set([dirname(file), dirname(realpathSync(file))])) {
    // In a sticky folder, as /tmp is, only a file's owner replaces it (POSIX, S_ISVTX).
    const isOpen = (statSync(folder).mode & (ANYBODY_WRITES | STICKY)) === ANYBODY_WRITES
    if (isOpen && !isReadOnly(folder)) throw exposed(folder)
  }
}

/** A ConfigMap of Kubernetes is a folder with all modes set, on a mount that nobody can write through. */
function isReadOnly(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EROFS'
  }
}

function exposed(path: string): Error {
  return new Error(`${path} may be written by anybody, and so may the policy\n  fix: chmod o-w ${path}`)
}
