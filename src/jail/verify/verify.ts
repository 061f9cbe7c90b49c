// Tries to get out by every way, from inside, and says of each whether it is closed, open, or not proven.

import { randomBytes, randomInt } from 'node:crypto'
import { kernelFamilies } from '../rules/firewall.ts'
import type { Family, Findings, Job, NetworkProbe, Privileges } from './probe.ts'
import { gateways, listenerUid, outwardInterfaces, ownAddresses, processesOf, resolvers } from './probe-kernel.ts'
import { familyOf, planProbes } from './probe-plan.ts'
import { runJob } from './probe-run.ts'
import { type Accounting, AccountingError, startAccounting } from './accounting.ts'
import { ProbeError, runJobAs } from './child.ts'
import { judge, type Known, provenListeners, type Verdict, type VerifyMode } from './verdict.ts'
import { judgeCapabilities, judgeNewPrivileges, judgeSocket, judgeUser, socketPaths, userOf } from './workload.ts'

export interface VerifyListener {
  readonly host: string
  readonly port: number
}

export interface VerifyOptions {
  readonly mode: VerifyMode
  /** Whose containment is checked; null: the caller's. Another user's needs root. */
  readonly workloadUid: number | null
  readonly proxyUid: number | null
  /** Hosts of the operator's own that answer, in place of public resolvers. */
  readonly canary: Readonly<Partial<Record<Family, string>>>
  readonly listeners: {
    readonly transparent: readonly VerifyListener[]
    readonly admin: readonly VerifyListener[]
    readonly dns: readonly VerifyListener[]
  }
  /** ca.pem; null: nothing can prove to be the proxy. */
  readonly ca: string | null
}

export type WayResult = Verdict & {
  readonly way: string
  readonly family: Family | null
  /** `ADDRESS PORT`, a path, or null. */
  readonly target: string | null
}

export interface Report {
  readonly mode: VerifyMode
  readonly uid: number
  /** `nft` or `iptables`: packets were counted and, in mode output, stopped; `none`: the probes went out. */
  readonly accounting: 'nft' | 'iptables' | 'none'
  readonly ways: readonly WayResult[]
  /** What a reader has to know beside it, one sentence each. */
  readonly notes: readonly string[]
  readonly summary: { readonly closed: number; readonly open: number; readonly unknown: number }
  /** Every way is proven closed. */
  readonly contained: boolean
}

/** The check could not be made; `message` says why and what to do. */
export class VerifyError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'VerifyError'
  }
}

/** How many hops a refusal may be away: the workload's own namespace, or its gateway. */
const NEAR_HOPS: Readonly<Record<VerifyMode, number>> = { output: 1, prerouting: 2 }
/** Where source ports of bound sockets begin: below those that Linux gives to others (net.ipv4.ip_local_port_range). */
const SOURCE_PORTS = { from: 20_000, below: 30_000 }
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Takes seconds, sends some seventy packets. Throws VerifyError. */
export async function verifyContainment(options: VerifyOptions): Promise<Report> {
  const own = process.getuid?.() ?? 0
  const uid = options.workloadUid ?? own
  if (own !== 0 && uid !== own) throw new VerifyError(`probing as uid ${uid} needs root: run it with sudo`)
  const families = kernelFamilies()
  const probes = plan(options, families)
  const user = uid === own ? null : userOf(uid)
  const { accounting, findings, counts } = await measure(
    () => startAccounting(probes, uid, options.mode === 'output'),
    (counted, stopped) => {
      const job: Job = {
        probes,
        ca: options.ca,
        question: `verify-${randomBytes(4).toString('hex')}.example.com`,
        dns: reachable(options.listeners.dns, options.mode),
        nearHops: counted && options.mode === 'output' ? null : NEAR_HOPS[options.mode],
        sockets: socketPaths(uid),
        user,
      }
      return user === null ? runJob(job) : runJobAs({ ...job, user }, stopped)
    },
  )
  const known = whatIsKnown(options, findings)
  const ways = [
    ...probes.map((probe): WayResult => {
      const seen = findings.observations[probe.id] ?? { kind: 'not-tried' as const, why: 'no result came back' }
      return { ...named(probe), ...judge(probe, seen, counts?.get(probe.id) ?? null, known) }
    }),
    ...(families.includes('v6') ? [] : [noIpv6()]),
    ...workloadWays(options, uid, findings, user === null),
  ]
  const led = probes.some(({ id, place }) => place !== 'here' && findings.observations[id]?.kind === 'proven')
  const count = (wanted: Verdict['verdict']): number => ways.filter(({ verdict }) => verdict === wanted).length
  const summary = { closed: count('closed'), open: count('open'), unknown: count('unknown') }
  return {
    mode: options.mode,
    uid,
    accounting: typeof accounting === 'string' ? 'none' : accounting.kind,
    ways,
    notes: notes(options, accounting, led),
    summary,
    contained: summary.open === 0 && summary.unknown === 0,
  }
}

function plan(options: VerifyOptions, families: readonly Family[]): NetworkProbe[] {
  return planProbes({
    families,
    canary: options.canary,
    // Behind a gateway nothing is rewritten here: a bound socket sends what every other one does, and the gateway sees no difference.
    interfaces:
      options.mode === 'output' ? { v4: outwardInterfaces('v4'), v6: outwardInterfaces('v6') } : { v4: [], v6: [] },
    sourcePort: randomInt(SOURCE_PORTS.from, SOURCE_PORTS.below),
    gateways: { v4: gateways('v4'), v6: gateways('v6') },
    resolvers: resolvers(),
    own: ownAddresses(),
    admin: reachable(options.listeners.admin, options.mode),
    transparent: reachable(options.listeners.transparent, options.mode),
  })
}

/** Where the workload finds a listener: on its own loopback, or at the gateway. */
function reachable(
  listeners: readonly VerifyListener[],
  mode: VerifyMode,
): { readonly address: string; readonly port: number }[] {
  return listeners.flatMap(({ host, port }) => {
    const any = host === '0.0.0.0' || host === '::'
    if (mode === 'output') return [{ address: any ? (host === '::' ? '::1' : '127.0.0.1') : host, port }]
    const at = host === '::' ? [...gateways('v4'), ...gateways('v6')] : gateways(familyOf(host))
    return at.map((address) => ({ address, port }))
  })
}

interface Measured {
  readonly accounting: Accounting | string
  readonly findings: Findings
  readonly counts: ReturnType<Accounting['read']> | null
}

/** The counters are read, and gone, whatever happens; a signal takes them out as well and then does what it does. */
async function measure(
  start: () => Accounting | string,
  probing: (counted: boolean, stopped: AbortSignal) => Promise<Findings>,
): Promise<Measured> {
  let accounting: Accounting | string = 'not begun'
  const stop = (): void => {
    if (typeof accounting !== 'string') accounting.stop()
  }
  const stopping = new AbortController()
  const onSignal = (signal: NodeJS.Signals): void => {
    // SECURITY: the probes before the counters, which keep what they send from leaving.
    stopping.abort()
    stop()
    forget()
    process.kill(process.pid, signal)
  }
  const forget = (): void => {
    for (const signal of SIGNALS) process.off(signal, onSignal)
  }
  // Before the counters are put in: a signal in between would leave them there.
  for (const signal of SIGNALS) process.on(signal, onSignal)
  try {
    accounting = start()
    const findings = await probing(typeof accounting !== 'string', stopping.signal)
    return { accounting, findings, counts: typeof accounting === 'string' ? null : accounting.read() }
  } catch (error) {
    if (error instanceof AccountingError || error instanceof ProbeError) throw new VerifyError(error.message)
    throw error
  } finally {
    stop()
    forget()
  }
}

function whatIsKnown(options: VerifyOptions, findings: Findings): Known {
  const proven = provenListeners(Object.values(findings.observations))
  const owner = (protocol: 'tcp' | 'udp', port: number): number | null => listenerUid(protocol, port)
  const owners = new Set([...proven].map((landing) => owner('tcp', portOf(landing))))
  const dnsOwners = options.listeners.dns.map(({ port }) => owner('udp', port))
  return {
    mode: options.mode,
    proven,
    dnsReferences: findings.dnsReferences,
    dnsIsOurs: options.mode === 'prerouting' ? null : dnsOwners.length > 0 && dnsOwners.every((uid) => owners.has(uid)),
    authority: options.ca !== null,
  }
}

/** `self`: the probes ran in a process of the very kind that is checked, so its rights are the answer. */
function workloadWays(options: VerifyOptions, uid: number, findings: Findings, self: boolean): WayResult[] {
  const found: readonly Privileges[] = self ? [findings.self] : processesOf(uid)
  const way = (name: string, verdict: Verdict, target: string | null = null): WayResult => ({
    way: name,
    family: null,
    target,
    ...verdict,
  })
  const inside =
    options.mode === 'prerouting'
      ? []
      : [way('no_new_privs', judgeNewPrivileges(found)), way("the proxy's user", judgeUser(uid, proxyUids(options)))]
  return [
    way('capabilities', judgeCapabilities(found, options.mode)),
    ...inside,
    ...findings.sockets.map((socket) => way('socket', judgeSocket(socket), socket.path)),
  ]
}

/** The one that was named, and whoever listens where redirected connections go. */
function proxyUids({ proxyUid, listeners }: VerifyOptions): Set<number> {
  const listening = listeners.transparent.map(({ port }) => listenerUid('tcp', port))
  return new Set([proxyUid, ...listening].filter((uid) => uid !== null))
}

/** `led`: a connection to somebody else was seen to end at our proxy. */
function notes(options: VerifyOptions, accounting: Accounting | string, led: boolean): string[] {
  const { transparent } = options.listeners
  const silent = transparent.filter(({ port }) => listenerUid('tcp', port) === null)
  const counted =
    options.mode === 'output'
      ? 'Packets were counted and stopped at the end of their way out: nothing was sent to strangers.'
      : 'Packets were counted where they leave this namespace; a gateway that refuses them has to say so.'
  return [
    typeof accounting === 'string'
      ? `Packets were not counted (${accounting}): silence proves nothing, and where a way is open the probes were sent.`
      : counted,
    ...(options.mode === 'output' && transparent.length > 0 && silent.length === transparent.length
      ? [`The proxy is not running: nobody listens on port ${portList(silent)}. Closed means here that nothing works.`]
      : []),
    ...(options.mode === 'output' && silent.length < transparent.length && !led
      ? ['No connection was led to our proxy: what is closed here is refused, also what policy would allow.']
      : []),
    ...(options.ca === null ? ['No CA was found: without -c FILE nobody can prove to be our proxy.'] : []),
  ]
}

function noIpv6(): WayResult {
  const evidence = 'this kernel has no IPv6'
  return { way: 'IPv6', family: 'v6', target: null, verdict: 'closed', how: 'no-route', evidence }
}

function named({ name, family, address, port }: NetworkProbe): Pick<WayResult, 'way' | 'family' | 'target'> {
  return { way: name, family, target: port === null ? address : `${address} ${port}` }
}

function portOf(landing: string): number {
  return Number(landing.slice(landing.lastIndexOf(':') + 1))
}

function portList(listeners: readonly VerifyListener[]): string {
  return [...new Set(listeners.map(({ port }) => port))].join(', ')
}
