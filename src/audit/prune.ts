// Deletes closed segments that may go: old or many enough, verified, and with every sink.

import type { KeyObject } from 'node:crypto'
import fs from 'node:fs'
import { basename, dirname } from 'node:path'
import { appendTombstone, tombstonePath } from './prune-tombstone.ts'
import type { SigningKey } from './signing.ts'
import { cursorPath, readCursor } from './sink-cursor.ts'
import { compressedPath, type Segment, segmentsOf } from './segments.ts'
import { verifyTrail } from './verify.ts'
import { firstRecord } from './verify-blocks.ts'
import type { Head } from './verify-line.ts'
import type { VerifyReport } from './verify-report.ts'

/** A segment goes as soon as one of them says so; null: not asked. */
export interface PruneLimits {
  /** Milliseconds since its last record was written. */
  readonly age: number | null
  /** Bytes on disk of all segments, the active one too. */
  readonly size: number | null
  /** Closed segments that stay. */
  readonly segments: number | null
}

export interface PruneOptions {
  /** The active file. */
  readonly path: string
  readonly limits: PruneLimits
  /** Names of the sinks that must have a segment before it goes. */
  readonly sinks: readonly string[]
  readonly keys: ReadonlyMap<string, KeyObject> | null
  readonly allowUnsigned: boolean
  readonly maxUncovered: number
  /** Signs what is left in place of the segments; null: unsigned. */
  readonly signingKey: SigningKey | null
  readonly now: Date
  readonly dryRun: boolean
}

export interface PrunedSegment {
  readonly file: string
  readonly first_seq: number
  readonly last_seq: number
  readonly bytes: number
}

/** `refused`: nothing was deleted, since the segments to be deleted do not verify. `held`: why more should go and may not. */
export type PruneResult =
  | { readonly kind: 'refused'; readonly report: VerifyReport }
  | {
      readonly kind: 'pruned'
      readonly segments: readonly PrunedSegment[]
      readonly bytes: number
      readonly left: number
      readonly held: readonly string[]
    }

interface Closed {
  readonly segment: Segment
  readonly paths: readonly string[]
  readonly bytes: number
  readonly first: Head
  /** First record of the segment behind it. */
  readonly next: Head
}

/** Rejects with an Error that names the file for one that can not be read or is not what its name says. */
export async function pruneTrail(options: PruneOptions): Promise<PruneResult> {
  const { path, limits, now, dryRun } = options
  const { closed, bytes } = await closedSegments(path)
  const wanted = closed.slice(0, excess(closed, bytes, limits, now))
  const { shipped, held } = shippedOf(wanted, options)
  const first = shipped[0]
  const last = shipped.at(-1)
  if (first === undefined || last === undefined)
    return { kind: 'pruned', segments: [], bytes: 0, left: closed.length, held }
  const report = await verifySegments(shipped, options)
  if (!report.ok) return { kind: 'refused', report }
  // SECURITY: what is left must stand on what goes, or the tombstone would vouch for a chain that never was.
  if (!last.next.valid || last.next.seq !== (report.last_seq ?? -1) + 1 || last.next.prevHash !== report.last_hash)
    throw new Error(`${last.next.place.file} does not go on from ${last.segment.path}: run mcp-egress audit verify`)
  if (!dryRun) {
    const stone = {
      instance: last.next.instance,
      first_seq: first.first.seq,
      last_seq: last.next.seq - 1,
      last_hash: last.next.prevHash,
      files: shipped.map(({ segment }) => basename(segment.path)),
      pruned_at: now.toISOString(),
    }
    appendTombstone(tombstonePath(path), stone, options.signingKey)
    for (const each of shipped.flatMap(({ paths }) => paths)) fs.rmSync(each, { force: true })
    syncFolder(dirname(last.segment.path))
  }
  const segments = shipped.map(prunedSegment)
  const freed = segments.reduce((sum, each) => sum + each.bytes, 0)
  return { kind: 'pruned', segments, bytes: freed, left: closed.length - shipped.length, held }
}

function prunedSegment({ segment, first, next, bytes }: Closed): PrunedSegment {
  return { file: segment.path, first_seq: first.seq, last_seq: next.seq - 1, bytes }
}

/** Oldest first. The last closed one counts only once the active file has a record: until then the chain ends in it. */
async function closedSegments(active: string): Promise<{ closed: Closed[]; bytes: number }> {
  const found: { segment: Segment; paths: string[]; bytes: number; first: Head | null }[] = []
  for (const segment of segmentsOf(active)) {
    // Compressed and not yet removed: both go together.
    const paths = [segment.path, ...(segment.compressed ? [] : [compressedPath(segment.path)])].filter(fs.existsSync)
    const bytes = paths.reduce((sum, path) => sum + fs.statSync(path).size, 0)
    const first = await firstRecord({ path: segment.path, compressed: segment.compressed })
    if (segment.firstSeq !== null && first?.seq !== segment.firstSeq)
      throw new Error(`${segment.path} does not begin with the record that its name says: run mcp-egress audit verify`)
    found.push({ segment, paths, bytes, first })
  }
  const closed = found.flatMap(({ segment, paths, bytes, first }, index): Closed[] => {
    const next = found[index + 1]?.first ?? null
    return first === null || next === null || segment.firstSeq === null ? [] : [{ segment, paths, bytes, first, next }]
  })
  return { closed, bytes: found.reduce((sum, each) => sum + each.bytes, 0) }
}

/** How many of the oldest are more than the limits allow. */
function excess(closed: readonly Closed[], bytes: number, limits: PruneLimits, now: Date): number {
  let left = bytes
  let count = 0
  for (const { bytes: own, next } of closed) {
    const old = limits.age !== null && now.getTime() - Date.parse(next.timestamp) > limits.age
    const big = limits.size !== null && left > limits.size
    const many = limits.segments !== null && closed.length - count > limits.segments
    if (!old && !big && !many) break
    left -= own
    count++
  }
  return count
}

/** SECURITY: a record that was not shipped must not be deleted, whatever is full: it would be nowhere. */
function shippedOf(wanted: readonly Closed[], { path, sinks }: PruneOptions): { shipped: Closed[]; held: string[] } {
  const held: string[] = []
  let count = wanted.length
  for (const sink of sinks) {
    const cursor = readCursor(cursorPath(path, sink))
    const reached = cursor === null || cursor === 'damaged' ? null : cursor
    const missing = wanted.findIndex(
      ({ next }) => reached === null || reached.instance !== next.instance || reached.seq < next.seq - 1,
    )
    if (missing < 0) continue
    count = Math.min(count, missing)
    const come = reached === null ? 'nothing' : `seq ${reached.seq} of ${reached.instance}`
    held.push(
      `sink ${sink} has ${come}: ${basename(wanted[missing]?.segment.path ?? '')} and what follows stays until it has more`,
    )
  }
  return { shipped: wanted.slice(0, count), held }
}

function verifySegments(closed: readonly Closed[], options: PruneOptions): Promise<VerifyReport> {
  const { keys, allowUnsigned, maxUncovered } = options
  const files = closed.map(({ segment: { path, compressed } }) => ({ path, compressed }))
  return verifyTrail(files, {
    keys,
    allowUnsigned,
    maxUncovered,
    instance: null,
    complete: false,
    kept: [],
    tombstones: [],
  })
}

function syncFolder(folder: string): void {
  const fd = fs.openSync(folder, fs.constants.O_RDONLY)
  try {
    fs.fsyncSync(fd)
  } finally {
    fs.closeSync(fd)
  }
}
