// The chains themselves: which packets of a workload pass, which are led to the proxy, which are refused, for each layout.

import { isIP } from 'node:net'

import { type Chain, type Family, type Match, OWN_CHAINS, type Rule, type UidRange, type Verdict } from './rule.ts'

/** Options that were checked, with the ports of the listeners that serve this family. */
export type Layout =
  | ({ readonly mode: 'output'; readonly proxyUid: number; readonly workloadUids: readonly UidRange[] } & Shared)
  | ({ readonly mode: 'prerouting'; readonly inInterface: string } & Shared)
  | { readonly mode: 'jail'; readonly port: number; readonly dnsPort: number }

interface Shared {
  /** Of the transparent listener. */
  readonly port: number
  /** TCP ports led in; empty: every port. */
  readonly ports: readonly number[]
  readonly adminPorts: readonly number[]
  readonly dns: Dns
}

/** Where questions go: to the proxy's own listener, nowhere, or to these resolvers of either family. */
export type Dns =
  | { readonly kind: 'proxy'; readonly port: number }
  | { readonly kind: 'reject' }
  | { readonly kind: 'resolvers'; readonly addresses: readonly string[] }

type Rules = ReadonlyMap<string, readonly Rule[]>

const LOOPBACK = { v4: '127.0.0.0/8', v6: '::1/128' } as const
/** Where REDIRECT in OUTPUT leads. */
const REDIRECTED = { v4: '127.0.0.1/32', v6: '::1/128' } as const
const DNS_PORT = 53
/** Router and neighbour discovery (RFC 4861) and the group reports it needs (RFC 3810): sent by the kernel, no IPv6 without. */
const NEIGHBOUR_DISCOVERY = [133, 134, 135, 136, 143]

const TCP = { kind: 'protocol', protocol: 'tcp' } as const
const SYN: Match = { kind: 'tcp-flags', flags: 'syn' }
const RST: Match = { kind: 'tcp-flags', flags: 'rst' }
const ORIGINAL: Match = { kind: 'direction', direction: 'original' }
const REPLY: Match = { kind: 'direction', direction: 'reply' }

/*
 * SECURITY: F18. Connection tracking starts with the first rules. A connection older than they are is met in its middle, and when the
 * first packet seen is an inbound one, the kernel takes the workload's side for the answering one. So an answer counts only on a
 * connection whose handshake was seen: SYN in, SYN-ACK out. A SYN sent into an old connection does not pass for one, since a
 * socket that is already open answers it with an ACK.
 */
const SAW_SYN = rule([TCP, SYN, { kind: 'state', state: 'new' }], { kind: 'mark', mark: 'asked' })
const SAW_SYN_ACK = rule([TCP, { kind: 'tcp-flags', flags: 'syn-ack' }, REPLY, { kind: 'marked', mark: 'asked' }], {
  kind: 'mark',
  mark: 'served',
})
const ANSWERS: readonly Rule[] = [
  rule([TCP, { kind: 'state', state: 'established' }, REPLY, { kind: 'marked', mark: 'served' }]),
  // Made by the kernel, without data: "nobody listens here", and the resets of our own refusals, which go to the workload itself.
  rule([TCP, RST, REPLY, { kind: 'marked', mark: 'asked' }]),
  rule([TCP, RST, { kind: 'state', state: 'related' }]),
]
const REFUSE_TCP = rule([TCP], { kind: 'refuse', as: 'reset' })
const REFUSE_REST = rule([], { kind: 'refuse', as: 'unreachable' })

export function chains(layout: Layout, family: Family): Chain[] {
  const rules = rulesOf(layout, family)
  return OWN_CHAINS.flatMap((chain) => {
    const own = rules.get(chain.name)
    return own === undefined ? [] : [{ ...chain, rules: own }]
  })
}

function rulesOf(layout: Layout, family: Family): Rules {
  if (layout.mode === 'jail') return jailRules(layout, family)
  return layout.mode === 'output' ? outputRules(layout, family) : gatewayRules(layout, family)
}

function outputRules(layout: Extract<Layout, { mode: 'output' }>, family: Family): Rules {
  const { dns } = layout
  const everybody = layout.workloadUids.length === 0
  const proxy: Match = { kind: 'user', users: { first: layout.proxyUid, last: layout.proxyUid } }
  const workload = layout.workloadUids.map((users): Match => ({ kind: 'user', users }))
  const kernel = everybody && family === 'v6' ? NEIGHBOUR_DISCOVERY.map((type) => rule([{ kind: 'icmpv6', type }])) : []
  return new Map([
    [
      'MCP_EGRESS_FILTER',
      [SAW_SYN_ACK, ...freed(proxy), ...(everybody ? owned(workloadOf([])) : [...workloadOf(workload), ...others()])],
    ],
    [
      'MCP_EGRESS_WORKLOAD',
      [
        ...ANSWERS,
        // SECURITY: before the loopback rule, which would let the workload talk to the admin listener and to stub resolvers.
        ...refusedPorts(layout.adminPorts),
        ...(dns.kind === 'proxy' ? dnsPassage(dns.port, REDIRECTED[family]) : []),
        ...(dns.kind === 'resolvers' ? [] : refusedQuestions()),
        rule([{ kind: 'to', address: LOOPBACK[family] }]),
        ...kernel,
        ...resolverRules(dns, family),
        REFUSE_TCP,
        REFUSE_REST,
      ],
    ],
    ['MCP_EGRESS_INPUT', [SAW_SYN]],
    ['MCP_EGRESS_LEAVING', [strayLoopback(family)]],
    [
      'MCP_EGRESS_OUT',
      [
        rule([proxy]),
        ...(everybody
          ? [rule([], { kind: 'goto', chain: 'MCP_EGRESS_REDIRECT' })]
          : workload.map((who) => rule([who], { kind: 'goto', chain: 'MCP_EGRESS_REDIRECT' }))),
      ],
    ],
    [
      'MCP_EGRESS_REDIRECT',
      [
        ...redirectedQuestions(dns),
        rule([{ kind: 'to', address: LOOPBACK[family] }]),
        ...resolverRules(dns, family, ['tcp']),
        ...redirects(layout.ports, layout.port),
      ],
    ],
  ])
}

/*
 * SECURITY: F18. What a closed socket still had to send belongs to no user any more and would pass every rule that names one: a
 * workload could fill a connection it opened before the rules, close it, and let the other side fetch the rest. So connections
 * opened by those who may are marked while they still have an owner, and ownerless TCP passes only with that mark.
 */
function freed(...who: Match[]): Rule[] {
  return [rule([TCP, ...who, ORIGINAL], { kind: 'mark', mark: 'free' }), rule(who)]
}

/**
 * SECURITY: a socket bound to an interface (SO_BINDTODEVICE, which needs no capability) keeps it when REDIRECT makes its destination
 * loopback: the packet, a question with data in it for one, would leave by that interface, addressed to 127.0.0.1. Only here, behind
 * the translation, is the interface seen by which it really leaves.
 */
function strayLoopback(family: Family): Rule {
  const to: Match = { kind: 'to', address: LOOPBACK[family] }
  return rule([to, { kind: 'to-interface', name: 'lo', not: true }], { kind: 'drop' })
}

function workloadOf(users: readonly Match[]): Rule[] {
  const who: readonly Match[] = users.length === 0 ? [{ kind: 'any-user' }] : users
  return who.map((match) => rule([match], { kind: 'goto', chain: 'MCP_EGRESS_WORKLOAD' }))
}

/** When everybody is the workload: what has an owner, then what has none, where the kernel's own packets are too. */
function owned(workload: readonly Rule[]): Rule[] {
  return [
    ...workload,
    rule([TCP, { kind: 'marked', mark: 'free' }]),
    rule([], { kind: 'goto', chain: 'MCP_EGRESS_WORKLOAD' }),
  ]
}

/** When the workload is named: nobody else is touched, but for TCP without an owner that nobody is known to have opened. */
function others(): Rule[] {
  return [
    // Clients inside the kernel, such as a mounted network file system, have no user: known by the SYN, which no closed socket sends.
    rule([TCP, SYN, { kind: 'state', state: 'new' }], { kind: 'mark', mark: 'free' }),
    ...freed({ kind: 'any-user' }),
    rule([TCP, { kind: 'marked', mark: 'free' }]),
    rule([TCP], { kind: 'goto', chain: 'MCP_EGRESS_WORKLOAD' }),
  ]
}

function gatewayRules(layout: Extract<Layout, { mode: 'prerouting' }>, family: Family): Rules {
  const { dns, inInterface } = layout
  const elsewhere = rule([{ kind: 'from-interface', name: inInterface, not: true }])
  return new Map([
    [
      'MCP_EGRESS_FORWARD',
      [
        { ...SAW_SYN, matches: [{ kind: 'to-interface', name: inInterface }, ...SAW_SYN.matches] },
        elsewhere,
        SAW_SYN_ACK,
        ...ANSWERS,
        ...resolverRules(dns, family),
        REFUSE_TCP,
        REFUSE_REST,
      ],
    ],
    [
      'MCP_EGRESS_INPUT',
      [
        elsewhere,
        ...refusedPorts(layout.adminPorts),
        ...(dns.kind === 'proxy' ? dnsPassage(dns.port) : []),
        ...(dns.kind === 'resolvers' ? [] : refusedQuestions()),
      ],
    ],
    [
      'MCP_EGRESS_PRE',
      [
        elsewhere,
        // Before the next rule: also a question addressed to this host.
        ...redirectedQuestions(dns),
        // The proxy's other doors on this host stay reachable, and a direct hit on the redirect port shows as one.
        rule([{ kind: 'to-this-host' }]),
        ...resolverRules(dns, family, ['tcp']),
        ...redirects(layout.ports, layout.port),
      ],
    ],
  ])
}

/** A namespace with nobody in it but the workload and the listeners of the proxy: no user is exempt and nothing leaves. */
function jailRules({ port, dnsPort }: Extract<Layout, { mode: 'jail' }>, family: Family): Rules {
  const loopback = rule([{ kind: 'to', address: LOOPBACK[family] }])
  return new Map([
    // What the listeners answer goes to whatever address of the jail the client has.
    [
      'MCP_EGRESS_FILTER',
      [
        rule([REPLY]),
        ...dnsPassage(dnsPort, REDIRECTED[family]),
        ...refusedQuestions(),
        loopback,
        REFUSE_TCP,
        REFUSE_REST,
      ],
    ],
    ['MCP_EGRESS_OUT', [...redirectedQuestions({ kind: 'proxy', port: dnsPort }), loopback, ...redirects([], port)]],
  ])
}

function refusedPorts(ports: readonly number[]): Rule[] {
  return ports.map((port) => rule([{ ...TCP, port }], { kind: 'refuse', as: 'reset' }))
}

function dnsPassage(port: number, address?: string): Rule[] {
  const to: readonly Match[] = address === undefined ? [] : [{ kind: 'to', address }]
  return (['udp', 'tcp'] as const).map((protocol) => rule([...to, { kind: 'protocol', protocol, port }]))
}

/**
 * No stub resolver answers, on loopback either. By the port as it is, for flows that were there before the rules; and by the port before
 * translation, since Docker rewrites 127.0.0.11:53 to a port of its own.
 */
function refusedQuestions(): Rule[] {
  return (['tcp', 'udp'] as const).flatMap((protocol) => {
    const refuse: Verdict = { kind: 'refuse', as: protocol === 'tcp' ? 'reset' : 'unreachable' }
    return [
      rule([{ kind: 'protocol', protocol, port: DNS_PORT }], refuse),
      rule([{ kind: 'protocol', protocol }, { kind: 'asked-port', port: DNS_PORT }, ORIGINAL], refuse),
    ]
  })
}

/** First of all in its chain: before loopback is left alone, and before Docker's own rewriting of 127.0.0.11. */
function redirectedQuestions(dns: Dns): Rule[] {
  if (dns.kind !== 'proxy') return []
  return (['udp', 'tcp'] as const).map((protocol) =>
    rule([{ kind: 'protocol', protocol, port: DNS_PORT }], { kind: 'redirect', port: dns.port }),
  )
}

function resolverRules(dns: Dns, family: Family, protocols: readonly ('udp' | 'tcp')[] = ['udp', 'tcp']): Rule[] {
  if (dns.kind !== 'resolvers') return []
  const version = family === 'v4' ? 4 : 6
  return dns.addresses
    .filter((address) => isIP(address) === version)
    .flatMap((address) =>
      protocols.map((protocol) =>
        rule([
          { kind: 'to', address },
          { kind: 'protocol', protocol, port: DNS_PORT },
        ]),
      ),
    )
}

function redirects(ports: readonly number[], port: number): Rule[] {
  const verdict: Verdict = { kind: 'redirect', port }
  if (ports.length === 0) return [rule([TCP], verdict)]
  return ports.map((asked) => rule([{ ...TCP, port: asked }], verdict))
}

function rule(matches: readonly Match[], verdict: Verdict = { kind: 'return' }): Rule {
  return { matches, verdict }
}
