// The explicit door: HTTP_PROXY and HTTPS_PROXY, absolute-form requests and CONNECT.

import type { Socket } from 'node:net'
import { type Authority, formatAuthority, parseAuthority, sameHost } from '../core/address.ts'
import { headerValue, headerValues, type RequestHead, soleValue } from '../core/http1.ts'
import { type Identified, identify, tokenClients } from '../core/identity.ts'
import { couldAllow, couldAllowAny } from '../core/policy.ts'
import type { Reason } from '../core/refusal.ts'
import { Attempt } from './attempt.ts'
import { bound, type ClientIdentity, type Connection, peerAddress, unnamed } from './connection.ts'
import type { Deps } from './deps.ts'
import { exchange, refuse } from './exchange.ts'
import { refuseMalformed } from './foreign.ts'
import { Http1Connection } from './http1-connection.ts'
import { leafFor, type ReadyLeaf, serveInside } from './inside.ts'
import type { Tracked } from './tracked.ts'
import { type Refused, refused } from './judge.ts'
import type { ResponseSink } from './message.ts'
import { serveTracked, type Visit } from './serving.ts'

const ESTABLISHED = 'HTTP/1.1 200 Connection Established\r\n\r\n'

/** Serves one client of the proxy listener to its end. */
export async function serveExplicit(socket: Socket, deps: Deps, tracked: Tracked): Promise<void> {
  const connection: Connection = {
    id: deps.newId(),
    door: 'absolute',
    source: peerAddress(socket),
    client: null,
    credentials: null,
    names: unnamed(null, true),
    connectAuthority: null,
    sni: null,
    originalDestination: null,
    refusal: null,
    securityFlags: [],
  }
  let tunnel: (() => Promise<void>) | null = null
  const visit: Visit = { served: false, route: null }
  const http = new Http1Connection(
    socket,
    socket,
    {
      request: (incoming) => exchange(connection, incoming, deps, visit),
      malformed: (input, sink, link) => {
        visit.served = true
        return refuseMalformed(connection, input, { socket, sink, link }, deps)
      },
      connect: async (head, sink, _link, takeOver) => {
        visit.served = true
        const opened = await openTunnel(connection, head, sink, deps)
        if (opened === null) return false
        const rest = takeOver()
        socket.write(ESTABLISHED)
        tunnel = () => serveInside(socket, rest, { ...opened, original: null }, deps, tracked)
        return true
      },
    },
    deps.deadlines,
  )
  await serveTracked(http, socket, visit, deps, tracked)
  if (!visit.served) deps.metrics.connectionSilent(connection.door)
  await (tunnel as (() => Promise<void>) | null)?.()
}

interface Tunnel {
  readonly connection: Connection
  readonly authority: Authority
  readonly leaf: ReadyLeaf
}

/** Null: the CONNECT itself was refused, recorded and answered. An accepted CONNECT is no attempt; what comes inside it is. */
async function openTunnel(base: Connection, head: RequestHead, sink: ResponseSink, deps: Deps): Promise<Tunnel | null> {
  const authority = parseAuthority(head.target, null)
  const draft: Connection = {
    ...base,
    door: 'connect',
    connectAuthority: authority === null ? null : formatAuthority(authority, null),
    names: authority === null ? base.names : bound('https', authority),
  }
  if (authority === null) {
    return refuseConnect(
      draft,
      null,
      head,
      sink,
      refused('host_not_canonical', 'CONNECT needs a canonical host:port'),
      deps,
    )
  }
  const credentials = soleValue(head.headers, 'proxy-authorization')
  const found = identify(deps.judgement().identity, { source: base.source, credentials })
  const connection = { ...draft, ...askerPart(found, credentials) }
  const refusal = found.kind === 'invalid' ? badCredentials() : judgeConnect(found, authority, head, deps)
  if (refusal !== null) return refuseConnect(connection, authority, head, sink, refusal, deps)
  const leaf = leafFor(connection, authority, deps)
  if (leaf.kind === 'leaf') return { connection, authority, leaf }
  return refuseConnect(connection, authority, head, sink, refused(leaf.reason, leaf.why), deps)
}

const badCredentials = (): Refused => refused('proxy_auth', 'the proxy credentials are not those of a client')

function askerPart(found: Identified, credentials: string | null): Partial<Connection> {
  if (found.kind === 'client') return { client: { name: found.name, by: found.by }, credentials }
  return found.flag === undefined ? {} : { securityFlags: [found.flag] }
}

function judgeConnect(client: ClientIdentity, authority: Authority, head: RequestHead, deps: Deps): Refused | null {
  if (deps.draining()) return refused('shutting_down', 'try again in a moment')
  const framed = ['transfer-encoding', 'content-length'].some((name) => headerValues(head.headers, name).length > 0)
  if (framed) return refused('malformed', 'a CONNECT has no body')
  const hosts = headerValues(head.headers, 'host')
  if (hosts.length > 1) return refused('malformed', 'two Host headers')
  const host = hosts[0] === undefined ? authority : parseAuthority(hosts[0], authority.port)
  if (host === null) return refused('host_not_canonical', 'the Host header is not a canonical authority')
  if (host.port !== authority.port || !sameHost(host.host, authority.host)) {
    return refused('identity_mismatch', 'CONNECT and Host name different destinations')
  }
  const { policy, identity } = deps.judgement()
  const name = { host: authority.host, port: authority.port, scheme: null }
  if (!couldAllow(policy, { ...name, client: client.name }) && client.by !== 'token') {
    const other = couldAllowAny(policy, tokenClients(identity), name)
    if (other !== null) return refused('proxy_auth', 'a client with proxy credentials may go there')
  }
  return null
}

async function refuseConnect(
  connection: Connection,
  authority: Authority | null,
  head: RequestHead,
  sink: ResponseSink,
  refusal: Refused,
  deps: Deps,
): Promise<null> {
  const attempt = new Attempt(connection, head.version === '1.0' ? 'http/1.0' : 'http/1.1', deps)
  const reason: Reason = refusal.reason
  attempt.facts = {
    method: 'CONNECT',
    scheme: 'https',
    host: authority?.host.text ?? null,
    port: authority?.port ?? null,
    path: null,
    query: null,
    hostHeader: headerValue(head.headers, 'host'),
    url: null,
  }
  try {
    await refuse(attempt, sink, { ...refusal, reason })
  } finally {
    attempt.complete()
  }
  return null
}
