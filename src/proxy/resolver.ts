// Turns a permitted name into addresses: /etc/hosts, then DNS, fully qualified, single-flight, bounded and cached.

import { type RecordWithTtl, promises as dns } from 'node:dns'
import { readFile, stat } from 'node:fs/promises'
import { isIP } from 'node:net'

/** CONTRACT §2 "Addresses": two tries of two seconds, answers kept for at most a minute. */
const DNS_TIMEOUT_MS = 2_000
const DNS_TRIES = 2
const MAX_TTL_MS = 60_000
/** An answer that says zero is still used by the requests that are waiting for it. */
const MIN_TTL_MS = 1_000
const MAX_CACHED_NAMES = 4_096
const MAX_LOOKUPS_IN_FLIGHT = 256
const MAX_ADDRESSES = 64

export type Resolution =
  | { readonly kind: 'addresses'; readonly addresses: readonly string[] }
  | { readonly kind: 'failed'; readonly detail: string }

export interface Resolver {
  resolve(name: string): Promise<Resolution>
}

export interface ResolverOptions {
  readonly hostsFile: string
  readonly resolvConf: string
  readonly now: () => number
  /** `address:port` of name servers; those of resolv.conf unless given. */
  readonly servers?: readonly string[]
  /** For one try. */
  readonly timeoutMs?: number
}

interface Cached {
  readonly resolution: Resolution
  readonly until: number
}

/** Names of one hosts file, lower case, in file order. */
function parseHosts(text: string): Map<string, string[]> {
  const table = new Map<string, string[]>()
  for (const line of text.split('\n')) {
    const [address, ...names] = (line.split('#')[0] ?? '').trim().split(/\s+/)
    if (address === undefined || isIP(address) === 0) continue
    for (const name of names) {
      const key = name.toLowerCase()
      const known = table.get(key)
      if (known === undefined) table.set(key, [address])
      else known.push(address)
    }
  }
  return table
}

export class SystemResolver implements Resolver {
  readonly #options: ResolverOptions
  readonly #cache = new Map<string, Cached>()
  readonly #inFlight = new Map<string, Promise<Resolution>>()
  #hosts: { readonly mtimeMs: number; readonly table: Map<string, string[]> } | null = null
  #dns: { readonly mtimeMs: number; readonly resolver: dns.Resolver } | null = null

  constructor(options: ResolverOptions) {
    this.#options = options
  }

  resolve(name: string): Promise<Resolution> {
    const cached = this.#cache.get(name)
    if (cached !== undefined && cached.until > this.#options.now()) return Promise.resolve(cached.resolution)
    const running = this.#inFlight.get(name)
    if (running !== undefined) return running
    if (this.#inFlight.size >= MAX_LOOKUPS_IN_FLIGHT) {
      return Promise.resolve({ kind: 'failed', detail: 'too many lookups in flight' })
    }
    const lookup = this.#lookup(name).finally(() => this.#inFlight.delete(name))
    this.#inFlight.set(name, lookup)
    return lookup
  }

  async #lookup(name: string): Promise<Resolution> {
    const fromHosts = (await this.#hostsTable()).get(name)
    if (fromHosts !== undefined) return this.#remember(name, fromHosts, MAX_TTL_MS / 60)
    const resolver = await this.#resolver()
    const deadlineMs = (this.#options.timeoutMs ?? DNS_TIMEOUT_MS) * DNS_TRIES
    const [v4, v6] = await Promise.allSettled([
      within(deadlineMs, resolver.resolve4(name, { ttl: true })),
      within(deadlineMs, resolver.resolve6(name, { ttl: true })),
    ])
    const answers: RecordWithTtl[] = []
    for (const result of [v4, v6]) if (result.status === 'fulfilled') answers.push(...result.value)
    if (answers.length === 0) {
      const failure = v4.status === 'rejected' ? (v4.reason as { code?: string }) : {}
      return { kind: 'failed', detail: failure.code ?? 'no address' }
    }
    const ttl = Math.min(...answers.map((answer) => answer.ttl)) * 1_000
    return this.#remember(
      name,
      answers.map((answer) => answer.address),
      ttl,
    )
  }

  #remember(name: string, addresses: readonly string[], ttlMs: number): Resolution {
    // SECURITY: an answer longer than the bound is refused whole: what is not checked must not be dialled, nor hide behind it.
    if (addresses.length > MAX_ADDRESSES) return { kind: 'failed', detail: 'too many addresses in the answer' }
    const resolution: Resolution = { kind: 'addresses', addresses }
    if (this.#cache.size >= MAX_CACHED_NAMES) {
      const oldest = this.#cache.keys().next().value
      if (oldest !== undefined) this.#cache.delete(oldest)
    }
    const until = this.#options.now() + Math.min(Math.max(ttlMs, MIN_TTL_MS), MAX_TTL_MS)
    this.#cache.set(name, { resolution, until })
    return resolution
  }

  async #hostsTable(): Promise<Map<string, string[]>> {
    const mtimeMs = await modified(this.#options.hostsFile)
    if (this.#hosts?.mtimeMs === mtimeMs) return this.#hosts.table
    const text = await readFile(this.#options.hostsFile, 'utf8').catch(() => null)
    // Not remembered: what can not be read for want of a descriptor can be a moment later.
    if (text === null) return this.#hosts?.table ?? new Map<string, string[]>()
    this.#hosts = { mtimeMs, table: parseHosts(text) }
    return this.#hosts.table
  }

  /** c-ares reads resolv.conf once, so a changed file needs a new resolver. */
  async #resolver(): Promise<dns.Resolver> {
    const mtimeMs = await modified(this.#options.resolvConf)
    if (this.#dns?.mtimeMs !== mtimeMs) {
      const { servers, timeoutMs = DNS_TIMEOUT_MS } = this.#options
      const resolver = new dns.Resolver({ timeout: timeoutMs, tries: DNS_TRIES })
      if (servers !== undefined) resolver.setServers(servers)
      this.#dns = { mtimeMs, resolver }
    }
    return this.#dns.resolver
  }
}

/** c-ares lengthens the second try, and asks every server of resolv.conf in turn: its own times are no bound. */
function within<T>(ms: number, query: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(Object.assign(new Error('no answer in time'), { code: 'ETIMEOUT' })), ms)
  })
  return Promise.race([query, deadline]).finally(() => clearTimeout(timer))
}

async function modified(file: string): Promise<number> {
  return stat(file).then(
    (found) => found.mtimeMs,
    () => 0,
  )
}

export function systemResolver(now: () => number): Resolver {
  return new SystemResolver({ hostsFile: '/etc/hosts', resolvConf: '/etc/resolv.conf', now })
}
