// Notices that files have changed: by asking for them, which sees an editor's rename, a ConfigMap's symbolic link and a network disk alike.

import { stat } from 'node:fs/promises'
import { setTimeout } from 'node:timers'

const POLL_MS = 1_000

export interface Watching {
  stop(): void
}

/** The clock of a file system goes by ticks. */
const TICK_MS = 20

/**
 * Calls `changed` when `files`, asked for at each look, are others than at the last call, and have been the same for one look: a file
 * that is just being written is not read half. `since`: when a file began to be read, in ms since the epoch; what has changed after that
 * was not read. Looks every `pollMs`, and not while `changed` has not resolved.
 */
export function watchFiles(
  files: () => readonly string[],
  since: (file: string) => number,
  changed: () => Promise<unknown>,
  pollMs: number = POLL_MS,
): Watching {
  let known: string | null = null
  let seen: string | null = null
  let timer: NodeJS.Timeout | undefined
  let stopped = false
  const look = async (): Promise<void> => {
    const names = files().join()
    const { stamp, changedSince } = await stampOf(files(), since)
    known ??= changedSince ? '' : stamp
    const settled = stamp === seen
    seen = stamp
    if (stamp === known || !settled || stopped) return
    known = stamp
    await changed()
    // Another configuration may name other files.
    if (files().join() !== names) known = seen = null
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
async function stampOf(
  files: readonly string[],
  since: (file: string) => number,
): Promise<{ readonly stamp: string; readonly changedSince: boolean }> {
  const found = await Promise.all(files.map((file) => stat(file, { bigint: true }).catch(() => null)))
  const stamps = found.map((each) =>
    each === null ? '-' : `${each.dev}:${each.ino}:${each.size}:${each.mtimeNs}:${each.ctimeNs}`,
  )
  const changedSince = found.some((each, at) => Number(each?.ctimeMs ?? 0) > since(files[at] ?? '') - TICK_MS)
  return { stamp: stamps.join(' '), changedSince }
}
