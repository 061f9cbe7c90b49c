// Sockets that Node.js does not offer, from the C library: ping, other protocols, and packets that die at the first router.

import { Buffer } from 'node:buffer'
import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  AF,
  errnoName,
  type Libc,
  limitHops,
  loadLibc,
  LOCAL_NO_ROUTE,
  MSG_DONTWAIT,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  sockaddr,
} from './libc.ts'
import { nearFirst } from './probe-near.ts'
import { ATTEMPT_TIMEOUT_MS, type Family, NEAR_TIMEOUT_MS, type NetworkProbe, type Observation } from './probe.ts'

const IPPROTO = { icmp: { v4: 1, v6: 58 }, udplite: { v4: 136, v6: 136 }, tcp: { v4: 6, v6: 6 } } as const
const ECHO_REQUEST = { v4: 8, v6: 128 } as const
const POLL_MS = 20
const MAX_ANSWER_BYTES = 2_048

const { EAGAIN, EALREADY, EINPROGRESS, EISCONN, EACCES, EPERM } = constants.errno
/** Not in `os.constants`. */
const ESOCKTNOSUPPORT = 94
const NOT_OFFERED = new Set<number>([
  EACCES,
  EPERM,
  ESOCKTNOSUPPORT,
  constants.errno.EPROTONOSUPPORT,
  constants.errno.EAFNOSUPPORT,
])

/** One ICMP echo request or one UDP-Lite datagram. */
export function probeProtocol(probe: NetworkProbe, nearHops: number | null): Promise<Observation> {
  return nearFirst((hops) => datagram(probe, hops), nearHops)
}

/** Whether a TCP connection that can not get further than `hops` is refused: then it was refused within them. */
export async function refusedNearby(address: string, port: number, hops: number): Promise<boolean> {
  const libc = loadLibc()
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
  const libc = loadLibc()
  if (typeof libc === 'string') return { kind: 'not-tried', why: libc }
  const target = sockaddr(probe.address, probe.port ?? 0)
  if (target === null) return { kind: 'not-tried', why: `${probe.address} is not an address` }
  const icmp = probe.method === 'echo'
  const fd = libc.socket(AF[family], SOCK_DGRAM | SOCK_NONBLOCK, IPPROTO[icmp ? 'icmp' : 'udplite'][family])
  if (fd < 0) {
    const errno = libc.errno()
    const code = errnoName(errno)
    return NOT_OFFERED.has(errno) ? { kind: 'not-offered', code } : { kind: 'not-tried', why: `socket: ${code}` }
  }
  try {
    if (hops !== null) limitHops(libc, fd, family, hops)
    const bytes = icmp ? echoRequest(family) : Buffer.from(probe.payload, 'base64')
    return await exchangeDatagram(libc, fd, target, bytes, hops)
  } finally {
    libc.close(fd)
  }
}

/** Sends `bytes` on a datagram socket of whatever protocol, which stays open, and waits for an answer. */
export async function exchangeDatagram(
  libc: Libc,
  fd: number,
  target: Buffer,
  bytes: Buffer,
  hops: number | null,
): Promise<Observation> {
  const refused = (errno: number): Observation => ({
    kind: 'refused',
    code: errnoName(errno),
    // Only the firewall of this very machine makes a send fail with it.
    near: errno === EPERM ? true : null,
  })
  if (libc.connect(fd, target, target.length) !== 0) {
    const errno = libc.errno()
    return LOCAL_NO_ROUTE.has(errno) ? { kind: 'no-route', code: errnoName(errno) } : refused(errno)
  }
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
}

function isRefusal(errno: number): boolean {
  return errno === constants.errno.ECONNREFUSED || errno === constants.errno.ECONNRESET || errno === EPERM
}

/** Type, code, checksum (the kernel's work), identifier (the kernel's too), sequence, and eight bytes. */
function echoRequest(family: Family): Buffer {
  return Buffer.concat([Buffer.of(ECHO_REQUEST[family], 0, 0, 0, 0, 0, 0, 1), Buffer.from('mcpegres')])
}
