// Requests as an HTTP Archive 1.2; headers where a rule has recorded them, bodies never.

import { STATUS_CODES } from 'node:http'
import type { TrailRecord } from '../audit/read.ts'
import { clientName, member, urlOf } from './audit-text.ts'
import { VERSION } from './version.ts'

/** Not known, in HAR. */
const UNKNOWN = -1

/** What stands before the entries and behind them; between two of them stands a comma. */
export const HAR_HEAD: string = `{"log":{"version":"1.2","creator":{"name":"mcp-egress","version":"${VERSION}"},"entries":[\n`
export const HAR_TAIL = '\n]}}\n'

const HTTP_VERSIONS: ReadonlyMap<unknown, string> = new Map([
  ['http/1.1', 'HTTP/1.1'],
  ['http/1.0', 'HTTP/1.0'],
  ['h2', 'HTTP/2.0'],
])

export function harEntry(decided: TrailRecord, completed: TrailRecord | null): Record<string, unknown> {
  const httpVersion = HTTP_VERSIONS.get(decided['protocol']) ?? 'unknown'
  const upstream = textOr(completed?.['upstream_address'], '')
  const address = upstream.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  const timings = timingsOf(completed)
  return {
    startedDateTime: decided['timestamp'],
    time: numberOr(completed?.['duration_ms'], 0),
    request: {
      method: textOr(decided['method'], ''),
      url: urlOf(decided),
      httpVersion,
      cookies: [],
      headers: headersOf(decided['request_headers']),
      queryString: queryOf(decided['query']),
      headersSize: UNKNOWN,
      bodySize: numberOr(completed?.['bytes_sent'], UNKNOWN),
    },
    response: {
      status: numberOr(completed?.['status'], 0),
      statusText: STATUS_CODES[numberOr(completed?.['status'], 0)] ?? '',
      httpVersion,
      cookies: [],
      headers: headersOf(completed?.['response_headers']),
      content: { size: numberOr(completed?.['bytes_received'], 0), mimeType: 'x-unknown' },
      redirectURL: '',
      headersSize: UNKNOWN,
      bodySize: numberOr(completed?.['bytes_received'], UNKNOWN),
    },
    cache: {},
    timings,
    ...(address === '' ? {} : { serverIPAddress: address }),
    connection: textOr(decided['connection_id'], ''),
    comment: [decided['decision'], decided['reason'], decided['rule']]
      .filter((part) => typeof part === 'string')
      .join(' '),
    _decision: decided['decision'],
    _enforced: decided['enforced'],
    _reason: decided['reason'],
    _rule: decided['rule'],
    _outcome: completed?.['outcome'] ?? null,
    _client: clientName(decided),
    _source: member(decided, 'client', 'source'),
    _request_id: decided['request_id'],
    _seq: decided['seq'],
    _hash: decided['hash'],
  }
}

function headersOf(fields: unknown): { name: unknown; value: unknown }[] {
  if (!Array.isArray(fields)) return []
  return fields.filter(Array.isArray).map(([name, value]: unknown[]) => ({ name, value }))
}

/** Their sum is the whole time; `connect` of an archive contains `ssl`, that of the trail does not. */
function timingsOf(completed: TrailRecord | null): Record<string, number> {
  const step = (name: string): number =>
    numberOr(completed === null ? null : member(completed, 'timings', name), UNKNOWN)
  const [dns, dial, ssl, wait] = [step('dns'), step('connect'), step('tls'), Math.max(0, step('first_byte'))]
  const connect = dial < 0 && ssl < 0 ? UNKNOWN : Math.max(0, dial) + Math.max(0, ssl)
  const spent = Math.max(0, dns) + Math.max(0, connect) + wait
  const receive = Math.max(0, numberOr(completed?.['duration_ms'], 0) - spent)
  return { blocked: UNKNOWN, dns, connect, ssl, send: 0, wait, receive: Math.round(receive * 1000) / 1000 }
}

/** As it was spelled: a changed escape would be another request. */
function queryOf(query: unknown): { name: string; value: string }[] {
  if (typeof query !== 'string' || query === '') return []
  return query.split('&').map((pair) => {
    const equals = pair.indexOf('=')
    return equals < 0 ? { name: pair, value: '' } : { name: pair.slice(0, equals), value: pair.slice(equals + 1) }
  })
}

export function numberOr(value: unknown, otherwise: number): number {
  return typeof value === 'number' ? value : otherwise
}

function textOr(value: unknown, otherwise: string): string {
  return typeof value === 'string' ? value : otherwise
}
