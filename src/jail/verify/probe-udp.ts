// Probes over UDP: whether a datagram may be sent at all, and whether anybody answers.

import { Buffer } from 'node:buffer'
import { createSocket } from 'node:dgram'
import { ATTEMPT_TIMEOUT_MS, type Job, NEAR_TIMEOUT_MS, type NetworkProbe, type Observation } from './probe.ts'
import { nearFirst } from './probe-near.ts'
import { describeAnswer, question, readAnswer } from './probe-dns.ts'

/** connect(2) on a UDP socket only looks up the route; nothing is sent. */
const NO_ROUTE = new Set(['ENETUNREACH', 'EADDRNOTAVAIL', 'EHOSTUNREACH', 'EACCES', 'EINVAL'])
/** Any: nothing is sent to it. */
const ANY_PORT = 9
/** The smallest datagram that may open a QUIC connection (RFC 9000 §14.1). */
const QUIC_INITIAL_BYTES = 1_200
/** A version nobody speaks: a server of QUIC answers with those it speaks (RFC 9000 §6). */
const QUIC_UNKNOWN_VERSION = 0x1a2a3a4a

export function probeUdp(probe: NetworkProbe, job: Job): Promise<Observation> {
  const payload = probe.method === 'dns' ? question(job.question) : Buffer.from(probe.payload, 'base64')
  return nearFirst((hops) => attempt(probe, payload, hops), job.nearHops)
}

/** Whether the kernel has a route to `address` at this moment. */
export function hasRoute(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
    const settle = (found: boolean): void => {
      socket.close()
      resolve(found)
    }
    socket.once('error', () => settle(false))
    socket.connect(ANY_PORT, address, ((error?: Error | null) =>
      settle(error === undefined || error === null)) as () => void)
  })
}

/** Asks one of our own DNS listeners; null: no answer. */
export async function askDns(address: string, port: number, name: string): Promise<string | null> {
  const seen = await attempt({ address, port, method: 'dns' }, question(name), null)
  return seen.kind === 'answered' ? seen.dns : null
}

/** A long header of QUIC, padded, that every server answers. */
export function quicInitial(): Buffer {
  const packet = Buffer.alloc(QUIC_INITIAL_BYTES)
  packet[0] = 0xc0
  packet.writeUInt32BE(QUIC_UNKNOWN_VERSION, 1)
  packet[5] = 8
  packet.fill(0x6d, 6, 14)
  packet[14] = 8
  packet.fill(0x65, 15, 23)
  return packet
}

/** A question for the time (RFC 5905): leap 0, version 4, mode client. */
export function timeRequest(): Buffer {
  const packet = Buffer.alloc(48)
  packet[0] = 0x23
  return packet
}

function attempt(
  target: Pick<NetworkProbe, 'address' | 'port' | 'method'>,
  payload: Buffer,
  hops: number | null,
): Promise<Observation> {
  return new Promise((resolve) => {
    const socket = createSocket(target.address.includes(':') ? 'udp6' : 'udp4')
    let settled = false
    const settle = (seen: Observation): void => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      socket.close()
      resolve(seen)
    }
    const timer = setTimeout(() => settle({ kind: 'silent' }), hops === null ? ATTEMPT_TIMEOUT_MS : NEAR_TIMEOUT_MS)
    const refused = (error: NodeJS.ErrnoException): void => {
      const code = error.code ?? error.message
      // Only the firewall of this very machine makes a send fail with EPERM; no ICMP message does.
      settle({ kind: 'refused', code, near: code === 'EPERM' ? true : null })
    }
    socket.on('message', (message) => {
      const dns = target.method === 'dns' ? readAnswer(message) : null
      const what = dns === null ? `${message.length} bytes came back` : describeAnswer(dns)
      settle({ kind: 'answered', what, dns: dns === null ? null : dns.toString('base64') })
    })
    socket.on('error', refused)
    // The types leave out the error, which is how Node.js says that there is no route.
    const connected = (error?: NodeJS.ErrnoException | null): void => {
      if (error !== undefined && error !== null) {
        const code = error.code ?? error.message
        if (NO_ROUTE.has(code)) settle({ kind: 'no-route', code })
        else refused(error)
        return
      }
      if (hops !== null) socket.setTTL(hops)
      socket.send(payload, (failed) => {
        if (failed !== null) refused(failed)
      })
    }
    socket.connect(target.port ?? 0, target.address, connected)
  })
}
