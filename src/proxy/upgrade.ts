// Asks an origin, on a connection of the request's own, to go on as a WebSocket, and believes only the 101 that says so.

import { type Handshake, readSwitch, type SwitchResult } from '../core/websocket.ts'
import type { Dialled, DialTimings } from './dial.ts'
import type { ClientLink } from './message.ts'
import { OriginConnection } from './origin-connection.ts'
import type { OriginRequest, SwitchedOrigin } from './origin-message.ts'
import type { Sent, UpstreamTimings } from './upstream.ts'

export type Switched = SwitchedOrigin & {
  readonly address: string
  readonly timings: UpstreamTimings
  readonly agreed: Extract<SwitchResult, { kind: 'ok' }>
}

const GONE = 'the client went away'

/** An answer other than 101 is one like any other; its connection is not used again. */
export async function requestUpgrade(
  dialling: Promise<Dialled>,
  request: OriginRequest,
  handshake: Handshake,
  link: ClientLink,
): Promise<Sent | Switched> {
  const gone = new Promise<'gone'>((resolve) => link.onGone(() => resolve('gone')))
  const dialled = await Promise.race([dialling, gone])
  if (dialled === 'gone') {
    void dialling.then((late) => late.kind === 'connected' && late.socket.destroy())
    return { kind: 'failed', reason: 'client_aborted', detail: GONE, ...unanswered(NO_TIMINGS) }
  }
  if (dialled.kind === 'failed') {
    const { kind, reason, detail } = dialled
    return { kind, reason, detail, ...unanswered(dialled.timings) }
  }
  const connection = new OriginConnection(dialled, () => connection.destroy('not kept'))
  const started = performance.now()
  const answering = connection.upgrade(request, 'websocket')
  const cancel = (why: string = GONE): void => connection.destroyIfServing(request.sent, why)
  link.onGone(cancel)
  const answer = await answering
  const facts = { address: dialled.address, timings: { ...dialled.timings, firstByte: performance.now() - started } }
  if (answer.kind === 'response') return { ...answer, ...facts, cancel }
  if (answer.kind === 'failed') return { ...answer, ...facts }
  const agreed = readSwitch(handshake, answer.head)
  if (agreed.kind === 'ok') return { ...answer, ...facts, agreed }
  answer.socket.destroy()
  return { kind: 'failed', reason: 'upstream_malformed', detail: `the 101 is none: ${agreed.code}`, ...facts }
}

const NO_TIMINGS: DialTimings = { dns: null, connect: null, tls: null }

function unanswered(timings: DialTimings): Pick<Sent, 'address' | 'timings'> {
  return { address: null, timings: { ...timings, firstByte: null } }
}
