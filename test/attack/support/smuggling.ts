// The bed of the smuggling tests: bytes go in through every door, and it is told what came of them on all three sides.

import { setImmediate as turn } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Way } from '../../doors/support/bed.ts'
import { assertAccounted } from '../../support/accounting.ts'
import { connectVia, httpsRedirected, httpsVia, tcp } from '../../support/clients.ts'
import { type AuditRecord, type Lab, type LabOptions, startLab } from '../../support/lab.ts'
import { createTestRoot } from '../../support/origins.ts'
import { valuesOf, Wire } from '../../support/wire.ts'
import { type Canary, startCanary } from './canary.ts'
import type { ReadRequest } from './request-reader.ts'

export const HOST = 'api.allowed.test'
/** Where a smuggled request would lead; nothing may ever be seen of it. */
export const SMUGGLED = '/smuggled'
const AFTER = '/after'

export const WAYS: readonly Way[] = [
  { door: 'transparent', tls: true },
  { door: 'transparent', tls: false },
  { door: 'connect', tls: true },
  { door: 'connect', tls: false },
  { door: 'absolute', tls: false },
]

export const called = ({ door, tls }: Way): string => `${door}, ${tls ? 'https' : 'plain http'}`

/** How a request is spelled on one way in. */
export interface Spelling {
  /** Origin-form or absolute-form. */
  readonly target: (path: string) => string
  readonly authority: string
  /** The Host line, with its CRLF. */
  readonly host: string
  /** A whole request for `SMUGGLED`. */
  readonly smuggled: string
}

export interface SmugglingBed {
  readonly way: Way
  readonly lab: Lab
  readonly canary: Canary
  readonly spelling: Spelling
  readonly open: () => Promise<Wire>
  /** Also fails when an attempt of any test before has not exactly one decision and one end. */
  readonly close: () => Promise<void>
}

/** Methods that are registered; `get` and `FOO` are none of them. */
const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE'

export async function startSmugglingBed(way: Way, options: Partial<LabOptions> = {}): Promise<SmugglingBed> {
  const root = createTestRoot()
  const canary = await startCanary(way.tls ? root : null)
  const authority = `${HOST}:${canary.port}`
  const lab = await startLab({
    rules: `  - { id: open, allow: { hosts: [${HOST}], ports: [${canary.port}], schemes: [http, https], methods: [${METHODS}] } }`,
    names: { [HOST]: ['127.0.0.1'] },
    original: { address: '127.0.0.1', port: canary.port },
    ...options,
    root,
  })
  const target = (path: string): string => (way.door === 'absolute' ? `http://${authority}${path}` : path)
  const host = `Host: ${authority}\r\n`
  return {
    way,
    lab,
    canary,
    spelling: { target, authority, host, smuggled: `GET ${target(SMUGGLED)} HTTP/1.1\r\n${host}\r\n` },
    open: async () => {
      if (way.door === 'absolute') return new Wire(await tcp(lab.proxyPort))
      if (way.door === 'transparent') {
        return new Wire(way.tls ? await httpsRedirected(lab, HOST) : await tcp(lab.transparentPort))
      }
      if (way.tls) return new Wire(await httpsVia(lab, authority))
      return new Wire((await connectVia(lab, authority)).socket)
    },
    close: async () => {
      await assertAccounted(lab)
      await lab.close()
      await canary.close()
      root.close()
    },
  }
}

/** How bytes are refused. `unread`: they are no request, so `request.malformed` tells of them too. */
export interface Refusal {
  readonly status: number
  readonly reason: string
  readonly code: string
  readonly unread: boolean
}

/** The bytes are no request. */
export const noRequest = (code: string): Refusal => ({ status: 400, reason: 'malformed', code, unread: true })
/** The head can be read, and what it says of the message has more than one reading. */
export const ambiguous = (code: string): Refusal => ({ status: 400, reason: 'malformed', code, unread: false })
export const tooLarge = (code: string): Refusal => ({ status: 431, reason: 'header_too_large', code, unread: true })

/** Sends an attack and answers how it was refused. Fails unless nothing of it left, its connection ended, and it is recorded as one attempt. */
export async function refused(bed: SmugglingBed, bytes: string): Promise<Refusal> {
  const { canary, lab } = bed
  canary.take()
  const connections = canary.connections()
  const left = await follow(lab)
  const wire = await bed.open()
  wire.write(bytes)
  const refusal = await refusedOn(wire)
  accountedRefusal(await left(1), refusal)
  expect(canary.take(), 'bytes reached the origin').toEqual([])
  expect(canary.connections(), 'the origin was dialled').toBe(connections)
  return refusal
}

const UNREAD = 'the bytes are not a request: '

/** The next answer on the wire, which is a refusal. Fails unless it is the last one, and the connection ends behind it. */
export async function refusedOn(wire: Wire): Promise<Refusal> {
  const answer = await wire.message()
  const { reason, hint } = JSON.parse(answer.body) as { reason: string; hint: string }
  expect(valuesOf(answer, 'connection')).toEqual(['close'])
  expect(await wire.closed()).toBe('end')
  expect(wire.text, 'more than one answer').toBe('')
  return { status: answer.status, reason, code: hint.replace(UNREAD, ''), unread: hint.startsWith(UNREAD) }
}

/** One decision to deny and one end of the same attempt; `request.malformed` with the code where nothing could be read. */
export function accountedRefusal(records: readonly AuditRecord[], { status, reason, code, unread }: Refusal): void {
  const [decided, ...rest] = records
  const completed = rest.at(-1)
  const malformed = rest.slice(0, -1)
  const { request_id } = decided ?? {}
  expect(decided).toMatchObject({ event: 'request.decided', decision: 'deny', enforced: true, reason })
  expect(completed).toMatchObject({ event: 'request.completed', request_id, outcome: 'refused', reason, status })
  if (unread) expect(malformed).toHaveLength(1)
  for (const record of malformed) expect(record).toMatchObject({ event: 'request.malformed', request_id, code })
}

/** Answers the records of the requests since: waits until `attempts` of them have ended, and fails when there are more. */
export async function follow(lab: Lab): Promise<(attempts: number) => Promise<AuditRecord[]>> {
  // What came before may still be ending.
  await lab.waitFor('request.completed', lab.recordsOf('request.decided').length)
  const before = lab.records().length
  const ended = lab.recordsOf('request.completed').length
  return async (attempts) => {
    await lab.waitFor('request.completed', ended + attempts)
    const records = lab.records().slice(before)
    expect(records.filter(({ event }) => event === 'request.completed')).toHaveLength(attempts)
    expect(records.filter(({ event }) => event === 'request.decided')).toHaveLength(attempts)
    return records.filter(({ event }) => event.startsWith('request.'))
  }
}

/** Of the requests that an origin read, what must not change on the way. */
export type Sent = Pick<ReadRequest, 'method' | 'target' | 'body'>

export interface Forwarded {
  readonly sent: readonly Sent[]
  readonly requests: readonly ReadRequest[]
  /** Everything the origin got on their connections. */
  readonly bytes: string
}

/**
 * Sends requests of these methods and answers what the origin got. Fails unless each was answered with 200, in order, and recorded, and unless
 * a further request on the same connection is served: nothing is left over on either side.
 */
export async function forwarded(bed: SmugglingBed, bytes: string, methods: readonly string[]): Promise<Forwarded> {
  const { canary, lab, spelling } = bed
  canary.take()
  const left = await follow(lab)
  const wire = await bed.open()
  wire.write(bytes)
  const statuses: number[] = []
  for (const method of methods) statuses.push((await wire.message(method === 'HEAD')).status)
  expect(statuses).toEqual(methods.map(() => 200))
  wire.write(`GET ${spelling.target(AFTER)} HTTP/1.1\r\n${spelling.host}\r\n`)
  expect((await wire.message()).body).toBe('ok')
  expect(wire.text, 'more answers than requests').toBe('')
  wire.socket.destroy()
  const ends = (await left(methods.length + 1)).filter(({ event }) => event === 'request.completed')
  for (const end of ends) expect(end).toMatchObject({ outcome: 'completed', reason: null, status: 200 })
  const received = canary.take()
  const requests = received.flatMap((connection) => connection.requests)
  const last = requests.pop()
  expect([last?.method, last?.target, last?.body]).toEqual(['GET', AFTER, ''])
  return {
    sent: requests.map(essence),
    requests,
    bytes: received.map((connection) => connection.bytes.toString('latin1')).join(''),
  }
}

/** What the origin has read since it was last asked, over all connections. */
export function seen(canary: Canary): Sent[] {
  return canary.take().flatMap(({ requests }) => requests.map(essence))
}

export const essence = ({ method, target, body }: Sent): Sent => ({ method, target, body })

/**
 * Sends a request whose head may go on and whose body then breaks, and answers the code of what is wrong with it. Fails unless its connection
 * ended, nothing behind the break was read, no origin has a whole request of it, and the next client is served.
 */
export async function broken(bed: SmugglingBed, pieces: readonly string[]): Promise<string> {
  const { canary, lab, spelling } = bed
  canary.take()
  const left = await follow(lab)
  const wire = await bed.open()
  for (const piece of pieces) {
    wire.write(piece)
    await turn()
  }
  const { code, ...refusal } = await refusedOn(wire)
  expect(refusal).toEqual({ status: 400, reason: 'malformed', unread: false })
  const [decided, completed] = await left(1)
  expect(decided).toMatchObject({ event: 'request.decided', decision: 'allow' })
  expect(completed).toMatchObject({ event: 'request.completed', outcome: 'refused', reason: 'malformed', status: 400 })
  const received = canary.take()
  expect(received.flatMap(({ requests }) => requests)).toEqual([])
  expect(received.map(({ bytes }) => bytes.toString('latin1')).join('')).not.toMatch(/smuggled|\r\n0\r\n/)
  const next = await bed.open()
  next.write(`GET ${spelling.target(AFTER)} HTTP/1.1\r\n${spelling.host}\r\n`)
  expect((await next.message()).body).toBe('ok')
  next.socket.destroy()
  await left(2)
  expect(seen(canary)).toEqual([{ method: 'GET', target: AFTER, body: '' }])
  return code
}
