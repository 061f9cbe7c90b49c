// Serves one client connection that speaks HTTP/1.x: reads heads and bodies in order, one request at a time.

import type { Socket } from 'node:net'
import { frameRequest } from '../core/framing.ts'
import { HEAD_LIMITS, parseRequestHead, type RawHeaders, type RequestHead } from '../core/http1.ts'
import { Arrival } from './arrival.ts'
import { BodyQueue } from './body-queue.ts'
import { ClientBody } from './client-body.ts'
import { DEADLINES, type Deadlines } from './deadlines.ts'
import { watchHalfClosed } from './half-closed.ts'
import { Http1Body } from './http1-body.ts'
import { Http1Sink, type SinkOwner } from './http1-sink.ts'
import { flushThenClose, lingerThenClose } from './linger.ts'
import { turnEnd } from './turn.ts'
import type {
  ClientLink,
  IncomingRequest,
  Interruption,
  MalformedInput,
  ResponseSink,
  SwitchedClient,
} from './message.ts'

/** Pipelined bytes kept while an answer is under way; more stay in the kernel. */
const MAX_PIPELINED_BYTES = HEAD_LIMITS.maxHeadBytes + 4

const EMPTY = Buffer.alloc(0)

export interface Http1Events {
  /** Resolves when the sink was ended or aborted. */
  request(incoming: IncomingRequest): Promise<void>
  /** Resolves when the sink was ended or aborted; the connection is closed after it. */
  malformed(input: MalformedInput, sink: ResponseSink, link: ClientLink): Promise<void>
  /** CONNECT. True: the socket was taken over by the callee (`rest` are bytes already read) and is no longer ours. */
  connect(head: RequestHead, sink: ResponseSink, link: ClientLink, takeOver: () => Buffer): Promise<boolean>
}

type Next = { kind: 'head'; head: RequestHead } | { kind: 'bad'; input: MalformedInput } | { kind: 'end' }

const END: Next = { kind: 'end' }

export class Http1Connection implements ClientLink, SinkOwner {
  readonly #socket: Socket
  readonly #raw: Socket
  readonly #events: Http1Events
  readonly #deadlines: Deadlines
  readonly #arrival: Arrival
  #pending: Buffer = EMPTY
  #body: Http1Body | null = null
  #gone: (() => void)[] = []
  #ended = false
  #draining = false
  #onDrain: (() => void) | null = null
  #switched = false
  #busy = false
  #brokenOff = false
  gone = false
  interrupted: Interruption | null = null

  /** `socket` carries HTTP, `raw` is the TCP socket under it (the same one without TLS). */
  constructor(socket: Socket, raw: Socket, events: Http1Events, deadlines: Deadlines = DEADLINES) {
    this.#socket = socket
    this.#raw = raw
    this.#events = events
    this.#deadlines = deadlines
    this.#arrival = new Arrival(deadlines.idleMs)
  }

  onGone(listener: () => void): void {
    if (this.gone) listener()
    else this.#gone.push(listener)
  }

  /** No further request is read; the one under way ends with `Connection: close`. */
  drain(): void {
    this.#draining = true
    this.#onDrain?.()
    this.closeIdle()
  }

  /** Closes it if nothing of a request has arrived that was not answered. */
  closeIdle(): void {
    if (!this.#busy && this.#pending.length === 0) this.#socket.destroy()
  }

  interrupt(why: Interruption): void {
    if (!this.gone) this.interrupted = why
    this.breakOff()
    this.#leave()
  }

  async serve(): Promise<void> {
    this.#attach()
    // Of the first bytes of a head that is not whole yet.
    let since: number | null = null
    for (;;) {
      let next = this.#readHead()
      if (next === null) {
        if (this.#pending.length > 0) since ??= Date.now()
        this.#socket.resume()
        const arrived = await (since === null
          ? this.#arrival.next()
          : this.#arrival.within(this.#deadlines.headMs - (Date.now() - since)))
        if (arrived) continue
        next = since === null ? END : this.#bad('client_timeout', 'HEAD_DEADLINE')
      }
      if (next.kind === 'end') return this.#release('close')
      since = null
      this.#busy = true
      this.#gone = []
      const reusable = next.kind === 'bad' ? await this.#refuse(next.input) : await this.#serveOne(next.head)
      if (reusable === 'taken') return
      if (!reusable) return this.#release('linger')
      this.#busy = false
    }
  }

  async #refuse(input: MalformedInput): Promise<false> {
    const sink = new Http1Sink(this.#socket, '1.1', false, this)
    await this.#events.malformed(input, sink, this)
    return false
  }

  async #serveOne(head: RequestHead): Promise<boolean | 'taken'> {
    if (head.method === 'CONNECT') return this.#connect(head)
    const framing = frameRequest(head)
    const keepAlive = framing.kind === 'ok' && framing.keepAlive
    const sink = new Http1Sink(this.#socket, head.version, keepAlive, this)
    const body = this.#openBody(framing, sink)
    await this.#events.request({
      protocol: head.version === '1.0' ? 'http/1.0' : 'http/1.1',
      head,
      framing,
      body,
      sink,
      link: this,
      switchProtocols:
        framing.kind === 'ok' && framing.upgrade.length > 0
          ? (statusText, fields) => this.#switchProtocols(sink, statusText, fields)
          : undefined,
    })
    if (this.#switched) return 'taken'
    if (!sink.finished) sink.abort()
    if (sink.held) {
      await turnEnd()
      sink.flush()
    }
    // SECURITY: answers to pipelined requests that nobody reads must not pile up: the next request waits for room.
    if (this.#socket.writableNeedDrain) await sink.drained()
    body?.stop()
    const whole = this.#isBodyWhole()
    this.#body = null
    return sink.keepAlive && whole && !sink.aborted && !this.#draining
  }

  async #connect(head: RequestHead): Promise<boolean | 'taken'> {
    const sink = new Http1Sink(this.#socket, head.version, false, this)
    const taken = await this.#events.connect(head, sink, this, () => this.#giveAway())
    return taken ? 'taken' : false
  }

  #switchProtocols(sink: Http1Sink, statusText: string, headers: RawHeaders): SwitchedClient {
    this.#switched = true
    sink.switchProtocols(statusText, headers)
    const rest = this.#giveAway()
    const onDrain = (listener: () => void): void => {
      if (this.#draining) listener()
      else this.#onDrain = listener
    }
    return { socket: this.#socket, rest, ended: this.#ended, onDrain }
  }

  /** What was read and is nobody's yet; the socket is somebody else's from now on. */
  #giveAway(): Buffer {
    this.#detach()
    const rest = this.#pending
    this.#pending = EMPTY
    return rest
  }

  /** SECURITY: after a body that broke nobody knows where the next request begins. */
  #isBodyWhole(): boolean {
    return this.#body === null || this.#body.queue.whole
  }

  get reusable(): boolean {
    return !this.#draining && this.#isBodyWhole()
  }

  breakOff(): void {
    this.#brokenOff = true
    if (this.#raw.destroyed) this.#socket.destroy()
    else this.#raw.resetAndDestroy()
  }

  #openBody(framing: ReturnType<typeof frameRequest>, sink: Http1Sink): ClientBody | null {
    if (framing.kind !== 'ok' || framing.body.kind === 'none') return null
    const queue = new BodyQueue(() => this.#resume())
    this.#body = new Http1Body(framing.body, queue, 'malformed')
    this.#feedBody(EMPTY)
    return new ClientBody(queue, sink, this.#deadlines.bodyIdleMs, framing.expectContinue)
  }

  #feedBody(chunk: Buffer): void {
    const bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    this.#pending = EMPTY
    const rest = this.#body?.take(bytes).rest ?? EMPTY
    this.#pending = rest
    if (this.#ended) this.#body?.fail('client_aborted', 'the client closed in the middle of its body')
    if (this.#body?.queue.full === true) this.#socket.pause()
  }

  /** Null: it is not there yet. */
  #readHead(): Next | null {
    if (this.#pending.length > 0) {
      const result = parseRequestHead(this.#pending)
      if (result.kind === 'head') {
        this.#pending = this.#pending.subarray(result.bytes)
        return { kind: 'head', head: result.head }
      }
      if (result.kind === 'bad') return this.#bad(result.reason, result.code)
      if (this.#ended) return this.#bad('malformed', 'TRUNCATED_HEAD')
    }
    return this.#ended || this.gone || (this.#draining && this.#pending.length === 0) ? END : null
  }

  #bad(reason: MalformedInput['reason'], code: string): Next {
    return { kind: 'bad', input: { reason, code, bytes: this.#pending } }
  }

  #resume(): void {
    if (this.#body !== null && !this.#body.finished) this.#socket.resume()
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#body !== null && !this.#body.finished) {
      this.#feedBody(chunk)
    } else {
      this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
      if (this.#busy && this.#pending.length >= MAX_PIPELINED_BYTES) this.#socket.pause()
    }
    this.#arrival.signal()
  }

  readonly #onEnd = (): void => {
    this.#ended = true
    this.#body?.fail('client_aborted', 'the client closed in the middle of its body')
    this.#arrival.signal()
    if (!this.#busy) return
    // close_notify: nobody half-closes TLS and waits. A plain FIN may be a client that has said all it wants to say.
    if (this.#socket !== this.#raw) return this.#leave()
    watchHalfClosed(
      this.#socket,
      () => !this.gone && this.#busy,
      () => this.#leave(),
    )
  }

  readonly #onClose = (): void => this.#leave()

  #leave(): void {
    if (this.gone) return
    this.gone = true
    this.#ended = true
    this.#body?.fail('client_aborted', 'the client went away')
    this.#arrival.signal()
    for (const listener of this.#gone) listener()
    this.#gone = []
  }

  #attach(): void {
    this.#socket.on('data', this.#onData)
    this.#socket.on('end', this.#onEnd)
    this.#socket.on('close', this.#onClose)
    this.#socket.on('error', this.#onClose)
  }

  #detach(): void {
    this.#arrival.stop()
    this.#socket.pause()
    this.#socket.removeListener('data', this.#onData)
    this.#socket.removeListener('end', this.#onEnd)
    this.#socket.removeListener('close', this.#onClose)
  }

  #release(how: 'close' | 'linger'): void {
    this.#arrival.stop()
    this.#socket.removeListener('data', this.#onData)
    // SECURITY: an end in order (close_notify) on the way to the reset would tell the client that it has everything.
    if (this.#brokenOff) return
    if (how === 'close' || this.gone) flushThenClose(this.#socket)
    else lingerThenClose(this.#socket, this.#ended)
  }
}
