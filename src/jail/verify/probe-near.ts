// Sends first what can not get far: a refusal of that was made nearby, and strangers are asked only when nobody near says no.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Observation } from './probe.ts'

/** A gateway sends six ICMP errors at once to one host, then one a second (icmp(7), icmp_ratelimit): some are asked again. */
const TRIES_AT_A_GATEWAY = 3
const PAUSE_MS = 600
const JITTER_MS = 800
/** By which a firewall refuses. A router in trouble, or one that sees a packet die, has other codes. */
const REFUSALS = new Set(['ECONNREFUSED', 'EPERM'])

/** `send` one packet that may take so many hops; null: as many as it wants. */
export async function nearFirst(
  send: (hops: number | null) => Promise<Observation>,
  nearHops: number | null,
): Promise<Observation> {
  const tries = nearHops === null ? 0 : nearHops > 1 ? TRIES_AT_A_GATEWAY : 1
  for (let done = 0; done < tries; done += 1) {
    if (done > 0) await sleep(PAUSE_MS + Math.random() * JITTER_MS)
    const seen = await send(nearHops)
    if (seen.kind === 'refused' && REFUSALS.has(seen.code)) return { ...seen, near: true }
    if (seen.kind === 'refused') break
    if (seen.kind !== 'silent') return seen
  }
  return send(null)
}
