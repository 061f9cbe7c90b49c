// The body of a request while it is judged: read as far as a policy looks, sent again from its beginning, cut at a limit.

import { BODY_INSPECTION_LIMIT } from '../core/body.ts'
import { bufferedBody } from './body-queue.ts'
import { type Decoded, decodeContent } from './content-coding.ts'
import type { BodyPart, BodyReader } from './message.ts'
import type { OutgoingBody } from './upstream.ts'

const EMPTY = Buffer.alloc(0)

/** What was read to be judged. */
export interface Inspected {
  readonly kind: 'inspected'
  /** As they came, and as they are sent. */
  readonly bytes: Buffer
  /** As the destination will read them. */
  readonly content: Decoded
  readonly complete: boolean
  /** What follows the inspected bytes, null when there is nothing. */
  readonly rest: BodyReader | null
}

export type Whole = Inspected | Extract<BodyPart, { kind: 'failed' }>

/** At most the inspection limit and one part more is held, twice where it is encoded; nothing of it has been sent anywhere. */
export async function readWhole(body: OutgoingBody | null, contentEncoding: string | null): Promise<Whole> {
  if (body === null) return inspected(EMPTY, contentEncoding)
  const { reader } = body
  const parts: Buffer[] = []
  let size = 0
  for (;;) {
    const part = await reader.read()
    if (part.kind === 'failed') return part
    if (part.kind === 'end') return inspected(Buffer.concat(parts), contentEncoding)
    parts.push(part.data)
    size += part.data.length
    if (size > BODY_INSPECTION_LIMIT) {
      const bytes = Buffer.concat(parts)
      return { kind: 'inspected', bytes, content: { kind: 'decoded', bytes }, complete: false, rest: reader }
    }
  }
}

async function inspected(bytes: Buffer, contentEncoding: string | null): Promise<Inspected> {
  const content = await decodeContent(bytes, contentEncoding)
  return { kind: 'inspected', bytes, content, complete: true, rest: null }
}

/** What was read, and behind it what was not. */
export function chain({ bytes, rest }: Inspected): BodyReader {
  const first = bufferedBody(bytes)
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

/** A body without a declared length is cut at the limit while it streams. */
export function capBody(reader: BodyReader, limit: number): BodyReader {
  let total = 0
  return {
    read: async () => {
      const part = await reader.read()
      if (part.kind !== 'data') return part
      total += part.data.length
      if (total <= limit) return part
      return { kind: 'failed', reason: 'request_too_large', detail: `the body is over ${limit} bytes` }
    },
  }
}
