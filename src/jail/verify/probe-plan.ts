// Which ways out are tried: by protocol, by port, by family, and at the doors of our own.

import type { Family, Method, NetworkProbe, Place, Topic, Transport } from './probe.ts'
import { quicInitial, timeRequest } from './probe-udp.ts'

export interface PlanOptions {
  readonly families: readonly Family[]
  /** A host of the operator's own, in place of the public resolvers. */
  readonly canary: Readonly<Partial<Record<Family, string>>>
  /** That sockets are bound to; empty: none are. */
  readonly interfaces: Readonly<Record<Family, readonly string[]>>
  /** First of the source ports for these, eight for each way. */
  readonly sourcePort: number
  readonly gateways: Readonly<Record<Family, readonly string[]>>
  /** Of resolv.conf; `own` tells addresses of this machine. */
  readonly resolvers: readonly string[]
  readonly own: ReadonlySet<string>
  /** As the workload reaches them. */
  readonly admin: readonly { readonly address: string; readonly port: number }[]
  readonly transparent: readonly { readonly address: string; readonly port: number }[]
}

/** A name that never exists (RFC 6761 §6.4): a proxy in observe mode gets no further than asking for it. */
const NOBODY = 'mcp-egress-verify.invalid'

/** Public resolvers: reachable from everywhere, meant for strangers, and what DoH, DoT and DNS tunnels would really use. */
const STRANGER: Readonly<Record<Family, string>> = { v4: '1.0.0.1', v6: '2606:4700:4700::1001' }
const DOH: readonly { readonly name: string; readonly address: Readonly<Record<Family, string>> }[] = [
  { name: 'cloudflare-dns.com', address: { v4: '1.1.1.1', v6: '2606:4700:4700::1111' } },
  { name: 'dns.google', address: { v4: '8.8.8.8', v6: '2001:4860:4860::8888' } },
]
const METADATA: Readonly<Record<Family, string>> = { v4: '169.254.169.254', v6: 'fd00:ec2::254' }

/** A proxy makes 20 leaves for denied names at once and then one a second, so all `tls` probes of a family stay below that. */
const TCP_PORTS: readonly (readonly [number, string])[] = [
  [443, 'HTTPS'],
  [80, 'HTTP'],
  [22, 'SSH'],
  [25, 'SMTP'],
  [853, 'DNS over TLS'],
  [5432, 'PostgreSQL'],
  [6379, 'Redis'],
  [8080, 'HTTP'],
  [8443, 'HTTPS'],
]
/** SSH, its web page, Docker's interface, the kubelet. */
const GATEWAY_PORTS = [22, 80, 2375, 10250]
const UDP_HIGH_PORT = 33_445
/** Source ports to choose from: some may be taken. */
const PORTS_EACH = 8
/** systemd-resolved, and Docker's embedded server. */
const STUBS = ['127.0.0.53', '127.0.0.11']

type Optional = 'serverName' | 'payload' | 'bound'
type Draft = Omit<NetworkProbe, 'id' | Optional> & Partial<Pick<NetworkProbe, Optional>>

export function planProbes(options: PlanOptions): NetworkProbe[] {
  const drafts = [
    ...boundSockets(options),
    ...options.families.flatMap((family) => [...outside(family, options), ...nearby(family, options)]),
    ...ownDoors(options),
  ]
  return drafts.map((draft, index) => ({ serverName: NOBODY, payload: '', bound: null, ...draft, id: `p${index}` }))
}

function outside(family: Family, { canary }: PlanOptions): Draft[] {
  const address = canary[family] ?? STRANGER[family]
  const to = (
    topic: Topic,
    name: string,
    transport: Transport,
    method: Method,
    port: number | null,
    payload: Buffer | null = null,
  ): Draft => ({
    topic,
    name,
    family,
    address,
    port,
    transport,
    method,
    place: 'outside',
    ...(payload === null ? {} : { payload: payload.toString('base64') }),
  })
  const some = Buffer.from('mcp-egress verify')
  return [
    ...TCP_PORTS.map(([port, name]) => to('tcp', `TCP ${port} ${name}`, 'tcp', 'tls', port)),
    to('dns', 'TCP 53 DNS', 'tcp', 'dns', 53),
    ...DOH.map((resolver) => ({
      ...to('doh', `DoH ${resolver.name}`, 'tcp', 'tls', 443),
      address: canary[family] ?? resolver.address[family],
      serverName: resolver.name,
    })),
    to('udp', 'UDP 443 QUIC', 'udp', 'datagram', 443, quicInitial()),
    to('dns', 'UDP 53 DNS', 'udp', 'dns', 53),
    to('udp', 'UDP 853 DoQ', 'udp', 'datagram', 853, quicInitial()),
    to('udp', 'UDP 123 NTP', 'udp', 'datagram', 123, timeRequest()),
    to('udp', `UDP ${UDP_HIGH_PORT}`, 'udp', 'datagram', UDP_HIGH_PORT, some),
    to('icmp', 'ICMP echo', 'icmp', 'echo', null),
    to('protocol', 'other IP protocols', 'udplite', 'udplite', UDP_HIGH_PORT, some),
  ]
}

/** Where rules lead to a listener of ours, and where QUIC would go; from each interface, with source ports of its own for each. */
function boundSockets({ families, canary, interfaces, sourcePort }: PlanOptions): Draft[] {
  const quic = quicInitial().toString('base64')
  const tied = families.flatMap((family) => interfaces[family].map((device) => ({ family, device })))
  const ways = tied.flatMap(({ family, device }) => {
    const address = canary[family] ?? STRANGER[family]
    const to = { topic: 'bound', family, address, place: 'outside', device } as const
    return [
      { ...to, name: 'UDP 53', transport: 'udp', method: 'dns', port: 53 },
      { ...to, name: 'UDP 443', transport: 'udp', method: 'datagram', port: 443, payload: quic },
      { ...to, name: 'TCP 443', transport: 'tcp', method: 'tls', port: 443 },
    ] as const
  })
  return ways.map(({ device, name, ...way }, index) => {
    const first = sourcePort + index * PORTS_EACH
    const bound = { interface: device, sourcePorts: { first, last: first + PORTS_EACH - 1 } }
    return { ...way, name: `bound to ${device}: ${name}`, bound }
  })
}

/** Hosts that are near for a workload and far from harmless: the cloud's metadata, the gateway, the resolvers. */
function nearby(family: Family, options: PlanOptions): Draft[] {
  const named = (topic: Topic, name: string, address: string, port: number): Draft => ({
    topic,
    name,
    family,
    address,
    port,
    transport: 'tcp',
    method: 'tls',
    place: 'named',
  })
  const asked = [...new Set([...options.resolvers, ...STUBS])].filter((address) => familyOf(address) === family)
  const [gateway] = options.gateways[family]
  return [
    named('metadata', 'cloud metadata', METADATA[family], 80),
    ...(gateway === undefined
      ? []
      : GATEWAY_PORTS.map((port) => named('gateway', `gateway TCP ${port}`, gateway, port))),
    ...asked.flatMap((address): Draft[] => {
      const place: Place = isHere(address, options.own) ? 'here' : 'named'
      const resolver = { topic: 'dns', family, address, port: 53, method: 'dns', place } as const
      return [
        { ...resolver, name: 'resolver UDP 53', transport: 'udp' },
        { ...resolver, name: 'resolver TCP 53', transport: 'tcp' },
      ]
    }),
  ]
}

function ownDoors({ admin, transparent, families }: PlanOptions): Draft[] {
  const door = (topic: 'admin' | 'self', name: string, address: string, port: number): Draft => ({
    topic,
    name,
    family: familyOf(address),
    address,
    port,
    transport: 'tcp',
    method: 'tls',
    place: 'here',
  })
  return [
    ...admin.map(({ address, port }) => door('admin', 'admin listener', address, port)),
    ...transparent.map(({ address, port }) => door('self', 'transparent listener, dialled', address, port)),
  ].filter(({ family }) => families.includes(family))
}

export function familyOf(address: string): Family {
  return address.includes(':') ? 'v6' : 'v4'
}

function isHere(address: string, own: ReadonlySet<string>): boolean {
  return address.startsWith('127.') || address === '::1' || own.has(address)
}
