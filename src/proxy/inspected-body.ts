// The body of a request while it is judged: read as far as a policy looks, sent again from its beginning, cut at a limit.

import { BODY_INSPECTION_LIMIT, type InspectedBody } from '../core/body.ts'
import { type RawHeaders, soleValue } from '../core/http1.ts'
import { bufferedBody } from './body-queue.ts'
import { type Decoded, decodeContent } from './content-coding.ts'
import type { BodyPart, BodyReader } from './message.ts'
import { Shares } from './shares.ts'
import type { OutgoingBody } from './upstream.ts'

const EMPTY = Buffer.alloc(0)
const NO_TRAILERS: RawHeaders = []

/** What was read to be judged. */
export interface Inspected {
  /** As they came, and as they are sent. */
  readonly bytes: Buffer
  /** As the destination will read them. */
  readonly content: Decoded
  readonly complete: boolean
  /** Of a body that is complete. */
  readonly trailers: RawHeaders
  /** What follows the inspected bytes, null when there is nothing. */
  readonly rest: BodyReader | null
  /** Why there is no more than these bytes; `rest` says so too, where it is not for us. */
  readonly failure: Extract<BodyPart, { kind: 'failed' }> | null
}

/**
 * Bytes of all bodies that are not whole yet, together. SECURITY: whoever sends all but the end of many bodies, as HTTP/2 lets each
 * connection do a hundred times over, would have us hold as much as there is.
 */
const MAX_AWAITED_BYTES = 64 * 2 ** 20
/** Of one source: whoever is greedy leaves as much for the others. */
export const MAX_AWAITED_BYTES_OF_ONE: number = MAX_AWAITED_BYTES / 2
const awaited = new Shares(MAX_AWAITED_BYTES, MAX_AWAITED_BYTES_OF_ONE)

const OVERLOADED = { kind: 'failed', reason: 'overloaded', detail: 'too many bodies wait to be judged' } as const

/**
 * At most the inspection limit and one part more is held, twice where it is encoded; nothing of it has been sent anywhere. Where too much
 * is held already, it has failed as `overloaded`, and `rest` goes on all the same.
 */
export async function readWhole(
  body: OutgoingBody | null,
  contentEncoding: string | null,
  source: string | null,
): Promise<Inspected> {
  if (body === null) return inspected(EMPTY, NO_TRAILERS, contentEncoding)
  const { reader } = body
  const parts: Buffer[] = []
  let size = 0
  let held = 0
  try {
    for (;;) {
      const part = await reader.read()
      if (part.kind === 'failed') return unfinished(parts, reader, part)
      if (part.kind === 'end') return await inspected(Buffer.concat(parts), part.trailers, contentEncoding)
      parts.push(part.data)
      size += part.data.length
      if (size > BODY_INSPECTION_LIMIT) return unfinished(parts, reader, null)
      if (!awaited.take(source, part.data.length)) return unfinished(parts, reader, OVERLOADED)
      held = size
    }
  } finally {
    if (held > 0) awaited.give(source, held)
  }
}

async function inspected(bytes: Buffer, trailers: RawHeaders, contentEncoding: string | null): Promise<Inspected> {
  const content = await decodeContent(bytes, contentEncoding)
  return { bytes, content, complete: true, trailers, rest: null, failure: null }
}

function unfinished(parts: readonly Buffer[], rest: BodyReader, failure: Inspected['failure']): Inspected {
  const bytes = Buffer.concat(parts)
  return { bytes, content: { kind: 'decoded', bytes }, complete: false, trailers: NO_TRAILERS, rest, failure }
}

/** What policy is asked about. Null, and what could not be decoded, is never taken for a body that is empty. */
export function bodyToJudge(whole: Inspected | null, headers: RawHeaders): Omit<InspectedBody, 'mcpFields'> {
  const content = whole?.content ?? { kind: 'decoded', bytes: EMPTY }
  return {
    bytes: content.kind === 'decoded' ? content.bytes : EMPTY,
    undecodable: content.kind === 'decoded' ? null : content.why,
    complete: whole?.complete ?? false,
    contentType: soleValue(headers, 'content-type'),
  }
}

/** What was read, and behind it what was not. */
export function chain({ bytes, trailers, rest }: Inspected): BodyReader {
  const first = bufferedBody(bytes, trailers)
  if (rest === null) return first
  let replayed = false
  return {
    read: async () => {
      if (replayed) return rest.read()
      replayed = true
      return bytes.length === 0 ? rest.read() : { kind: 'data', data: bytes }
    },
  }
}

/** Stands for what is not read any more. */
const TAKEN: BodyPart = { kind: 'data', data: EMPTY }

/** A body without a declared length is cut at the limit while it streams. */
export function capBody(reader: BodyReader, limit: number): BodyReader {
  let total = 0
  return {
    read: async () => {
      // SECURITY: whoever reads on behind a failure must not hear that the body has ended well.
      const part = total > limit ? TAKEN : await reader.read()
      if (part.kind !== 'data') return part
      total += part.data.length
      if (total <= limit) return part
      return { kind: 'failed', reason: 'request_too_large', detail: `the body is over ${limit} bytes` }
    },
  }
}
