// What is known of one client connection: its door, who is behind it, and every name it has used for its destination.

import type { Socket } from 'node:net'
import type { Authority } from '../core/address.ts'
import type { Door } from '../core/record.ts'
import type { Reason } from '../core/refusal.ts'
import type { ConnectionNames } from '../core/subject.ts'

export interface ClientIdentity {
  readonly name: string
  readonly by: 'token' | 'source' | 'anonymous'
}

export interface Connection {
  readonly id: string
  readonly door: Door
  /** Peer address, null for a Unix socket. */
  readonly source: string | null
  /** Null: proxy credentials of each request decide (absolute-form). */
  readonly client: ClientIdentity | null
  /** The proxy credentials of its CONNECT, null without: they are looked at again for each request inside it. */
  readonly credentials: string | null
  readonly names: ConnectionNames
  readonly connectAuthority: string | null
  readonly sni: string | null
  /** `address:port` the client dialled, from conntrack; recorded and compared, never dialled. */
  readonly originalDestination: string | null
  /** Every request on this connection is refused with this: the connection itself is wrong (a loop). */
  readonly refusal: Reason | null
  readonly securityFlags: readonly string[]
}

/** The peer's address without the IPv4-mapped prefix of a dual-stack listener. */
export function peerAddress(socket: Socket): string | null {
  const address = socket.remoteAddress
  if (address === undefined) return null
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address
}

/** A plain connection whose requests carry the name (absolute-form, or plain HTTP redirected to us). */
export function unnamed(port: number | null, absolute: boolean): ConnectionNames {
  return { scheme: 'http', expected: null, port, absolute }
}

/** A connection bound to one authority: CONNECT or SNI. */
export function bound(scheme: 'http' | 'https', expected: Authority): ConnectionNames {
  return { scheme, expected, port: expected.port, absolute: false }
}
