// The bed of the attacks over HTTP/2: frames go in through both doors, and it is told what came of them on all three sides.

import { setImmediate as turn } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { assertAccounted } from '../../support/accounting.ts'
import { type AuditRecord, type Lab, type LabOptions, startLab } from '../../support/lab.ts'
import { createTestRoot } from '../../support/origins.ts'
import { DOORS, type DoorName, openDoor } from '../../support/standard.ts'
import { type Got, startVersionedCanary, type Version, type VersionedCanary } from './http2-canary.ts'
import { type Block, head, outcomeOn, RawPeer, type StreamOutcome } from './http2-wire.ts'

export const HOST = 'api.allowed.test'
export const OTHER = 'other.allowed.test'
/** What the next client asks for. */
const NEXT = '/the-next-client'

export interface Http2Cell {
  readonly door: DoorName
  readonly origin: Version
}

export const CELLS: readonly Http2Cell[] = DOORS.flatMap((door) => [
  { door, origin: 'http/1.1' as const },
  { door, origin: 'h2' as const },
])

export interface Left {
  readonly decided: AuditRecord[]
  readonly completed: AuditRecord[]
  readonly malformed: AuditRecord[]
  /** What the origin got, less what the next client asked for. */
  readonly got: Got[]
  /** What an origin of HTTP/1.1 got, byte by byte. */
  readonly bytes: string
}

export interface Http2Bed {
  readonly cell: Http2Cell
  readonly lab: Lab
  readonly canary: VersionedCanary
  readonly authority: string
  /** A connection that has said nothing yet. */
  readonly open: () => Promise<RawPeer>
  /** The pseudo-fields of a request that is in order, and more fields. */
  readonly asked: (method: string, path: string, ...more: string[]) => string[]
  /**
   * One connection, with its preface said, on which `speak` says all there is to say. Fails unless it leaves `attempts` decisions with one
   * end each (null: as many as there are), and unless the next client is served.
   */
  readonly attack: (attempts: number | null, speak: (peer: RawPeer) => unknown) => Promise<Left>
  readonly close: () => Promise<void>
}

export async function startHttp2Bed(cell: Http2Cell, options: Partial<LabOptions> = {}): Promise<Http2Bed> {
  const root = createTestRoot()
  const canary = await startVersionedCanary(cell.origin, root)
  const { port } = canary
  const lab = await startLab({
    rules: `  - { id: open, allow: { hosts: [${HOST}, ${OTHER}], ports: [${port}] } }`,
    names: { [HOST]: ['127.0.0.1'], [OTHER]: ['127.0.0.1'] },
    original: { address: '127.0.0.1', port },
    ...options,
    root,
  })
  const authority = `${HOST}:${port}`
  const open = async (): Promise<RawPeer> => {
    const socket = (await openDoor(lab, cell.door, authority, { alpn: ['h2'] })) as TLSSocket
    expect(socket.alpnProtocol).toBe('h2')
    // A PING behind another write is not to wait for the acknowledgement of it.
    socket.setNoDelay(true)
    return new RawPeer(socket)
  }
  const asked = (method: string, path: string, ...more: string[]): string[] => [
    ':method',
    method,
    ':scheme',
    'https',
    ':authority',
    authority,
    ':path',
    path,
    ...more,
  ]
  const next = async (): Promise<void> => {
    const peer = await open()
    peer.begin()
    peer.write(head(1, asked('GET', NEXT)))
    expect(await outcomeOn(peer, 1), 'the next client').toEqual({ status: '200', reset: undefined })
    peer.stream.destroy()
  }
  return {
    cell,
    lab,
    canary,
    authority,
    open,
    asked,
    attack: async (attempts, speak) => {
      // What came before may still be ending.
      await assertAccounted(lab)
      canary.take()
      canary.bytes()
      const start = lab.records().length
      const ends = lab.recordsOf('request.completed').length
      const peer = await open()
      peer.begin()
      await speak(peer)
      peer.stream.destroy()
      await lab.waitFor('request.completed', ends + (attempts ?? 1))
      // What would be written or sent too much has had its turns of the event loop.
      for (let turns = 0; turns < 20; turns++) await turn()
      await assertAccounted(lab)
      const records = lab.records().slice(start)
      const bytes = canary.bytes()
      const got = canary.take()
      await next()
      const of = (event: string): AuditRecord[] => records.filter((record) => record.event === event)
      const completed = of('request.completed')
      if (attempts !== null) expect(of('request.decided'), 'attempts').toHaveLength(attempts)
      return { decided: of('request.decided'), completed, malformed: of('request.malformed'), got, bytes }
    },
    close: async () => {
      await assertAccounted(lab)
      await lab.close()
      await canary.close()
      root.close()
    },
  }
}

/** Once for each door and each version that the origin speaks: a bed of its own. */
export function eachCell(
  tests: (bed: () => Http2Bed, cell: Http2Cell) => void,
  options: Partial<LabOptions> = {},
  cells: readonly Http2Cell[] = CELLS,
): void {
  describe.each(cells)('through the door $door to an origin of $origin', (cell) => {
    let bed: Http2Bed
    beforeAll(async () => {
      bed = await startHttp2Bed(cell, options)
    })
    afterAll(() => bed?.close())
    tests(() => bed, cell)
  })
}

/** What becomes of a head that is no request. */
export interface Refusal extends StreamOutcome {
  readonly reason: string
  readonly code: string
}

/** Answered, recorded, and its stream reset. */
export const noRequest = (code: string): Refusal => ({
  status: '400',
  reset: 'PROTOCOL_ERROR',
  reason: 'malformed',
  code,
})

/**
 * Sends one head that is no request, and an honest request behind it on the same connection. Fails unless nothing of the first reached the
 * origin, the second did with exactly its own fields, and the trail has one attempt for each.
 */
export async function refused(bed: Http2Bed, fields: Block, body: Buffer | null = null): Promise<Refusal> {
  let outcome: StreamOutcome = { status: undefined, reset: undefined }
  let said = ''
  const { decided, completed, malformed, got, bytes } = await bed.attack(2, async (peer) => {
    peer.write(head(1, fields, body === null), body ?? Buffer.alloc(0))
    outcome = await outcomeOn(peer, 1)
    said = peer.body(1).toString('latin1')
    peer.write(head(3, bed.asked('GET', '/honest', 'x-own', 'yes')))
    expect(await outcomeOn(peer, 3), 'an honest request behind it').toEqual({ status: '200', reset: undefined })
  })
  const honest = { method: 'GET', target: '/honest', authority: bed.authority, fields: ['x-own', 'yes'], body: '' }
  expect(got, 'at the origin').toEqual([honest])
  const head1 = `GET /honest HTTP/1.1\r\nHost: ${bed.authority}\r\nx-own: yes\r\n\r\n`
  expect(bytes, 'byte by byte').toBe(bed.cell.origin === 'h2' ? '' : head1)
  const { reason } = JSON.parse(said) as { reason: string }
  const { request_id } = decided[0] ?? {}
  expect(decided[0]).toMatchObject({ decision: 'deny', enforced: true, rule: null, reason, method: null, path: null })
  expect(completed.find((end) => end.request_id === request_id)).toMatchObject({
    outcome: 'refused',
    reason,
    status: Number(outcome.status),
    upstream_address: null,
    bytes_sent: 0,
  })
  expect(malformed).toMatchObject([{ request_id }])
  expect(decided[1]).toMatchObject({ decision: 'allow', path: '/honest' })
  return { ...outcome, reason, code: String(malformed[0]?.['code']) }
}

/** Of `request.malformed`, without its counts. */
export const codeOf = ({ code }: Record<string, unknown>): string => String(code).split(' ', 1)[0] as string
