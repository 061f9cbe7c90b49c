// Probes from a socket that is bound to an interface, which needs no capability: it stays with it when REDIRECT rewrites the destination.

import { Buffer } from 'node:buffer'
import { Socket } from 'node:net'
import { constants, endianness } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  AF,
  errnoName,
  int,
  type Libc,
  limitHops,
  loadLibc,
  LOCAL_NO_ROUTE,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  sockaddr,
} from './libc.ts'
import { ATTEMPT_TIMEOUT_MS, type Bound, type Job, type NetworkProbe, type Observation } from './probe.ts'
import { question } from './probe-dns.ts'
import { exchangeDatagram } from './probe-libc.ts'
import { nearFirst } from './probe-near.ts'
import { attemptTls } from './probe-tcp.ts'

const SOL_SOCKET = 1
const SO_BINDTODEVICE = 25
const IPPROTO_TCP = 6
const TCP_INFO = 11
/** Of struct tcp_info (linux/tcp.h): where two counters of 32 bits are, and how much is asked for. */
const INFO = { bytes: 104, retrans: 36, totalRetrans: 100 } as const
const POLL_MS = 20
const ANY = { v4: '0.0.0.0', v6: '::' } as const

const { EACCES, EADDRINUSE, EALREADY, EINPROGRESS, EISCONN, ENODEV, EPERM } = constants.errno

export async function probeBound(probe: NetworkProbe, bound: Bound, job: Job): Promise<Observation> {
  const libc = loadLibc()
  if (typeof libc === 'string') return { kind: 'not-tried', why: libc }
  const target = sockaddr(probe.address, probe.port ?? 0)
  if (target === null) return { kind: 'not-tried', why: `${probe.address} is not an address` }
  if (probe.transport === 'tcp') return connection(libc, probe, bound, target, job)
  const payload = probe.method === 'dns' ? question(job.question) : Buffer.from(probe.payload, 'base64')
  return nearFirst(async (hops) => {
    const fd = openBound(libc, probe, bound, SOCK_DGRAM)
    if (typeof fd !== 'number') return fd
    try {
      if (hops !== null) limitHops(libc, fd, probe.family, hops)
      return await exchangeDatagram(libc, fd, target, payload, hops)
    } finally {
      libc.close(fd)
    }
  }, job.nearHops)
}

async function connection(
  libc: Libc,
  probe: NetworkProbe,
  bound: Bound,
  target: Buffer,
  job: Job,
): Promise<Observation> {
  const fd = openBound(libc, probe, bound, SOCK_STREAM)
  if (typeof fd !== 'number') return fd
  const seen = await connected(libc, fd, target).catch((error: unknown) => {
    libc.close(fd)
    throw error
  })
  // From here on it is a socket of Node.js, which closes it.
  if (seen === 'connected') return attemptTls(probe, job, new Socket({ fd }))
  libc.close(fd)
  return seen
}

async function connected(libc: Libc, fd: number, target: Buffer): Promise<Observation | 'connected'> {
  const deadline = performance.now() + ATTEMPT_TIMEOUT_MS
  for (let tries = 0; tries === 0 || performance.now() < deadline; tries += 1) {
    // On a socket that is connecting this asks how it goes (connect(2)).
    if (libc.connect(fd, target, target.length) === 0) return 'connected'
    const errno = libc.errno()
    if (errno === EISCONN) return 'connected'
    const code = errnoName(errno)
    // Later the same words may come from a router.
    if (tries === 0 && LOCAL_NO_ROUTE.has(errno)) return { kind: 'no-route', code }
    if (errno !== EINPROGRESS && errno !== EALREADY) {
      return { kind: 'refused', code, near: errno === EPERM ? true : null }
    }
    if (discarded(libc, fd)) break
    await sleep(POLL_MS)
  }
  return discarded(libc, fd) ? { kind: 'refused', code: 'packet discarded', near: true } : { kind: 'silent' }
}

/**
 * Whether the kernel tried to send the SYN again, a second after the first, and could not: for TCP, which keeps the error of the
 * first one to itself, this is what EPERM is for a datagram. `retrans` counts only what was passed on; a packet that still waits for
 * its neighbour to be found is not tried again, and is no proof.
 */
function discarded(libc: Libc, fd: number): boolean {
  const info = Buffer.alloc(INFO.bytes)
  const length = int(INFO.bytes)
  if (libc.getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, length) !== 0 || read32(length, 0) < INFO.bytes) return false
  return read32(info, INFO.totalRetrans) > 0 && read32(info, INFO.retrans) === 0
}

/** A socket on one of the source ports that the counters know it by. */
function openBound(libc: Libc, { family }: NetworkProbe, bound: Bound, type: number): number | Observation {
  const fd = libc.socket(AF[family], type | SOCK_NONBLOCK, 0)
  if (fd < 0) return { kind: 'not-tried', why: `socket: ${errnoName(libc.errno())}` }
  const failed = prepare(libc, fd, ANY[family], bound)
  if (failed === null) return fd
  libc.close(fd)
  return failed
}

function prepare(libc: Libc, fd: number, any: string, { interface: name, sourcePorts }: Bound): Observation | null {
  const device = Buffer.from(`${name}\0`)
  if (libc.setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, device.length) !== 0) {
    const errno = libc.errno()
    const code = errnoName(errno)
    // Before Linux 5.7 it takes CAP_NET_RAW.
    if (errno === EPERM || errno === EACCES) return { kind: 'not-offered', code }
    return errno === ENODEV ? { kind: 'no-route', code } : { kind: 'not-tried', why: `SO_BINDTODEVICE: ${code}` }
  }
  for (let port = sourcePorts.first; port <= sourcePorts.last; port += 1) {
    const own = sockaddr(any, port)
    if (own !== null && libc.bind(fd, own, own.length) === 0) return null
    if (libc.errno() !== EADDRINUSE) break
  }
  const ports = `${sourcePorts.first}-${sourcePorts.last}`
  return { kind: 'not-tried', why: `source ports ${ports}: ${errnoName(libc.errno())}` }
}

function read32(bytes: Buffer, offset: number): number {
  return endianness() === 'LE' ? bytes.readUInt32LE(offset) : bytes.readUInt32BE(offset)
}
