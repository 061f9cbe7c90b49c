// HTTP/2 on a connection whose destination is bound: each request judged and recorded as one of HTTP/1.1 is.

import type { Socket } from 'node:net'
import { readSubject } from '../../core/subject.ts'
import { Attempt } from '../attempt.ts'
import type { Connection } from '../connection.ts'
import type { Deps } from '../deps.ts'
import { exchange, exchangeMalformed } from '../exchange.ts'
import { recordMalformed } from '../malformed.ts'
import type { MalformedInput } from '../message.ts'
import { serveTracked, visitOf } from '../serving.ts'
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
  const visit = visitOf(connection)
  const events: Http2Events = {
    request: (incoming) => exchange(connection, incoming, deps, visit),
    malformed: (input, sink, link) => {
      visit.served = true
      return exchangeMalformed(connection, input, sink, link, deps)
    },
    refused: (refused) => {
      visit.served = true
      return recordRefused(connection, refused, deps)
    },
    fault: (input) => {
      visit.served = true
      return recordFault(connection, input, deps)
    },
  }
  const http = new Http2Connection(socket, raw, events, deps.deadlines)
  await serveTracked(http, raw, visit, deps, tracked)
  return visit.served
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
