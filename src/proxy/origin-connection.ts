// One HTTP/1.1 connection to an origin: sends one request at a time and reads one strictly framed answer to it.

import type { Socket } from 'node:net'
import { encodeLastChunk } from '../core/chunked.ts'
import { authenticatesConnection, frameResponse } from '../core/framing.ts'
import { parseStatusHead, type StatusHead } from '../core/http1.ts'
import type { Reason } from '../core/refusal.ts'
import { BodyQueue } from './body-queue.ts'
import type { Dialled, DialTimings } from './dial.ts'
import { Http1Body } from './http1-body.ts'
import type { BodyReader } from './message.ts'
import {
  MAX_INFORMATIONAL,
  type OriginAnswer,
  type OriginRequest,
  RESPONSE_HEAD_TIMEOUT_MS,
  requestHead,
  type SentSoFar,
  type SwitchedOrigin,
} from './origin-message.ts'
import { OutgoingBytes } from './outgoing-bytes.ts'

const EMPTY = Buffer.alloc(0)

interface Upgrade {
  readonly protocol: string
  readonly settle: (switched: SwitchedOrigin) => void
}

interface Pending {
  readonly request: OriginRequest
  readonly settle: (answer: OriginAnswer) => void
  /** Null: a 101 answers nothing. */
  readonly upgrade: Upgrade | null
}

export class OriginConnection {
  readonly address: string
  readonly timings: DialTimings
  readonly #socket: Socket
  readonly #out: OutgoingBytes
  readonly #cutOff: () => boolean
  readonly #onIdle: () => void
  #pending: Pending | null = null
  #buffer: Buffer = EMPTY
  #body: Http1Body | null = null
  #reusable = true
  #informational = 0
  #answered = false
  #sending = false
  #timer: NodeJS.Timeout | null = null
  #serving: SentSoFar | null = null
  served = 0
  closed = false

  /** `onIdle` is called when an answer has ended and the connection may carry another request. */
  constructor(dialled: Extract<Dialled, { kind: 'connected' }>, onIdle: () => void) {
    const { socket } = dialled
    this.#socket = socket
    this.#out = new OutgoingBytes(socket)
    this.#cutOff = dialled.cutOff
    this.address = dialled.address
    this.timings = dialled.timings
    this.#onIdle = onIdle
    socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    socket.on('end', () => this.#onEnd())
    socket.on('error', (error: NodeJS.ErrnoException) => this.#onClosed(error.code ?? 'connection error'))
    socket.on('close', () => this.#onClosed('the connection was closed'))
  }

  onClose(listener: () => void): void {
    this.#socket.once('close', listener)
  }

  /** Rejects nothing: every outcome is a value. */
  send(request: OriginRequest): Promise<OriginAnswer> {
    return new Promise((settle) => this.#ask({ request, settle, upgrade: null }))
  }

  /** The same, with an offer to go on in `protocol`: where the origin does, the connection is the caller's. */
  upgrade(request: OriginRequest, protocol: string): Promise<OriginAnswer | SwitchedOrigin> {
    return new Promise((settle) => this.#ask({ request, settle, upgrade: { protocol, settle } }))
  }

  #ask(pending: Pending): void {
    const { request, settle } = pending
    // It went away between being chosen and being used: nothing was written.
    if (this.closed)
      return settle({ kind: 'failed', reason: 'upstream_unreachable', detail: 'closed', retryable: true })
    this.served += 1
    this.#serving = request.sent
    request.sent.address = this.address
    this.#informational = 0
    this.#answered = false
    this.#pending = pending
    this.#timer = setTimeout(this.#onSilence, RESPONSE_HEAD_TIMEOUT_MS)
    if (authenticatesConnection(request.headers)) this.#reusable = false
    const head = requestHead(request, pending.upgrade?.protocol ?? null)
    if (request.body === null) return void this.#socket.write(head, 'latin1')
    this.#out.begin(head)
    void this.#sendBody(request.body, request.sent)
  }

  /** Ends it now; an answer under way fails for its reader. */
  destroy(detail: string): void {
    this.#reusable = false
    this.#onClosed(detail)
  }

  /** `destroy`, but only while it still works for that request: it may have been given to another since. */
  destroyIfServing(sent: SentSoFar, detail: string): void {
    if (this.#serving === sent) this.destroy(detail)
  }

  async #sendBody(body: { reader: BodyReader; length: number | null }, sent: SentSoFar): Promise<void> {
    this.#sending = true
    for (;;) {
      const next = body.reader.read()
      if (next instanceof Promise && !this.#out.send()) await this.#drained()
      const part = next instanceof Promise ? await next : next
      if (this.closed) return
      if (part.kind === 'failed') return this.#fail(part.reason, part.detail, false)
      if (part.kind === 'end') {
        sent.trailerNames = part.trailers.filter((_value, index) => index % 2 === 0)
        if (body.length === null) this.#out.hold(encodeLastChunk([]))
        this.#out.send()
        this.#sending = false
        return this.#maybeIdle()
      }
      sent.bytes += part.data.length
      if (body.length === null) this.#out.holdInChunk(part.data)
      else this.#out.hold(part.data)
      if (!this.#out.sendIfFull()) await this.#drained()
      this.#timer?.refresh()
    }
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#socket.removeListener('drain', done)
        this.#socket.removeListener('close', done)
        resolve()
      }
      if (this.#socket.destroyed) return resolve()
      this.#socket.on('drain', done)
      this.#socket.on('close', done)
    })
  }

  #onData(chunk: Buffer): void {
    if (this.#body !== null) return this.#feedBody(chunk)
    // SECURITY: bytes nobody asked for (a second answer, response queue poisoning) must never meet the next request.
    if (this.#pending === null) return this.destroy('bytes after the end of the answer')
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk])
    while (this.#pending !== null && this.#body === null && this.#buffer.length > 0) {
      const result = parseStatusHead(this.#buffer)
      if (result.kind === 'more') return
      if (result.kind === 'bad') return this.#fail('upstream_malformed', result.code, false)
      this.#buffer = this.#buffer.subarray(result.bytes)
      this.#onHead(this.#pending, result.head)
    }
  }

  #onHead(pending: Pending, head: StatusHead): void {
    if (head.status < 200) return this.#onInformational(pending, head)
    const framing = frameResponse(pending.request.method, head)
    if (framing.kind === 'bad') return this.#fail('upstream_malformed', framing.code, false)
    this.#answered = true
    this.#reusable &&= framing.keepAlive && framing.body.kind !== 'close' && !authenticatesConnection(head.headers)
    const queue = new BodyQueue(this.#resume)
    const body = new Http1Body(framing.body, queue, 'upstream_malformed')
    this.#body = body
    this.#pending = null
    this.#stopTimer()
    const rest = this.#buffer
    this.#buffer = EMPTY
    const length = framing.body.kind === 'length' ? framing.body.length : null
    pending.settle({ kind: 'response', head, length: framing.body.kind === 'none' ? 0 : length, body: queue })
    this.#feedBody(rest)
  }

  #onInformational(pending: Pending, head: StatusHead): void {
    this.#informational += 1
    if (this.#informational > MAX_INFORMATIONAL)
      return this.#fail('upstream_malformed', 'TOO_MANY_INFORMATIONAL', false)
    this.#timer?.refresh()
    if (head.status === 101) return this.#switch(pending.upgrade, head)
    // 100 answers an expectation that was ours to answer.
    if (head.status !== 100) pending.request.onInformational(head.status, head.headers)
  }

  #switch(upgrade: Upgrade | null, head: StatusHead): void {
    // SECURITY: bytes that are no HTTP, for a request that asked for nothing else (RFC 9110 §15.2.2).
    if (upgrade === null) return this.#fail('upstream_malformed', 'UNSOLICITED_101', false)
    const rest = this.#buffer
    this.#buffer = EMPTY
    this.#pending = null
    this.#serving = null
    this.#stopTimer()
    // From here on nothing that happens to the socket is ours to tell, but an error still needs a listener.
    this.closed = true
    this.#socket.pause().removeAllListeners('data')
    upgrade.settle({ kind: 'switched', head, socket: this.#socket, rest, cutOff: this.#cutOff })
  }

  #feedBody(chunk: Buffer): void {
    const body = this.#body
    if (body === null) return
    const { rest } = body.take(chunk)
    if (body.queue.full) this.#socket.pause()
    if (!body.finished) return
    this.#body = null
    // SECURITY: after broken chunks nobody knows where the next answer begins.
    if (!body.queue.whole) return this.destroy('the body of the answer is malformed')
    if (rest !== null && rest.length > 0) return this.destroy('bytes after the end of the answer')
    this.#maybeIdle()
  }

  #maybeIdle(): void {
    if (this.closed || this.#pending !== null || this.#body !== null) return
    if (!this.#answered) return
    if (this.#sending || !this.#reusable) return this.destroy('not reusable')
    this.#serving = null
    this.#socket.resume()
    this.#onIdle()
  }

  #fail(reason: Reason, detail: string, retryable: boolean): void {
    const pending = this.#pending
    this.#pending = null
    this.#stopTimer()
    this.#close()
    pending?.settle({ kind: 'failed', reason, detail, retryable })
    this.#body?.queue.fail(reason, detail)
    this.#body = null
  }

  #onEnd(): void {
    // SECURITY: a body that runs until the close is whole only if the close was the origin's own (RFC 9112 §9.8).
    if (this.#cutOff()) this.#body?.fail('upstream_unreachable', 'the connection ended without close_notify')
    else this.#body?.end('upstream_unreachable', 'the origin closed in the middle of its answer')
    this.#onClosed('the origin closed the connection')
  }

  #onClosed(detail: string): void {
    if (this.closed) return
    if (this.#pending !== null) {
      // Nothing of an answer was seen: on a connection that had served before, this is the keep-alive race.
      const untouched = this.#buffer.length === 0 && this.#informational === 0 && this.served > 1
      return this.#fail('upstream_unreachable', detail, untouched)
    }
    this.#body?.fail('upstream_unreachable', detail)
    this.#body = null
    this.#close()
  }

  #close(): void {
    this.closed = true
    this.#out.drop()
    this.#stopTimer()
    this.#socket.destroy()
  }

  readonly #resume = (): void => void this.#socket.resume()

  readonly #onSilence = (): void => this.#fail('upstream_timeout', 'no answer in time', false)

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }
}
