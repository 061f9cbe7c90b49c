// The audit trail: takes events in order, chains them, and says when each is written down (CONTRACT §4).

import type { AuditEvent } from '../core/record.ts'
import { seal, type ChainHead } from './chain.ts'
import { type LogFile, openLogFile, type Tail } from './file.ts'
import { newId } from './id.ts'
import { GroupWriter } from './writer.ts'

export { TrailUnavailable } from './writer.ts'

export interface Trail {
  /** ULID of the chain, kept over restarts. */
  readonly instance: string
  /**
   * Resolves when the record is in the file: write(2) has returned, with durability `sync` fdatasync(2) too.
   * Rejects with TrailUnavailable otherwise; the record may be in the file all the same, and nothing may leave on its account.
   */
  append(event: AuditEvent): Promise<void>
  available(): boolean
  /** Resolves when everything appended is written or refused; later appends reject. */
  close(): Promise<void>
}

export interface TrailOptions {
  readonly path: string
  /** `os`: survives the process. `sync`: survives power loss. */
  readonly durability: 'os' | 'sync'
  readonly now: () => Date
  /** Told once when the trail becomes unavailable. */
  readonly onFailure?: (error: Error) => void
  /** So many records more are in the file. */
  readonly onWritten?: (records: number) => void
}

/** Throws an Error that says what to do when the file can not be a trail or somebody else writes to it. */
export async function openTrail(options: TrailOptions): Promise<Trail> {
  const { file, tail } = openLogFile(options.path, options.durability, options.now())
  return trailOn(file, tail, options)
}

/** A trail on an open file. */
export function trailOn(file: LogFile, tail: Tail, options: Omit<TrailOptions, 'path'>): Trail {
  const { now, durability, onFailure = () => undefined, onWritten = () => undefined } = options
  const instance = tail.instance ?? newId(now().getTime())
  const writer = new GroupWriter({ file, durability, head: tail.head, onFailure, onWritten })
  let head: ChainHead = tail.head
  return {
    instance,
    // Not async: an append must take its place in the chain before its caller goes on.
    append: (event) => {
      const admitted = writer.admit()
      if (admitted.kind === 'refused') return Promise.reject(admitted.error)
      if (admitted.kind === 'trial') head = writer.head
      try {
        const line = seal(event, instance, now().toISOString(), head)
        head = line.head
        return writer.append(line)
      } catch (error) {
        return Promise.reject(error)
      }
    },
    available: () => writer.available,
    close: () => writer.close(),
  }
}
