// The C library's sockets, for what Node.js does not offer: options, protocols, and answers of the kernel one by one.

import { Buffer } from 'node:buffer'
import { createRequire } from 'node:module'
import { constants, endianness } from 'node:os'

import type * as Koffi from 'koffi'

import { addressBytes } from '../../core/address.ts'
import type { Family } from './probe.ts'

export interface Libc {
  socket(family: number, type: number, protocol: number): number
  bind(fd: number, address: Buffer, length: number): number
  connect(fd: number, address: Buffer, length: number): number
  send(fd: number, bytes: Buffer, length: number, flags: number): number
  recv(fd: number, bytes: Buffer, length: number, flags: number): number
  setsockopt(fd: number, level: number, option: number, value: Buffer, length: number): number
  /** `length`: four bytes, in and out. */
  getsockopt(fd: number, level: number, option: number, value: Buffer, length: Buffer): number
  close(fd: number): number
  errno(): number
}

export const AF = { v4: 2, v6: 10 } as const
export const SOCK_STREAM = 1
export const SOCK_DGRAM = 2
export const SOCK_NONBLOCK = 0o4000
export const MSG_DONTWAIT = 0x40
/** IP_TTL at SOL_IP and IPV6_UNICAST_HOPS at SOL_IPV6. */
const HOPS = { v4: { level: 0, option: 2 }, v6: { level: 41, option: 16 } } as const

const NAMES = new Map(Object.entries(constants.errno).map(([name, code]) => [code, name]))

/** What connect(2) says at once when the kernel's own table has nowhere to send to. */
export const LOCAL_NO_ROUTE: ReadonlySet<number> = new Set([
  constants.errno.ENETUNREACH,
  constants.errno.EADDRNOTAVAIL,
  constants.errno.EHOSTUNREACH,
  // Routes of the types prohibit and blackhole.
  constants.errno.EACCES,
  constants.errno.EINVAL,
])

export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `errno ${errno}`
}

/** A C int, as setsockopt(2) takes it. */
export function int(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  if (endianness() === 'LE') bytes.writeInt32LE(value)
  else bytes.writeInt32BE(value)
  return bytes
}

export function limitHops(libc: Libc, fd: number, family: Family, hops: number): void {
  const value = int(hops)
  libc.setsockopt(fd, HOPS[family].level, HOPS[family].option, value, value.length)
}

/** struct sockaddr_in or sockaddr_in6; null for what is no address, and for one with a zone, which it does not carry. */
export function sockaddr(address: string, port: number): Buffer | null {
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

/** A string says why there is none. Once before a change of user: the files of koffi may be closed to the next one. */
export function loadLibc(): Libc | string {
  loaded ??= open()
  return loaded
}

function open(): Libc | string {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi
    // null is the running program: Node carries the C library's symbols, glibc's and musl's alike.
    const program = koffi.load(null)
    const transfer = ['int', 'void *', 'size_t', 'int']
    const bound = {
      socket: program.func('socket', 'int', ['int', 'int', 'int']),
      bind: program.func('bind', 'int', ['int', 'void *', 'uint32_t']),
      connect: program.func('connect', 'int', ['int', 'void *', 'uint32_t']),
      send: program.func('send', 'intptr_t', transfer),
      recv: program.func('recv', 'intptr_t', transfer),
      setsockopt: program.func('setsockopt', 'int', ['int', 'int', 'int', 'void *', 'uint32_t']),
      getsockopt: program.func('getsockopt', 'int', ['int', 'int', 'int', 'void *', 'void *']),
      close: program.func('close', 'int', ['int']),
      errno: () => koffi.errno(),
    }
    return bound
  } catch (error) {
    return `koffi, which opens such sockets, could not be loaded: ${error instanceof Error ? error.message.split('\n', 1)[0] : String(error)}`
  }
}
