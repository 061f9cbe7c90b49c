// What happens on a connection whose destination is bound: TLS is ended with a leaf for that name, HTTP is served either way.

import type { Socket } from 'node:net'
import { type Authority, parseServerName, sameHost } from '../core/address.ts'
import { identify } from '../core/identity.ts'
import { couldAllow, decide, permitPassthrough } from '../core/policy.ts'
import type { Reason } from '../core/refusal.ts'
import { Attempt } from './attempt.ts'
import { bound, type Connection, unnamed } from './connection.ts'
import type { Deps } from './deps.ts'
import { exchange } from './exchange.ts'
import { refuseMalformed } from './foreign.ts'
import { serveHttp2 } from './http2/serve.ts'
import { Http1Connection, type Http1Events } from './http1-connection.ts'
import { refused } from './judge.ts'
import { lingerThenClose } from './linger.ts'
import { recordMalformed } from './malformed.ts'
import type { MalformedInput } from './message.ts'
import { type Peeked, peek } from './peek.ts'
import { recordRejection } from './rejections.ts'
import { watchSilent } from './revocation.ts'
import { serveTracked, visitOf } from './serving.ts'
import { splice } from './splice.ts'
import { alertAndClose, terminate } from './terminate.ts'
import type { Tracked } from './tracked.ts'

/** A denied name gets a leaf, to carry its 403, from a burst of 20 and then one a second per client (CONTRACT §3). */
const DENIED_LEAF_RATE = { requests: 1, per: 'second', burst: 20 } as const
/** A client that ends TLS this soon without a request most likely did not accept our certificate (it pins another). */
const REJECTED_WITHIN_MS = 2_000

/** A connection before its first byte: what is bound so far, and the port and address conntrack gave for it. */
export interface Opened {
  readonly connection: Connection
  /** From CONNECT, null on a redirected connection. */
  readonly authority: Authority | null
  /** The destination the client dialled, null where it is not known. */
  readonly original: Authority | null
  /** Taken when the CONNECT was judged, so that one name costs the denied-name budget once; null where SNI names the host. */
  readonly leaf: ReadyLeaf | null
}

/** Serves the connection to its end. Never rejects for anything a client can cause. */
export async function serveInside(
  socket: Socket,
  rest: Buffer,
  opened: Opened,
  deps: Deps,
  tracked: Tracked,
): Promise<void> {
  const { connection, authority } = opened
  const silent = authority !== null && rest.length === 0
  const unwatch = silent ? watchSilent(socket, { asker: connection, scheme: null, ...authority }, deps) : null
  const peeked = await peek(socket, rest, deps.peekDeadlines)
  unwatch?.()
  switch (peeked.kind) {
    case 'nothing':
      // A server that speaks first would be waited for in vain: nothing was dialled (CONTRACT §4: no attempt).
      deps.metrics.connectionSilent(connection.door)
      socket.destroy()
      return
    case 'slow':
      return refuseBytes(socket, opened, { reason: 'client_timeout', code: 'SLOW_HELLO', bytes: peeked.bytes }, deps)
    case 'bad':
      return refuseBytes(socket, opened, { reason: 'malformed', code: peeked.code, bytes: peeked.bytes }, deps)
    case 'plain':
      return servePlain(socket, opened, deps, tracked)
    case 'tls':
      return serveTls(socket, opened, peeked, deps, tracked)
  }
}

async function servePlain(socket: Socket, opened: Opened, deps: Deps, tracked: Tracked): Promise<void> {
  const { authority, original } = opened
  const names = authority === null ? unnamed(original?.port ?? null, false) : bound('http', authority)
  await serveHttp(socket, socket, { ...opened.connection, names }, deps, tracked)
}

async function serveTls(
  socket: Socket,
  opened: Opened,
  { hello }: Extract<Peeked, { kind: 'tls' }>,
  deps: Deps,
  tracked: Tracked,
): Promise<void> {
  const flags = hello.ech ? [...opened.connection.securityFlags, 'ech_offered'] : opened.connection.securityFlags
  const draft: Connection = { ...opened.connection, sni: hello.sni, securityFlags: flags }
  const named = nameOf(opened, hello.sni)
  if (named.kind === 'refused') {
    const names = { ...draft.names, scheme: 'https' as const, expected: opened.authority }
    return refuseHandshake(socket, { ...draft, names }, named.reason, named.why, deps)
  }
  const names = bound('https', named.authority)
  // A reload while the hello was awaited: who this is may have changed, with what is allowed.
  const found = identify(deps.judgement().identity, draft)
  if (found.kind === 'invalid') {
    return refuseHandshake(
      socket,
      { ...draft, names, securityFlags: found.flag === undefined ? flags : [...flags, found.flag] },
      'proxy_auth',
      'the client of the CONNECT is none any more',
      deps,
    )
  }
  const connection: Connection = { ...draft, client: { name: found.name, by: found.by }, names }
  // SECURITY: what is spliced is not seen, so it needs a name in the clear and a rule that says so (CONTRACT §2).
  const visible = hello.sni !== null && !hello.ech && connection.refusal === null
  const name = { client: found.name, ...named.authority }
  const permit = visible ? permitPassthrough(deps.judgement().policy, name) : null
  if (permit !== null) return splice(socket, connection, permit, deps, tracked)
  const leaf = opened.leaf ?? leafFor(connection, named.authority, deps)
  if (leaf.kind === 'refused') return refuseHandshake(socket, connection, leaf.reason, leaf.why, deps)
  const terminated = await terminate(socket, leaf.context)
  if (terminated.kind === 'rejected') return recordRejection(connection, terminated.cause, deps)
  const since = performance.now()
  const serve = terminated.protocol === 'h2' ? serveHttp2 : serveHttp
  const served = await serve(terminated.socket, socket, connection, deps, tracked)
  if (served) return
  if (performance.now() - since < REJECTED_WITHIN_MS) recordRejection(connection, 'closed_without_request', deps)
  else deps.metrics.connectionSilent(connection.door)
}

type Named =
  | { readonly kind: 'named'; readonly authority: Authority }
  | { readonly kind: 'refused'; readonly reason: Reason; readonly why: string }

/** CONNECT and SNI must agree; a redirected connection is named by SNI and the original port, or by its literal address. */
function nameOf(opened: Opened, sni: string | null): Named {
  const { authority, original } = opened
  const host = sni === null ? null : parseServerName(sni)
  if (sni !== null && host === null)
    return { kind: 'refused', reason: 'host_not_canonical', why: 'SNI is not a host name' }
  if (authority !== null) {
    if (host === null || sameHost(host, authority.host)) return { kind: 'named', authority }
    return { kind: 'refused', reason: 'identity_mismatch', why: 'CONNECT and SNI name different hosts' }
  }
  if (original === null) return { kind: 'refused', reason: 'host_not_canonical', why: 'the destination is not known' }
  if (host !== null) return { kind: 'named', authority: { host, port: original.port } }
  return { kind: 'named', authority: original }
}

export interface ReadyLeaf {
  readonly kind: 'leaf'
  readonly context: ReturnType<Deps['leaves']['get']>
}

type Leaf = ReadyLeaf | { readonly kind: 'refused'; readonly reason: Reason; readonly why: string }

/** A leaf for a name that some rule could allow; for any other one from the denied-name budget. */
export function leafFor(connection: Connection, authority: Authority, deps: Deps): Leaf {
  const { policy } = deps.judgement()
  const client = connection.client?.name ?? 'anonymous'
  const { host, port } = authority
  const permitted = connection.refusal === null && couldAllow(policy, { client, host, port, scheme: null })
  if (!permitted) {
    const taken = deps.limiter.take(`leaf ${client} ${connection.source}`, DENIED_LEAF_RATE, deps.now())
    if (!taken.ok) return { kind: 'refused', ...nameDenial(connection, authority, deps) }
  }
  try {
    return { kind: 'leaf', context: deps.leaves.get(host, { denied: !permitted }) }
  } catch {
    // SECURITY: without a leaf there is no inspection, and without inspection nothing passes.
    return { kind: 'refused', reason: 'overloaded', why: 'no leaf certificate could be made' }
  }
}

function nameDenial(connection: Connection, authority: Authority, deps: Deps): { reason: Reason; why: string } {
  if (connection.refusal !== null)
    return { reason: connection.refusal, why: 'this connection reached the proxy itself' }
  const verdict = decide(deps.judgement().policy, {
    client: connection.client?.name ?? 'anonymous',
    scheme: 'https',
    method: 'GET',
    host: authority.host,
    port: authority.port,
    path: '/',
    encodedSlash: false,
    target: '/',
    upgrade: null,
    overrideHeaders: [],
  })
  if (verdict.kind === 'denial') return { reason: verdict.reason, why: verdict.hint }
  return { reason: 'no_matching_rule', why: 'no rule allows this destination' }
}

/** Resolves to whether at least one request or malformed message was read. */
async function serveHttp(
  socket: Socket,
  raw: Socket,
  connection: Connection,
  deps: Deps,
  tracked: Tracked,
): Promise<boolean> {
  const visit = visitOf(connection)
  const events: Http1Events = {
    request: (incoming) => exchange(connection, incoming, deps, visit),
    malformed: (input, sink, link) => {
      visit.served = true
      return refuseMalformed(connection, input, { socket, sink, link }, deps)
    },
    // A CONNECT inside a connection that is already bound is a tunnel in a tunnel: it names a second destination.
    connect: async (head, sink, link) => {
      const framing = { kind: 'refused', reason: 'malformed', code: 'NESTED_CONNECT' } as const
      await exchange(connection, { protocol: 'http/1.1', head, framing, body: null, sink, link }, deps, visit)
      return false
    },
  }
  const http = new Http1Connection(socket, raw, events, deps.deadlines)
  await serveTracked(http, raw, visit, deps, tracked)
  return visit.served
}

/** A refused connection: no request was read, so the record has no method and no path, and the answer is an alert. */
async function refuseHandshake(
  socket: Socket,
  connection: Connection,
  reason: Reason,
  why: string,
  deps: Deps,
): Promise<void> {
  const attempt = new Attempt(connection, 'tls', deps)
  attempt.outcome = 'refused'
  await attempt.decide({ decision: 'deny', enforced: true, rule: refused(reason, why).rule, reason })
  alertAndClose(
    socket,
    reason === 'no_matching_rule' || reason === 'denied_by_rule' ? 'access_denied' : 'unrecognized_name',
  )
  lingerThenClose(socket, false)
  attempt.complete()
}

/** Bytes that are neither TLS nor HTTP, or a hello that never became whole: recorded and closed, never bridged. */
async function refuseBytes(socket: Socket, opened: Opened, input: MalformedInput, deps: Deps): Promise<void> {
  const attempt = new Attempt(opened.connection, 'tls', deps)
  attempt.outcome = 'refused'
  await attempt.decide({ decision: 'deny', enforced: true, rule: null, reason: input.reason })
  recordMalformed(attempt, input, deps)
  if (!socket.destroyed) alertAndClose(socket, 'decode_error')
  lingerThenClose(socket, false)
  attempt.complete()
}
