// Which requests a process left without their end: read back from the trail at the next start.

import fs from 'node:fs'
import type { TunnelKind } from '../core/record.ts'
import { OpenRequests } from './entry.ts'
import { firstMember, LineSplitter, lineHead, readTrailFile } from './read.ts'
import { type Segment, segmentsOf } from './segments.ts'
import type { Tail } from './tail.ts'

/** Which requests were open before the record `seq`, which is at `offset` of the active file or will be. */
export interface Mark {
  readonly instance: string
  readonly seq: number
  readonly offset: number
  readonly open: readonly (readonly [string, TunnelKind | null])[]
}

const CHUNK_BYTES = 1_048_576
/** Closed segments are read only where no mark says what they left open, and no more than so many. */
const MAX_SEGMENTS = 4
const MAX_MARK_BYTES: number = 16 * 1_048_576

interface Scan {
  readonly open: OpenRequests
  /** Events about requests that are not open here: their decisions are in a file before. */
  readonly before: { readonly event: string; readonly id: string; readonly kind: TunnelKind | null }[]
  /** A proxy began here: what those before it left open was ended then. */
  started: boolean
}

/** Resolves to the requests without an end on disk. `active`: the active file, whose chain ends in `tail`. */
export async function unfinishedRequests(active: string, tail: Tail): Promise<OpenRequests> {
  const mark = readMark(active, tail)
  const scan: Scan = { open: new OpenRequests(mark?.open), before: [], started: false }
  scanActive(active, mark?.offset ?? 0, scan)
  if (mark !== null || scan.started) return scan.open
  const closed = segmentsOf(active).filter(({ firstSeq }) => firstSeq !== null)
  let newer = scan
  for (const segment of closed.toReversed().slice(0, MAX_SEGMENTS)) {
    newer = joined(await scanClosed(segment), newer)
    if (newer.started) break
  }
  return newer.open
}

/** Where the next start begins to read, beside the active file. Replaced as a whole: a half-written one is never seen. */
export async function writeMark(active: string, mark: Mark): Promise<void> {
  const temporary = `${markPath(active)}.new`
  await fs.promises.rm(temporary, { force: true })
  await fs.promises.writeFile(temporary, JSON.stringify(mark), { mode: 0o600, flag: 'wx' })
  await fs.promises.rename(temporary, markPath(active))
}

function markPath(active: string): string {
  return `${active}.open`
}

/** Null: there is none that fits the file; the file itself is read then. */
function readMark(active: string, tail: Tail): Mark | null {
  let mark: Mark
  try {
    if (fs.statSync(markPath(active)).size > MAX_MARK_BYTES) return null
    mark = JSON.parse(fs.readFileSync(markPath(active), 'latin1')) as Mark
  } catch {
    return null
  }
  const pairs: unknown = mark.open
  if (mark.instance !== tail.instance || !Number.isSafeInteger(mark.offset) || mark.offset < 0) return null
  if (!Array.isArray(pairs) || !pairs.every(isPair)) return null
  const isEnd = fs.statSync(active).size === mark.offset && tail.head.seq + 1 === mark.seq
  return isEnd || seqAt(active, mark.offset) === mark.seq ? mark : null
}

function isPair(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    typeof value[0] === 'string' &&
    /^[0-9A-Z]{26}$/.test(value[0]) &&
    [null, 'websocket', 'passthrough'].includes(value[1] as string | null)
  )
}

function seqAt(active: string, offset: number): number | null {
  const fd = fs.openSync(active, 'r')
  try {
    const bytes = Buffer.alloc(256)
    const count = fs.readSync(fd, bytes, 0, bytes.length, offset)
    return lineHead(bytes.toString('latin1', 0, count))?.seq ?? null
  } finally {
    fs.closeSync(fd)
  }
}

function scanActive(active: string, offset: number, scan: Scan): void {
  const splitter = new LineSplitter({ torn: 0, foreign: 0 }, offset)
  const buffer = Buffer.alloc(CHUNK_BYTES)
  const fd = fs.openSync(active, 'r')
  try {
    for (let at = offset; ; ) {
      const count = fs.readSync(fd, buffer, 0, buffer.length, at)
      for (const line of count === 0 ? splitter.finish() : splitter.take(buffer.subarray(0, count))) note(line, scan)
      if (count === 0) return
      at += count
    }
  } finally {
    fs.closeSync(fd)
  }
}

async function scanClosed({ path, compressed }: Segment): Promise<Scan> {
  const scan: Scan = { open: new OpenRequests(), before: [], started: false }
  for await (const { lines } of readTrailFile({ path, compressed }, { torn: 0, foreign: 0 })) {
    for (const line of lines) note(line, scan)
  }
  return scan
}

function note(line: string, scan: Scan): void {
  const event = lineHead(line)?.event ?? ''
  if (event === 'proxy.started') scan.started = true
  if (!event.startsWith('request.') && !event.startsWith('tunnel.')) return
  const id = firstMember(line, 'request_id')
  if (id === undefined) return
  const kind = event === 'tunnel.opened' && firstMember(line, 'kind') === 'passthrough' ? 'passthrough' : 'websocket'
  if (event === 'request.decided' || scan.open.has(id)) scan.open.note(event, id, kind)
  else scan.before.push({ event, id, kind })
}

function joined(older: Scan, newer: Scan): Scan {
  for (const each of newer.before) {
    if (older.open.has(each.id)) older.open.note(each.event, each.id, each.kind)
    else older.before.push(each)
  }
  const open = new OpenRequests([...older.open.entries(), ...newer.open.entries()])
  return { open, before: older.before, started: older.started }
}
