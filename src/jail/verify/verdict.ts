// Decides what an observation proves: closed, open, or nothing. A function of values; whoever is not convinced says unknown.

import { Buffer } from 'node:buffer'
import { isNegative } from './probe-dns.ts'
import type { Landing, NetworkProbe, Observation, Topic } from './probe.ts'
import type { Count } from './accounting.ts'

/**
 * `refused`: the firewall, or the host in question, said no · `proxy`: it ends at our proxy, proven · `dropped`: it was made and
 * did not leave · `no-route` · `not-offered`: the kernel gives this user no such socket, or it lacks the right · `absent`: what
 * could be a way is not there.
 */
export type How = 'refused' | 'proxy' | 'dropped' | 'no-route' | 'not-offered' | 'absent'

export type Verdict =
  | { readonly verdict: 'closed'; readonly how: How; readonly evidence: string }
  | { readonly verdict: 'open'; readonly evidence: string; readonly fix: string }
  | { readonly verdict: 'unknown'; readonly evidence: string; readonly fix: string }

/** `output`: rules of this network namespace hold the workload. `prerouting`: its gateway does, so that leaving is normal. */
export type VerifyMode = 'output' | 'prerouting'

export interface Known {
  readonly mode: VerifyMode
  /** Sockets of this namespace that answered with a certificate of our CA. */
  readonly proven: ReadonlySet<string>
  /** What our own DNS listeners answer to the same question, base64. */
  readonly dnsReferences: readonly string[]
  /** Whether those listeners belong to the user of the proven ones; null: nobody can tell from here. */
  readonly dnsIsOurs: boolean | null
  /** Whether there was a CA to prove anything with. */
  readonly authority: boolean
}

/** Those by which the proxy refuses a connection that it makes no leaf for. */
const OUR_ALERT = /^TLS alert (?:access_denied|unrecognized_name)$/

export function judge(probe: NetworkProbe, seen: Observation, count: Count | null, known: Known): Verdict {
  // SECURITY: before anything the probe saw: a refusal may come from far away, and then the packet that asked for it has left.
  if (count !== null && count.left > 0 && known.mode === 'output') {
    return open(`${packets(count.left)} would have left this machine`, probe)
  }
  if (seen.kind === 'no-route') return closed('no-route', `no route to it (${seen.code})`)
  if (seen.kind === 'not-offered')
    return closed('not-offered', `the kernel gives this user no such socket (${seen.code})`)
  if (seen.kind === 'refused') return judgeRefusal(probe, seen, count, known)
  if (seen.kind === 'silent') return judgeSilence(probe, count, known)
  if (seen.kind === 'proven') return judgeProven(probe, seen)
  if (seen.kind === 'accepted') return judgeAccepted(probe, seen, known)
  if (seen.kind === 'answered') return judgeAnswer(probe, seen, known)
  return unknown(`not tried: ${seen.why}`, 'run it where this can be tried, or test this way yourself')
}

function judgeRefusal(
  probe: NetworkProbe,
  seen: Extract<Observation, { kind: 'refused' }>,
  count: Count | null,
  known: Known,
): Verdict {
  if (stayed(count)) return closed('refused', `${seen.code}, and nothing left`)
  if (seen.near === true)
    return closed('refused', `${seen.code}, ${known.mode === 'output' ? 'here' : 'at the gateway'}`)
  if (probe.place !== 'outside') return closed('refused', seen.code)
  return unknown(
    `${seen.code}, perhaps from the far end`,
    known.mode === 'output' ? 'run it as root, which shows what leaves' : 'see whether the gateway refuses it',
  )
}

function judgeSilence(probe: NetworkProbe, count: Count | null, known: Known): Verdict {
  if (stayed(count) && probe.place !== 'here') return closed('dropped', 'no answer, and nothing left')
  if (count !== null && count.left > 0) {
    return unknown(
      `${packets(count.left)} left this namespace, and nobody answered`,
      'have the gateway refuse it (mcp-egress iptables apply --mode prerouting there), or prove it with --canary',
    )
  }
  return unknown(
    'no answer: it may have left',
    known.mode === 'output' ? 'run it as root, which shows what leaves' : 'have the gateway refuse it, not drop it',
  )
}

function judgeProven(probe: NetworkProbe, seen: Extract<Observation, { kind: 'proven' }>): Verdict {
  const said =
    seen.status === null ? 'no answer inside' : `${seen.status}${seen.reason === null ? '' : ` ${seen.reason}`}`
  const evidence = `a certificate of our CA; ${said}`
  if (probe.topic === 'doh' && seen.status !== null && seen.status < 300) {
    return {
      verdict: 'open',
      evidence: `the proxy forwards it: ${said}`,
      fix: 'take the resolver out of the allow rules',
    }
  }
  if (probe.topic === 'self' && seen.reason !== 'self') {
    return seen.status === null
      ? unknown(evidence, 'run it again: the proxy did not answer in time')
      : open(`dialled directly it does not answer "self": ${said}`, probe)
  }
  return closed('proxy', evidence)
}

function judgeAccepted(probe: NetworkProbe, seen: Extract<Observation, { kind: 'accepted' }>, known: Known): Verdict {
  const said = seen.said === '' ? 'says nothing' : `answers with ${seen.said}`
  if (probe.topic === 'admin') return open(`the admin listener accepts the workload`, probe)
  // Over its budget of leaves the proxy sends an alert. The socket is the one that a certificate was just seen on.
  if (OUR_ALERT.test(seen.said) && seen.landing !== null && known.proven.has(seen.landing)) {
    return closed('proxy', `${said}; the listener ${seen.landing} proved itself on another connection`)
  }
  if (!known.authority) {
    return unknown(`somebody accepts it and ${said}`, 'name the CA with -c FILE, so that our proxy can prove itself')
  }
  const where = seen.landing === null ? '' : ` at ${seen.landing}`
  // Silence under load may be our own proxy; a connection that ended on no socket of this namespace is out.
  if (seen.said === '' && (seen.landing !== null || known.mode === 'prerouting')) {
    return unknown(`somebody accepts it${where} and ${said}`, 'see that our proxy listens there, and run it again')
  }
  if (OUR_ALERT.test(seen.said)) {
    return unknown(`somebody accepts it${where} and ${said}`, 'perhaps the proxy after many refusals: again in 30 s')
  }
  return open(`connected to somebody${where} who is not our proxy and ${said}`, probe)
}

function judgeAnswer(probe: NetworkProbe, seen: Extract<Observation, { kind: 'answered' }>, known: Known): Verdict {
  const ours = seen.dns !== null && known.dnsReferences.includes(seen.dns) && known.dnsIsOurs !== false
  if (ours && seen.dns !== null && isNegative(Buffer.from(seen.dns, 'base64'))) {
    return closed('proxy', `${seen.what}, byte for byte what our DNS listener answers`)
  }
  if (seen.dns === null) return open(`answered: ${seen.what}`, probe)
  return open(`a question for a name that no rule allows was answered: ${seen.what}`, probe)
}

/** Proof needs both: that the packets were seen being made, and that none came to the end of the way out. */
function stayed(count: Count | null): boolean {
  return count !== null && count.made > 0 && count.left === 0
}

export function closed(how: How, evidence: string): Verdict {
  return { verdict: 'closed', how, evidence }
}

export function unknown(evidence: string, fix: string): Verdict {
  return { verdict: 'unknown', evidence, fix }
}

const APPLY = 'run `mcp-egress iptables apply` as root with the uids of proxy and workload'

const FIXES: Readonly<Record<Topic, string>> = {
  tcp: APPLY,
  udp: `UDP is open: ${APPLY}`,
  dns: 'DNS carries data out: `mcp-egress iptables apply --dns reject`, or have the proxy answer it',
  doh: APPLY,
  icmp: `ICMP is open: ${APPLY}`,
  protocol: `other IP protocols are open: ${APPLY}`,
  bound: `a socket bound to an interface gets past REDIRECT, data in a DNS question with it: ${APPLY}; newer rules have the chain MCP_EGRESS_LEAVING, which stops it`,
  metadata: `credentials of this machine can be read: ${APPLY}`,
  gateway: 'close this port of the gateway to the workload in its own firewall',
  admin: 'put the rules in force with `-c FILE` of the proxy, so that they know listen.admin',
  self: 'see that nobody but mcp-egress listens there',
}

function open(evidence: string, probe: NetworkProbe): Verdict {
  const family = probe.family === 'v6' ? 'IPv6 is open here: ' : ''
  return { verdict: 'open', evidence, fix: `${family}${FIXES[probe.topic]}` }
}

/** The listeners that proved themselves by certificate. */
export function provenListeners(observations: Iterable<Observation>): Set<string> {
  const landings = [...observations].map((seen): Landing => (seen.kind === 'proven' ? seen.landing : null))
  return new Set(landings.filter((landing) => landing !== null))
}

function packets(count: number): string {
  return count === 1 ? '1 packet' : `${count} packets`
}
