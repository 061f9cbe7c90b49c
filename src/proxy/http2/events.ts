// What an HTTP/2 session is told by its owner, and what it tells it: field blocks, how a stream ended, how the connection ended.

import type { RawHeaders } from '../../core/http1.ts'
import type { Http2Error } from '../../core/http2-error.ts'
import type { Http2Stream } from './stream.ts'

/** One decoded field block, pseudo-fields included. */
export interface FieldBlock {
  readonly fields: RawHeaders
  /** Over the limits for a header section: the fields are cut short. */
  readonly tooLarge: boolean
  /** Nothing follows: no body and no trailers. */
  readonly endStream: boolean
}

/** Why a stream is over before both sides ended it in order. */
export interface Http2StreamEnd {
  /** `peer`: RST_STREAM came. `local`: we sent it (`reset`, or a stream error of the peer's). `connection`: all of it is over. */
  readonly by: 'peer' | 'local' | 'connection'
  readonly error: Http2Error
  /** What exactly was wrong, where a rule was broken: `H2_…`, else a plain word for the log. */
  readonly code: string
  /** RFC 9113 §8.7: the peer certainly did nothing with it (REFUSED_STREAM, or above the last id of a GOAWAY). Client role only. */
  readonly unprocessed: boolean
}

/** All of them are called from within the session's own reading: they must not throw. */
export interface Http2StreamEvents {
  /**
   * The client role's heads: interim ones (1xx) and the final one, in order. Trailers come as the end of `body`. `expectLength`
   * is to be called from here. The server role's head comes with `Http2SessionEvents.onRequest`.
   */
  onHead?(block: FieldBlock): void
  /** Called once, unless both sides ended the stream in order. `body` has failed by then, and what was still to be sent is dropped. */
  onReset(end: Http2StreamEnd): void
}

/** What the peer did to the connection that is not to be borne (RFC 9113 §5.4.1), and how often it did what is counted. */
export interface Http2Fault {
  readonly error: Http2Error
  /** `H2_…` */
  readonly code: string
  /** It is what the peer did not do in time. */
  readonly timedOut: boolean
  /** Where it was one too many: frames by kind of what is held against the peer, `rst_stream=201 ping=3`; else empty. */
  readonly counts: string
}

/** Null: it ended in order, or we let go of it. */
export type Http2SessionEnd = { readonly fault: Http2Fault | null }

export interface Http2SessionEvents {
  /** Server role: a request head, on a stream that the callee is to listen to. */
  onRequest?(stream: Http2Stream, block: FieldBlock): void
  /** Server role: a request head that there is no room for; its stream was reset. */
  onRefused?(block: FieldBlock, reason: 'overloaded' | 'shutting_down'): void
  /** A rule of the connection was broken, and every stream is over. GOAWAY goes out when the result has resolved. */
  onFault?(fault: Http2Fault): Promise<void>
  /** A stream has closed, or the peer's SETTINGS were read: `streams` and `maxStreams` may have changed. */
  onRoom?(): void
  /** Client role: no stream can be opened any more; those that will not be served are over (`unprocessed`). */
  onGoaway?(error: Http2Error): void
  /** Called once; all streams are over. */
  onClosed(end: Http2SessionEnd): void
}

export interface Http2SessionOptions {
  readonly role: 'server' | 'client'
  readonly events: Http2SessionEvents
  /** Most streams at once: of the peer's in the server role, of ours in the client role (fewer where the peer says so). */
  readonly maxStreams: number
  /** How long the peer may take for what it has begun: its preface, a field block, a frame. */
  readonly headMs?: number
  /** How long a reader of a body waits for the next byte; no bound without it. */
  readonly bodyIdleMs?: number
  /** How often it is looked for streams that can not send. */
  readonly sweepMs?: number
}
