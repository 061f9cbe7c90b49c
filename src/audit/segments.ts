// The files of one trail on disk: the active one and the closed segments beside it, in the order of their records.

import { readdirSync } from 'node:fs'
import { basename, dirname, extname, join, resolve } from 'node:path'

/** `firstSeq` null: the active file, whose name does not say it. */
export interface Segment {
  readonly path: string
  readonly firstSeq: number | null
  readonly compressed: boolean
}

/** So that names sort as their records do. */
const SEQ_DIGITS = 12
const COMPRESSED = '.gz'

/** Where the segment that begins with record `firstSeq` lies once it is closed: `audit.jsonl` becomes `audit.000000000000.jsonl`. */
export function closedPath(active: string, firstSeq: number): string {
  const { folder, stem, extension } = parts(active)
  return join(folder, `${stem}.${String(firstSeq).padStart(SEQ_DIGITS, '0')}${extension}`)
}

export function compressedPath(closed: string): string {
  return `${closed}${COMPRESSED}`
}

/**
 * All segments of the trail whose active file is at `active`, oldest first, the active one last if it is there. A segment that is
 * there both plain and compressed is given once, plain: its compression was not finished, or its original not yet removed.
 */
export function segmentsOf(active: string): Segment[] {
  const { folder, stem, extension, name } = parts(active)
  const names = readdirSync(folder)
  const closed = new Map<number, Segment>()
  for (const each of names.toSorted()) {
    const compressed = each.endsWith(COMPRESSED)
    const plain = compressed ? each.slice(0, -COMPRESSED.length) : each
    if (!plain.startsWith(`${stem}.`) || !plain.endsWith(extension)) continue
    const digits = plain.slice(stem.length + 1, plain.length - extension.length)
    if (!/^\d{12,16}$/.test(digits)) continue
    const firstSeq = Number(digits)
    if (!compressed || !closed.has(firstSeq)) closed.set(firstSeq, { path: join(folder, each), firstSeq, compressed })
  }
  const sorted = [...closed.values()].sort((a, b) => (a.firstSeq ?? 0) - (b.firstSeq ?? 0))
  return names.includes(name) ? [...sorted, { path: join(folder, name), firstSeq: null, compressed: false }] : sorted
}

function parts(active: string): { folder: string; name: string; stem: string; extension: string } {
  const name = basename(active)
  const extension = extname(name)
  return { folder: dirname(resolve(active)), name, stem: name.slice(0, name.length - extension.length), extension }
}
