// Every attempt has exactly one decision and one end, in that order, and the chain they stand in holds.

import { expect } from 'vitest'
import { verifyFile } from './audit-events.ts'
import type { AuditRecord, Lab } from './lab.ts'

/** Call it when all clients are gone. Waits until the last end is written, then looks at the whole trail. */
export async function assertAccounted(lab: Lab): Promise<void> {
  await lab.waitFor('request.completed', lab.recordsOf('request.decided').length)
  verifyFile(lab.trailFile)
  const records = lab.records()
  const decided = idsOf(records, 'request.decided')
  const completed = idsOf(records, 'request.completed')
  expect(new Set(decided).size, 'a request was decided twice').toBe(decided.length)
  expect([...completed].sort()).toEqual([...decided].sort())
  const decidedAt = new Map(
    records.filter(({ event }) => event === 'request.decided').map((r) => [r.request_id, r.seq]),
  )
  for (const { event, request_id, seq } of records) {
    if (event !== 'request.completed' && event !== 'request.malformed') continue
    expect(decidedAt.get(request_id) ?? Number.POSITIVE_INFINITY, `${event} before its decision`).toBeLessThan(seq)
  }
}

function idsOf(records: readonly AuditRecord[], event: string): string[] {
  return records.filter((record) => record.event === event).map(({ request_id }) => request_id ?? '')
}
