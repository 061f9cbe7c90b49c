// Reads what the kernel says about this network namespace and its processes: sockets and their owners, routes, capabilities.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { endianness, networkInterfaces } from 'node:os'
import { SocketAddress, isIP } from 'node:net'
import type { Family, Landing, Privileges } from './probe.ts'

interface SocketEntry {
  readonly local: string
  readonly remote: string
  /** Hexadecimal, as in the table. */
  readonly state: string
  readonly uid: number
}

const LISTEN = '0A'
const ESTABLISHED = '01'
const TIME_WAIT = '06'
const MAX_RESOLVERS = 3
/** A host with an engine has one for every container; the rules do not tell them apart. */
const MAX_INTERFACES = 4

/** Sockets of this namespace, of every user. */
function sockets(protocol: 'tcp' | 'udp'): SocketEntry[] {
  return [`/proc/self/net/${protocol}`, `/proc/self/net/${protocol}6`].flatMap((file) =>
    lines(file)
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .map(([, local = '', remote = '', state = '', , , , uid = '']) => ({
        local: endpoint(local),
        remote: endpoint(remote),
        state,
        uid: Number(uid),
      })),
  )
}

/** The uid of whoever listens on `port` here; null: nobody does. */
export function listenerUid(protocol: 'tcp' | 'udp', port: number): number | null {
  const found = sockets(protocol).find(
    (entry) => entry.local.endsWith(`:${port}`) && (protocol === 'udp' || entry.state === LISTEN),
  )
  return found?.uid ?? null
}

/**
 * Where the connection from `local` ended up. REDIRECT rewrites what its other end sees as its own address, never the client's,
 * so the other end is the socket whose peer is this one. Null: not here, or nobody can tell.
 * SECURITY: a port serves several connections, to different hosts at once or one after the other. The peer of a second one,
 * or what is left of an earlier one, must not be taken for ours: then an open way would pass for one that ends at the proxy.
 */
export function landingOf(local: string): Landing {
  const all = sockets('tcp')
  // The other end of a connection in TIME_WAIT has sent its FIN, so it is not established (RFC 9293 §3.3.2).
  if (all.filter((entry) => entry.local === local && entry.state !== TIME_WAIT).length !== 1) return null
  const [peer, other] = all.filter(({ remote, state }) => remote === local && state === ESTABLISHED)
  return other === undefined ? (peer?.local ?? null) : null
}

/** `ADDRESS:PORT` as `landingOf` compares it. */
export function socketName(address: string, port: number): string {
  const mapped = address.startsWith('::ffff:') && address.includes('.')
  return `${mapped ? address.slice('::ffff:'.length) : address}:${port}`
}

/** Default routes' gateways. */
export function gateways(family: Family): string[] {
  const found =
    family === 'v4'
      ? lines('/proc/self/net/route')
          .map((line) => line.split(/\s+/))
          .filter(([, destination, gateway]) => destination === '00000000' && gateway !== '00000000')
          .map(([, , gateway = '']) => addressOf(gateway))
      : lines('/proc/self/net/ipv6_route')
          .map((line) => line.trim().split(/\s+/))
          .filter(([destination = '', length]) => length === '00' && /^0+$/.test(destination))
          .map(([, , , , gateway = '', , , , , device = '']) => ({ gateway: networkOrder(gateway), device }))
          .filter(({ gateway }) => gateway !== '::')
          // A link-local address means nothing without its interface.
          .map(({ gateway, device }) => (gateway.startsWith('fe80:') ? `${gateway}%${device}` : gateway))
  return [...new Set(found)]
}

/** Those that packets can leave by: of the default routes first, then whatever has an address. Never the loopback. */
export function outwardInterfaces(family: Family): string[] {
  const routed =
    family === 'v4'
      ? lines('/proc/self/net/route')
          .map((line) => line.split(/\s+/))
          .filter(([, destination, , , , , , mask]) => destination === '00000000' && mask === '00000000')
          .map(([device = '']) => device)
      : lines('/proc/self/net/ipv6_route')
          .map((line) => line.trim().split(/\s+/))
          .filter(([destination = '', length]) => length === '00' && /^0+$/.test(destination))
          .map(([, , , , , , , , , device = '']) => device)
  // The label of a second address of an interface has a colon in it.
  const addressed = Object.entries(networkInterfaces()).flatMap(([device, list]) =>
    list === undefined || list.every(({ internal }) => internal) ? [] : [device.split(':', 1)[0] ?? ''],
  )
  return [...new Set([...routed, ...addressed])].filter((device) => device !== 'lo').slice(0, MAX_INTERFACES)
}

/** Every address of this machine, without zones. */
export function ownAddresses(): Set<string> {
  return new Set(
    Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .map(({ address }) => address),
  )
}

/** The nameserver lines of resolv.conf(5): those a stub asks, without zones. */
export function resolvers(): string[] {
  return lines('/etc/resolv.conf')
    .flatMap((line) => {
      const [keyword, address = ''] = line.trim().split(/\s+/, 2)
      const bare = address.split('%', 1)[0] ?? ''
      return keyword === 'nameserver' && isIP(bare) !== 0 ? [bare] : []
    })
    .slice(0, MAX_RESOLVERS)
}

/** Those that lead around the rules, by their bit (linux/capability.h), and what each is good for. */
export const CAPABILITIES: ReadonlyMap<string, { readonly bit: number; readonly means: string }> = new Map([
  ['SETGID', { bit: 6, means: 'takes on any group' }],
  ['SETUID', { bit: 7, means: "becomes the proxy's user, whom the rules let out" }],
  ['NET_ADMIN', { bit: 12, means: 'edits rules and routes' }],
  ['NET_RAW', { bit: 13, means: 'sends raw frames, which netfilter does not see' }],
  ['SYS_MODULE', { bit: 16, means: 'loads code into the kernel' }],
  ['SYS_PTRACE', { bit: 19, means: 'takes over the process of the proxy' }],
  ['SYS_ADMIN', { bit: 21, means: 'enters other network namespaces' }],
  ['BPF', { bit: 39, means: 'loads programs into the network stack' }],
])

/** Of this process (`self`) or another one; null where it can not be read. */
export function privilegesOf(pid: number | 'self'): Privileges | null {
  const status = new Map(
    lines(`/proc/${pid}/status`).map((line): [string, string] => {
      const [name = '', value = ''] = line.split(':\t', 2)
      return [name, value.trim()]
    }),
  )
  const uids = status.get('Uid')?.split(/\s+/).map(Number)
  if (uids === undefined) return null
  const noNewPrivileges = status.get('NoNewPrivs') === '1'
  // root gets its bounding set back whenever it runs a program, unless that is forbidden (capabilities(7)).
  const regained = uids.includes(0) && !noNewPrivileges ? ['CapBnd'] : []
  const held = ['CapPrm', 'CapEff', 'CapInh', 'CapAmb', ...regained]
    .map((set) => BigInt(`0x${status.get(set) ?? '0'}`))
    .reduce((all, set) => all | set, 0n)
  return {
    who: `pid ${status.get('Pid') ?? pid} (${status.get('Name') ?? '?'})`,
    uid: uids[1] ?? -1,
    capabilities: [...CAPABILITIES].flatMap(([name, { bit }]) => (((held >> BigInt(bit)) & 1n) === 1n ? [name] : [])),
    noNewPrivileges,
  }
}

/** Its PID namespace is the first one (PROC_PID_INIT_INO), in which every process of this kernel shows. */
export function seesEveryProcess(): boolean {
  try {
    return readlinkSync('/proc/self/ns/pid') === 'pid:[4026531836]'
  } catch {
    return false
  }
}

/** The processes in this network namespace that run as `uid` in any of their four user ids. */
export function processesOf(uid: number): Privileges[] {
  const here = namespaceOf('self')
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((name) => {
      const pid = Number(name)
      const uids = lines(`/proc/${pid}/status`)
        .find((line) => line.startsWith('Uid:'))
        ?.split(/\s+/)
        .slice(1)
        .map(Number)
      if (uids?.includes(uid) !== true || namespaceOf(pid) !== here) return []
      const found = privilegesOf(pid)
      return found === null ? [] : [found]
    })
}

function namespaceOf(pid: number | 'self'): string | null {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`)
  } catch {
    return null
  }
}

function lines(file: string): string[] {
  try {
    return readFileSync(file, 'latin1')
      .split('\n')
      .filter((line) => line !== '')
  } catch {
    // Processes end while we look, and a kernel without IPv6 has no tables for it.
    return []
  }
}

function endpoint(text: string): string {
  const [address = '', port = '0'] = text.split(':')
  return socketName(addressOf(address), Number.parseInt(port, 16))
}

/** An address as /proc/net prints it: words of 32 bits in the order of this machine. */
function addressOf(hex: string): string {
  const words = hex.match(/.{8}/g) ?? []
  const ordered = words.map((word) => (endianness() === 'LE' ? (word.match(/../g) ?? []).reverse().join('') : word))
  const bytes = ordered.join('')
  return bytes.length === 8
    ? (bytes.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16)).join('.')
    : networkOrder(bytes)
}

function networkOrder(hex: string): string {
  const address = (hex.match(/.{4}/g) ?? []).join(':')
  return isIP(address) === 6 ? new SocketAddress({ address, family: 'ipv6' }).address : address
}
