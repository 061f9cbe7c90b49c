// The upstream on its own: permits and clients made up, a resolver that knows loopback alone, certificates of a test root.

import { createSecureContext } from 'node:tls'
import { parseHost } from '../../../src/core/address.ts'
import { type AddressPolicy, parseCidr } from '../../../src/core/address-class.ts'
import type { RawHeaders } from '../../../src/core/http1.ts'
import type { Permit } from '../../../src/core/rule.ts'
import type { HttpProtocol } from '../../../src/proxy/dial.ts'
import type { BodyPart, BodyReader, ClientLink } from '../../../src/proxy/message.ts'
import { type OutgoingBody, type Sent, Upstream } from '../../../src/proxy/upstream.ts'
import { createTestRoot, type TestRoot } from '../../support/origins.ts'

export const NAME = 'a.test'

/** A client that stays until it is told to leave. */
export class Client implements ClientLink {
  readonly #listeners: (() => void)[] = []
  readonly interrupted = null
  gone = false

  onGone(listener: () => void): void {
    if (this.gone) listener()
    else this.#listeners.push(listener)
  }

  interrupt(): void {
    this.leave()
  }

  leave(): void {
    this.gone = true
    for (const listener of this.#listeners) listener()
  }
}

export interface Asking {
  readonly port: number
  readonly host?: string
  readonly scheme?: 'http' | 'https'
  readonly method?: string
  readonly target?: string
  readonly headers?: RawHeaders
  readonly body?: OutgoingBody
  readonly client?: Client
  readonly prefers?: HttpProtocol
  /** Address of the client. */
  readonly source?: string
  readonly sent?: { bytes: number; trailerNames: string[]; address: string | null }
  readonly onInformational?: (status: number, headers: RawHeaders) => void
}

export interface Bench {
  readonly root: TestRoot
  readonly upstream: Upstream
  /** Takes the place of the address policy in force. */
  allowAnew(): void
  send(asking: Asking): Promise<Sent>
  close(): void
}

const allowing = (): AddressPolicy => ({ deny: new Set(['loopback']), allow: [parseCidr('127.0.0.0/8') as never] })

export function upstreamBench(): Bench {
  const root = createTestRoot()
  let policy = allowing()
  const secureContext = createSecureContext({ ca: root.pem })
  const upstream = new Upstream({
    resolver: { resolve: async () => ({ kind: 'addresses', addresses: ['127.0.0.1'] }) },
    addresses: () => policy,
    isSelf: () => false,
    secureContext: () => secureContext,
  })
  return {
    root,
    upstream,
    allowAnew: () => {
      policy = allowing()
    },
    send: (asking) => {
      const { port, host = NAME, scheme = 'https', method = 'GET', target = '/' } = asking
      const permit = { scheme, method, host: parseHost(host), port, target } as unknown as Permit
      return upstream.send(permit, {
        headers: asking.headers ?? [],
        body: asking.body ?? null,
        link: asking.client ?? new Client(),
        sent: asking.sent ?? { bytes: 0, trailerNames: [], address: null },
        injections: null,
        prefers: asking.prefers ?? 'h2',
        source: asking.source ?? '192.0.2.1',
        onInformational: asking.onInformational ?? (() => undefined),
      })
    },
    close: () => {
      upstream.close()
      root.close()
    },
  }
}

export type Answered = Extract<Sent, { kind: 'response' }>

export function answered(sent: Sent): Answered {
  if (sent.kind === 'failed') throw new Error(`${sent.reason}: ${sent.detail}`)
  return sent
}

export interface Whole {
  readonly text: string
  readonly last: Exclude<BodyPart, { kind: 'data' }>
}

/** The body to its end, or to where it broke. */
export async function read(body: BodyReader): Promise<Whole> {
  for (let text = ''; ; ) {
    const part = await body.read()
    if (part.kind !== 'data') return { text, last: part }
    text += part.data.toString('latin1')
  }
}

/** A body that a test hands out part by part; `reads` counts what was asked for. */
export class ScriptedBody implements BodyReader {
  readonly #parts: BodyPart[] = []
  #waiter: ((part: BodyPart) => void) | null = null
  reads = 0

  push(...parts: readonly (BodyPart | string)[]): this {
    for (const part of parts) {
      const made: BodyPart = typeof part === 'string' ? { kind: 'data', data: Buffer.from(part, 'latin1') } : part
      if (this.#waiter === null) this.#parts.push(made)
      else this.#waiter(made)
      this.#waiter = null
    }
    return this
  }

  end(...trailers: string[]): this {
    return this.push({ kind: 'end', trailers })
  }

  read(): Promise<BodyPart> {
    this.reads += 1
    const part = this.#parts.shift()
    if (part !== undefined) return Promise.resolve(part)
    return new Promise((resolve) => {
      this.#waiter = resolve
    })
  }
}
