// Whichever version of HTTP is spoken on either side, through whichever door: the same decisions, records and bytes.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { protocolCases } from './protocol-cases.ts'
import type { ProtocolCase } from './support/protocol-case.ts'
import { type Cell, type ProtocolBed, startProtocolBed } from './support/protocol-bed.ts'
import { assertWay, normalized, trailOf } from './support/protocol-trail.ts'

const VERSIONS = ['http/1.1', 'h2'] as const
const CELLS: readonly Cell[] = [
  ...(['transparent', 'connect'] as const).flatMap((door) =>
    VERSIONS.flatMap((client) => VERSIONS.map((origin): Cell => ({ door, tls: true, client, origin }))),
  ),
  // The form of a plain request to a proxy: there is no HTTP/2 without TLS here.
  { door: 'absolute', tls: false, client: 'http/1.1', origin: 'http/1.1' },
]
/** All others have to agree with it. */
const FIRST = CELLS[0] as Cell
const CASE_TIMEOUT_MS = 20_000
const NAMED_CASES = protocolCases.map((played) => [played.does, played] as const)
const ULID = /[0-9A-HJKMNP-TV-Z]{26}/g

/** What a case has left behind, less what two runs can not have in common. */
interface Observed {
  readonly client: unknown
  readonly records: unknown
  readonly origin: unknown
}

async function observe(bed: ProtocolBed, { does, script, play, ...expected }: ProtocolCase): Promise<Observed> {
  const { port } = bed.origin
  const path = `/${does.replaceAll(/[^a-z0-9]+/gi, '-')}`
  const since = bed.mark()
  if (script !== undefined) bed.origin.on(path, script)
  const client = await play(bed, path)
  expect(client).toMatchObject(expected.client as object)
  const records = await bed.attempts(expected.trail.length, since)
  expect(trailOf(records).sort()).toEqual([...expected.trail].sort())
  assertWay(records, bed.cell, port)
  const seen = bed.origin.seen(path)
  expect(seen).toMatchObject(expected.origin)
  for (const { version } of seen) expect(version).toBe(bed.cell.origin)
  const scrubbed = JSON.stringify(client).replaceAll(`:${port}`, ':PORT').replaceAll(ULID, 'ID')
  return {
    client: JSON.parse(scrubbed) as unknown,
    records: normalized(records, port),
    origin: seen.map((request) => JSON.stringify({ ...request, version: null }).replaceAll(`:${port}`, ':PORT')).sort(),
  }
}

let first: Promise<ProtocolBed> | null = null
const references = new Map<ProtocolCase, Promise<Observed>>()

function firstBed(): Promise<ProtocolBed> {
  first ??= startProtocolBed(FIRST)
  return first
}

/** What came of it in the first cell, where it runs once. */
function reference(played: ProtocolCase): Promise<Observed> {
  const known = references.get(played) ?? firstBed().then((bed) => observe(bed, played))
  references.set(played, known)
  return known
}

afterAll(async () => (await first)?.close())

describe.each(CELLS.map((cell) => [cell.door, cell.client, cell.origin, cell] as const))(
  '%s, %s in and %s out',
  (_door, _client, _origin, cell) => {
    let bed: ProtocolBed
    beforeAll(async () => {
      bed = await (cell === FIRST ? firstBed() : startProtocolBed(cell))
    })
    afterAll(async () => {
      if (cell !== FIRST) await bed.close()
    })

    it.each(NAMED_CASES)('%s', { timeout: CASE_TIMEOUT_MS }, async (_does, played) => {
      const expected = await reference(played)
      expect(cell === FIRST ? expected : await observe(bed, played)).toEqual(expected)
    })
  },
)
