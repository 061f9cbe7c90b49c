// The sink on standard output: the lines as they are, for a container's log collector.

import { write } from 'node:fs'
import { type Delivery, type Destination, failed } from './sink-record.ts'

/** How long to wait for room in a pipe that is full. */
const FULL_PAUSE_MS = 50
const MAX_RECORDS = 500

/**
 * `descriptor` is never closed. Not process.stdout: a stream that meets a closed pipe ends for good, and `error` on it ends a verb.
 * A full pipe answers EAGAIN, since Node.js has made it non-blocking, so a reader that hangs holds up nothing but this sink.
 */
export function stdoutDestination(descriptor = 1): Destination {
  /** What of an interrupted batch is out already: its first record, and how many bytes. */
  let begun: { readonly seq: number; readonly bytes: number } | null = null
  return {
    maxRecords: MAX_RECORDS,
    deliver: async (batch, signal): Promise<Delivery> => {
      const bytes = Buffer.from(`${batch.map(({ text }) => text).join('\n')}\n`, 'latin1')
      const first = batch[0]?.seq ?? 0
      let at = begun?.seq === first ? begun.bytes : 0
      try {
        while (at < bytes.length) {
          if (signal.aborted) return failed('nobody reads standard output')
          const count = await writeSome(descriptor, bytes, at)
          at += count
          if (count === 0) await pause()
        }
        return { kind: 'accepted' }
      } catch (error) {
        return failed((error as Error).message)
      } finally {
        begun = at < bytes.length ? { seq: first, bytes: at } : null
      }
    },
    close: () => undefined,
  }
}

function writeSome(descriptor: number, bytes: Buffer, offset: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(descriptor, bytes, offset, bytes.length - offset, null, (error, count) => {
      if (error === null) resolve(count)
      else if (error.code === 'EAGAIN') resolve(0)
      else reject(error)
    })
  })
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, FULL_PAUSE_MS))
}
