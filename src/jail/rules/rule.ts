// The vocabulary of the redirection rules: what a rule may look at and what it may do, the same for every back end.

export type Family = 'v4' | 'v6'

/** Numeric user ids, both ends included. */
export interface UidRange {
  readonly first: number
  readonly last: number
}

/** A bit of the connection mark: remembered by the kernel for as long as it tracks the connection. */
export type Mark = 'asked' | 'served' | 'free'

/** All parts of a rule have to hold. Printed in the order written. */
export type Match =
  | { readonly kind: 'protocol'; readonly protocol: 'tcp' | 'udp'; readonly port?: number }
  | { readonly kind: 'icmpv6'; readonly type: number }
  /** `syn`: opens a connection; `syn-ack`: takes one; `rst`: ends or refuses one, and carries no data. */
  | { readonly kind: 'tcp-flags'; readonly flags: 'syn' | 'syn-ack' | 'rst' }
  | { readonly kind: 'from-interface'; readonly name: string; readonly not?: true }
  | { readonly kind: 'to-interface'; readonly name: string; readonly not?: true }
  /** An address or a CIDR of the family of the set. */
  | { readonly kind: 'to'; readonly address: string }
  | { readonly kind: 'to-this-host' }
  | { readonly kind: 'state'; readonly state: 'new' | 'established' | 'related' }
  /** `original`: sent by whoever the kernel saw first; `reply`: by the other side. */
  | { readonly kind: 'direction'; readonly direction: 'original' | 'reply' }
  /** The destination port before any translation. */
  | { readonly kind: 'asked-port'; readonly port: number }
  | { readonly kind: 'marked'; readonly mark: Mark }
  | { readonly kind: 'user'; readonly users: UidRange }
  /** A process still holds the socket; not what the kernel itself sends. */
  | { readonly kind: 'any-user' }

export type Verdict =
  | { readonly kind: 'return' }
  /** Goes on in another chain of ours and does not come back to this one. */
  | { readonly kind: 'goto'; readonly chain: string }
  | { readonly kind: 'refuse'; readonly as: 'reset' | 'unreachable' }
  /** Without a word: for packets whose sender can not be told, as nothing may leave to tell it. */
  | { readonly kind: 'drop' }
  /** To a port of this host. */
  | { readonly kind: 'redirect'; readonly port: number }
  /** Remembers something about the connection and goes on with the next rule. */
  | { readonly kind: 'mark'; readonly mark: Mark }

export interface Rule {
  readonly matches: readonly Match[]
  readonly verdict: Verdict
}

/** A chain of ours; `hook` is the built-in chain that leads to it, null for one that only our own chains lead to. */
export interface Chain {
  readonly table: 'filter' | 'mangle' | 'nat'
  readonly name: string
  readonly hook: 'OUTPUT' | 'PREROUTING' | 'INPUT' | 'FORWARD' | 'POSTROUTING' | null
  readonly rules: readonly Rule[]
}

export interface RuleSet {
  readonly family: Family
  /** `own`: a namespace made for these rules, which can have no older ones in it. */
  readonly namespace: 'shared' | 'own'
  /** filter and mangle before nat, so that refusal is in force before redirection. */
  readonly chains: readonly Chain[]
}

/** Every chain this program may own, with the built-in chain that leads to it. Nothing outside this list is ever touched. */
export const OWN_CHAINS: readonly Omit<Chain, 'rules'>[] = [
  { table: 'filter', name: 'MCP_EGRESS_FILTER', hook: 'OUTPUT' },
  { table: 'filter', name: 'MCP_EGRESS_WORKLOAD', hook: null },
  { table: 'filter', name: 'MCP_EGRESS_FORWARD', hook: 'FORWARD' },
  { table: 'filter', name: 'MCP_EGRESS_INPUT', hook: 'INPUT' },
  { table: 'mangle', name: 'MCP_EGRESS_LEAVING', hook: 'POSTROUTING' },
  { table: 'nat', name: 'MCP_EGRESS_OUT', hook: 'OUTPUT' },
  { table: 'nat', name: 'MCP_EGRESS_REDIRECT', hook: null },
  { table: 'nat', name: 'MCP_EGRESS_PRE', hook: 'PREROUTING' },
]

/** The one above it means "no user" to the kernel. */
export const LARGEST_UID = 4_294_967_294

/** Three bits of the 32, away from those of Kubernetes (0xc000), Calico (0xffff0000 of the packet's mark) and Tailscale (0xff0000). */
export const MARK_BITS: Readonly<Record<Mark, number>> = {
  asked: 0x0800_0000,
  served: 0x1000_0000,
  free: 0x2000_0000,
}
