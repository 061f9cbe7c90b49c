// A WebSocket from the origin's 101 to its end: written down, tunnelled, written down again.

import { endToEndInterimHeaders } from '../core/framing.ts'
import type { Outcome } from '../core/record.ts'
import type { Reason } from '../core/refusal.ts'
import { type FrameOptions, FrameReader } from '../core/websocket-frame.ts'
import type { Attempt } from './attempt.ts'
import type { Deps } from './deps.ts'
import { type Proceed, type Refused, refused } from './judge.ts'
import { recordMalformed } from './malformed.ts'
import type { IncomingRequest } from './message.ts'
import type { BodyTap } from './recording.ts'
import type { Switched } from './upgrade.ts'
import { type TunnelEnd, WebSocketTunnel } from './websocket-tunnel.ts'

/** Resolves to what has to be answered in place of the 101, null where it was sent, or nobody is left to read an answer. */
export async function serveWebSocket(
  attempt: Attempt,
  incoming: IncomingRequest,
  { permit }: Proceed,
  origin: Switched,
  deps: Deps,
): Promise<Refused | null> {
  const { link, sink, switchProtocols } = incoming
  if (link.gone || switchProtocols === undefined) return abandon(attempt, incoming, origin)
  const { reserved, extension } = origin.agreed
  const taps = attempt.recordTunnel(origin.head.headers, extension)
  const { requestBytes, responseBytes } = permit.limits
  const sent = readerOf(attempt, { masked: true, reserved, limit: requestBytes }, taps?.sent)
  const received = readerOf(attempt, { masked: false, reserved, limit: responseBytes }, taps?.received)
  const about = { request_id: attempt.requestId, kind: 'websocket' } as const
  const started = performance.now()
  // Written before the client can send a frame: a tunnel that nobody knows of must not exist.
  const opened = await deps.trail.append({ event: 'tunnel.opened', ...about }).then(
    () => true,
    () => false,
  )
  try {
    if (!opened) {
      origin.socket.destroy()
      return refused('audit_unavailable', 'the audit trail can not be written; nothing was passed on')
    }
    if (link.gone) return abandon(attempt, incoming, origin)
    attempt.status = 101
    const client = switchProtocols(origin.head.statusText, switchHeaders(origin))
    const breakOff = (): void => sink.abort()
    const { webSocketIdleMs, webSocketLifetimeMs } = deps.deadlines
    const bounds = { idleMs: webSocketIdleMs, lifetimeMs: webSocketLifetimeMs }
    const tunnel = new WebSocketTunnel({ client, origin, sent, received, breakOff }, bounds)
    const done = tunnel.run()
    link.onGone(() => link.interrupted !== null && tunnel.letGo())
    record(await done, attempt, incoming, deps)
    return null
  } finally {
    attempt.sent.bytes = sent.payloadBytes
    attempt.bytesReceived = received.payloadBytes
    deps.trail
      .append({
        event: 'tunnel.closed',
        ...about,
        bytes_sent: sent.payloadBytes,
        bytes_received: received.payloadBytes,
        frames_sent: sent.frames,
        frames_received: received.frames,
        duration_ms: Math.round(performance.now() - started),
      })
      .catch(() => undefined)
  }
}

function abandon(attempt: Attempt, { link }: IncomingRequest, origin: Switched): null {
  origin.socket.destroy()
  attempt.lost(link)
  return null
}

function readerOf(attempt: Attempt, options: Omit<FrameOptions, 'onPayload'>, tap: BodyTap | undefined): FrameReader {
  return new FrameReader({
    ...options,
    limit: attempt.judgement.mode === 'observe' ? null : options.limit,
    onPayload: tap === undefined ? null : (data) => tap.add(data),
  })
}

/** The origin's own fields in their order; what is about the connection is ours to say (RFC 9110 §7.6.1). */
function switchHeaders({ head }: Switched): string[] {
  return ['Upgrade', 'websocket', 'Connection', 'Upgrade', ...endToEndInterimHeaders(head.headers)]
}

function record(end: TunnelEnd, attempt: Attempt, { link }: IncomingRequest, deps: Deps): void {
  if (end.kind === 'let-go') return attempt.lost(link)
  if (end.kind === 'lost' && end.side === 'client') return attempt.lost({ interrupted: null })
  const [outcome, reason] = outcomeOf(end)
  attempt.outcome = outcome
  attempt.reason = reason
  if (end.kind !== 'fault' || end.side === 'origin') return
  recordMalformed(attempt, { reason: 'malformed', code: end.fault.code, bytes: end.fault.bytes }, deps)
}

function outcomeOf(end: TunnelEnd): [Outcome, Reason | null] {
  if (end.kind === 'drained') return ['interrupted', 'shutting_down']
  if (end.kind === 'expired') return ['interrupted', 'client_timeout']
  if (end.kind === 'lost') return ['upstream_aborted', 'upstream_unreachable']
  if (end.kind !== 'fault') return ['completed', null]
  const client = end.side === 'client'
  if (end.fault.closeCode === 1009) return ['refused', client ? 'request_too_large' : 'response_too_large']
  return client ? ['failed', 'malformed'] : ['upstream_aborted', 'upstream_malformed']
}
