// What a batch looks like on the wire of each HTTP receiver, and what its answer says about the records.

import { type Delivery, recordId, type ShippedRecord } from './sink-record.ts'

export type HttpFormat = 'jsonl' | 'splunk-hec' | 'loki' | 'elastic-bulk'

export interface WireFormat {
  readonly contentType: string
  body(batch: readonly ShippedRecord[]): string
  /** Reads the body of a 2xx answer. */
  judge(batch: readonly ShippedRecord[], answer: string): Delivery
}

const SOURCE = 'mcp-egress'
const NANOSECONDS_PER_MS = 1_000_000
const MAX_REASON = 300

const taken = (): Delivery => ({ kind: 'accepted' })

export const FORMATS: Readonly<Record<HttpFormat, WireFormat>> = {
  jsonl: {
    contentType: 'application/x-ndjson',
    body: (batch) => `${batch.map(({ text }) => text).join('\n')}\n`,
    judge: taken,
  },
  'splunk-hec': {
    contentType: 'application/json',
    body: (batch) => batch.map(splunkEvent).join('\n'),
    judge: taken,
  },
  loki: { contentType: 'application/json', body: lokiPush, judge: taken },
  'elastic-bulk': {
    contentType: 'application/x-ndjson',
    // `create` never overwrites: what was sent before is answered with 409, and stays as it was.
    body: (batch) =>
      batch
        .map(
          (record) =>
            `{"create":{"_id":"${recordId(record)}"}}\n{"@timestamp":"${record.timestamp}",${record.text.slice(1)}\n`,
        )
        .join(''),
    judge: judgeBulk,
  },
}

function milliseconds(record: ShippedRecord): number {
  const time = Date.parse(record.timestamp)
  return Number.isNaN(time) ? 0 : time
}

function splunkEvent(record: ShippedRecord): string {
  const time = (milliseconds(record) / 1_000).toFixed(3)
  const fields = `{"instance":"${record.instance}","seq":"${record.seq}"}`
  return `{"time":${time},"source":"${SOURCE}","sourcetype":"mcp-egress:audit","fields":${fields},"event":${record.text}}`
}

/**
 * Loki drops a second entry of one stream, time and line. The nanoseconds below the millisecond are the record's number, so that the
 * same record has the same time whenever it is sent, and records of one millisecond stay in order.
 */
function lokiPush(batch: readonly ShippedRecord[]): string {
  const values = batch.map((record) => {
    const below = String(record.seq % NANOSECONDS_PER_MS).padStart(6, '0')
    return `["${milliseconds(record)}${below}",${JSON.stringify(record.text)}]`
  })
  const labels = `{"service_name":"${SOURCE}","instance":"${batch[0]?.instance ?? ''}"}`
  return `{"streams":[{"stream":${labels},"values":[${values.join(',')}]}]}`
}

interface BulkItem {
  readonly status?: unknown
  readonly error?: unknown
}

/** The answer to a bulk is 200 whatever became of its records; each has a status of its own. */
function judgeBulk(batch: readonly ShippedRecord[], answer: string): Delivery {
  const items = bulkItems(answer)
  if (items?.length !== batch.length) return { kind: 'failed', why: 'the answer is not one of a bulk', afterMs: null }
  const refused = new Map<number, string>()
  for (const [at, { status, error }] of items.entries()) {
    const code = typeof status === 'number' ? status : 500
    if ((code >= 200 && code < 300) || code === 409) continue
    const why = `${code} ${JSON.stringify(error ?? null).slice(0, MAX_REASON)}`
    // The others are not taken twice: they have their identifier.
    if (code === 429 || code >= 500 || code === 401 || code === 403) return { kind: 'failed', why, afterMs: null }
    refused.set(at, why)
  }
  if (refused.size === 0) return { kind: 'accepted' }
  if (refused.size === batch.length) return { kind: 'refused', why: refused.get(0) ?? '' }
  return { kind: 'partly', refused }
}

function bulkItems(answer: string): BulkItem[] | null {
  try {
    const { items } = JSON.parse(answer) as { items?: unknown }
    if (!Array.isArray(items)) return null
    return items.map((item) => (item as { create?: BulkItem } | null)?.create ?? {})
  } catch {
    return null
  }
}
