// Connections to origins, each one client's: idle HTTP/1.1 ones for one request at a time, HTTP/2 sessions for many at once.

import type { AddressPolicy } from '../core/address-class.ts'
import type { Permit } from '../core/rule.ts'
import type { AlpnOffer, Dialled, DialTimings, HttpProtocol } from './dial.ts'
import { keyOf, OriginProtocols } from './http2/origin-protocols.ts'
import { OriginSession } from './http2/origin-session.ts'
import { OriginSessions, type Provenance } from './http2/origin-sessions.ts'
import type { ClientLink } from './message.ts'
import { OriginConnection } from './origin-connection.ts'
import { Shares } from './shares.ts'

/** As many as one client had under way at once come back; fewer, and a busy one pays for handshakes with every request. */
const MAX_IDLE_PER_ORIGIN = 512
const MAX_IDLE = 1_024
const MAX_CONNECTIONS = 4_096
/** Each stream of an HTTP/2 client may need a connection of its own to an origin that speaks HTTP/1.1. */
const MAX_CONNECTIONS_PER_SOURCE = 2_048
/** Requests that wait for one session to come about. */
const MAX_WAITING = 1_024
/** Idle this long, a connection is closed: shorter than what common origins and load balancers allow (60 s). */
const IDLE_MS = 30_000
/** How often they are looked through. A timer for each would be set and stopped with every request. */
const SWEEP_MS = 1_000
/** Held across no longer than this, so that a name is resolved and judged again (DNS rebinding, a moved origin). */
const MAX_AGE_MS = 300_000

/** Either sends a request and answers it; which of the two it is concerns nobody but its pool. */
export type Carrier = OriginConnection | OriginSession

type NotConnected = Extract<Dialled, { kind: 'failed' }> | { readonly kind: 'overloaded' }

export type Connected =
  | { readonly kind: 'connected'; readonly carrier: Carrier; readonly timings: DialTimings }
  | NotConnected

export interface Wanted {
  readonly permit: Permit
  /** What its client speaks. */
  readonly prefers: HttpProtocol
  readonly link: ClientLink
  /** Address of the client, null where it has none: for whom the connection is counted. */
  readonly source: string | null
}

/** One that is kept: made with its connection, for as long as that lives. */
interface Idle extends Provenance {
  readonly connection: OriginConnection
  since: number
}

/** A session that comes about. `done`: null once it can be shared, or the origin has chosen HTTP/1.1. */
interface Opening {
  readonly done: Promise<NotConnected | null>
  waiting: number
}

export class OriginPool {
  readonly #dial: (permit: Permit, offer: AlpnOffer) => Promise<Dialled>
  readonly #addresses: () => AddressPolicy
  readonly #idle = new Map<string, Idle[]>()
  readonly #sessions: OriginSessions
  readonly #openings = new Map<string, Opening>()
  readonly #protocols = new OriginProtocols()
  #idleCount = 0
  readonly #shares: Shares
  #sweeper: NodeJS.Timeout | null = null
  #closing = false

  /** `addresses` is the policy in force: one that replaced it holds for connections made before, too. */
  constructor(
    dial: (permit: Permit, offer: AlpnOffer) => Promise<Dialled>,
    addresses: () => AddressPolicy,
    bound: number = MAX_CONNECTIONS,
  ) {
    this.#shares = new Shares(Math.min(bound, MAX_CONNECTIONS), MAX_CONNECTIONS_PER_SOURCE)
    this.#dial = dial
    this.#addresses = addresses
    this.#sessions = new OriginSessions(addresses, MAX_AGE_MS)
  }

  get open(): number {
    return this.#shares.taken
  }

  /** A kept one to where the permit leads, to be sent on or discarded; undefined: then `connect`. */
  kept(wanted: Wanted): Carrier | undefined {
    const { permit, prefers } = wanted
    const key = ownKeyOf(wanted)
    return this.#protocols.expected(permit, prefers) === 'h2' ? this.#sessions.claim(key, null) : this.#take(key)
  }

  /** A new one; of sessions one that has just come about, but not `not`. To be sent on or discarded. */
  async connect(wanted: Wanted, not: Carrier | null = null): Promise<Connected> {
    const { permit, prefers } = wanted
    let spent = NO_TIMINGS
    for (;;) {
      const offer = this.#protocols.expected(permit, prefers) === 'h2' ? 'h2,http/1.1' : 'http/1.1'
      const made = offer === 'h2,http/1.1' ? await this.#share(wanted, not) : await this.#connectWith(wanted, offer)
      if (made === null) continue
      if (made.kind === 'overloaded') return made
      const timings = sum(spent, made.timings)
      if (made.kind === 'connected' || made.offerRefused !== true || offer !== 'http/1.1') return { ...made, timings }
      this.#protocols.learn(permit, 'h2')
      spent = timings
    }
  }

  /** What `kept` or `connect` gave, and nobody needs. */
  discard(carrier: Carrier, why: string): void {
    if (carrier instanceof OriginSession) carrier.release()
    else carrier.destroy(why)
  }

  /** The origin answered that it will serve this over HTTP/1.1 only. */
  requiresHttp1(permit: Permit): void {
    this.#protocols.learn(permit, 'http/1.1')
  }

  close(): void {
    this.#closing = true
    this.closeIdle('the proxy is shutting down')
  }

  /** Those that serve a request stay until they have served it. */
  closeIdle(why: string): void {
    // Collected first: each destroyed connection takes itself off these lists.
    const connections = [...this.#idle.values()].flatMap((list) => list.map((idle) => idle.connection))
    for (const connection of connections) connection.destroy(why)
    this.#sessions.close()
  }

  /**
   * A place on a session, where many ask at once on the same one. Null: what was waited for has come about, ask again.
   * One dials and does not wait any longer; the others wait until its session says how many requests it takes.
   */
  async #share(wanted: Wanted, not: Carrier | null): Promise<Connected | null> {
    const key = ownKeyOf(wanted)
    const session = this.#sessions.claim(key, not)
    if (session !== undefined) return { kind: 'connected', carrier: session, timings: NO_TIMINGS }
    const opening = this.#openings.get(key)
    if (opening === undefined) return this.#lead(key, wanted)
    if (opening.waiting >= MAX_WAITING) return { kind: 'overloaded' }
    opening.waiting += 1
    const failed = await opening.done
    return failed === null && wanted.link.gone ? GONE : failed
  }

  async #lead(key: string, wanted: Wanted): Promise<Connected> {
    const connecting = this.#connectWith(wanted, 'h2,http/1.1')
    const done = connecting.then(shareable).finally(() => this.#openings.delete(key))
    this.#openings.set(key, { done, waiting: 0 })
    return connecting
  }

  async #connectWith(wanted: Wanted, offer: AlpnOffer): Promise<Connected> {
    const { permit, source } = wanted
    if (!this.#shares.take(source)) {
      await this.#evict()
      if (!this.#shares.take(source)) return { kind: 'overloaded' }
    }
    const judgedBy = this.#addresses()
    const dialled = await this.#dial(permit, offer)
    if (dialled.kind === 'failed') {
      this.#shares.give(source)
      return dialled
    }
    const closed = (): void => this.#shares.give(source)
    const key = ownKeyOf(wanted)
    const provenance = { born: performance.now(), judgedBy }
    const { timings } = dialled
    if (dialled.protocol === 'h2')
      return { kind: 'connected', carrier: this.#session(key, dialled, provenance, closed), timings }
    if (offer !== 'http/1.1' && permit.scheme === 'https') this.#protocols.learn(permit, 'http/1.1')
    const connection = new OriginConnection(dialled, () => this.#release(key, idle))
    const idle: Idle = { connection, since: 0, ...provenance }
    connection.onClose(() => {
      closed()
      this.#forget(key, connection)
    })
    return { kind: 'connected', carrier: connection, timings }
  }

  #session(
    key: string,
    dialled: Extract<Dialled, { kind: 'connected' }>,
    provenance: Provenance,
    closed: () => void,
  ): OriginSession {
    const session = new OriginSession(dialled, IDLE_MS)
    session.claim()
    session.onClose(closed)
    if (this.#closing) session.drain()
    else this.#sessions.add(key, session, provenance)
    return session
  }

  #take(key: string): OriginConnection | undefined {
    const list = this.#idle.get(key)
    for (let entry = list?.pop(); entry !== undefined; entry = list?.pop()) {
      this.#idleCount -= 1
      if (entry.connection.closed) continue
      // SECURITY: a reload may forbid the address this leads to; the next dial judges it anew.
      if (entry.judgedBy === this.#addresses()) return entry.connection
      entry.connection.destroy('the address policy has changed')
    }
    return undefined
  }

  /** What nobody uses makes room for what somebody needs. Resolves when it is gone, or there is none. */
  async #evict(): Promise<void> {
    const connection = this.#anyIdle()
    if (connection === undefined) return
    await new Promise<void>((resolve) => {
      connection.onClose(resolve)
      connection.destroy('another one is needed')
    })
  }

  #anyIdle(): OriginConnection | undefined {
    for (const [oldest] of this.#idle.values()) if (oldest !== undefined) return oldest.connection
    return undefined
  }

  #release(key: string, idle: Idle): void {
    const list = this.#idle.get(key) ?? []
    idle.since = performance.now()
    const old = idle.since - idle.born > MAX_AGE_MS
    // The policy changed while it served: `closeIdle` has been here already.
    const outdated = idle.judgedBy !== this.#addresses()
    if (this.#closing || old || outdated || list.length >= MAX_IDLE_PER_ORIGIN || this.#idleCount >= MAX_IDLE) {
      return idle.connection.destroy('not kept')
    }
    if (list.push(idle) === 1) this.#idle.set(key, list)
    this.#idleCount += 1
    this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_MS).unref()
  }

  /** The one that was used last is taken first, so a list is in the order of `since`. */
  #sweep(): void {
    const latest = performance.now() - IDLE_MS
    for (const [key, list] of this.#idle) {
      // Counted first: each destroyed connection takes itself off the list.
      const overdue = list.findIndex(({ since }) => since > latest)
      for (const { connection } of list.slice(0, overdue < 0 ? list.length : overdue)) connection.destroy('idle')
      if (list.length === 0) this.#idle.delete(key)
    }
    if (this.#idle.size > 0 || this.#sweeper === null) return
    clearInterval(this.#sweeper)
    this.#sweeper = null
  }

  #forget(key: string, connection: OriginConnection): void {
    const list = this.#idle.get(key)
    const at = list?.findIndex((entry) => entry.connection === connection) ?? -1
    if (list === undefined || at < 0) return
    list.splice(at, 1)
    this.#idleCount -= 1
  }
}

/**
 * SECURITY: whose connection it is belongs to the key. What one client does on it (streams that it stalls, an answer that it had
 * the origin prepare for the next) must not meet another one's requests.
 */
function ownKeyOf({ permit, source }: Wanted): string {
  return `${keyOf(permit)} ${permit.client} ${source ?? ''}`
}

export const NO_TIMINGS: DialTimings = { dns: null, connect: null, tls: null }

const GONE: NotConnected = {
  kind: 'failed',
  reason: 'client_aborted',
  detail: 'the client went away',
  timings: NO_TIMINGS,
}

async function shareable(made: Connected): Promise<NotConnected | null> {
  if (made.kind !== 'connected') return made
  if (!(made.carrier instanceof OriginSession)) return null
  await made.carrier.settled
  return made.carrier.failure
}

function sum(first: DialTimings, second: DialTimings): DialTimings {
  return {
    dns: added(first.dns, second.dns),
    connect: added(first.connect, second.connect),
    tls: added(first.tls, second.tls),
  }
}

function added(first: number | null, second: number | null): number | null {
  return first === null && second === null ? null : (first ?? 0) + (second ?? 0)
}
