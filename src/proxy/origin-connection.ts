// One HTTP/1.1 connection to an origin: sends one request at a time and reads one strictly framed answer to it.

import type { Socket } from 'node:net'
import { encodeChunk, encodeLastChunk } from '../core/chunked.ts'
import { frameResponse } from '../core/framing.ts'
import { headerValues, parseStatusHead, type RawHeaders, type StatusHead, serializeHead } from '../core/http1.ts'
import type { Reason } from '../core/refusal.ts'
import { BodyQueue } from './body-queue.ts'
import type { Dialled, DialTimings } from './dial.ts'
import { Http1Body } from './http1-body.ts'
import type { BodyReader } from './message.ts'

/** A model that thinks for ten minutes before its first byte is normal; nothing at all for longer is a dead origin. */
const RESPONSE_HEAD_TIMEOUT_MS = 900_000
/** Interim answers before the final one; more is a flood. */
const MAX_INFORMATIONAL = 32

const EMPTY = Buffer.alloc(0)

/** What has gone out of one request's body, kept by whoever asked: the connection may already serve somebody else. */
export interface SentSoFar {
  bytes: number
  trailerNames: string[]
  /** `address:port` of the connection it went out on last. */
  address: string | null
}

export interface OriginRequest {
  readonly method: string
  readonly scheme: 'http' | 'https'
  /** For Host or `:authority`; the default port left out. */
  readonly authority: string
  /** Origin-form. */
  readonly target: string
  /** End-to-end fields only: neither Host nor what frames the body in this version of HTTP, but Content-Length. */
  readonly headers: RawHeaders
  /** Null: no body. `length` null: sent in chunks. */
  readonly body: { readonly reader: BodyReader; readonly length: number | null } | null
  readonly sent: SentSoFar
  onInformational(status: number, headers: RawHeaders): void
}

export type OriginAnswer =
  | { readonly kind: 'response'; readonly head: StatusHead; readonly length: number | null; readonly body: BodyReader }
  | { readonly kind: 'failed'; readonly reason: Reason; readonly detail: string; readonly retryable: boolean }

type Pending = { readonly request: OriginRequest; readonly settle: (answer: OriginAnswer) => void }

export class OriginConnection {
  readonly address: string
  readonly timings: DialTimings
  readonly #socket: Socket
  readonly #cutOff: () => boolean
  readonly #onIdle: (connection: OriginConnection) => void
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
  constructor(dialled: Extract<Dialled, { kind: 'connected' }>, onIdle: (connection: OriginConnection) => void) {
    const { socket } = dialled
    this.#socket = socket
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
    if (this.closed) {
      // It went away between being chosen and being used: nothing was written.
      return Promise.resolve({ kind: 'failed', reason: 'upstream_unreachable', detail: 'closed', retryable: true })
    }
    this.served += 1
    this.#serving = request.sent
    request.sent.address = this.address
    this.#informational = 0
    this.#answered = false
    return new Promise((resolve) => {
      this.#pending = { request, settle: resolve }
      this.#timer = setTimeout(
        () => this.#fail('upstream_timeout', 'no answer in time', false),
        RESPONSE_HEAD_TIMEOUT_MS,
      )
      if (authenticatesConnection(request.headers)) this.#reusable = false
      this.#socket.cork()
      this.#socket.write(headOf(request))
      if (request.body !== null) void this.#sendBody(request.body, request.sent)
      process.nextTick(() => this.#socket.uncork())
    })
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
      const part = await body.reader.read()
      if (this.closed) return
      if (part.kind === 'failed') return this.#fail(part.reason, part.detail, false)
      if (part.kind === 'end') {
        sent.trailerNames = part.trailers.filter((_value, index) => index % 2 === 0)
        if (body.length === null) this.#socket.write(encodeLastChunk([]))
        this.#sending = false
        return this.#maybeIdle()
      }
      sent.bytes += part.data.length
      let more = true
      if (body.length === null) for (const piece of encodeChunk(part.data)) more = this.#socket.write(piece)
      else more = this.#socket.write(part.data)
      if (!more) await this.#drained()
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
    const queue = new BodyQueue(() => this.#socket.resume())
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
    // An upgrade is only ever asked for by the tunnel, never here (RFC 9110 §15.2.2).
    if (head.status === 101) return this.#fail('upstream_malformed', 'UNSOLICITED_101', false)
    // 100 answers an expectation that was ours to answer.
    if (head.status !== 100) pending.request.onInformational(head.status, head.headers)
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
    this.#onIdle(this)
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
    this.#stopTimer()
    this.#socket.destroy()
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }
}

function headOf({ method, target, authority, headers, body }: OriginRequest): Buffer {
  const framing = body !== null && body.length === null ? ['Transfer-Encoding', 'chunked'] : []
  return serializeHead(`${method} ${target} HTTP/1.1`, ['Host', authority, ...headers, ...framing])
}

/** SECURITY: NTLM and Negotiate authenticate the connection; nobody else's request may ride on it. */
function authenticatesConnection(headers: RawHeaders): boolean {
  const schemes = [...headerValues(headers, 'authorization'), ...headerValues(headers, 'www-authenticate')]
  return schemes.some((value) => /^(?:ntlm|negotiate)\b/i.test(value))
}
