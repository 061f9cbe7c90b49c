// An origin of HTTP/2 that says whatever it is told to on the stream of a request, and what its client made of it.

import type { TLSSocket } from 'node:tls'
import { expect } from 'vitest'
import { type FrameOrigin, type FramePeer, startFrameOrigin } from '../../proxy/support/frame-origin.ts'
import { assertAccounted } from '../../support/accounting.ts'
import { type AuditRecord, type Lab, startLab } from '../../support/lab.ts'
import type { TestRoot } from '../../support/origins.ts'
import { type DoorName, openDoor } from '../../support/standard.ts'
import { Wire } from '../../support/wire.ts'
import { HOST } from './http2-bed.ts'
import type { Version } from './http2-canary.ts'
import { data, head, outcomeOn, RawPeer } from './http2-wire.ts'

/** What the origin says on the stream of a request. */
export type Said = (streamId: number) => Buffer | readonly Buffer[]

export interface Answer {
  readonly status: number | null
  readonly body: string
  /** It came to its end in order. */
  readonly whole: boolean
}

export interface OriginBed {
  readonly lab: Lab
  readonly on: (path: string, said: Said, next?: (peer: FramePeer) => unknown) => void
  readonly origin: FrameOrigin
  readonly ask: (path: string) => Promise<Answer>
  readonly open: () => Promise<TLSSocket>
  readonly authority: string
  readonly ends: (path: string) => Promise<AuditRecord>
}

export const ask = (method: string, authority: string, path: string): string[] => [
  ':method',
  method,
  ':scheme',
  'https',
  ':authority',
  authority,
  ':path',
  path,
]

export async function askHead(bed: OriginBed, client: Version, path: string): Promise<Answer> {
  if (client === 'h2') return askedOverHttp2(await bed.open(), ask('HEAD', bed.authority, path))
  return askedOverHttp1(await bed.open(), `HEAD ${path} HTTP/1.1\r\nHost: ${bed.authority}\r\n\r\n`, true)
}

async function askedOverHttp2(socket: TLSSocket, fields: string[]): Promise<Answer> {
  const peer = new RawPeer(socket)
  peer.begin()
  peer.write(head(1, fields))
  const { reset } = await outcomeOn(peer, 1)
  const statuses = (peer.blocks.get(1) ?? []).map((block) => Number(block.fields[1])).filter((status) => status >= 200)
  const whole = peer.ended(1) && reset === undefined
  peer.stream.destroy()
  return { status: statuses[0] ?? null, body: peer.body(1).toString('latin1'), whole }
}

async function askedOverHttp1(socket: TLSSocket, request: string, bodiless = false): Promise<Answer> {
  const wire = new Wire(socket)
  wire.write(request)
  try {
    let answer = await wire.message(bodiless)
    while (answer.status < 200) answer = await wire.message(bodiless)
    return { status: answer.status, body: answer.body, whole: true }
  } catch {
    return { status: null, body: '', whole: false }
  } finally {
    socket.destroy()
  }
}

export async function startOriginBed(
  root: TestRoot,
  door: DoorName,
  client: Version,
): Promise<{ bed: OriginBed; close: () => Promise<void> }> {
  const said = new Map<string, { said: Said; next: ((peer: FramePeer) => unknown) | undefined }>()
  const origin = await startFrameOrigin(root, HOST, async (peer) => {
    peer.settings()
    for (;;) {
      const { streamId, fields } = await peer.asked()
      const path = fields[fields.indexOf(':path') + 1] ?? ''
      const played = said.get(path)
      peer.write(
        ...[played?.said(streamId) ?? [head(streamId, [':status', '200'], false), data(streamId, 'ok', true)]].flat(),
      )
      await played?.next?.(peer)
    }
  })
  const authority = `${HOST}:${origin.port}`
  const lab = await startLab({
    root,
    names: { [HOST]: ['127.0.0.1'] },
    original: { address: '127.0.0.1', port: origin.port },
    rules: `  - { id: open, allow: { hosts: [${HOST}], ports: [${origin.port}] } }`,
  })
  const open = async (): Promise<TLSSocket> => (await openDoor(lab, door, authority, { alpn: [client] })) as TLSSocket
  return {
    bed: {
      lab,
      origin,
      open,
      authority,
      on: (path, what, next) => void said.set(path, { said: what, next }),
      ask: async (path) => {
        const socket = await open()
        if (client === 'h2') return askedOverHttp2(socket, ask('GET', authority, path))
        return askedOverHttp1(socket, `GET ${path} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
      },
      ends: async (path) => {
        const decided = (await lab.waitFor('request.decided', 1)).find((record) => record['path'] === path)
        const ended = (): AuditRecord | undefined =>
          lab.recordsOf('request.completed').find(({ request_id }) => request_id === decided?.request_id)
        await expect.poll(ended, { timeout: 5_000, interval: 5 }).toBeDefined()
        return ended() as AuditRecord
      },
    },
    close: async () => {
      await assertAccounted(lab)
      await lab.close()
      await origin.close()
    },
  }
}
