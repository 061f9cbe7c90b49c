// Bytes that are no HTTP request where one belongs: named, recorded once, and refused in words that their sender can read.

import type { Socket } from 'node:net'
import { type ForeignProtocol, foreignProtocol } from '../core/foreign-protocol.ts'
import { goaway, settingsFrame } from '../core/http2-frame-writer.ts'
import { Attempt } from './attempt.ts'
import type { Connection } from './connection.ts'
import type { Deps } from './deps.ts'
import { exchangeMalformed } from './exchange.ts'
import { recordMalformed } from './malformed.ts'
import type { ClientLink, MalformedInput, ResponseSink } from './message.ts'

const NO_WORD: Buffer = Buffer.alloc(0)
/** RFC 9113 §3.4 and §7: the server's preface, then what sends a client back to HTTP/1.1. */
const HTTP_1_1_REQUIRED: Buffer = Buffer.concat([
  settingsFrame([]),
  goaway(0, 'HTTP_1_1_REQUIRED', 'mcp-egress: HTTP/2 only where ALPN chose it'),
])

/** What is said before the close to clients that would misread an HTTP answer; every other one gets a 400. */
const FAREWELL: ReadonlyMap<ForeignProtocol, Buffer> = new Map([
  ['H2C_PRIOR_KNOWLEDGE', HTTP_1_1_REQUIRED],
  ['SOCKS4_REQUEST', NO_WORD],
  ['SOCKS4A_REQUEST', NO_WORD],
  ['SOCKS5_GREETING', NO_WORD],
])

/** The caller closes `socket` when this resolves. What the bytes are called changes nothing about their being refused. */
export async function refuseMalformed(
  connection: Connection,
  input: MalformedInput,
  client: { readonly socket: Socket; readonly sink: ResponseSink; readonly link: ClientLink },
  deps: Deps,
): Promise<void> {
  const { socket, sink, link } = client
  const protocol = foreignProtocol(input.bytes)
  const named = protocol === null ? input : { ...input, code: protocol }
  const farewell = protocol === null ? undefined : FAREWELL.get(protocol)
  if (farewell === undefined) return exchangeMalformed(connection, named, sink, link, deps)
  const attempt = new Attempt(connection, 'unknown', deps)
  attempt.outcome = 'refused'
  await attempt.decide({ decision: 'deny', enforced: true, rule: null, reason: named.reason })
  recordMalformed(attempt, named, deps)
  if (!socket.destroyed) socket.write(farewell)
  sink.end([])
  if (link.gone) attempt.outcome = 'client_aborted'
  attempt.complete()
}
