// Where clients that others wrote run, the origins they ask there, and whether all of them were served in the right version.

import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { expect } from 'vitest'
import type { Spawner } from '../../e2e/support/spawner.ts'
import type { AuditRecord } from '../../support/lab.ts'
import type { ExecOptions } from '../../support/netns.ts'
import type { OriginProgram } from './protocol-programs.ts'

/** An origin, and which version it is asked in when a client of HTTP/2 asks. */
export interface Behind {
  readonly port: number
  readonly speaks: '1.1' | '2.0'
  readonly versions: OriginProgram['versions']
  /** What it answers to `request N`. */
  readonly body: (number: number) => string
}

export const ORIGINS = ['node:https', 'node:http2', 'nginx'] as const
export type OriginName = (typeof ORIGINS)[number]

/** Where the clients run, and what they leave behind there. */
export interface Place {
  readonly spawner: Spawner
  readonly options: ExecOptions
  readonly name: string
  readonly door: 'connect' | 'transparent'
  readonly origins: ReadonlyMap<OriginName, Behind>
  /** Resolves when there are so many decisions for the path, each with its end. */
  attempts(path: string, count: number): Promise<AuditRecord[]>
}

/** So many requests for the path came and went in HTTP/2, and the origin saw them in the version that is its own. */
export async function assertServed(
  place: Place,
  origin: OriginName,
  path: string,
  { times, connections }: { readonly times: number; readonly connections: number },
): Promise<void> {
  const records = await place.attempts(path, times)
  const decided = records.filter(({ event }) => event === 'request.decided')
  expect(decided).toHaveLength(times)
  expect(new Set(decided.map((record) => record['connection_id'])).size).toBe(connections)
  for (const record of decided) {
    expect(record).toMatchObject({
      protocol: 'h2',
      decision: 'allow',
      door: place.door,
      host: place.name,
      sni: place.name,
    })
  }
  const completed = records.filter(({ event }) => event === 'request.completed')
  for (const record of completed) expect(record).toMatchObject({ outcome: 'completed', status: 200 })
  expect(completed).toHaveLength(times)
  const { versions, speaks } = behind(place, origin)
  expect(versions(path)).toEqual(Array.from({ length: times }, () => speaks))
}

export function behind(place: Place, origin: OriginName): Behind {
  const found = place.origins.get(origin)
  if (found === undefined) throw new Error(`no ${origin}`)
  return found
}

export const pathOf = (client: string, origin: OriginName): string =>
  `/${client}/${origin}`.replaceAll(/[^a-z0-9/]/g, '-')

export function attemptsOf(records: readonly AuditRecord[], path: string): AuditRecord[] {
  const ids = new Set(records.filter((record) => record['path'] === path).map(({ request_id }) => request_id))
  return records.filter(({ request_id }) => ids.has(request_id))
}

export const isWhole = (records: readonly AuditRecord[], count: number): boolean =>
  records.filter(({ event }) => event === 'request.completed').length >= count

/** For a program that can not choose one itself. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
