// Sends what a permit says, and nothing else, to the origin that the permit names.

import { formatAuthority } from '../core/address.ts'
import { endToEndRequestHeaders } from '../core/framing.ts'
import { isGrpc } from '../core/grpc.ts'
import { headerValue, type RawHeaders, type StatusHead } from '../core/http1.ts'
import type { InjectionPolicy } from '../core/injection.ts'
import { fillHead } from '../core/injection-fill.ts'
import type { Reason } from '../core/refusal.ts'
import type { Permit } from '../core/rule.ts'
import type { Handshake } from '../core/websocket.ts'
import { type Dialled, Dialer, type DialerOptions, type DialTimings, type HttpProtocol } from './dial.ts'
import { RepeatableBody } from './http2/origin-repeat.ts'
import { OriginSession } from './http2/origin-session.ts'
import type { BodyReader, ClientLink } from './message.ts'
import type { OriginAnswer, OriginRequest, SentSoFar } from './origin-message.ts'
import { type Carrier, NO_TIMINGS, OriginPool, type Wanted } from './origin-pool.ts'
import { requestUpgrade, type Switched } from './upgrade.ts'

const DEFAULT_PORT = { http: 80, https: 443 } as const
const GONE = 'the client went away'
/** RFC 9110 §9.2.2: these may be sent again when a kept-alive connection turned out to be closed. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'])

/** The body as it will be framed; `length` null: in chunks, or to the end of the stream. */
export interface OutgoingBody {
  readonly reader: BodyReader
  readonly length: number | null
}

export interface UpstreamTimings extends DialTimings {
  readonly firstByte: number | null
}

export type Sent = { readonly address: string | null; readonly timings: UpstreamTimings } & (
  | {
      readonly kind: 'response'
      readonly head: StatusHead
      readonly length: number | null
      readonly body: BodyReader
      /** The rest of the body is not wanted. */
      readonly cancel: (why?: string) => void
    }
  | { readonly kind: 'failed'; readonly reason: Reason; readonly detail: string }
)

export interface Sending {
  readonly headers: RawHeaders
  /** What is put in the place of placeholders in the head; it has been in the body. Null: nothing. */
  readonly injections: InjectionPolicy | null
  readonly body: OutgoingBody | null
  readonly link: ClientLink
  readonly sent: SentSoFar
  /** What the client speaks. */
  readonly prefers: HttpProtocol
  /** Its address, null where it has none. */
  readonly source: string | null
  readonly onInformational: (status: number, headers: RawHeaders) => void
}

export class Upstream {
  readonly #dialer: Dialer
  readonly #pool: OriginPool

  /** `bound`: connections to origins, all together. */
  constructor(options: DialerOptions, bound?: number) {
    this.#dialer = new Dialer(options)
    this.#pool = new OriginPool((permit, offer) => this.#dialer.dial(permit, offer), options.addresses, bound)
  }

  /** A connection of the caller's own to what the permit names, never pooled. Over TLS it offers HTTP/1.1 alone. */
  connect(permit: Permit): Promise<Dialled> {
    return this.#dialer.dial(permit, 'http/1.1')
  }

  get openConnections(): number {
    return this.#pool.open
  }

  /** After a reload, which makes a new address policy: none of the idle connections would be used again. */
  closeIdle(): void {
    this.#pool.closeIdle('the policy has changed')
  }

  close(): void {
    this.#pool.close()
  }

  send(permit: Permit, sending: Sending): Promise<Sent> {
    const { prefers, link, source } = sending
    const wanted: Wanted = { permit, prefers, link, source }
    const request = requestOf(permit, sending)
    const kept = this.#pool.kept(wanted)
    if (kept === undefined) return this.#sendOnNew(wanted, request, null)
    return this.#sendOn(kept, NO_TIMINGS, wanted, request, true)
  }

  /** `not`: what it was sent on before, in vain; null: it is sent for the first time. */
  async #sendOnNew(wanted: Wanted, request: OriginRequest, not: Carrier | null): Promise<Sent> {
    const connecting = this.#pool.connect(wanted, not)
    const connected = await Promise.race([connecting, departure(wanted.link)])
    if (connected === 'gone') {
      void connecting.then((late) => late.kind === 'connected' && this.#pool.discard(late.carrier, GONE))
      return failed('client_aborted', GONE, NO_TIMINGS)
    }
    if (connected.kind === 'overloaded') return failed('overloaded', 'too many upstream connections', NO_TIMINGS)
    if (connected.kind === 'failed') return failed(connected.reason, connected.detail, connected.timings)
    return this.#sendOn(connected.carrier, connected.timings, wanted, request, not === null)
  }

  /** `first`: it was not sent before, and may be sent once more. */
  async #sendOn(
    carrier: Carrier,
    { dns, connect, tls }: DialTimings,
    wanted: Wanted,
    request: OriginRequest,
    first: boolean,
  ): Promise<Sent> {
    const { permit, link } = wanted
    // SECURITY: it may be gone because the policy no longer permits the request.
    if (link.gone) {
      this.#pool.discard(carrier, GONE)
      return failed('client_aborted', GONE, { dns, connect, tls })
    }
    const started = performance.now()
    const outgoing = repeatable(request, carrier)
    const answering = carrier.send(outgoing)
    const cancel = (why: string = GONE): void => carrier.destroyIfServing(request.sent, why)
    link.onGone(cancel)
    const answer = await answering
    const { address } = carrier
    const timings = { dns, connect, tls, firstByte: performance.now() - started }
    if (answer.kind === 'response') {
      if (outgoing.body?.reader instanceof RepeatableBody) outgoing.body.reader.forget()
      const { head, length, body } = answer
      return { kind: 'response', address, timings, head, length, body, cancel }
    }
    if (answer.again === 'http1_required') this.#pool.requiresHttp1(permit)
    if (first && mayRepeat(answer, outgoing) && !link.gone) return this.#sendOnNew(wanted, outgoing, carrier)
    return { kind: 'failed', address, timings, reason: answer.reason, detail: answer.detail }
  }

  /** Offers to go on as a WebSocket, on a connection of its own. Any answer but a 101 is one like any other. */
  upgrade(permit: Permit, handshake: Handshake, sending: Sending): Promise<Sent | Switched> {
    return requestUpgrade(this.connect(permit), requestOf(permit, sending), handshake, sending.link)
  }
}

function departure(link: ClientLink): Promise<'gone'> {
  return new Promise((resolve) => link.onGone(() => resolve('gone')))
}

function failed(reason: Reason, detail: string, timings: DialTimings): Sent {
  return { kind: 'failed', reason, detail, address: null, timings: { ...timings, firstByte: null } }
}

/** Over HTTP/2 a body too can be sent again: what is on its way at a GOAWAY would fail otherwise. */
function repeatable(request: OriginRequest, carrier: Carrier): OriginRequest {
  const { body } = request
  if (body === null || body.reader instanceof RepeatableBody || !(carrier instanceof OriginSession)) return request
  return { ...request, body: { ...body, reader: new RepeatableBody(body.reader) } }
}

function mayRepeat(answer: Extract<OriginAnswer, { kind: 'failed' }>, { method, body, sent }: OriginRequest): boolean {
  if (answer.again === undefined) return answer.retryable && body === null && IDEMPOTENT.has(method)
  if (body !== null && !(body.reader instanceof RepeatableBody && body.reader.rewind())) return false
  sent.bytes = 0
  return true
}

/**
 * Judged is what is sent: method, target and authority are the permit's, never the client's spelling of them. The one exception are
 * placeholders: what stands for them is put in here, for whom and for which host the permit says.
 */
function requestOf(permit: Permit, sending: Sending): OriginRequest {
  const { injections } = sending
  const grpc = isGrpc(sending.headers)
  const headers = endToEndRequestHeaders(sending.headers)
  const filled = injections === null ? null : fillHead(injections, permit, headers, permit.target)
  return {
    method: permit.method,
    scheme: permit.scheme,
    authority: formatAuthority({ host: permit.host, port: permit.port }, DEFAULT_PORT[permit.scheme]),
    target: filled?.target ?? permit.target,
    headers: filled?.headers ?? headers,
    body: sending.body,
    sent: sending.sent,
    trailers: grpc,
    te: grpc && headerValue(sending.headers, 'te')?.toLowerCase() === 'trailers',
    onInformational: sending.onInformational,
  }
}
