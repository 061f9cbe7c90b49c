// Sockets that Node.js does not offer, from the C library: ping, other protocols, and packets that die at the first router.

import { Buffer } from 'node:buffer'
import { createRequire } from 'node:module'
import { constants, endianness } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'

import type * as Koffi from 'koffi'

import { addressBytes } from '../../core/address.ts'
import { nearFirst } from './probe-near.ts'
import { ATTEMPT_TIMEOUT_MS, type Family, NEAR_TIMEOUT_MS, type NetworkProbe, type Observation } from './probe.ts'

interface Libc {
  socket(family: number, type: number, protocol: number): number
  connect(fd: number, address: Buffer, length: number): number
  send(fd: number, bytes: Buffer, length: number, flags: number): number
  recv(fd: number, bytes: Buffer, length: number, flags: number): number
  setsockopt(fd: number, level: number, option: number, value: Buffer, length: number): number
  close(fd: number): number
  errno(): number
}

const AF = { v4: 2, v6: 10 } as const
const SOCK_STREAM = 1
const SOCK_DGRAM = 2
const SOCK_NONBLOCK = 0o4000
const MSG_DONTWAIT = 0x40
const IPPROTO = { icmp: { v4: 1, v6: 58 }, udplite: { v4: 136, v6: 136 }, tcp: { v4: 6, v6: 6 } } as const
/** IP_TTL at SOL_IP and IPV6_UNICAST_HOPS at SOL_IPV6. */
const HOPS = { v4: { level: 0, option: 2 }, v6: { level: 41, option: 16 } } as const
const ECHO_REQUEST = { v4: 8, v6: 128 } as const
const POLL_MS = 20
const MAX_ANSWER_BYTES = 2_048

const { EAGAIN, EALREADY, EINPROGRESS, EISCONN, EACCES, EPERM } = constants.errno
const NAMES = new Map(Object.entries(constants.errno).map(([name, code]) => [code, name]))
/** Not in `os.constants`. */
const ESOCKTNOSUPPORT = 94
const NOT_OFFERED = new Set<number>([
  EACCES,
  EPERM,
  ESOCKTNOSUPPORT,
  constants.errno.EPROTONOSUPPORT,
  constants.errno.EAFNOSUPPORT,
])
const LOCAL_NO_ROUTE = new Set<number>([
  constants.errno.ENETUNREACH,
  constants.errno.EADDRNOTAVAIL,
  constants.errno.EHOSTUNREACH,
])

/** One ICMP echo request or one UDP-Lite datagram. */
export function probeProtocol(probe: NetworkProbe, nearHops: number | null): Promise<Observation> {
  return nearFirst((hops) => datagram(probe, hops), nearHops)
}

/** Whether a TCP connection that can not get further than `hops` is refused: then it was refused within them. */
export async function refusedNearby(address: string, port: number, hops: number): Promise<boolean> {
  const libc = load()
  if (typeof libc === 'string') return false
  const target = sockaddr(address, port)
  if (target === null) return false
  const family = address.includes(':') ? 'v6' : 'v4'
  const fd = libc.socket(AF[family], SOCK_STREAM | SOCK_NONBLOCK, IPPROTO.tcp[family])
  if (fd < 0) return false
  try {
    limitHops(libc, fd, family, hops)
    const deadline = performance.now() + NEAR_TIMEOUT_MS
    while (performance.now() < deadline) {
      // On a socket that is connecting this asks how it goes (connect(2)).
      if (libc.connect(fd, target, target.length) === 0) return false
      const errno = libc.errno()
      if (errno === EISCONN) return false
      if (errno !== EINPROGRESS && errno !== EALREADY) return isRefusal(errno)
      await sleep(POLL_MS)
    }
    return false
  } finally {
    libc.close(fd)
  }
}

async function datagram(probe: NetworkProbe, hops: number | null): Promise<Observation> {
  const { family } = probe
  const libc = load()
  if (typeof libc === 'string') return { kind: 'not-tried', why: libc }
  const target = sockaddr(probe.address, probe.port ?? 0)
  if (target === null) return { kind: 'not-tried', why: `${probe.address} is not an address` }
  const icmp = probe.method === 'echo'
  const fd = libc.socket(AF[family], SOCK_DGRAM | SOCK_NONBLOCK, IPPROTO[icmp ? 'icmp' : 'udplite'][family])
  if (fd < 0) {
    const errno = libc.errno()
    const code = NAMES.get(errno) ?? `errno ${errno}`
    return NOT_OFFERED.has(errno) ? { kind: 'not-offered', code } : { kind: 'not-tried', why: `socket: ${code}` }
  }
  try {
    if (hops !== null) limitHops(libc, fd, family, hops)
    const refused = (errno: number): Observation => ({
      kind: 'refused',
      code: NAMES.get(errno) ?? `errno ${errno}`,
      // Only the firewall of this very machine makes a send fail with it.
      near: errno === EPERM ? true : null,
    })
    if (libc.connect(fd, target, target.length) !== 0) {
      const errno = libc.errno()
      return LOCAL_NO_ROUTE.has(errno) ? { kind: 'no-route', code: NAMES.get(errno) ?? '' } : refused(errno)
    }
    const bytes = icmp ? echoRequest(family) : Buffer.from(probe.payload, 'base64')
    if (libc.send(fd, bytes, bytes.length, MSG_DONTWAIT) < 0) return refused(libc.errno())
    const answer = Buffer.alloc(MAX_ANSWER_BYTES)
    const deadline = performance.now() + (hops === null ? ATTEMPT_TIMEOUT_MS : NEAR_TIMEOUT_MS)
    while (performance.now() < deadline) {
      const length = libc.recv(fd, answer, answer.length, MSG_DONTWAIT)
      if (length >= 0) return { kind: 'answered', what: `${length} bytes came back`, dns: null }
      const errno = libc.errno()
      if (errno !== EAGAIN) return refused(errno)
      await sleep(POLL_MS)
    }
    return { kind: 'silent' }
  } finally {
    libc.close(fd)
  }
}

function isRefusal(errno: number): boolean {
  return errno === constants.errno.ECONNREFUSED || errno === constants.errno.ECONNRESET || errno === EPERM
}

/** Type, code, checksum (the kernel's work), identifier (the kernel's too), sequence, and eight bytes. */
function echoRequest(family: Family): Buffer {
  return Buffer.concat([Buffer.of(ECHO_REQUEST[family], 0, 0, 0, 0, 0, 0, 1), Buffer.from('mcpegres')])
}

function limitHops(libc: Libc, fd: number, family: Family, hops: number): void {
  const value = Buffer.alloc(4)
  if (endianness() === 'LE') value.writeInt32LE(hops)
  else value.writeInt32BE(hops)
  libc.setsockopt(fd, HOPS[family].level, HOPS[family].option, value, value.length)
}

/** struct sockaddr_in or sockaddr_in6; null for what is no address, and for one with a zone, which it does not carry. */
function sockaddr(address: string, port: number): Buffer | null {
  const bytes = addressBytes(address)
  if (bytes === null) return null
  const v4 = bytes.length === 4
  const target = Buffer.alloc(v4 ? 16 : 28)
  if (endianness() === 'LE') target.writeUInt16LE(AF[v4 ? 'v4' : 'v6'])
  else target.writeUInt16BE(AF[v4 ? 'v4' : 'v6'])
  target.writeUInt16BE(port, 2)
  target.set(bytes, v4 ? 4 : 8)
  return target
}

let loaded: Libc | string | null = null

/** A string says why there is none. */
function load(): Libc | string {
  loaded ??= bind()
  return loaded
}

/** Before a change of user: the files of koffi may be closed to the next one. */
export function loadLibc(): void {
  load()
}

function bind(): Libc | string {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi
    // null is the running program: Node carries the C library's symbols, glibc's and musl's alike.
    const program = koffi.load(null)
    const transfer = ['int', 'void *', 'size_t', 'int']
    const bound = {
      socket: program.func('socket', 'int', ['int', 'int', 'int']),
      connect: program.func('connect', 'int', ['int', 'void *', 'uint32_t']),
      send: program.func('send', 'intptr_t', transfer),
      recv: program.func('recv', 'intptr_t', transfer),
      setsockopt: program.func('setsockopt', 'int', ['int', 'int', 'int', 'void *', 'uint32_t']),
      close: program.func('close', 'int', ['int']),
      errno: () => koffi.errno(),
    }
    return bound
  } catch (error) {
    return `koffi, which opens such sockets, could not be loaded: ${error instanceof Error ? error.message.split('\n', 1)[0] : String(error)}`
  }
}
