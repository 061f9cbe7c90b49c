// Passes an origin's answer on to the client as it arrives, counted, with backpressure, and never as more whole than it was.

import { endToEndResponseHeaders } from '../core/framing.ts'
import { grpcStatus } from '../core/grpc.ts'
import type { Reason } from '../core/refusal.ts'
import type { Attempt } from './attempt.ts'
import type { IncomingRequest, ResponseLength } from './message.ts'
import type { Sent } from './upstream.ts'

type Response = Extract<Sent, { kind: 'response' }>

/** `limit`: the rule's `response_bytes`, null without one. */
export async function relay(
  response: Response,
  incoming: IncomingRequest,
  limit: number | null,
  attempt: Attempt,
): Promise<void> {
  const { sink, link, head } = incoming
  attempt.status = response.head.status
  attempt.recordResponse(response.head.headers)
  sink.head(
    response.head.status,
    response.head.statusText,
    endToEndResponseHeaders(response.head.headers),
    lengthOf(head.method, response),
  )
  for (;;) {
    const next = response.body.read()
    // What is there already goes out as one with the head; nothing that is there waits for what is not.
    // SECURITY: an origin that sends in small pieces must not fill memory for a client that takes none.
    if (next instanceof Promise && !sink.flush()) await sink.drained()
    const part = next instanceof Promise ? await next : next
    if (link.gone) {
      attempt.lost(link)
      return sink.abort()
    }
    if (part.kind === 'failed') return broken(attempt, sink, part.reason)
    if (part.kind === 'end') {
      // Where nothing failed before its first message, the status comes in trailers, and else in the head.
      if (attempt.grpc) attempt.grpcStatus = grpcStatus(part.trailers) ?? grpcStatus(response.head.headers)
      // SECURITY: an Alt-Svc that comes last invites as well.
      sink.end(part.trailers.length === 0 ? part.trailers : endToEndResponseHeaders(part.trailers))
      attempt.outcome = 'completed'
      return
    }
    attempt.received(part.data)
    if (limit !== null && attempt.bytesReceived > limit) return broken(attempt, sink, 'response_too_large')
    if (!sink.write(part.data)) await sink.drained()
  }
}

function lengthOf(method: string, response: Response): ResponseLength {
  const { status } = response.head
  if (method === 'HEAD' || status === 204 || status === 304) return { kind: 'none' }
  return response.length === null ? { kind: 'stream' } : { kind: 'length', length: response.length }
}

function broken(attempt: Attempt, sink: IncomingRequest['sink'], reason: Reason): void {
  attempt.broke(reason, 'upstream_aborted')
  sink.abort()
}
