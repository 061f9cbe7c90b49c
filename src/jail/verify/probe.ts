// What a probe of containment is and what it can see: one way out, tried once, from inside.

export type Family = 'v4' | 'v6'

/** Longest wait of one attempt. */
export const ATTEMPT_TIMEOUT_MS = 1_800
/** Wait of an attempt whose packet dies at the first routers: its refusal comes at once or not at all. */
export const NEAR_TIMEOUT_MS = 500

/**
 * `tls`: a ClientHello, then one request · `dns`: a question, over UDP or TCP · `datagram`: bytes in one datagram ·
 * `echo`: an ICMP echo request · `udplite`: IP protocol 136, which stands for all that is neither TCP, UDP nor ICMP.
 */
export type Method = 'tls' | 'dns' | 'datagram' | 'echo' | 'udplite'
export type Transport = 'tcp' | 'udp' | 'icmp' | 'udplite'

/**
 * Where the target is. `outside`: a stranger, so that a refusal counts only if it was made here. `named`: that very host is the
 * question, and its refusal is an answer. `here`: an address of this machine, which no packet leaves for.
 */
export type Place = 'outside' | 'named' | 'here'

/** How a probe is tied to an interface of this namespace. */
export interface Bound {
  readonly interface: string
  /** Both ends included; by them the counters tell its packets from those of any other probe, whatever a rule makes of them. */
  readonly sourcePorts: { readonly first: number; readonly last: number }
}

/** What the probe is about; it chooses the words of its fix. */
export type Topic =
  | 'tcp'
  | 'udp'
  | 'dns'
  | 'doh'
  | 'icmp'
  | 'protocol'
  | 'bound'
  | 'metadata'
  | 'gateway'
  | 'admin'
  | 'self'

export interface NetworkProbe {
  readonly id: string
  readonly topic: Topic
  readonly name: string
  readonly family: Family
  readonly address: string
  /** Null where the protocol has no ports. */
  readonly port: number | null
  readonly transport: Transport
  readonly method: Method
  readonly place: Place
  /** Null: by whatever way the routes say. */
  readonly bound: Bound | null
  /** `tls`: the name in the hello and the request. */
  readonly serverName: string
  /** `datagram`: what is sent, base64. */
  readonly payload: string
}

/** Where a connection ended up, as the kernel tells: `ADDRESS:PORT` of a socket in this network namespace; null: not here. */
export type Landing = string | null

/** What one probe saw. No opinion yet: that is `verdict.ts`. */
export type Observation =
  /** `near`: a packet was refused that can not get past the gateway. Null: nobody knows how far it came. */
  | { readonly kind: 'refused'; readonly code: string; readonly near: boolean | null }
  | { readonly kind: 'no-route'; readonly code: string }
  /** The kernel gives this user no such socket. */
  | { readonly kind: 'not-offered'; readonly code: string }
  | { readonly kind: 'silent' }
  /** A TLS peer whose certificate chains to our CA; `status` and `reason` of its answer where there was one. */
  | {
      readonly kind: 'proven'
      readonly status: number | null
      readonly reason: string | null
      readonly landing: Landing
    }
  /** A TCP connection to somebody who did not prove to be the proxy; `said` is what it did instead, empty: nothing. */
  | { readonly kind: 'accepted'; readonly said: string; readonly landing: Landing }
  /** Bytes came back. `dns`: the message, base64, for comparison with an answer of our own. */
  | { readonly kind: 'answered'; readonly what: string; readonly dns: string | null }
  | { readonly kind: 'not-tried'; readonly why: string }

/** The probing process as proc(5) shows it, or another process of the workload's user. */
export interface Privileges {
  /** Who was looked at, for example `pid 41 (node)`. */
  readonly who: string
  readonly uid: number
  /** Names without `CAP_`, of any capability it holds or gets by running a program. */
  readonly capabilities: readonly string[]
  readonly noNewPrivileges: boolean
}

export interface UnixSocket {
  readonly path: string
  /** It accepted a connection. */
  readonly reached: boolean
}

/** What the probing process is asked to do. */
export interface Job {
  readonly probes: readonly NetworkProbe[]
  /** PEM; null: no certificate proves anything. */
  readonly ca: string | null
  /** The name in DNS questions, absolute, without the last dot. */
  readonly question: string
  /** Listeners of our own DNS door, asked for the answer that theirs is compared with. */
  readonly dns: readonly { readonly address: string; readonly port: number }[]
  /** How many hops away a refusal may be made and still be ours; null: somebody else decides (the accounting). */
  readonly nearHops: number | null
  readonly sockets: readonly string[]
  /** Become this user first; null: stay who we are. */
  readonly user: { readonly uid: number; readonly gid: number; readonly groups: readonly number[] } | null
}

export interface Findings {
  readonly observations: Readonly<Record<string, Observation>>
  /** Of the probing process. */
  readonly self: Privileges
  readonly sockets: readonly UnixSocket[]
  /** Answers of our own DNS listeners to the same question, base64. */
  readonly dnsReferences: readonly string[]
}
