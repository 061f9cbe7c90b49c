// Sends what is no HTTP request through a door, and answers what became of it: at the client, at the origin, in the trail.

import { setImmediate as turn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { type Bed, startBed, type Way } from '../../doors/support/bed.ts'
import { assertAccounted } from '../../support/accounting.ts'
import type { AuditRecord, LabOptions } from '../../support/lab.ts'
import type { Ending, Wire } from '../../support/wire.ts'

export const PLAIN_WAYS: readonly Way[] = [
  { door: 'connect', tls: false },
  { door: 'transparent', tls: false },
  { door: 'absolute', tls: false },
]
export const TLS_WAYS: readonly Way[] = [
  { door: 'connect', tls: true },
  { door: 'transparent', tls: true },
]
export const EVERY_WAY: readonly Way[] = [...PLAIN_WAYS, ...TLS_WAYS]

export interface Outcome {
  /** What the client was told, latin1. */
  readonly said: string
  readonly ending: Ending
  readonly decided: AuditRecord[]
  readonly completed: AuditRecord[]
  readonly malformed: AuditRecord[]
}

/** Once for each way: a bed of its own, and an origin to which nobody may have connected when the tests are over. */
export function eachWay(
  ways: readonly Way[],
  tests: (bed: () => Bed, way: Way) => void,
  options: Partial<LabOptions> = {},
): void {
  describe.each(ways)('through the door $door, tls $tls', (way) => {
    let bed: Bed
    beforeAll(async () => {
      bed = await startBed(way, options)
    })
    afterAll(async () => {
      await assertAccounted(bed.lab)
      await bed.close()
    })
    tests(() => bed, way)
  })
}

/**
 * One connection on which `speak` says all there is to say. Fails unless it is ended by the proxy, leaves `attempts` decisions with
 * one end each, and makes no connection to the origin; and unless the next client is served.
 */
export async function outcomeOf(bed: Bed, speak: (wire: Wire) => unknown, attempts = 1): Promise<Outcome> {
  const { lab, origin } = bed
  await assertAccounted(lab)
  const connections = origin.connections()
  const asked = origin.asked.length
  const start = lab.records().length
  const ends = lab.recordsOf('request.completed').length
  const wire = await bed.open()
  await speak(wire)
  const ending = await wire.closed()
  wire.socket.destroy()
  await lab.waitFor('request.completed', ends + attempts)
  // What would be written or dialled too much has had its turns of the event loop.
  for (let turns = 0; turns < 20; turns++) await turn()
  await assertAccounted(lab)
  const left = lab.records().slice(start)
  const of = (event: string): AuditRecord[] => left.filter((record) => record.event === event)
  expect(of('request.decided'), 'attempts').toHaveLength(attempts)
  expect(origin.asked.length, 'requests at the origin').toBe(asked)
  expect(origin.connections(), 'connections to the origin').toBe(connections)
  const next = await bed.ask('/the-next-client')
  expect(next.status, 'the next client').toBe(200)
  return {
    said: wire.text,
    ending,
    decided: of('request.decided'),
    completed: of('request.completed'),
    malformed: of('request.malformed'),
  }
}

/** An outcome of one attempt that was answered 400, for bytes that are no request. */
export function refusedWith(code: string): object {
  const said = expect.stringMatching(/^HTTP\/1\.1 400 [^]*"reason":"malformed"/) as unknown
  return { said, ending: 'end', ...recordedWith(code) }
}

/** What the trail has of it, whatever the client was told. */
export function recordedWith(code: string): object {
  return {
    decided: [{ decision: 'deny', enforced: true, reason: 'malformed', rule: null }],
    completed: [{ outcome: 'refused', reason: 'malformed', upstream_address: null, bytes_sent: 0 }],
    malformed: [{ code }],
  }
}
