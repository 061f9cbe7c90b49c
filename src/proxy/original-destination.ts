// Where a connection was going before netfilter led it here: SO_ORIGINAL_DST behind REDIRECT, its local address behind TPROXY.

import { Buffer } from 'node:buffer'
import { createRequire } from 'node:module'
import { SocketAddress, type Socket } from 'node:net'
import { endianness } from 'node:os'

import type * as Koffi from 'koffi'

/**
 * `redirected`: the address and port the client dialled, in the kernel's spelling (IPv6 compressed, no brackets, no zone).
 * `direct`: the client dialled the listener itself; following such an address would be a loop.
 * `unknown`: the kernel or its binding gave no answer; `why` is one line for the log.
 */
export type OriginalDestination =
  | { readonly kind: 'redirected'; readonly address: string; readonly port: number }
  | { readonly kind: 'direct' }
  | { readonly kind: 'unknown'; readonly why: string }

/** getsockopt(2) with its return value and, when that is not 0, errno. */
export interface SocketOptions {
  getsockopt(fd: number, level: number, option: number, value: Buffer, length: Buffer): number
  errno(): number
}

const SOL_IP = 0
const SOL_IPV6 = 41
/** SO_ORIGINAL_DST (linux/netfilter_ipv4.h) and IP6T_SO_ORIGINAL_DST (linux/netfilter_ipv6/ip6_tables.h). */
const ORIGINAL_DST = 80
const ENOENT = 2

/** struct sockaddr_in: family, port at 2, address at 4. */
const SOCKADDR_IN_BYTES = 16
/** struct sockaddr_in6: family, port at 2, flow info, address at 8, scope id. */
const SOCKADDR_IN6_BYTES = 28

// One answer at a time: getsockopt is synchronous and the bytes are read out before it returns to the event loop.
const sockaddr = Buffer.alloc(SOCKADDR_IN6_BYTES)
const length = Buffer.alloc(4)

/** Call it in the `connection` event, before any await: later the descriptor may be closed or somebody else's. */
export function originalDestination(socket: Socket, options: SocketOptions | null = null): OriginalDestination {
  const { localAddress, localPort } = socket
  if (localAddress === undefined || localPort === undefined) return unknown('not a connected TCP socket')
  const fd = descriptor(socket)
  if (fd < 0) return unknown('the socket has no file descriptor')
  const binding = options ?? kernel()
  if (typeof binding === 'string') return unknown(binding)

  // By the local address, not the family: a `::` listener shows an IPv4 client as ::ffff:192.0.2.1, and only SOL_IP knows it.
  const v4 = localAddress.includes('.')
  writeLength(v4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES)
  if (binding.getsockopt(fd, v4 ? SOL_IP : SOL_IPV6, ORIGINAL_DST, sockaddr, length) !== 0) {
    const errno = binding.errno()
    // No conntrack entry: netfilter does not track this connection, so nothing can have redirected it.
    return errno === ENOENT ? { kind: 'direct' } : unknown(`getsockopt SO_ORIGINAL_DST failed with errno ${errno}`)
  }

  const address = v4 ? sockaddr.subarray(4, 8).join('.') : addressV6()
  const port = sockaddr.readUInt16BE(2)
  // SECURITY: a connection nobody redirected gets the listener's own address as its answer; dialling it would loop for ever.
  if (port === localPort && address === bare(localAddress)) return { kind: 'direct' }
  return { kind: 'redirected', address, port }
}

/**
 * Behind TPROXY nothing is rewritten: the local address of the connection is what the client dialled, and conntrack was not asked.
 * `isSelf` says what the listener itself is.
 */
export function tproxyDestination(
  socket: Socket,
  isSelf: (address: string, port: number) => boolean,
): OriginalDestination {
  const { localAddress, localPort } = socket
  if (localAddress === undefined || localPort === undefined) return unknown('not a connected TCP socket')
  const address = bare(localAddress)
  // SECURITY: a client that dialled the listener, or another of ours; no rule led it here, and following it would loop.
  return isSelf(address, localPort) ? { kind: 'direct' } : { kind: 'redirected', address, port: localPort }
}

function unknown(why: string): OriginalDestination {
  return { kind: 'unknown', why }
}

/** The undocumented but only way from a socket to its descriptor; -1 once it is closed. */
function descriptor(socket: Socket): number {
  const { _handle: handle } = socket as Socket & { readonly _handle?: { readonly fd?: unknown } | null }
  return typeof handle?.fd === 'number' ? handle.fd : -1
}

/** Node's local address without the ::ffff: of a mapped IPv4 address and without a zone. */
function bare(address: string): string {
  const unmapped = address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address
  const zone = unmapped.indexOf('%')
  return zone === -1 ? unmapped : unmapped.slice(0, zone)
}

function addressV6(): string {
  const groups: string[] = []
  for (let at = 8; at < 24; at += 2) groups.push(sockaddr.readUInt16BE(at).toString(16))
  return new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address
}

function writeLength(bytes: number): void {
  if (endianness() === 'LE') length.writeUInt32LE(bytes)
  else length.writeUInt32BE(bytes)
}

let loaded: SocketOptions | string | null = null

/** The C library's getsockopt, loaded at the first redirected connection and kept; a string says why there is none. */
function kernel(): SocketOptions | string {
  loaded ??= load()
  return loaded
}

function load(): SocketOptions | string {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi
    // null is the running program: Node carries the C library's symbols, glibc's and musl's alike.
    const getsockopt = koffi.load(null).func('getsockopt', 'int', ['int', 'int', 'int', 'void *', 'void *'])
    return { getsockopt: getsockopt as unknown as SocketOptions['getsockopt'], errno: () => koffi.errno() }
  } catch (error) {
    return `koffi, which reads the original destination, could not be loaded: ${error instanceof Error ? error.message.split('\n', 1)[0] : String(error)}`
  }
}
