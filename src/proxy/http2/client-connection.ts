// Serves one client connection that speaks HTTP/2: an exchange for each stream, as many at once as its bounds allow.

import type { Socket } from 'node:net'
import type { RequestFraming } from '../../core/framing.ts'
import type { RequestHead } from '../../core/http1.ts'
import { readHttp2Request } from '../../core/http2-message.ts'
import { DEADLINES, type Deadlines } from '../deadlines.ts'
import type { BodyReader, ClientLink, IncomingRequest, Interruption, MalformedInput, ResponseSink } from '../message.ts'
import type { Served } from '../tracked.ts'
import type { FieldBlock, Http2Fault, Http2SessionEvents } from './events.ts'
import { StreamLink } from './link.ts'
import { malformedConnection, malformedHead } from './malformed.ts'
import { Http2Session } from './session.ts'
import { Http2Sink } from './sink.ts'
import type { Http2Stream } from './stream.ts'

/** What clients are told; RFC 9113 §6.5.2 advises against less. */
const MAX_STREAMS = 100
/** SECURITY: exchanges, not streams: a stream that was reset is gone at once, its exchange when the trail has its end (CVE-2023-44487). */
const MAX_EXCHANGES = 200

export interface RefusedRequest {
  readonly reason: 'overloaded' | 'shutting_down'
  /** Null where the head is no request. */
  readonly request: { readonly head: RequestHead; readonly framing: RequestFraming } | null
}

export interface Http2Events {
  /** Resolves when the sink was ended or aborted. Never rejects, nor do the others. */
  request(incoming: IncomingRequest): Promise<void>
  /** Resolves when the sink was ended or aborted; the stream is reset behind it. */
  malformed(input: MalformedInput, sink: ResponseSink, link: ClientLink): Promise<void>
  /** There was no room for it: its stream is reset already. */
  refused(refused: RefusedRequest): Promise<void>
  /** What ends the connection; the client hears of it when the result has resolved. */
  fault(input: MalformedInput): Promise<void>
}

export class Http2Connection implements Served, Http2SessionEvents {
  readonly #events: Http2Events
  readonly #session: Http2Session
  readonly #links = new Set<StreamLink>()
  readonly #idleTimer: NodeJS.Timeout
  /** Attempts whose end is not written yet. */
  #underWay = 0
  #closed = false
  #onSettled: () => void = () => undefined
  readonly #settled: Promise<void>

  /** `socket` carries HTTP/2, `raw` is the TCP socket under it. */
  constructor(socket: Socket, raw: Socket, events: Http2Events, deadlines: Deadlines = DEADLINES) {
    this.#events = events
    this.#settled = new Promise((resolve) => {
      this.#onSettled = resolve
    })
    this.#idleTimer = setTimeout(() => this.closeIdle(), deadlines.idleMs)
    const { headMs, bodyIdleMs } = deadlines
    this.#session = new Http2Session(socket, raw, {
      role: 'server',
      events: this,
      maxStreams: MAX_STREAMS,
      headMs,
      bodyIdleMs,
    })
  }

  /** Resolves when the connection is closed and every attempt on it has its end. */
  serve(): Promise<void> {
    return this.#settled
  }

  /** GOAWAY: those under way end in order, and what comes behind them is refused. */
  drain(): void {
    this.#session.drain()
  }

  closeIdle(): void {
    if (this.#underWay === 0 && this.#session.idle) this.#session.drain()
  }

  interrupt(why: Interruption): void {
    for (const link of this.#links) link.interrupt(why)
    this.#session.goaway(why === 'audit_unavailable' ? 'INTERNAL_ERROR' : 'NO_ERROR', why)
  }

  onRequest(stream: Http2Stream, block: FieldBlock): void {
    const link = new StreamLink(stream)
    this.#links.add(link)
    this.#watch(this.#serve(stream, block, link))
  }

  onRefused(block: FieldBlock, reason: RefusedRequest['reason']): void {
    this.#watch(this.#refuse(block, reason))
  }

  onFault(fault: Http2Fault): Promise<void> {
    const written = this.#events.fault(malformedConnection(fault))
    this.#watch(written)
    return written
  }

  onRoom(): void {
    this.#idleTimer.refresh()
  }

  onClosed(): void {
    this.#closed = true
    clearTimeout(this.#idleTimer)
    this.#maybeSettled()
  }

  async #serve(stream: Http2Stream, block: FieldBlock, link: StreamLink): Promise<void> {
    if (this.#underWay >= MAX_EXCHANGES) {
      stream.refuse()
      await this.#refuse(block, 'overloaded')
    } else {
      const sink = new Http2Sink(stream)
      await this.#exchange(stream, block, sink, link)
      if (!sink.finished) sink.abort()
      stream.discardBody()
    }
    this.#links.delete(link)
  }

  #exchange(stream: Http2Stream, block: FieldBlock, sink: Http2Sink, link: StreamLink): Promise<void> {
    const { fields, endStream } = block
    const read = readHttp2Request(fields, endStream)
    if (block.tooLarge) {
      const { method, path } = read.kind === 'bad' ? read : { method: read.head.method, path: read.head.target }
      const code = 'H2_HEADER_LIST_TOO_LARGE'
      return this.#refuseMalformed(
        stream,
        malformedHead(fields, { reason: 'header_too_large', code, method, path }),
        sink,
        link,
      )
    }
    if (read.kind === 'bad') return this.#refuseMalformed(stream, malformedHead(fields, read), sink, link)
    const { head, framing } = read
    const body = framing.kind === 'ok' && framing.body.kind !== 'none' ? stream.body : null
    if (framing.kind === 'ok' && framing.body.kind === 'length') stream.expectLength(framing.body.length)
    const continueOwed = framing.kind === 'ok' && framing.expectContinue && body !== null
    return this.#events.request({
      protocol: 'h2',
      head,
      framing,
      body: continueOwed ? continued(stream, sink) : body,
      sink,
      link,
    })
  }

  #refuseMalformed(stream: Http2Stream, input: MalformedInput, sink: Http2Sink, link: StreamLink): Promise<void> {
    stream.refuseMessage(input.code)
    return this.#events.malformed(input, sink, link)
  }

  #refuse({ fields, endStream }: FieldBlock, reason: RefusedRequest['reason']): Promise<void> {
    const read = readHttp2Request(fields, endStream)
    return this.#events.refused({ reason, request: read.kind === 'request' ? read : null })
  }

  #watch(attempt: Promise<void>): void {
    this.#underWay += 1
    void attempt.finally(() => {
      this.#underWay -= 1
      this.#idleTimer.refresh()
      this.#maybeSettled()
    })
  }

  #maybeSettled(): void {
    if (this.#closed && this.#underWay === 0) this.#onSettled()
  }
}

/** RFC 9110 §10.1.1: 100 only when the request may proceed, which is when somebody wants its body. */
function continued(stream: Http2Stream, sink: Http2Sink): BodyReader {
  let owed = true
  return {
    read: () => {
      if (owed && stream.bodyEmpty) sink.informational(100, [])
      owed = false
      return stream.body.read()
    },
  }
}
