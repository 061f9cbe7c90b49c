// Plans the netfilter rules that lead a workload's traffic into the proxy and let nothing else out, IPv4 and IPv6 in step.

import { isIP } from 'node:net'

export type Family = 'v4' | 'v6'
export type Mode = 'output' | 'prerouting'

/** A transparent listener as configured. */
export interface TransparentListener {
  readonly kind: 'tcp'
  readonly host: string
  readonly port: number
}

/** Numeric user ids, both ends included. */
export interface UidRange {
  readonly first: number
  readonly last: number
}

export interface RedirectOptions {
  /** `output`: the workload runs on this host or in this network namespace. `prerouting`: this host is its gateway. */
  readonly mode: Mode
  /** Runs the proxy and is exempt; needed in `output`, without meaning in `prerouting`. */
  readonly proxyUid: number | null
  /** Whose traffic is led in (`output`); empty: everybody's but the proxy's. */
  readonly workloadUids: readonly UidRange[]
  /** Where the workload's packets come in (`prerouting`). */
  readonly inInterface: string | null
  /** TCP ports led in; empty: every port. Other TCP is refused. */
  readonly ports: readonly number[]
  /** Resolvers the workload may ask on port 53, UDP and TCP; `reject`: none, not even on loopback. */
  readonly dns: readonly string[] | 'reject'
  readonly listeners: readonly TransparentListener[]
  /** Ports of the admin listener, which the workload never reaches. */
  readonly adminPorts: readonly number[]
}

/** A chain of ours; `hook` is the built-in chain that jumps to it, null for one that only our own chains jump to. */
export interface Chain {
  readonly table: 'filter' | 'nat'
  readonly name: string
  readonly hook: 'OUTPUT' | 'PREROUTING' | 'INPUT' | 'FORWARD' | null
  /** Rules in order, each as iptables(8) takes it after `-A CHAIN`. */
  readonly rules: readonly string[]
}

export interface RuleSet {
  readonly family: Family
  /** filter before nat, so that refusal is in force before redirection. */
  readonly chains: readonly Chain[]
}

export type RulePlan =
  | { readonly ok: true; readonly sets: readonly RuleSet[]; readonly notes: readonly string[] }
  | { readonly ok: false; readonly problems: readonly string[] }

/** Every chain this program may own, with the built-in chain that jumps to it. Nothing outside this list is ever touched. */
export const OWN_CHAINS: readonly Omit<Chain, 'rules'>[] = [
  { table: 'filter', name: 'MCP_EGRESS_FILTER', hook: 'OUTPUT' },
  { table: 'filter', name: 'MCP_EGRESS_WORKLOAD', hook: null },
  { table: 'filter', name: 'MCP_EGRESS_FORWARD', hook: 'FORWARD' },
  { table: 'filter', name: 'MCP_EGRESS_INPUT', hook: 'INPUT' },
  { table: 'nat', name: 'MCP_EGRESS_OUT', hook: 'OUTPUT' },
  { table: 'nat', name: 'MCP_EGRESS_REDIRECT', hook: null },
  { table: 'nat', name: 'MCP_EGRESS_PRE', hook: 'PREROUTING' },
]

const LOOPBACK = { v4: '127.0.0.0/8', v6: '::1/128' } as const
const REJECT_TCP = '-p tcp -j REJECT --reject-with tcp-reset'
const REJECT_REST = {
  v4: '-j REJECT --reject-with icmp-port-unreachable',
  v6: '-j REJECT --reject-with icmp6-port-unreachable',
} as const
/** Answers to connections that others opened to a server of the workload; a connection it opened itself is never one. */
const REPLIES = '-p tcp -m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j RETURN'
/** The last segments of a closed socket belong to no process any more, the proxy's own among them. */
const ORPHANS = '-p tcp -m conntrack --ctstate ESTABLISHED -m owner ! --socket-exists -j RETURN'
/** Router and neighbour discovery (RFC 4861) and the group reports it needs (RFC 3810): sent by the kernel, no IPv6 without. */
const NEIGHBOUR_DISCOVERY = [133, 134, 135, 136, 143]
/** IFNAMSIZ less the terminator; no `+`, which is a wildcard to iptables. */
const INTERFACE_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/

/**
 * The rules for `families`, or everything that is wrong with the options, each with its fix.
 * SECURITY: rules without a listener behind them are refused, not planned; so is a proxy that runs as the workload.
 */
export function planRules(options: RedirectOptions, families: readonly Family[]): RulePlan {
  const problems = [...optionProblems(options)]
  const sets: RuleSet[] = []
  for (const family of families) {
    const port = redirectPort(options.listeners, family, options.mode)
    if (port === null) problems.push(unserved(family, options.mode))
    else sets.push({ family, chains: chains(options, family, port) })
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, sets, notes: notes(options, families) }
}

/** The port of the listener that redirected connections of this family reach, or null. */
export function redirectPort(listeners: readonly TransparentListener[], family: Family, mode: Mode): number | null {
  return listeners.find(({ host }) => serving(family, mode).includes(bare(host)))?.port ?? null
}

/** REDIRECT in OUTPUT arrives on loopback, from PREROUTING on the incoming interface's address. A `::` socket takes IPv4 too. */
function serving(family: Family, mode: Mode): readonly string[] {
  if (family === 'v6') return mode === 'output' ? ['::1', '::'] : ['::']
  return mode === 'output' ? ['127.0.0.1', '0.0.0.0', '::'] : ['0.0.0.0', '::']
}

function bare(host: string): string {
  return host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
}

function unserved(family: Family, mode: Mode): string {
  const [name, host] =
    family === 'v4'
      ? ['IPv4', mode === 'output' ? '127.0.0.1' : '0.0.0.0']
      : ['IPv6', mode === 'output' ? '[::1]' : '[::]']
  return `no transparent listener serves redirected ${name} connections: add "${host}:15001" to listen.transparent`
}

function* optionProblems(options: RedirectOptions): Generator<string> {
  if (options.mode === 'output') {
    const { proxyUid } = options
    if (proxyUid === null) yield 'the proxy would be redirected to itself: name the user it runs as with --proxy-uid'
    else if (options.workloadUids.some(({ first, last }) => first <= proxyUid && proxyUid <= last)) {
      yield `uid ${proxyUid} is both proxy and workload, so the workload would be exempt: run the proxy as a user of its own`
    }
    if (options.inInterface !== null) yield '--in-interface belongs to --mode prerouting: leave it out'
  } else {
    if (options.inInterface === null)
      yield 'which packets come from the workload? name the interface with --in-interface'
    else if (!INTERFACE_NAME.test(options.inInterface)) yield `"${options.inInterface}" is not an interface name`
    if (options.workloadUids.length > 0)
      yield '--workload-uid belongs to --mode output: packets from outside carry no uid'
  }
  for (const port of options.ports) {
    if (!Number.isInteger(port) || port < 1 || port > 65535) yield `${port} is not a port: 1 to 65535`
  }
  if (options.dns === 'reject') return
  for (const address of options.dns) if (isIP(address) === 0) yield `resolver "${address}" is not an IP address`
}

function chains(options: RedirectOptions, family: Family, port: number): Chain[] {
  const rules = options.mode === 'output' ? outputRules(options, family, port) : gatewayRules(options, family, port)
  return OWN_CHAINS.flatMap((chain) => {
    const own = rules.get(chain.name)
    return own === undefined ? [] : [{ ...chain, rules: own }]
  })
}

function outputRules(options: RedirectOptions, family: Family, port: number): Map<string, string[]> {
  const everybody = options.workloadUids.length === 0
  const dispatch = (target: string): string[] => [
    `-m owner --uid-owner ${options.proxyUid} -j RETURN`,
    ...(everybody
      ? [`-j ${target}`]
      : options.workloadUids.map((uids) => `-m owner --uid-owner ${uid(uids)} -j ${target}`)),
  ]
  // Packets without a process only get here when everybody is the workload; a rule for a uid never matches them.
  const kernel = everybody ? [ORPHANS, ...(family === 'v6' ? NEIGHBOUR_DISCOVERY.map(icmpv6) : [])] : []
  return new Map([
    ['MCP_EGRESS_FILTER', dispatch('MCP_EGRESS_WORKLOAD')],
    [
      'MCP_EGRESS_WORKLOAD',
      [
        REPLIES,
        // SECURITY: before the loopback rule, which would let the workload talk to the admin listener.
        ...refusedPorts(options, family),
        `-d ${LOOPBACK[family]} -j RETURN`,
        ...kernel,
        ...resolverRules(options, family),
        REJECT_TCP,
        REJECT_REST[family],
      ],
    ],
    ['MCP_EGRESS_OUT', dispatch('MCP_EGRESS_REDIRECT')],
    [
      'MCP_EGRESS_REDIRECT',
      [`-d ${LOOPBACK[family]} -j RETURN`, ...resolverRules(options, family, ['tcp']), ...redirects(options, port)],
    ],
  ])
}

function gatewayRules(options: RedirectOptions, family: Family, port: number): Map<string, string[]> {
  const others = `! -i ${options.inInterface} -j RETURN`
  return new Map([
    ['MCP_EGRESS_FORWARD', [others, REPLIES, ...resolverRules(options, family), REJECT_TCP, REJECT_REST[family]]],
    ['MCP_EGRESS_INPUT', [others, ...refusedPorts(options, family)]],
    [
      'MCP_EGRESS_PRE',
      [
        others,
        // The proxy's other doors on this host stay reachable, and a direct hit on the redirect port shows as one.
        '-m addrtype --dst-type LOCAL -j RETURN',
        ...resolverRules(options, family, ['tcp']),
        ...redirects(options, port),
      ],
    ],
  ])
}

/** What this very host must not answer: the admin listener, and with `--dns reject` every stub resolver, Docker's too. */
function refusedPorts(options: RedirectOptions, family: Family): string[] {
  const admin = options.adminPorts.map((port) => `-p tcp --dport ${port} -j REJECT --reject-with tcp-reset`)
  if (options.dns !== 'reject') return admin
  // The port before translation: Docker rewrites 127.0.0.11:53 to a port of its own.
  const asked = '-m conntrack --ctorigdstport 53 --ctdir ORIGINAL'
  return [...admin, `-p tcp ${asked} -j REJECT --reject-with tcp-reset`, `-p udp ${asked} ${REJECT_REST[family]}`]
}

function resolverRules(
  options: RedirectOptions,
  family: Family,
  protocols: readonly string[] = ['udp', 'tcp'],
): string[] {
  if (options.dns === 'reject') return []
  const version = family === 'v4' ? 4 : 6
  return options.dns
    .filter((address) => isIP(address) === version)
    .flatMap((address) => protocols.map((protocol) => `-d ${address} -p ${protocol} --dport 53 -j RETURN`))
}

function redirects(options: RedirectOptions, port: number): string[] {
  const target = `-j REDIRECT --to-ports ${port}`
  if (options.ports.length === 0) return [`-p tcp ${target}`]
  return options.ports.map((dport) => `-p tcp --dport ${dport} ${target}`)
}

function icmpv6(type: number): string {
  return `-p ipv6-icmp --icmpv6-type ${type} -j RETURN`
}

function uid({ first, last }: UidRange): string {
  return first === last ? `${first}` : `${first}-${last}`
}

/** What a reader of the rules has to know about them, one sentence a line. */
function notes(options: RedirectOptions, families: readonly Family[]): string[] {
  const who =
    options.mode === 'prerouting'
      ? `everything that comes in on ${options.inInterface}`
      : options.workloadUids.length === 0
        ? `everybody but uid ${options.proxyUid}, which is the proxy`
        : `uid ${options.workloadUids.map(uid).join(', ')}; uid ${options.proxyUid} is the proxy`
  const ports = options.ports.length === 0 ? 'every port' : `port ${options.ports.join(', ')}`
  return [
    `Workload: ${who}.`,
    `TCP to ${ports} goes to the proxy. All else is refused: other TCP, UDP (QUIC on 443 too), ICMP, every other protocol.`,
    ...dnsNotes(options),
    ...(families.includes('v6') ? [] : ['IPv6: this kernel has none, so there are no rules for it.']),
    'A workload that can become the proxy user (root, CAP_SETUID), edit these rules (CAP_NET_ADMIN) or send raw frames (CAP_NET_RAW) gets around them.',
  ]
}

function dnsNotes({ dns }: RedirectOptions): string[] {
  if (dns === 'reject') {
    return [
      'DNS: refused. Only clients that hand names to the proxy (HTTPS_PROXY) or know them from /etc/hosts get anywhere.',
    ]
  }
  const whom = dns.length === 0 ? 'only resolvers on loopback' : dns.join(', ')
  return [
    `DNS: a client resolves a name before it connects, so port 53 stays open, UDP and TCP, to ${whom}.`,
    'Queries can carry data out. Where clients use HTTPS_PROXY, close this with --dns reject: the proxy resolves for them.',
  ]
}
