// The seam between HTTP engines and the exchange: a head and a body stream in, a head and a body stream out.

import type { Socket } from 'node:net'
import type { RequestFraming } from '../core/framing.ts'
import type { RawHeaders, RequestHead } from '../core/http1.ts'
import type { Reason } from '../core/refusal.ts'

/** One step of a body: some bytes, its end, or why there is no more. */
export type BodyPart =
  | { readonly kind: 'data'; readonly data: Buffer }
  | { readonly kind: 'end'; readonly trailers: RawHeaders }
  | { readonly kind: 'failed'; readonly reason: Reason; readonly detail: string }

/** A body that is pulled: nothing more is taken off the socket than was asked for and one high-water mark. */
export interface BodyReader {
  /**
   * The next part; a promise of it only while it is not there yet. After `end` or `failed` the same part is answered again. One
   * caller at a time.
   */
  read(): BodyPart | Promise<BodyPart>
  /** For the reads from here on no silence is too long. Absent: there is no bound on it, or it stays. */
  mayPause?(): void
}

/** How the length of an answer's body is told to the client. */
export type ResponseLength = { readonly kind: 'length'; readonly length: number } | { readonly kind: 'stream' | 'none' }

/** Where an answer goes. An engine makes one for each request; exactly one of `end` and `abort` is called. */
export interface ResponseSink {
  informational(status: number, headers: RawHeaders): void
  head(status: number, statusText: string, headers: RawHeaders, length: ResponseLength): void
  /** May be held back for what follows, until `flush` or `end`. False: wait for `drained` before the next write. */
  write(data: Buffer): boolean
  /** Nothing follows at once: what is held back goes out. False: wait for `drained` before the next write. */
  flush(): boolean
  drained(): Promise<void>
  end(trailers: RawHeaders): void
  /** Breaks the answer off so that no client can take it for a complete one. */
  abort(): void
  readonly started: boolean
}

/** Why the proxy let go of a client: the grace of a shutdown is over, the policy has changed, or the trail can not be written. */
export type Interruption = 'shutting_down' | 'policy_revoked' | 'audit_unavailable'

/** Whether the client is still there. */
export interface ClientLink {
  readonly gone: boolean
  /** Null unless it did not leave: the proxy let go of it. */
  readonly interrupted: Interruption | null
  onGone(listener: () => void): void
  /** Lets go of it, in a way that no client reads as the end of a message; it is gone when this returns. */
  interrupt(why: Interruption): void
}

/** A client's connection that no longer speaks HTTP; `sink.abort` breaks it off, `link` tells of whoever lets go of it. */
export interface SwitchedClient {
  /** Paused. */
  readonly socket: Socket
  /** What the client sent behind its request. */
  readonly rest: Buffer
  /** Its end has been read: nothing follows `rest`. */
  readonly ended: boolean
  /** Called once the proxy is shutting down, at once where it is. */
  onDrain(listener: () => void): void
}

/** One request as an engine read it. `body` is null when the message has none. */
export interface IncomingRequest {
  readonly protocol: 'http/1.0' | 'http/1.1' | 'h2'
  readonly head: RequestHead
  readonly framing: RequestFraming
  readonly body: BodyReader | null
  readonly sink: ResponseSink
  readonly link: ClientLink
  /** Answers 101 and gives the connection away. Absent: the client asks for no upgrade. */
  readonly switchProtocols?: ((statusText: string, headers: RawHeaders) => SwitchedClient) | undefined
}

/** Bytes that are no request: what the parser said of them, and as many of them as were kept. */
export interface MalformedInput {
  readonly reason: Reason
  readonly code: string
  readonly bytes: Buffer
}
