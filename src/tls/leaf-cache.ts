// The TLS contexts the proxy shows to clients, one per host: bounded, aware of expiry, denied names kept apart.

import { constants, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import type { Host } from '../core/address.ts'
import type { Authority } from './authority.ts'
import { mintLeaf } from './leaf.ts'

const DEFAULT_CAPACITY = 1024
const DENIED_CAPACITY = 64
const REFRESH_SHARE = 1 / 4

/**
 * How the proxy speaks TLS to clients. A tls.Server that picks contexts by SNI needs it as well: OpenSSL takes versions, ciphers,
 * options and ticket keys from the context a handshake starts with, and only the certificate from the one SNI selects. There a
 * ticket may be resumed under another name, and under TLS 1.2 `socket.servername` is then false: judge by the ClientHello. A
 * TLSSocket that starts with the host's own context has ticket keys of its own, and needs no SNI for an address literal.
 */
const SERVER_TLS_OPTIONS: Readonly<SecureContextOptions> = {
  minVersion: 'TLSv1.2',
  // Forward secret AEAD suites only; the leaf key is ECDSA.
  ciphers: [
    'TLS_AES_128_GCM_SHA256',
    'TLS_AES_256_GCM_SHA384',
    'TLS_CHACHA20_POLY1305_SHA256',
    'ECDHE-ECDSA-AES128-GCM-SHA256',
    'ECDHE-ECDSA-AES256-GCM-SHA384',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
  ].join(':'),
  honorCipherOrder: true,
  // SECURITY: a client may make TLS 1.2 servers renegotiate for the price of a few bytes each time.
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
}

interface Entry {
  readonly context: SecureContext
  /** Milliseconds since the epoch: outside of them the leaf is minted anew. */
  readonly usableFrom: number
  readonly usableUntil: number
}

export interface LeafCacheOptions {
  /** How many allowed hosts are kept; denied ones have 64 places of their own. */
  readonly capacity?: number
  /** Milliseconds since the epoch. */
  readonly now: () => number
}

export class LeafCache {
  readonly #now: () => number
  readonly #allowed: LeastRecentlyUsed
  readonly #denied = new LeastRecentlyUsed(DENIED_CAPACITY)
  // One for the process and never on disk: making a key costs more than signing a leaf, and all leaves end in the same process.
  readonly #leafKey: KeyObject
  readonly #leafKeyPem: string
  #authority: Authority
  #hits = 0
  #misses = 0

  constructor(authority: Authority, options: LeafCacheOptions) {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    this.#authority = authority
    this.#now = options.now
    this.#allowed = new LeastRecentlyUsed(options.capacity ?? DEFAULT_CAPACITY)
    this.#leafKey = publicKey
    // SEC 1 names its kind in the PEM label: OpenSSL 3.0 takes 30 µs less to read it for each context.
    this.#leafKeyPem = privateKey.export({ type: 'sec1', format: 'pem' }).toString()
  }

  /**
   * The context for `host`, minted when there is none or its leaf has less than a quarter of its life left. Throws when the CA has
   * expired: the caller ends that one connection.
   * @param options `denied`: the name was refused and the leaf only carries the answer; it evicts no leaf of an allowed name.
   */
  get(host: Host, options: { readonly denied?: boolean } = {}): SecureContext {
    const entries = options.denied === true ? this.#denied : this.#allowed
    const key = `${host.kind}:${host.text}`
    const now = this.#now()
    const found = entries.get(key)
    if (found !== undefined && now >= found.usableFrom && now < found.usableUntil) {
      this.#hits += 1
      return found.context
    }
    this.#misses += 1
    const entry = this.#mint(host, now)
    entries.set(key, entry)
    return entry.context
  }

  /** Rotation: every leaf from now on is signed by `authority`; connections that are open keep theirs. */
  replaceAuthority(authority: Authority): void {
    this.#authority = authority
    this.#allowed.clear()
    this.#denied.clear()
  }

  /** Contexts kept, denied names included. */
  get size(): number {
    return this.#allowed.size + this.#denied.size
  }

  get stats(): { readonly hits: number; readonly misses: number } {
    return { hits: this.#hits, misses: this.#misses }
  }

  #mint(host: Host, now: number): Entry {
    const leaf = mintLeaf(this.#authority, this.#leafKey, host, new Date(now))
    const notAfter = leaf.notAfter.getTime()
    return {
      context: createSecureContext({
        ...SERVER_TLS_OPTIONS,
        key: this.#leafKeyPem,
        cert: leaf.certificatePem + this.#authority.chainPem,
      }),
      usableFrom: leaf.notBefore.getTime(),
      usableUntil: notAfter - (notAfter - now) * REFRESH_SHARE,
    }
  }
}

/** A Map remembers insertion order: the first key is the one unused for longest. */
class LeastRecentlyUsed {
  readonly #capacity: number
  readonly #entries = new Map<string, Entry>()

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  get(key: string): Entry | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    return entry
  }

  set(key: string, entry: Entry): void {
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#capacity) break
      this.#entries.delete(oldest)
    }
  }

  clear(): void {
    this.#entries.clear()
  }

  get size(): number {
    return this.#entries.size
  }
}
