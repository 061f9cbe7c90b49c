// What a configuration listens on, open: at the start, and changed to what another configuration wants.

import { existsSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { dirname } from 'node:path'
import type { AdminServer } from '../admin/admin.ts'
import { type Config, formatListenAddress, type ListenAddress } from '../config/load.ts'
import type { NameServer } from '../jail/dns/server.ts'
import type { ListenerDoor, Listeners } from '../proxy/listener.ts'
import type { InheritedSocket } from './activation.ts'

export interface OpenDoors {
  readonly addresses: readonly { readonly door: string; readonly address: ListenAddress }[]
  /** Configured on the IPv6 loopback, which this network namespace does not have. */
  readonly unavailable: readonly ListenAddress[]
}

export interface Servers {
  readonly listeners: Listeners
  readonly nameServer: NameServer
  readonly admin: AdminServer
  /** Every TCP port of ours: a request for one of them is a loop. */
  readonly onPorts: (ports: readonly number[]) => void
}

/** New doors that are open beside the old ones, until one of the two is called. */
export interface Changing {
  /** Closes what is not wanted any more. */
  commit(): void
  /** Closes what is new. */
  abandon(): void
}

type Door = ListenerDoor | 'dns' | 'admin'

interface OpenDoor {
  readonly door: Door
  /** As configured, so that it is known again; null: it was inherited, and stays. */
  readonly wanted: string | null
  readonly address: ListenAddress
  readonly close: () => void
}

const PROXY_DOORS = ['proxy', 'transparent', 'tproxy', 'gateway'] as const satisfies ListenerDoor[]

export class Doors {
  readonly #servers: Servers
  #open: readonly OpenDoor[] = []
  #unavailable: readonly ListenAddress[] = []

  constructor(servers: Servers) {
    this.#servers = servers
  }

  get state(): OpenDoors {
    return { addresses: this.#open, unavailable: this.#unavailable }
  }

  /** Takes sockets that a service manager has opened; what is configured for their doors is not listened on. */
  async adopt(inherited: readonly InheritedSocket[]): Promise<void> {
    for (const socket of inherited) {
      const address = await this.#servers.listeners.adopt(socket.door, socket)
      this.#open = [...this.#open, { door: socket.door, wanted: null, address, close: () => undefined }]
    }
    this.#tellPorts(this.#open)
  }

  /**
   * Opens what `listen` wants and is not open yet. Rejects with the first that can not be had, and nothing has changed then. Where
   * nothing is to be opened the result is there at once.
   */
  change(listen: Config['listen']): Changing | Promise<Changing> {
    const wanted = this.#wanted(listen).filter(({ address }) => hasFamily(address))
    const keys = new Set(wanted.map(({ key }) => key))
    const kept = this.#open.filter((open) => open.wanted === null || keys.has(open.wanted))
    const known = new Set(kept.map((open) => open.wanted))
    const missing = wanted.filter(({ key }) => !known.has(key))
    const changing = (opened: readonly OpenDoor[]): Changing => {
      // SECURITY: from the first moment on, a request for a new one is a loop as well.
      this.#tellPorts([...this.#open, ...opened])
      return { commit: () => this.#commit(listen, kept, opened), abandon: () => this.#abandon(opened) }
    }
    return missing.length === 0 ? changing([]) : this.#openAll(missing).then(changing)
  }

  #commit(listen: Config['listen'], kept: readonly OpenDoor[], opened: readonly OpenDoor[]): void {
    for (const open of this.#open) if (!kept.includes(open)) open.close()
    this.#open = [...kept, ...opened]
    this.#unavailable = this.#wanted(listen).flatMap(({ address }) => (hasFamily(address) ? [] : [address]))
    this.#tellPorts(this.#open)
  }

  #abandon(opened: readonly OpenDoor[]): void {
    for (const open of opened) open.close()
    this.#tellPorts(this.#open)
  }

  #wanted(listen: Config['listen']): { door: Door; address: ListenAddress; key: string }[] {
    const inherited = new Set(this.#open.flatMap(({ door, wanted }) => (wanted === null ? [door] : [])))
    const doors: Door[] = [...PROXY_DOORS.filter((door) => !inherited.has(door)), 'dns', 'admin']
    return doors.flatMap((door) =>
      (door === 'tproxy' ? [] : listen[door]).map((address) => ({
        door,
        address,
        key: `${door} ${formatListenAddress(address)}`,
      })),
    )
  }

  async #openAll(missing: readonly { door: Door; address: ListenAddress; key: string }[]): Promise<OpenDoor[]> {
    const opened: OpenDoor[] = []
    try {
      for (const { door, address, key } of missing) {
        opened.push({ door, wanted: key, ...(await this.#openOne(door, address)) })
      }
      return opened
    } catch (error) {
      for (const { close } of opened) close()
      throw error
    }
  }

  async #openOne(door: Door, wanted: ListenAddress): Promise<Pick<OpenDoor, 'address' | 'close'>> {
    const { listeners, nameServer, admin } = this.#servers
    if (wanted.kind === 'unix') requireFolder(wanted.path)
    if (door === 'admin') return admin.listen(wanted)
    if (door !== 'dns') return listeners.listen(door, wanted)
    if (wanted.kind !== 'tcp') throw new Error(`dns is not answered on ${formatListenAddress(wanted)}`)
    const { address, close } = await nameServer.listen(wanted)
    return { address: { kind: 'tcp', ...address }, close }
  }

  #tellPorts(open: readonly OpenDoor[]): void {
    this.#servers.onPorts(open.flatMap(({ address }) => (address.kind === 'tcp' ? [address.port] : [])))
  }
}

/** Without one the system says EACCES, which sends everybody to look for permissions. */
function requireFolder(socket: string): void {
  const folder = dirname(socket)
  if (!existsSync(folder)) throw new Error(`there is no folder for the socket ${socket}\n  fix: mkdir ${folder}`)
}

/** Many containers have no IPv6, and so no ::1: nobody can come in there, and the listeners of IPv4 must not fail for it. */
function hasFamily(address: ListenAddress): boolean {
  if (address.kind !== 'tcp' || address.host !== '::1') return true
  return Object.values(networkInterfaces()).some((each) => each?.some((entry) => entry.address === '::1') === true)
}
