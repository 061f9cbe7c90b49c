// The transparent door: connections that a REDIRECT rule, or our DNS, led here without the client's knowledge.

import type { Socket } from 'node:net'
import { type Authority, formatAuthority, hostFromAddress } from '../core/address.ts'
import { identify } from '../core/identity.ts'
import { type Connection, peerAddress, unnamed } from './connection.ts'
import type { Deps } from './deps.ts'
import { serveInside } from './inside.ts'
import { type OriginalDestination, tproxyDestination } from './original-destination.ts'
import type { Tracked } from './tracked.ts'

const NOTHING = Buffer.alloc(0)

/** Serves one redirected connection to its end. The original destination must be read before the first await. */
export async function serveTransparent(socket: Socket, deps: Deps, tracked: Tracked): Promise<void> {
  await serveLed(socket, deps.originalDestination(socket), deps, tracked)
}

/** The same for a connection that TPROXY gave to a listener that is bound elsewhere. */
export async function serveTproxied(socket: Socket, deps: Deps, tracked: Tracked): Promise<void> {
  await serveLed(socket, tproxyDestination(socket, deps.isSelf), deps, tracked)
}

async function serveLed(socket: Socket, found: OriginalDestination, deps: Deps, tracked: Tracked): Promise<void> {
  const original: Authority | null =
    found.kind === 'redirected' ? { host: hostFromAddress(found.address), port: found.port } : null
  const connection: Connection = {
    ...common(socket, deps),
    door: 'transparent',
    names: unnamed(original?.port ?? null, false),
    originalDestination: original === null ? null : formatAuthority(original, null),
    // SECURITY: a connection that no rule redirected was dialled to the listener itself: a loop or a probe, never a request.
    refusal: found.kind === 'redirected' ? null : 'self',
    securityFlags: found.kind === 'redirected' ? [] : ['not_redirected'],
  }
  const local: Authority = { host: hostFromAddress(socket.localAddress ?? '0.0.0.0'), port: socket.localPort ?? 0 }
  await serveInside(
    socket,
    NOTHING,
    { connection, authority: null, original: original ?? local, leaf: null },
    deps,
    tracked,
  )
}

/** A direct hit of a client whose DNS we are: the name comes from SNI or Host, the port is the listener's own. */
export async function serveGateway(socket: Socket, deps: Deps, tracked: Tracked): Promise<void> {
  const local: Authority = { host: hostFromAddress(socket.localAddress ?? '0.0.0.0'), port: socket.localPort ?? 0 }
  const connection: Connection = {
    ...common(socket, deps),
    door: 'gateway',
    names: unnamed(local.port, false),
    originalDestination: formatAuthority(local, null),
    refusal: null,
    securityFlags: [],
  }
  await serveInside(socket, NOTHING, { connection, authority: null, original: local, leaf: null }, deps, tracked)
}

type Common = Pick<Connection, 'id' | 'source' | 'client' | 'credentials' | 'connectAuthority' | 'sni'>

function common(socket: Socket, deps: Deps): Common {
  const source = peerAddress(socket)
  // No credentials can be on a connection that does not know of the proxy: `invalid` can not happen.
  const found = identify(deps.judgement().identity, { source, credentials: null })
  const client = found.kind === 'client' ? { name: found.name, by: found.by } : null
  return { id: deps.newId(), source, client, credentials: null, connectAuthority: null, sni: null }
}
