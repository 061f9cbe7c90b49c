// Idle connections to origins, kept by scheme, host and port, handed out one request at a time.

import type { AddressPolicy } from '../core/address-class.ts'
import type { Permit } from '../core/rule.ts'
import type { Dialled, DialTimings } from './dial.ts'
import { OriginConnection } from './origin-connection.ts'

const MAX_IDLE_PER_ORIGIN = 32
const MAX_IDLE = 1_024
const MAX_CONNECTIONS = 4_096
/** Idle this long, a connection is closed: shorter than what common origins and load balancers allow (60 s). */
const IDLE_MS = 30_000
/** Held across no longer than this, so that a name is resolved and judged again (DNS rebinding, a moved origin). */
const MAX_AGE_MS = 300_000

export type Connected =
  | { readonly kind: 'connection'; readonly connection: OriginConnection }
  | { readonly kind: 'overloaded' }
  | (Dialled & { readonly kind: 'failed' })

/** When a connection was made, and the addresses that were allowed then. */
interface Provenance {
  readonly born: number
  readonly judgedBy: AddressPolicy
}

interface Idle extends Provenance {
  readonly connection: OriginConnection
  readonly timer: NodeJS.Timeout
}

export class OriginPool {
  readonly #dial: (permit: Permit) => Promise<Dialled>
  readonly #addresses: () => AddressPolicy
  readonly #idle = new Map<string, Idle[]>()
  #idleCount = 0
  #open = 0
  #closing = false

  /** `addresses` is the policy in force: one that replaced it holds for connections made before, too. */
  constructor(dial: (permit: Permit) => Promise<Dialled>, addresses: () => AddressPolicy) {
    this.#dial = dial
    this.#addresses = addresses
  }

  get open(): number {
    return this.#open
  }

  /** A kept connection to where the permit leads, or undefined: then `connect`. */
  idle(permit: Permit): OriginConnection | undefined {
    return this.#take(keyOf(permit))
  }

  async connect(permit: Permit): Promise<Connected> {
    const key = keyOf(permit)
    if (this.#open >= MAX_CONNECTIONS) return { kind: 'overloaded' }
    this.#open += 1
    const judgedBy = this.#addresses()
    const dialled = await this.#dial(permit)
    if (dialled.kind === 'failed') {
      this.#open -= 1
      return dialled
    }
    const provenance = { born: performance.now(), judgedBy }
    const connection = new OriginConnection(dialled, (done) => this.#release(key, done, provenance))
    connection.onClose(() => {
      this.#open -= 1
      this.#forget(key, connection)
    })
    return { kind: 'connection', connection }
  }

  close(): void {
    this.#closing = true
    this.closeIdle('the proxy is shutting down')
  }

  /** Those that serve a request stay. */
  closeIdle(why: string): void {
    // Collected first: each destroyed connection takes itself off these lists.
    const connections = [...this.#idle.values()].flatMap((list) => list.map((idle) => idle.connection))
    for (const connection of connections) connection.destroy(why)
  }

  #take(key: string): OriginConnection | undefined {
    const list = this.#idle.get(key)
    for (let entry = list?.pop(); entry !== undefined; entry = list?.pop()) {
      this.#idleCount -= 1
      clearTimeout(entry.timer)
      if (entry.connection.closed) continue
      // SECURITY: a reload may forbid the address this leads to; the next dial judges it anew.
      if (entry.judgedBy === this.#addresses()) {
        if (list?.length === 0) this.#idle.delete(key)
        return entry.connection
      }
      entry.connection.destroy('the address policy has changed')
    }
    this.#idle.delete(key)
    return undefined
  }

  #release(key: string, connection: OriginConnection, provenance: Provenance): void {
    const list = this.#idle.get(key) ?? []
    const old = performance.now() - provenance.born > MAX_AGE_MS
    // The policy changed while it served: `closeIdle` has been here already.
    const outdated = provenance.judgedBy !== this.#addresses()
    if (this.#closing || old || outdated || list.length >= MAX_IDLE_PER_ORIGIN || this.#idleCount >= MAX_IDLE) {
      return connection.destroy('not kept')
    }
    const timer = setTimeout(() => connection.destroy('idle'), IDLE_MS)
    timer.unref()
    list.push({ connection, timer, ...provenance })
    this.#idle.set(key, list)
    this.#idleCount += 1
  }

  #forget(key: string, connection: OriginConnection): void {
    const list = this.#idle.get(key)
    const at = list?.findIndex((entry) => entry.connection === connection) ?? -1
    if (list === undefined || at < 0) return
    const [entry] = list.splice(at, 1)
    clearTimeout(entry?.timer)
    this.#idleCount -= 1
    if (list.length === 0) this.#idle.delete(key)
  }
}

function keyOf({ scheme, host, port }: Permit): string {
  return `${scheme} ${host.text} ${port}`
}

export const NO_TIMINGS: DialTimings = { dns: null, connect: null, tls: null }
