// What one attack left behind: its records, each decision with one end, and a proxy that serves the next client.

import { expect } from 'vitest'
import { assertAccounted } from './accounting.ts'
import type { AuditRecord } from './lab.ts'
import { ask, type Standard } from './standard.ts'

export interface Left {
  readonly decided: AuditRecord[]
  readonly completed: AuditRecord[]
  readonly malformed: AuditRecord[]
  readonly rejected: AuditRecord[]
}

const EVENTS = {
  decided: 'request.decided',
  completed: 'request.completed',
  malformed: 'request.malformed',
  rejected: 'tls.rejected',
} as const
/** The path that the next client asks for. */
export const MARKER = '/the-next-client'

/**
 * Runs an attack and answers what it left in the trail. Fails unless there are exactly `expected` decisions (default 1), each with one
 * end, and `rejected` failed handshakes (default 0), and unless the next client is served.
 */
export async function witness(
  standard: Standard,
  attack: () => unknown,
  expected: { readonly decided?: number; readonly rejected?: number } = {},
): Promise<Left> {
  const { lab, authority } = standard
  const { decided = 1, rejected = 0 } = expected
  // What came before may still be ending.
  await assertAccounted(lab)
  const start = lab.records().length
  const since = (event: string): AuditRecord[] =>
    lab
      .records()
      .slice(start)
      .filter((record) => record.event === event)
  await attack()
  const held = (event: string, count: number): Promise<unknown> =>
    lab.waitFor(
      event,
      lab
        .records()
        .slice(0, start)
        .filter((record) => record.event === event).length + count,
    )
  await held(EVENTS.completed, decided)
  await held(EVENTS.rejected, rejected)
  const next = await ask(lab, 'connect', authority, { target: MARKER })
  expect(next.status, 'the next client').toBe(200)
  await assertAccounted(lab)
  const markers = new Set(
    since(EVENTS.decided)
      .filter((record) => record['path'] === MARKER)
      .map((record) => record.request_id),
  )
  const left = (event: string): AuditRecord[] => since(event).filter(({ request_id }) => !markers.has(request_id))
  const found: Left = {
    decided: left(EVENTS.decided),
    completed: left(EVENTS.completed),
    malformed: left(EVENTS.malformed),
    rejected: left(EVENTS.rejected),
  }
  expect({ decided: found.decided.length, rejected: found.rejected.length }).toEqual({ decided, rejected })
  expect(found.completed).toHaveLength(decided)
  return found
}

/** Requests the origin saw, less that of the next client. */
export function seenBy(standard: Standard): string[] {
  return standard.origin.seen.map(({ url }) => url).filter((url) => url !== MARKER)
}
