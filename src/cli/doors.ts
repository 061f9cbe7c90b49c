// Opens what a configuration listens on, or takes what a service manager has opened in its place.

import { networkInterfaces } from 'node:os'
import type { AdminServer } from '../admin/admin.ts'
import type { Config, ListenAddress } from '../config/load.ts'
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
  /** Each TCP port of ours: a request for one of them is a loop. */
  readonly onPort: (port: number) => void
}

const DOORS = ['proxy', 'transparent', 'tproxy', 'gateway'] as const satisfies ListenerDoor[]

/** Rejects with the first that can not be had; those before it are open then. */
export async function openDoors(
  listen: Config['listen'],
  inherited: readonly InheritedSocket[],
  { listeners, nameServer, admin, onPort }: Servers,
): Promise<OpenDoors> {
  const addresses: { door: string; address: ListenAddress }[] = []
  const unavailable: ListenAddress[] = []
  const opened = (door: string, address: ListenAddress): void => {
    if (address.kind === 'tcp') onPort(address.port)
    addresses.push({ door, address })
  }
  const servable = (wanted: readonly ListenAddress[]): readonly ListenAddress[] => {
    unavailable.push(...wanted.filter((address) => !hasFamily(address)))
    return wanted.filter(hasFamily)
  }
  for (const door of DOORS) {
    const sockets = inherited.filter((socket) => socket.door === door)
    for (const socket of sockets) opened(door, await listeners.adopt(door, socket))
    if (sockets.length > 0 || door === 'tproxy') continue
    for (const wanted of servable(listen[door])) opened(door, await listeners.listen(door, wanted))
  }
  for (const wanted of servable(listen.dns)) {
    if (wanted.kind === 'tcp') opened('dns', { kind: 'tcp', ...(await nameServer.listen(wanted)) })
  }
  for (const wanted of servable(listen.admin)) opened('admin', await admin.listen(wanted))
  return { addresses, unavailable }
}

/** Many containers have no IPv6, and so no ::1: nobody can come in there, and the listeners of IPv4 must not fail for it. */
function hasFamily(address: ListenAddress): boolean {
  if (address.kind !== 'tcp' || address.host !== '::1') return true
  return Object.values(networkInterfaces()).some((each) => each?.some((entry) => entry.address === '::1') === true)
}
