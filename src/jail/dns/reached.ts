// At which address a client reaches this machine, for answers that name the proxy by it.

import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { hostFromAddress } from '../../core/address.ts'

const KEPT_MS = 60_000
const MAX_KEPT = 1_024
/** Any port will do, as nothing is sent: 9 is the one that throws away (RFC 863). */
const DISCARD_PORT = 9

export class ReachedAddresses {
  readonly #now: () => number
  readonly #kept = new Map<string, { readonly address: Promise<string | null>; readonly until: number }>()

  constructor(now: () => number) {
    this.#now = now
  }

  /** The local address of packets to `source`, a peer address as the socket gave it; null where there is no way back. */
  towards(source: string): Promise<string | null> {
    const kept = this.#kept.get(source)
    if (kept !== undefined && kept.until > this.#now()) return kept.address
    this.#kept.delete(source)
    const [oldest] = this.#kept.keys()
    if (this.#kept.size >= MAX_KEPT && oldest !== undefined) this.#kept.delete(oldest)
    const address = localAddressTowards(source)
    this.#kept.set(source, { address, until: this.#now() + KEPT_MS })
    return address
  }
}

/** connect(2) on a datagram socket chooses a route and a local address, and sends nothing. */
function localAddressTowards(source: string): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(source.split('%')[0] ?? '') ? 'udp6' : 'udp4')
    const finish = (address: string | null): void => {
      socket.close()
      resolve(address)
    }
    socket.once('error', () => finish(null))
    socket.once('connect', () => finish(hostFromAddress(socket.address().address).text))
    socket.connect(DISCARD_PORT, source)
  })
}
