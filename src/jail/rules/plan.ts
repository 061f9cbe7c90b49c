// Plans the netfilter rules that lead a workload's traffic into the proxy and let nothing else out, IPv4 and IPv6 in step.

import { isIP } from 'node:net'

import { chains, type Dns, type Layout } from './chains.ts'
import type { Family, RuleSet, UidRange } from './rule.ts'

export type { Family } from './rule.ts'

export type Mode = 'output' | 'prerouting'

/** A listener as configured. */
export interface TransparentListener {
  readonly kind: 'tcp'
  readonly host: string
  readonly port: number
}

/**
 * Port 53, UDP and TCP. `proxy`: all questions, whomever they are addressed to, go to the DNS listener. `reject`: no questions, not even
 * on loopback. Addresses: those resolvers may be asked, and any on loopback. `unlessServed`: `proxy` in each family that a DNS listener
 * serves, those resolvers in the other.
 */
export type DnsChoice = 'proxy' | 'reject' | readonly string[] | { readonly unlessServed: readonly string[] }

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
  readonly dns: DnsChoice
  readonly listeners: readonly TransparentListener[]
  /** The proxy's DNS listeners, each UDP and TCP. */
  readonly dnsListeners?: readonly TransparentListener[]
  /** Ports of the admin listener, which the workload never reaches. */
  readonly adminPorts: readonly number[]
}

/**
 * A network namespace of its own with nobody in it but the workload, and no way out but the proxy's listeners on its loopback. There is
 * no exempt user: the proxy itself runs elsewhere.
 */
export interface JailOptions {
  readonly mode: 'jail'
  readonly listeners: readonly TransparentListener[]
  /** Served on 127.0.0.1 and ::1, UDP and TCP. */
  readonly dnsPort: number
}

export type RulePlan =
  | { readonly ok: true; readonly sets: readonly RuleSet[]; readonly notes: readonly string[] }
  | { readonly ok: false; readonly problems: readonly string[] }

/** IFNAMSIZ less the terminator; no `+`, which is a wildcard to iptables. */
const INTERFACE_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/
const FAMILY_NAMES = { v4: 'IPv4', v6: 'IPv6' } as const

/**
 * The rules for `families`, or everything that is wrong with the options, each with its fix.
 * SECURITY: rules without a listener behind them are refused, not planned; so is a proxy that runs as the workload.
 */
export function planRules(options: RedirectOptions | JailOptions, families: readonly Family[]): RulePlan {
  const problems = options.mode === 'jail' ? [] : [...optionProblems(options)]
  const sets: RuleSet[] = []
  for (const family of families) {
    const port = redirectPort(options.listeners, family, options.mode)
    const dns = dnsOf(options, family)
    if (port === null) problems.push(unserved('transparent', family, options.mode))
    if (dns === null) problems.push(unserved('dns', family, options.mode))
    if (port === null || dns === null) continue
    const layout = layoutOf(options, port, dns)
    const namespace = options.mode === 'jail' ? 'own' : 'shared'
    if (layout !== null) sets.push({ family, namespace, chains: chains(layout, family) })
  }
  if (problems.length > 0) return { ok: false, problems }
  return { ok: true, sets, notes: options.mode === 'jail' ? [] : notes(options, families) }
}

/** The port of the listener that redirected connections of this family reach, or null. */
export function redirectPort(
  listeners: readonly TransparentListener[],
  family: Family,
  mode: Mode | 'jail',
): number | null {
  return listeners.find(({ host }) => serving(family, mode).includes(bare(host)))?.port ?? null
}

/** REDIRECT in OUTPUT arrives on loopback, from PREROUTING on the incoming interface's address. A `::` socket takes IPv4 too. */
function serving(family: Family, mode: Mode | 'jail'): readonly string[] {
  if (family === 'v6') return mode === 'prerouting' ? ['::'] : ['::1', '::']
  return mode === 'prerouting' ? ['0.0.0.0', '::'] : ['127.0.0.1', '0.0.0.0', '::']
}

/**
 * As `redirectPort`, for questions. A UDP socket on a wildcard address answers from the address that routing picks; after REDIRECT in
 * OUTPUT that is not the loopback address the question was led to, and the kernel does not take it for the answer.
 */
function dnsPort(options: RedirectOptions | JailOptions, family: Family): number | null {
  if (options.mode === 'jail') return options.dnsPort
  const listeners = options.dnsListeners ?? []
  if (options.mode === 'prerouting') return redirectPort(listeners, family, options.mode)
  return listeners.find(({ host }) => bare(host) === (family === 'v4' ? '127.0.0.1' : '::1'))?.port ?? null
}

/** null: the proxy is to answer questions, and has no listener for it. */
function dnsOf(options: RedirectOptions | JailOptions, family: Family): Dns | null {
  const choice = options.mode === 'jail' ? 'proxy' : options.dns
  if (choice === 'reject') return { kind: 'reject' }
  if (choice !== 'proxy' && !('unlessServed' in choice)) return { kind: 'resolvers', addresses: choice }
  const port = dnsPort(options, family)
  if (port !== null) return { kind: 'proxy', port }
  return choice === 'proxy' ? null : { kind: 'resolvers', addresses: choice.unlessServed }
}

/** null where an option is missing, which is among the problems already. */
function layoutOf(options: RedirectOptions | JailOptions, port: number, dns: Dns): Layout | null {
  if (options.mode === 'jail') return dns.kind === 'proxy' ? { mode: 'jail', port, dnsPort: dns.port } : null
  const { mode, proxyUid, workloadUids, inInterface, ports, adminPorts } = options
  const shared = { port, ports, adminPorts, dns }
  if (mode === 'output') return proxyUid === null ? null : { mode, proxyUid, workloadUids, ...shared }
  return inInterface === null ? null : { mode, inInterface, ...shared }
}

function bare(host: string): string {
  return host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
}

function unserved(key: 'transparent' | 'dns', family: Family, mode: Mode | 'jail'): string {
  const name = FAMILY_NAMES[family]
  const [anywhere, loopback] = family === 'v4' ? ['0.0.0.0', '127.0.0.1'] : ['[::]', '[::1]']
  const host = mode === 'prerouting' ? anywhere : loopback
  return key === 'transparent'
    ? `no transparent listener serves redirected ${name} connections: add "${host}:15001" to listen.transparent`
    : `no DNS listener serves redirected ${name} questions: add "${host}:15053" to listen.dns, or leave --dns proxy out`
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
  const { dns } = options
  if (dns === 'reject' || dns === 'proxy') return
  for (const address of 'unlessServed' in dns ? dns.unlessServed : dns) {
    if (isIP(address) === 0) yield `resolver "${address}" is not an IP address`
  }
}

/** What a reader of the rules has to know about them, one sentence a line. */
function notes(options: RedirectOptions, families: readonly Family[]): string[] {
  const who =
    options.mode === 'prerouting'
      ? `everything that comes in on ${options.inInterface}`
      : options.workloadUids.length === 0
        ? `everybody but uid ${options.proxyUid}, which is the proxy`
        : `uid ${options.workloadUids.map(uids).join(', ')}; uid ${options.proxyUid} is the proxy`
  const ports = options.ports.length === 0 ? 'every port' : `port ${options.ports.join(', ')}`
  return [
    `Workload: ${who}.`,
    `TCP to ${ports} goes to the proxy. All else is refused: other TCP, UDP (QUIC on 443 too), ICMP, every other protocol.`,
    ...dnsNotes(options, families),
    ...(families.includes('v6') ? [] : ['IPv6: this kernel has none, so there are no rules for it.']),
    'A workload that can become the proxy user (root, CAP_SETUID), edit these rules (CAP_NET_ADMIN) or send raw frames (CAP_NET_RAW) gets around them.',
  ]
}

function uids({ first, last }: UidRange): string {
  return first === last ? `${first}` : `${first}-${last}`
}

function dnsNotes(options: RedirectOptions, families: readonly Family[]): string[] {
  const plans = families.map((family) => ({ family, dns: dnsOf(options, family) }))
  const led = plans.flatMap(({ family, dns }) => (dns?.kind === 'proxy' ? [FAMILY_NAMES[family]] : []))
  const proxied = `DNS over ${led.join(' and ')}: every question goes to the proxy, whomever it is addressed to.`
  const open = plans.find(({ dns }) => dns?.kind === 'resolvers')?.dns
  return [
    ...(led.length > 0 ? [proxied] : []),
    ...(open?.kind === 'resolvers' ? openNotes(open.addresses) : closed(options)),
  ]
}

function closed({ dns }: RedirectOptions): string[] {
  if (dns !== 'reject') return []
  return [
    'DNS: refused. Only clients that hand names to the proxy (HTTPS_PROXY) or know them from /etc/hosts get anywhere.',
  ]
}

function openNotes(resolvers: readonly string[]): string[] {
  const whom = resolvers.length === 0 ? 'only resolvers on loopback' : resolvers.join(', ')
  return [
    `DNS: a client resolves a name before it connects, so port 53 stays open, UDP and TCP, to ${whom}.`,
    'Queries can carry data out. Close this with a DNS listener of the proxy (listen.dns), or with --dns reject where clients use HTTPS_PROXY.',
  ]
}
