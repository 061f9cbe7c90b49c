// The public keys of an issuer, fetched from its URL: now, again from time to time, and when a token names a key that is not there.

import { isIPv6, type LookupFunction } from 'node:net'
import type { SecureContext } from 'node:tls'
import { Client } from 'undici'
import { MAX_JWKS_BYTES, readJwks, type VerificationKey } from '../config/jwks.ts'
import { type AddressPolicy, judgeAddress } from '../core/address-class.ts'
import { parseHost } from '../core/address.ts'
import type { Resolver } from './resolver.ts'

const FETCH_TIMEOUT_MS = 5_000
const REFRESH_MS = 600_000
/** SECURITY: anybody can name a key that is not there; the issuer is asked no more often for it. */
const MIN_BETWEEN_MS = 60_000
/** Keys that were withdrawn in the meantime are believed no longer than this. */
const MAX_AGE_MS = 3_600_000
const NONE: readonly VerificationKey[] = []

export interface KeyServerGround {
  readonly resolver: Resolver
  readonly addresses: () => AddressPolicy
  readonly secureContext: () => SecureContext
  /** Milliseconds since the epoch. */
  readonly now: () => number
  readonly onFailure: (why: string) => void
}

/** One URL at a time: that of the configuration in force. */
export class KeyServer {
  readonly #ground: KeyServerGround
  #url: URL | null = null
  #keys = NONE
  #fetchedAt = Number.NEGATIVE_INFINITY
  #askedAt = Number.NEGATIVE_INFINITY
  #underway: Promise<void> | null = null
  #timer: NodeJS.Timeout | undefined

  constructor(ground: KeyServerGround) {
    this.#ground = ground
  }

  /** Empty as long as there are none, and once the last that were had are too old. */
  keys(): readonly VerificationKey[] {
    return this.#ground.now() - this.#fetchedAt > MAX_AGE_MS ? NONE : this.#keys
  }

  /** Fetches from `url` from now on, null: from nowhere. Resolves once that was tried; never rejects. */
  follow(url: URL | null): Promise<void> {
    clearInterval(this.#timer)
    if (url?.href !== this.#url?.href) {
      this.#keys = NONE
      this.#fetchedAt = Number.NEGATIVE_INFINITY
    }
    this.#url = url
    if (url === null) return Promise.resolve()
    this.#timer = setInterval(() => void this.#refresh(), REFRESH_MS).unref()
    return this.#refresh()
  }

  /** A token names a key that is not there: the issuer may have a new one. */
  missing(): void {
    if (this.#url !== null && this.#ground.now() - this.#askedAt >= MIN_BETWEEN_MS) void this.#refresh()
  }

  /** Whether there is a URL to fetch from and nothing has come from it. */
  get isWithoutKeys(): boolean {
    return this.#url !== null && this.keys().length === 0
  }

  close(): void {
    clearInterval(this.#timer)
    this.#url = null
  }

  #refresh(): Promise<void> {
    this.#underway ??= this.#fetch().finally(() => {
      this.#underway = null
    })
    return this.#underway
  }

  /** Until what was asked is what is wanted: another configuration may have come into force. */
  async #fetch(): Promise<void> {
    for (let url = this.#url; url !== null; ) {
      await this.#fetchFrom(url)
      if (this.#url?.href === url.href) return
      url = this.#url
    }
  }

  async #fetchFrom(url: URL): Promise<void> {
    this.#askedAt = this.#ground.now()
    try {
      const read = readJwks(await this.#textAt(url))
      if (read.kind === 'bad') throw new Error(read.why)
      if (this.#url?.href !== url.href) return
      this.#fetchedAt = this.#ground.now()
      this.#keys = read.keys
    } catch (error) {
      this.#ground.onFailure(`the keys of ${url.href} can not be had: ${(error as Error).message}`)
    }
  }

  async #textAt(url: URL): Promise<string> {
    const lookup = pinned(await this.#addressesOf(url))
    // Never the global dispatcher: HTTPS_PROXY of this process has no say. A redirect is an answer like any other that is not 200.
    const client = new Client(url.origin, {
      connect: {
        lookup,
        secureContext: this.#ground.secureContext(),
        rejectUnauthorized: true,
        timeout: FETCH_TIMEOUT_MS,
      },
      maxResponseSize: MAX_JWKS_BYTES,
    })
    try {
      const { statusCode, body } = await client.request({
        method: 'GET',
        path: `${url.pathname}${url.search}`,
        headers: { accept: 'application/jwk-set+json, application/json', 'user-agent': 'mcp-egress' },
        signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
      })
      const text = await body.text()
      if (statusCode !== 200) throw new Error(`it answers ${statusCode}`)
      return text
    } finally {
      await client.destroy().catch(() => undefined)
    }
  }

  /** SECURITY: judged as those of every origin: one forbidden answer refuses all. */
  async #addressesOf({ hostname }: URL): Promise<readonly string[]> {
    const host = parseHost(hostname)
    if (host === null) throw new Error(`${hostname} is not a canonical host`)
    const resolution =
      host.kind === 'name'
        ? await this.#ground.resolver.resolve(host.text)
        : { kind: 'addresses' as const, addresses: [host.text] }
    if (resolution.kind === 'failed') throw new Error(`${hostname}: ${resolution.detail}`)
    for (const address of resolution.addresses) {
      const judged = judgeAddress(this.#ground.addresses(), address)
      if (!judged.allowed) throw new Error(`${address} is a ${judged.cls} address; name it in upstream.allow`)
    }
    return resolution.addresses
  }
}

/** Answers with what was checked, so nothing is resolved a second time. A literal address is never looked up. */
function pinned(addresses: readonly string[]): LookupFunction {
  const found = addresses.map((address) => ({ address, family: isIPv6(address) ? 6 : 4 }))
  return (name, options, callback) => {
    const [first] = found
    if (first === undefined) callback(new Error(`${name} has no address`), '')
    else if (options.all === true) callback(null, found)
    else callback(null, first.address, first.family)
  }
}
