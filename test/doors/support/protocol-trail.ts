// What a case has left in the trail, less what two runs of it can not have in common: ids, times, ports, and the version.

import { expect } from 'vitest'
import type { AuditRecord } from '../../support/lab.ts'
import { fieldsOf } from './protocol-body.ts'
import type { Cell } from './protocol-bed.ts'

/** Of the envelope and of this run; `timings` tells which connections were there already. */
const OF_THE_RUN = 'schema instance seq timestamp prev_hash hash request_id connection_id policy duration_ms timings'
/** Of the way in; `assertWay` looks at them instead. */
const OF_THE_WAY = 'door protocol scheme sni original_destination'
/** By a key of each proxy's own. */
const FINGERPRINT = /hmac:[0-9a-f]+/g
const NOT_ABOUT_REQUESTS = new Set(['checkpoint', 'segment.opened'])

export function eventsOf(records: readonly AuditRecord[]): AuditRecord[] {
  return records.filter(({ event }) => !NOT_ABOUT_REQUESTS.has(event))
}

/** Each attempt in a line: `deny refused no_matching_rule 403`. */
export function trailOf(records: readonly AuditRecord[]): string[] {
  const decisions = records.filter(({ event }) => event === 'request.decided')
  return decisions.map(({ request_id, decision }) => {
    const end = records.find((record) => record.event === 'request.completed' && record.request_id === request_id)
    const words = [decision, end?.['outcome'], end?.['reason'], end?.['status']] as (string | number | null)[]
    return words.filter((word) => word !== null).join(' ')
  })
}

/** The records of each attempt, the attempts in any order: of two at once either may come first. */
export function normalized(records: readonly AuditRecord[], port: number): unknown[] {
  const left = new Set([...OF_THE_RUN.split(' '), ...OF_THE_WAY.split(' ')])
  const attempts = new Map<string, unknown[]>()
  for (const record of records) {
    const kept = Object.entries(record).filter(([name]) => !left.has(name))
    const id = record.request_id ?? record.event
    attempts.set(id, [...(attempts.get(id) ?? []), Object.fromEntries(kept)])
  }
  return [...attempts.values()]
    .map((attempt) => JSON.stringify(attempt, (name, value) => neutral(name, value, port)))
    .sort()
    .map((text) => JSON.parse(text) as unknown)
}

function neutral(name: string, value: unknown, port: number): unknown {
  if (value === port) return 'PORT'
  if (typeof value === 'string') return value.replaceAll(`:${port}`, ':PORT').replaceAll(FINGERPRINT, 'hmac:')
  // Which other names there were depends on the door; that of the request is the same.
  if (name === 'names') return { host: (value as { host: string }).host }
  if (name === 'request_headers' || name === 'response_headers') return fieldsOf((value as string[][]).flat())
  return value
}

/** Every decision names the door, the version and the names it came by. */
export function assertWay(records: readonly AuditRecord[], cell: Cell, port: number): void {
  for (const record of records) {
    if (record.event !== 'request.decided') continue
    expect(record).toMatchObject({
      door: cell.door,
      protocol: cell.client,
      scheme: cell.tls ? 'https' : 'http',
      sni: cell.tls ? expect.stringMatching(/\.test$/) : null,
      original_destination: cell.door === 'transparent' ? `127.0.0.1:${port}` : null,
    })
  }
}
