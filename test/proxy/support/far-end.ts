// A connection to an origin without a network: our end as the dialer would hand it out, and the origin's end.

import { duplexPair, type Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import type { Dialled } from '../../../src/proxy/dial.ts'
import type { OriginRequest } from '../../../src/proxy/origin-message.ts'

export interface FarEnd {
  readonly dialled: Extract<Dialled, { kind: 'connected' }>
  readonly near: Duplex
  readonly far: Duplex
  /** What has arrived at the origin. */
  received(): string
  /** The origin says this; resolves when our end has read it or is closed. */
  say(text: string): Promise<void>
}

export function farEnd(): FarEnd {
  const [near, far] = duplexPair({ highWaterMark: 1_024 })
  let text = ''
  far.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  far.on('error', () => undefined)
  return {
    dialled: {
      kind: 'connected',
      // All of net.Socket that a connection to an origin uses is what it has from Duplex.
      socket: near as unknown as Socket,
      raw: near as unknown as Socket,
      address: '192.0.2.1:443',
      protocol: 'http/1.1',
      timings: { dns: null, connect: null, tls: null },
      cutOff: () => false,
    },
    near,
    far,
    received: () => text,
    say: (bytes) =>
      new Promise((resolve) => {
        near.once('close', resolve)
        far.write(Buffer.from(bytes, 'latin1'), () => {
          near.off('close', resolve)
          setImmediate(resolve)
        })
      }),
  }
}

export function get(overrides: Partial<OriginRequest> = {}): OriginRequest {
  return {
    method: 'GET',
    scheme: 'https',
    authority: 'a.test',
    target: '/',
    headers: [],
    body: null,
    sent: { bytes: 0, trailerNames: [], address: null },
    trailers: false,
    te: false,
    onInformational: () => undefined,
    ...overrides,
  }
}
