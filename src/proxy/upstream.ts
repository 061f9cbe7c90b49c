// Sends what a permit says, and nothing else, to the origin that the permit names.

import { formatAuthority } from '../core/address.ts'
import { endToEndRequestHeaders } from '../core/framing.ts'
import type { RawHeaders, StatusHead } from '../core/http1.ts'
import type { Reason } from '../core/refusal.ts'
import type { Permit } from '../core/rule.ts'
import { type Dialled, Dialer, type DialerOptions, type DialTimings } from './dial.ts'
import type { BodyReader, ClientLink } from './message.ts'
import type { OriginConnection, SentSoFar } from './origin-connection.ts'
import { NO_TIMINGS, OriginPool } from './origin-pool.ts'

const DEFAULT_PORT = { http: 80, https: 443 } as const
/** RFC 9110 §9.2.2: these may be sent again when a kept-alive connection turned out to be closed. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'])

/** The body as it will be framed; `length` null: in chunks. */
export interface OutgoingBody {
  readonly reader: BodyReader
  readonly length: number | null
}

export interface UpstreamTimings extends DialTimings {
  readonly firstByte: number | null
}

export type Sent = { readonly address: string | null; readonly timings: UpstreamTimings } & (
  | { readonly kind: 'response'; readonly head: StatusHead; readonly length: number | null; readonly body: BodyReader }
  | { readonly kind: 'failed'; readonly reason: Reason; readonly detail: string }
)

export interface Sending {
  readonly headers: RawHeaders
  readonly body: OutgoingBody | null
  readonly link: ClientLink
  readonly sent: SentSoFar
  onInformational(status: number, headers: RawHeaders): void
}

export class Upstream {
  readonly #dialer: Dialer
  readonly #pool: OriginPool

  constructor(options: DialerOptions) {
    this.#dialer = new Dialer(options)
    this.#pool = new OriginPool((permit) => this.#dialer.dial(permit), options.addresses)
  }

  /** A connection of the caller's own to what the permit names, never pooled. */
  connect(permit: Permit): Promise<Dialled> {
    return this.#dialer.dial(permit)
  }

  get openConnections(): number {
    return this.#pool.open
  }

  /** After a reload, which makes a new address policy: none of the idle connections would be used again (`OriginPool.idle`). */
  closeIdle(): void {
    this.#pool.closeIdle('the policy has changed')
  }

  close(): void {
    this.#pool.close()
  }

  async send(permit: Permit, sending: Sending): Promise<Sent> {
    const kept = this.#pool.idle(permit)
    if (kept !== undefined) {
      const first = await this.#sendOn(kept, NO_TIMINGS, permit, sending)
      const again = first.retryable && IDEMPOTENT.has(permit.method) && sending.body === null && !sending.link.gone
      if (!again) return first.result
    }
    return this.#sendOnNew(permit, sending)
  }

  async #sendOnNew(permit: Permit, sending: Sending): Promise<Sent> {
    const connecting = this.#pool.connect(permit)
    const connected = await Promise.race([connecting, departure(sending.link)])
    if (connected === 'gone') {
      void connecting.then((late) => late.kind === 'connection' && late.connection.destroy('the client went away'))
      return failed('client_aborted', 'the client went away', NO_TIMINGS)
    }
    if (connected.kind === 'overloaded') return failed('overloaded', 'too many upstream connections', NO_TIMINGS)
    if (connected.kind === 'failed') return failed(connected.reason, connected.detail, connected.timings)
    const { connection } = connected
    return (await this.#sendOn(connection, connection.timings, permit, sending)).result
  }

  async #sendOn(
    connection: OriginConnection,
    dial: DialTimings,
    permit: Permit,
    sending: Sending,
  ): Promise<{ readonly result: Sent; readonly retryable: boolean }> {
    sending.link.onGone(() => connection.destroyIfServing(sending.sent, 'the client went away'))
    if (sending.link.gone) connection.destroy('the client went away')
    const started = performance.now()
    const answer = await connection.send(requestOf(permit, sending))
    const facts = { address: connection.address, timings: { ...dial, firstByte: performance.now() - started } }
    return { result: { ...answer, ...facts }, retryable: answer.kind === 'failed' && answer.retryable }
  }
}

function departure(link: ClientLink): Promise<'gone'> {
  return new Promise((resolve) => link.onGone(() => resolve('gone')))
}

function failed(reason: Reason, detail: string, timings: DialTimings): Sent {
  return { kind: 'failed', reason, detail, address: null, timings: { ...timings, firstByte: null } }
}

/** Judged is what is sent: method, target and authority are the permit's, never the client's spelling of them. */
function requestOf(permit: Permit, sending: Sending): Parameters<OriginConnection['send']>[0] {
  return {
    method: permit.method,
    scheme: permit.scheme,
    authority: formatAuthority({ host: permit.host, port: permit.port }, DEFAULT_PORT[permit.scheme]),
    target: permit.target,
    headers: endToEndRequestHeaders(sending.headers),
    body: sending.body,
    sent: sending.sent,
    onInformational: sending.onInformational.bind(sending),
  }
}
