// Reads a file of secrets, if nobody but its owner can.

import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'

export type PrivateText =
  | { readonly kind: 'ok'; readonly text: string }
  | { readonly kind: 'bad'; readonly message: string; readonly fix: string }

/** `path`: absolute. `written`: as messages call it. Bytes over `limit` are refused. */
export function readPrivate(path: string, written: string, limit: number): PrivateText {
  const bad = (message: string, fix: string): PrivateText => ({ kind: 'bad', message, fix })
  const name = JSON.stringify(written)
  let file: number
  try {
    file = openSync(path, 'r')
  } catch {
    return bad(`the file ${name} can not be read`, 'create it; its path counts from the folder of this file')
  }
  try {
    // SECURITY: of the file that is open, not of what has its name by now.
    const { mode, size, uid } = fstatSync(file)
    const forbidden = forbiddenModes(uid)
    if ((mode & forbidden) !== 0) {
      const who = (mode & 0o022) === 0 ? 'read' : 'changed'
      return bad(`the file ${name} can be ${who} by others than its owner`, `chmod 600 ${path}`)
    }
    if (size > limit) return bad(`the file ${name} is over ${limit} bytes`, 'split it, or name another')
    return { kind: 'ok', text: new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file)) }
  } catch {
    return bad(`the file ${name} is not UTF-8 text`, 'write it as text')
  } finally {
    closeSync(file)
  }
}

/**
 * Bits of a mode that give others a hand in it. A file that root has and hands to us by our group, as Kubernetes does with a Secret
 * (fsGroup), can not be given to us otherwise.
 */
function forbiddenModes(owner: number): number {
  return owner === process.getuid?.() ? 0o077 : 0o037
}
