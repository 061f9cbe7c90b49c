// Joins the decision and the end of each request, in bounded memory: oldest first, or the newest few.

import { type Batch, lineHead, readTrailFile, type Skipped, type TrailFile } from '../audit/read.ts'
import type { RequestFilter } from './audit-filter.ts'

/** The lines of one request. `completed` null: it has no end in what was read. */
export interface RequestLines {
  readonly decided: string
  readonly completed: string | null
}

/** Requests that wait behind an older one that is still open. Over it, that one is given when it ends, out of its order. */
const MAX_WAITING = 20_000
/** Open requests remembered out of order; over it, the oldest is given without its end. */
const MAX_LATE = 100_000
/** Ends remembered for a decision that an older segment may hold. */
const MAX_ENDS = 200_000

interface Waiting {
  readonly decided: string
  completed: string | null
}

/** The id of a request in a line of it: `request_id` is the first member of each of its events. */
export function requestId(line: string, event: string): string {
  const key = `"event":"${event}","request_id":"`
  const at = line.indexOf(key) + key.length
  return line.slice(at, line.indexOf('"', at))
}

/** In the order of their decisions. */
export async function* requestsInOrder(
  batches: AsyncIterable<Batch>,
  filter: RequestFilter,
): AsyncGenerator<readonly RequestLines[]> {
  const waiting = new Map<string, Waiting>()
  const late = new Map<string, Waiting>()
  const passes = (request: Waiting): boolean => filter.ended?.(request.decided, request.completed) ?? true
  for await (const { lines } of batches) {
    const ready: Waiting[] = []
    for (const line of lines) {
      const head = lineHead(line)
      if (head?.event === 'request.decided') {
        if (!filter.decided(line, head)) continue
        const id = requestId(line, head.event)
        const same = waiting.get(id)
        if (same !== undefined) ready.push(same)
        waiting.delete(id)
        waiting.set(id, { decided: line, completed: null })
      } else if (head?.event === 'request.completed') {
        const id = requestId(line, head.event)
        const request = waiting.get(id) ?? late.get(id)
        if (request === undefined) continue
        request.completed = line
        if (late.delete(id)) ready.push(request)
      }
    }
    for (const [id, request] of waiting) {
      if (request.completed === null && waiting.size <= MAX_WAITING) break
      waiting.delete(id)
      if (request.completed === null) late.set(id, request)
      else ready.push(request)
    }
    for (const [id, request] of late) {
      if (late.size <= MAX_LATE) break
      late.delete(id)
      ready.push(request)
    }
    const passed = ready.filter(passes)
    if (passed.length > 0) yield passed
  }
  const rest = [...late.values(), ...waiting.values()].filter(passes)
  if (rest.length > 0) yield rest
}

/** The last `limit` requests, newest first. Reads no older segment than it has to. */
export async function newestRequests(
  files: readonly TrailFile[],
  limit: number,
  filter: RequestFilter,
  skipped: Skipped,
  read: (file: TrailFile, skipped: Skipped) => AsyncIterable<Batch> = readTrailFile,
): Promise<RequestLines[]> {
  const found: RequestLines[] = []
  const ends = new Map<string, string>()
  for (const file of files.toReversed()) {
    const inFile = await newestOf(read(file, skipped), limit - found.length, filter, ends)
    found.push(...inFile)
    if (found.length >= limit) break
  }
  return found
}

interface Numbered extends RequestLines {
  readonly at: number
}

/** `ends`: those that newer segments hold and whose decision was not there; used up and added to. */
async function newestOf(
  batches: AsyncIterable<Batch>,
  limit: number,
  filter: RequestFilter,
  ends: Map<string, string>,
): Promise<RequestLines[]> {
  const open = new Map<string, { readonly decided: string | null; readonly at: number }>()
  const ownEnds = new Map<string, string>()
  let kept: Numbered[] = []
  let at = 0
  const keep = (decided: string, completed: string | null, place: number): void => {
    if (!(filter.ended?.(decided, completed) ?? true)) return
    kept.push({ decided, completed, at: place })
    if (kept.length >= 2 * limit + 1_024) kept = newest(kept, limit)
  }
  for await (const { lines } of batches) {
    for (const line of lines) {
      at++
      const head = lineHead(line)
      if (head?.event === 'request.decided') {
        open.set(requestId(line, head.event), { decided: filter.decided(line, head) ? line : null, at })
      } else if (head?.event === 'request.completed') {
        const id = requestId(line, head.event)
        const request = open.get(id)
        if (request === undefined) remember(ownEnds, id, line)
        else if (request.decided !== null) keep(request.decided, line, request.at)
        open.delete(id)
      }
    }
  }
  for (const [id, { decided, at: place }] of open) {
    if (decided !== null) keep(decided, ends.get(id) ?? null, place)
    ends.delete(id)
  }
  for (const [id, line] of ownEnds) remember(ends, id, line)
  return newest(kept, limit)
}

function newest(requests: Numbered[], limit: number): Numbered[] {
  return requests.sort((one, other) => other.at - one.at).slice(0, limit)
}

function remember(ends: Map<string, string>, id: string, line: string): void {
  if (ends.size < MAX_ENDS) ends.set(id, line)
}
