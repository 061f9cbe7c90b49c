// The calls of a grpc-js client, whose messages are text: how each came out, and what came before.

import {
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientWritableStream,
  type Deadline,
  Metadata,
  type ServiceError,
  type StatusObject,
} from '@grpc/grpc-js'

export const encode = (text: string): Buffer => Buffer.from(text, 'latin1')
export const decode = (bytes: Buffer): string => bytes.toString('latin1')

/** How a call came out; `value` is the answer of a unary one. */
export interface Ended {
  readonly code: number
  readonly details: string
  readonly initial: Metadata
  readonly trailing: Metadata
  readonly value: string | null
}

export interface CallOptions {
  readonly metadata?: Metadata
  readonly deadline?: Deadline
}

/** A client of one host, by the door of its bed. */
export class Caller {
  readonly #client: Client

  constructor(client: Client) {
    this.#client = client
  }

  unary(path: string, message: string, options: CallOptions = {}): Promise<Ended> {
    return new Promise((resolve) => {
      const heard = listen(resolve)
      const call = this.#client.makeUnaryRequest(
        path,
        encode,
        decode,
        message,
        options.metadata ?? new Metadata(),
        callOptions(options),
        heard.answer,
      )
      heard.to(call)
    })
  }

  clientStream(path: string): { call: ClientWritableStream<string>; ended: Promise<Ended> } {
    let resolve: (ended: Ended) => void = () => undefined
    const ended = new Promise<Ended>((done) => {
      resolve = done
    })
    const heard = listen(resolve)
    const call = this.#client.makeClientStreamRequest(path, encode, decode, heard.answer)
    heard.to(call)
    // Writing to a call that was refused fails as the call does.
    call.on('error', () => undefined)
    return { call, ended }
  }

  /** With a message, for grpc-js takes an empty string for none. */
  serverStream(path: string, message = 'x'): { call: ClientReadableStream<string>; ended: Promise<Ended> } {
    const call = this.#client.makeServerStreamRequest(path, encode, decode, message)
    return { call, ended: endOf(call) }
  }

  bidi(path: string, options: CallOptions = {}): { call: ClientDuplexStream<string, string>; ended: Promise<Ended> } {
    const { metadata = new Metadata() } = options
    const call = this.#client.makeBidiStreamRequest(path, encode, decode, metadata, callOptions(options))
    return { call, ended: endOf(call) }
  }

  close(): void {
    this.#client.close()
  }
}

type Listened = NodeJS.EventEmitter

const callOptions = ({ deadline }: CallOptions): { deadline?: Deadline } => (deadline === undefined ? {} : { deadline })

function listen(resolve: (ended: Ended) => void): {
  answer: (error: ServiceError | null, value?: string) => void
  to: (call: Listened) => void
} {
  let answered: string | null = null
  return {
    answer: (_error, value) => {
      answered = value ?? null
    },
    to: (call) => {
      let initial = new Metadata()
      call.on('metadata', (metadata: Metadata) => {
        initial = metadata
      })
      call.once('status', ({ code, details, metadata }: StatusObject) =>
        // The callback comes in the same turn, before or behind it.
        setImmediate(() => resolve({ code, details, initial, trailing: metadata, value: answered })),
      )
    },
  }
}

function endOf(call: Listened): Promise<Ended> {
  call.on('error', () => undefined)
  return new Promise((resolve) => listen(resolve).to(call))
}

/** The next `count` messages; rejects where the stream ends before. */
export async function messages(call: ClientReadableStream<string>, count: number): Promise<string[]> {
  const got: string[] = []
  while (got.length < count) {
    const message = call.read() as string | null
    if (message !== null) got.push(message)
    else if (call.readableEnded || call.destroyed) throw new Error(`the stream ended after ${got.length} messages`)
    else await readable(call)
  }
  return got
}

/** Or over. */
function readable(call: ClientReadableStream<string>): Promise<void> {
  const events = ['readable', 'end', 'close'] as const
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of events) call.removeListener(event, done)
      resolve()
    }
    for (const event of events) call.on(event, done)
  })
}
