// What waits to be written: events encoded but not yet in their place in the chain, and which requests they belong to.

import { type AuditEvent, encodeFields, MAX_RECORD_BYTES, type SegmentCause, type TunnelKind } from '../core/record.ts'

/** `event` null: a checkpoint, whose members are known only in its place. */
export interface Entry {
  readonly event: AuditEvent | null
  /** As `encodeFields` makes them. */
  readonly fields: string
  readonly timestamp: string
}

/** Of a record, beside its fields: the envelope and the hashes. */
export const ENVELOPE_BYTES = 320

const QUOTE = 0x22

/** Throws for an event that can not be encoded, or whose record would be longer than a record may be: both are bugs. */
export function entryOf(event: AuditEvent, timestamp: string): Entry {
  const fields = encodeFields(event)
  // Asking for a character makes one string of the pieces that it was put together from: what waits for its turn is then small,
  // and a fifth of the cost of a record, which is the collector carrying those pieces about, is saved.
  if (fields.charCodeAt(0) !== QUOTE) throw new RangeError('an audit record without an event')
  if (fields.length > MAX_RECORD_BYTES - ENVELOPE_BYTES)
    throw new RangeError(`an audit record of ${fields.length} bytes`)
  return { event, fields, timestamp }
}

export function checkpointEntry(timestamp: string): Entry {
  return { event: null, fields: '', timestamp }
}

export function segmentEntry(previous: string | null, cause: SegmentCause, timestamp: string): Entry {
  return entryOf({ event: 'segment.opened', previous, cause }, timestamp)
}

/** Requests whose decision is in the file and whose end is not, with the kind of the tunnel that is open for them. */
export class OpenRequests {
  readonly #open: Map<string, TunnelKind | null>

  constructor(open: Iterable<readonly [string, TunnelKind | null]> = []) {
    this.#open = new Map(open)
  }

  get size(): number {
    return this.#open.size
  }

  has(requestId: string): boolean {
    return this.#open.has(requestId)
  }

  entries(): [string, TunnelKind | null][] {
    return [...this.#open]
  }

  /** The record of that event is in the file. */
  note(event: string, requestId: string, kind: TunnelKind | null = null): void {
    if (event === 'request.completed') this.#open.delete(requestId)
    else if (event === 'request.decided') this.#open.set(requestId, null)
    else if (event === 'tunnel.opened' && this.#open.has(requestId)) this.#open.set(requestId, kind)
    else if (event === 'tunnel.closed' && this.#open.has(requestId)) this.#open.set(requestId, null)
  }

  noteEntry({ event }: Entry): void {
    if (event === null || !('request_id' in event)) return
    this.note(event.event, event.request_id, event.event === 'tunnel.opened' ? event.kind : null)
  }

  /** The ends that nobody else will write: the process that could have is gone. */
  interruptedEnds(timestamp: string): Entry[] {
    return this.entries().flatMap(([requestId, kind]) => [
      ...(kind === null ? [] : [entryOf(uncounted(requestId, kind), timestamp)]),
      endOf(requestId, 'interrupted', timestamp),
    ])
  }
}

function uncounted(requestId: string, kind: TunnelKind): AuditEvent {
  const unknown = {
    bytes_sent: null,
    bytes_received: null,
    frames_sent: null,
    frames_received: null,
    duration_ms: null,
  }
  return { event: 'tunnel.closed', request_id: requestId, kind, ...unknown }
}

/** `refused`: the decision reached the file, its confirmation did not, so nothing was sent on its account. */
export function endOf(requestId: string, outcome: 'interrupted' | 'refused', timestamp: string): Entry {
  const sent = outcome === 'refused' ? 0 : null
  return entryOf(
    {
      event: 'request.completed',
      request_id: requestId,
      outcome,
      reason: outcome === 'refused' ? 'audit_unavailable' : null,
      status: outcome === 'refused' ? 503 : null,
      upstream_address: null,
      bytes_sent: sent,
      bytes_received: sent,
      duration_ms: null,
      timings: { dns: null, connect: null, tls: null, first_byte: null },
    },
    timestamp,
  )
}
