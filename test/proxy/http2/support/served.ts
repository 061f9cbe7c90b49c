// A client connection over HTTP/2 without a network and without a policy: the test plays the exchanges.

import { type Duplex, duplexPair } from 'node:stream'
import type { Socket } from 'node:net'
import type { Deadlines } from '../../../../src/proxy/deadlines.ts'
import { DEADLINES } from '../../../../src/proxy/deadlines.ts'
import { Http2Connection, type RefusedRequest } from '../../../../src/proxy/http2/client-connection.ts'
import type { BodyPart, IncomingRequest, MalformedInput } from '../../../../src/proxy/message.ts'
import { RawPeer } from './raw-peer.ts'

export interface Pair {
  readonly near: Socket
  readonly far: Duplex
}

/** All of net.Socket that a session uses beside what it has from Duplex. */
export function socketPair(highWaterMark = 64 * 1024): Pair {
  const [near, far] = duplexPair({ highWaterMark })
  far.on('error', () => undefined)
  const socket = Object.assign(near, {
    destroySoon: () => near.end(() => near.destroy()),
    resetAndDestroy: () => near.destroy(),
  })
  return { near: socket as unknown as Socket, far }
}

export type Play = (incoming: IncomingRequest) => Promise<void>

export interface ServedBed {
  readonly peer: RawPeer
  readonly connection: Http2Connection
  readonly near: Socket
  readonly far: Duplex
  /** Request heads that were taken up, in order. */
  readonly requests: IncomingRequest[]
  readonly malformed: MalformedInput[]
  readonly refused: RefusedRequest[]
  readonly faults: MalformedInput[]
  /** Resolves when the connection is closed and every exchange is over. */
  readonly done: Promise<void>
  close(): Promise<void>
}

/** Answers 200 with `ok`. */
export const answerOk: Play = ({ sink }) => {
  sink.head(200, 'OK', ['content-length', '2'], { kind: 'length', length: 2 })
  sink.write(Buffer.from('ok'))
  sink.end([])
  return Promise.resolve()
}

export interface ServedOptions {
  /** What writing a fault down takes. */
  readonly record?: () => Promise<void>
}

export function startServed(
  play: Play = answerOk,
  deadlines: Partial<Deadlines> = {},
  options: ServedOptions = {},
): ServedBed {
  const requests: IncomingRequest[] = []
  const malformed: MalformedInput[] = []
  const refused: RefusedRequest[] = []
  const faults: MalformedInput[] = []
  const { near, far } = socketPair()
  const events = {
    request: (incoming: IncomingRequest): Promise<void> => {
      requests.push(incoming)
      return play(incoming)
    },
    malformed: (input: MalformedInput, sink: IncomingRequest['sink']): Promise<void> => {
      malformed.push(input)
      sink.head(input.reason === 'header_too_large' ? 431 : 400, '', [], { kind: 'none' })
      sink.end([])
      return Promise.resolve()
    },
    refused: (request: RefusedRequest): Promise<void> => {
      refused.push(request)
      return Promise.resolve()
    },
    fault: (input: MalformedInput): Promise<void> => {
      faults.push(input)
      return options.record?.() ?? Promise.resolve()
    },
  }
  const connection = new Http2Connection(near, near, events, { ...DEADLINES, ...deadlines })
  const done = connection.serve()
  const peer = new RawPeer(far)
  return {
    peer,
    connection,
    near,
    far,
    requests,
    malformed,
    refused,
    faults,
    done,
    close: () => {
      far.destroy()
      near.destroy()
      return done
    },
  }
}

/** All of a body, or why it failed. */
export async function readBody(incoming: IncomingRequest): Promise<{ text: string; last: BodyPart }> {
  let text = ''
  for (;;) {
    const part = await (incoming.body?.read() ?? Promise.resolve<BodyPart>({ kind: 'end', trailers: [] }))
    if (part.kind !== 'data') return { text, last: part }
    text += part.data.toString('latin1')
  }
}
