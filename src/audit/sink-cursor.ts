// What a sink leaves beside the trail: how far it has come, and the records that its receiver would not take.

import { closeSync, constants, openSync, readFileSync } from 'node:fs'
import { type FileHandle, open, rename } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { Gate } from './sink-source.ts'
import type { ShippedRecord } from './sink-record.ts'

/** The last record that is with the receiver, and all before it. */
export interface Cursor {
  readonly instance: string
  readonly seq: number
}

/** Records set aside, with why; a sink whose file is full stops until somebody has looked. */
export const MAX_REJECTED_BYTES: number = 64 * 1_048_576
const MAX_WHY = 512

/** `audit.jsonl.cursor.siem` beside `audit.jsonl`. */
export function cursorPath(active: string, sink: string): string {
  return beside(active, 'cursor', sink)
}

export function rejectedPath(active: string, sink: string): string {
  return beside(active, 'rejected', sink)
}

function beside(active: string, kind: string, sink: string): string {
  return join(dirname(resolve(active)), `${basename(active)}.${kind}.${sink}`)
}

/** Null: none yet. `damaged`: there is one, and it says nothing. Throws where the file can not be read. */
export function readCursor(path: string): Cursor | 'damaged' | null {
  let file: number
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return null
    if (code === 'ELOOP') throw new Error(`the cursor ${path} is a symbolic link. Fix: remove it`, { cause: error })
    throw error
  }
  try {
    const { instance, seq } = JSON.parse(readFileSync(file, 'utf8')) as Partial<Record<string, unknown>>
    if (typeof instance === 'string' && Number.isSafeInteger(seq)) return { instance, seq: seq as number }
  } catch {
    // A power cut can leave it empty.
  } finally {
    closeSync(file)
  }
  return 'damaged'
}

const CREATE_FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** In place of the old one, whole or not at all. Not synced: after a power cut an older one means that records go out twice. */
export function writeCursor(path: string, cursor: Cursor, gate: Gate): Promise<void> {
  return gate(async () => {
    const fresh = `${path}.tmp`
    await writing(fresh, constants.O_TRUNC, (file) => file.writeFile(`${JSON.stringify(cursor)}\n`))
    await rename(fresh, path)
  })
}

/** Resolves when the record is in the file. Rejects when it is not, also when the file is full. */
export function setAside(path: string, record: ShippedRecord, why: string, now: Date, gate: Gate): Promise<void> {
  const line = JSON.stringify({ set_aside: now.toISOString(), why: why.slice(0, MAX_WHY), record: record.text })
  return gate(() =>
    writing(path, constants.O_APPEND, async (file) => {
      const { size } = await file.stat()
      if (size + line.length > MAX_REJECTED_BYTES)
        throw new Error(`${path} is full: see why the receiver refuses records, then move the file away`)
      await file.writeFile(`${line}\n`)
      // The cursor passes the record next: from then on this line is what remains of it in the sink.
      await file.datasync()
    }),
  )
}

async function writing(path: string, flag: number, action: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, CREATE_FLAGS | flag, 0o600)
  try {
    await action(file)
  } finally {
    await file.close()
  }
}
