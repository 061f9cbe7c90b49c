// Passes the bytes of a permitted connection through undecrypted, both ways, recorded from before the first to after the last.

import type { Socket } from 'node:net'
import type { Permit } from '../core/rule.ts'
import { Attempt } from './attempt.ts'
import type { Connection } from './connection.ts'
import type { Deps } from './deps.ts'
import type { Dialled } from './dial.ts'
import { lingerThenClose } from './linger.ts'
import type { Interruption } from './message.ts'
import { watchTunnel } from './revocation.ts'
import { alertAndClose } from './terminate.ts'
import type { Tracked } from './tracked.ts'
import type { Upstream } from './upstream.ts'

/** A tunnel in which nothing moved for this long is ended: nobody else's timers watch it. */
const IDLE_MS = 3_600_000

/** Who broke a tunnel off; `revoked`: its signal; `us`: its idle time or a shutdown; null: an end that one side asked for. */
type Broken = 'client' | 'origin' | 'revoked' | 'us' | null

/** `socket` holds the whole ClientHello unread. Dials the permitted name, never the address that the client dialled. */
export async function splice(
  socket: Socket,
  connection: Connection,
  permit: Permit,
  deps: Deps,
  tracked: Tracked,
): Promise<void> {
  const release = tracked.hold(socket)
  const attempt = new Attempt(connection, 'tls', deps)
  const revoked = new AbortController()
  const unwatch = watchTunnel(attempt, connection, permit, revoked, deps)
  try {
    const enforced = attempt.judgement.mode === 'enforce'
    // SECURITY: the record is the permission to proceed, here as for a request.
    if (!(await attempt.decide({ decision: 'allow', enforced, rule: permit.rule, reason: null }))) {
      return refuse(socket)
    }
    const dialled = await unlessAborted(deps.upstream, permit, revoked.signal)
    if (dialled === 'aborted') return takeBack(socket, attempt, revoked.signal)
    attempt.timings = { ...dialled.timings, firstByte: null }
    if (dialled.kind === 'failed') {
      attempt.reason = dialled.reason
      attempt.outcome = dialled.reason === 'address_denied' || dialled.reason === 'self' ? 'refused' : 'failed'
      return refuse(socket)
    }
    attempt.upstreamAddress = dialled.address
    await tunnel(socket, dialled.socket, attempt, revoked.signal, deps)
  } finally {
    unwatch()
    release()
    attempt.complete()
  }
}

function refuse(socket: Socket): void {
  alertAndClose(socket, 'access_denied')
  lingerThenClose(socket, false)
}

/** No alert: it would be read as the origin's refusal. */
function takeBack(socket: Socket, attempt: Attempt, { reason }: AbortSignal): void {
  attempt.lost({ interrupted: reason as Interruption })
  socket.resetAndDestroy()
}

/** A connection that comes about after the permit was taken back is closed unused. */
async function unlessAborted(upstream: Upstream, permit: Permit, signal: AbortSignal): Promise<Dialled | 'aborted'> {
  if (signal.aborted) return 'aborted'
  const dialling = upstream.connect(permit)
  const aborted = new Promise<'aborted'>((resolve) => {
    signal.addEventListener('abort', () => resolve('aborted'), { once: true })
  })
  const first = await Promise.race([dialling, aborted])
  if (first === 'aborted') void dialling.then((late) => late.kind === 'connected' && late.socket.destroy())
  return first
}

async function tunnel(
  client: Socket,
  origin: Socket,
  attempt: Attempt,
  signal: AbortSignal,
  deps: Deps,
): Promise<void> {
  const about = { request_id: attempt.requestId, kind: 'passthrough' } as const
  const started = performance.now()
  deps.trail.append({ event: 'tunnel.opened', ...about }).catch(() => undefined)
  const broken = await pumped(client, origin, signal, deps)
  attempt.sent.bytes = origin.bytesWritten
  attempt.bytesReceived = origin.bytesRead
  endOf(attempt, broken, signal, deps)
  deps.trail
    .append({
      event: 'tunnel.closed',
      ...about,
      bytes_sent: origin.bytesWritten,
      bytes_received: origin.bytesRead,
      frames_sent: null,
      frames_received: null,
      duration_ms: Math.round(performance.now() - started),
    })
    .catch(() => undefined)
}

function endOf(attempt: Attempt, broken: Broken, signal: AbortSignal, deps: Deps): void {
  if (broken === 'client') return attempt.lost({ interrupted: null })
  if (broken === 'revoked') return attempt.lost({ interrupted: signal.reason as Interruption })
  attempt.outcome = { origin: 'upstream_aborted', us: 'interrupted', none: 'completed' }[
    broken ?? 'none'
  ] as Attempt['outcome']
  if (broken === 'us') attempt.reason = deps.draining() ? 'shutting_down' : 'client_timeout'
}

/** Resolves when both ways are done. Half-closes are passed on. */
function pumped(client: Socket, origin: Socket, signal: AbortSignal, deps: Deps): Promise<Broken> {
  return new Promise((resolve) => {
    let broken: Broken = 'us'
    let open = 2
    const closed = (): void => {
      open -= 1
      client.destroySoon()
      origin.destroySoon()
      if (open === 0) resolve(broken)
    }
    const idle = (): void => {
      client.destroy()
      origin.destroy()
    }
    const because = (why: Broken): void => {
      if (broken === 'us') broken = why
    }
    const revoke = (): void => {
      if (broken === 'us' || broken === null) broken = 'revoked'
      client.resetAndDestroy()
      origin.destroy()
    }
    signal.addEventListener('abort', revoke, { once: true })
    client.setTimeout(IDLE_MS, idle)
    origin.setTimeout(IDLE_MS, idle)
    client.on('error', () => because('client'))
    origin.on('error', () => because('origin'))
    client.once('end', () => because(null))
    origin.once('end', () => because(null))
    // A client may have gone while its origin was dialled: its close has been emitted then, and will not be again.
    for (const socket of [client, origin]) {
      if (socket.closed) closed()
      else socket.once('close', closed)
    }
    if (client.destroyed && !deps.draining()) because('client')
    if (client.destroyed || origin.destroyed) return idle()
    if (signal.aborted) return revoke()
    client.pipe(origin)
    origin.pipe(client)
  })
}
