// The sink over HTTP: one POST a batch, in the format of its receiver, and what the status says about trying again.

import { Agent, request } from 'undici'
import { FORMATS, type HttpFormat } from './sink-formats.ts'
import { type Delivery, type Destination, failed, recordId, type ShippedRecord } from './sink-record.ts'
import type { Reach } from './sink-tls.ts'

export interface HttpReceiver {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly format: HttpFormat
}

const CONNECT_TIMEOUT_MS = 10_000
const MAX_ANSWER_BYTES = 4 * 1_048_576
const MAX_DETAIL = 200
const MAX_RECORDS = 500

/** About what is in the batch. Any other 4xx is about the address or the credentials, which no record can help. */
const REFUSALS: ReadonlySet<number> = new Set([400, 413, 422])

export function httpDestination({ url, headers, format }: HttpReceiver, { lookup, tls }: Reach): Destination {
  const wire = FORMATS[format]
  // Never the global dispatcher: whoever sets HTTPS_PROXY for this process must not come to see the trail.
  const agent = new Agent({
    connections: 1,
    pipelining: 1,
    connect: { ...tls, lookup, timeout: CONNECT_TIMEOUT_MS },
    headersTimeout: 0,
    bodyTimeout: 0,
  })
  const deliver = async (batch: readonly ShippedRecord[], signal: AbortSignal): Promise<Delivery> => {
    const {
      statusCode,
      headers: answered,
      body,
    } = await request(url, {
      method: 'POST',
      dispatcher: agent,
      signal,
      headers: {
        'Content-Type': wire.contentType,
        'User-Agent': 'mcp-egress',
        'Idempotency-Key': idempotencyKey(batch),
        ...headers,
      },
      body: wire.body(batch),
    })
    const answer = await readAnswer(body)
    if (statusCode >= 200 && statusCode < 300) return wire.judge(batch, answer)
    const why = `HTTP ${statusCode} ${printable(answer)}`.trimEnd()
    if (REFUSALS.has(statusCode)) return { kind: 'refused', why }
    return failed(why, retryAfter(answered['retry-after'], Date.now()))
  }
  return {
    maxRecords: MAX_RECORDS,
    deliver: (batch, signal) =>
      deliver(batch, signal).catch((error: unknown) => failed(signal.aborted ? 'no answer in time' : describe(error))),
    close: () => void agent.destroy().catch(() => undefined),
  }
}

/** The same for the same records; a batch that is cut otherwise has another one. */
function idempotencyKey(batch: readonly ShippedRecord[]): string {
  const first = batch[0]
  return first === undefined ? '' : `${recordId(first)}-${batch.at(-1)?.seq}`
}

async function readAnswer(body: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of body) {
    size += part.length
    if (size > MAX_ANSWER_BYTES) throw new Error(`an answer of more than ${MAX_ANSWER_BYTES} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}

/** Milliseconds of a Retry-After field (RFC 9110 §10.2.3): seconds, or a date. */
export function retryAfter(field: string | string[] | undefined, now: number): number | null {
  if (typeof field !== 'string') return null
  if (/^\d{1,9}$/.test(field)) return Number(field) * 1_000
  const date = Date.parse(field)
  return Number.isNaN(date) ? null : Math.max(0, date - now)
}

/** What a receiver says goes into our log, and must not drive a terminal there. */
function printable(text: string): string {
  return text
    .slice(0, MAX_DETAIL)
    .replaceAll(/[^\x21-\x7e]+/g, ' ')
    .trim()
}

function describe(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return code === undefined || message.includes(code) ? message : `${message} (${code})`
}
