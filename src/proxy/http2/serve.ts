// HTTP/2 on a connection whose destination is bound: each request judged and recorded as one of HTTP/1.1 is.

import type { Socket } from 'node:net'
import type { Route } from '../../core/revocation.ts'
import { readSubject } from '../../core/subject.ts'
import { Attempt } from '../attempt.ts'
import type { Connection } from '../connection.ts'
import type { Deps } from '../deps.ts'
import { exchange, exchangeMalformed } from '../exchange.ts'
import { recordMalformed } from '../malformed.ts'
import type { MalformedInput } from '../message.ts'
import { serveTracked } from '../serving.ts'
import type { Tracked } from '../tracked.ts'
import { Http2Connection, type Http2Events, type RefusedRequest } from './client-connection.ts'

/** Resolves to whether at least one request or malformed message was read. */
export async function serveHttp2(
  socket: Socket,
  raw: Socket,
  connection: Connection,
  deps: Deps,
  tracked: Tracked,
): Promise<boolean> {
  let served = false
  const { expected, scheme } = connection.names
  let last: Route | null = expected === null ? null : { asker: connection, scheme, ...expected }
  const events: Http2Events = {
    request: async (incoming) => {
      served = true
      last = (await exchange(connection, incoming, deps)) ?? last
    },
    malformed: (input, sink, link) => {
      served = true
      return exchangeMalformed(connection, input, sink, link, deps)
    },
    refused: (refused) => {
      served = true
      return recordRefused(connection, refused, deps)
    },
    fault: (input) => {
      served = true
      return recordFault(connection, input, deps)
    },
  }
  const http = new Http2Connection(socket, raw, events, deps.deadlines)
  await serveTracked(http, raw, () => last, deps, tracked)
  return served
}

/** A request head that there was no room for (RST_STREAM is its answer): its two records. */
async function recordRefused(connection: Connection, { reason, request }: RefusedRequest, deps: Deps): Promise<void> {
  const attempt = new Attempt(connection, 'h2', deps)
  attempt.outcome = 'refused'
  if (request !== null) {
    attempt.headers = request.head.headers
    attempt.facts = readSubject(connection.names, request.head, request.framing).facts
  }
  await attempt.decide({ decision: 'deny', enforced: true, rule: null, reason })
  attempt.complete()
}

/** What a client did to the connection, in whatever number of frames, is one attempt (CONTRACT §4). */
async function recordFault(connection: Connection, input: MalformedInput, deps: Deps): Promise<void> {
  const attempt = new Attempt(connection, 'h2', deps)
  attempt.outcome = 'refused'
  await attempt.decide({ decision: 'deny', enforced: true, rule: null, reason: input.reason })
  recordMalformed(attempt, input, deps)
  attempt.complete()
}
