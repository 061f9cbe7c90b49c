// Notices that files have changed: by asking for them, which sees an editor's rename, a ConfigMap's symbolic link and a network disk alike.

import { stat } from 'node:fs/promises'
import { setTimeout } from 'node:timers'

const POLL_MS = 1_000

export interface Watching {
  stop(): void
}

/**
 * Calls `changed` when `files`, asked for at each look, are others than at the last call, and have been the same for one look: a file
 * that is just being written is not read half. Looks every `pollMs`, and not while `changed` has not resolved.
 */
export function watchFiles(
  files: () => readonly string[],
  changed: () => Promise<unknown>,
  pollMs: number = POLL_MS,
): Watching {
  let known: string | null = null
  let seen: string | null = null
  let timer: NodeJS.Timeout | undefined
  let stopped = false
  const look = async (): Promise<void> => {
    const names = files().join()
    const stamp = await stampOf(files())
    known ??= stamp
    const settled = stamp === seen
    seen = stamp
    if (stamp === known || !settled || stopped) return
    known = stamp
    await changed()
    // Another configuration may name other files. What changed in the meantime is seen at the next look.
    if (files().join() !== names) known = seen = await stampOf(files())
  }
  const again = (): void => {
    if (stopped) return
    timer = setTimeout(() => void look().finally(again), pollMs)
    timer.unref()
  }
  void look().finally(again)
  return {
    stop: () => {
      stopped = true
      clearTimeout(timer)
    },
  }
}

/** Symbolic links are followed. A file that is not there is a state like any other. */
async function stampOf(files: readonly string[]): Promise<string> {
  const stamps = await Promise.all(
    files.map(async (file) => {
      const found = await stat(file, { bigint: true }).catch(() => null)
      return found === null ? '-' : `${found.dev}:${found.ino}:${found.size}:${found.mtimeNs}:${found.ctimeNs}`
    }),
  )
  return stamps.join(' ')
}
