// One request on a stream of a session to an origin, and its answer: what is believed of it, and when it is over.

import { readHttp2Response } from '../../core/http2-message.ts'
import type { StatusHead } from '../../core/http1.ts'
import type { Http2Error } from '../../core/http2-error.ts'
import type { Reason } from '../../core/refusal.ts'
import type { BodyPart, BodyReader } from '../message.ts'
import {
  MAX_INFORMATIONAL,
  type OriginAnswer,
  type OriginRequest,
  RESPONSE_HEAD_TIMEOUT_MS,
} from '../origin-message.ts'
import type { FieldBlock, Http2StreamEnd, Http2StreamEvents } from './events.ts'
import type { Http2Stream } from './stream.ts'

type Broken = Extract<BodyPart, { kind: 'failed' }>

/** `read` is the body of the answer. */
export class OriginStream implements Http2StreamEvents, BodyReader {
  readonly #request: OriginRequest
  /** Null once the answer has been given. */
  #settle: ((answer: OriginAnswer) => void) | null
  #stream: Http2Stream | null = null
  #timer: NodeJS.Timeout | null = null
  #informational = 0
  #sending = false
  #broken: Broken | null = null
  readonly #reused: boolean

  /** `reused`: the session had served before, so that it may have been at its end unknown to us. */
  constructor(request: OriginRequest, reused: boolean, settle: (answer: OriginAnswer) => void) {
    this.#request = request
    this.#reused = reused
    this.#settle = settle
  }

  /** Its head is on the way: what remains is the body, and to wait. */
  start(stream: Http2Stream): void {
    this.#stream = stream
    if (this.#settle === null) return
    // The deadline of a gRPC call is its client's, and many servers send no head before their first message.
    if (!this.#request.trailers) {
      this.#timer = setTimeout(
        () => this.#breakOff('upstream_timeout', 'no answer in time', 'CANCEL'),
        RESPONSE_HEAD_TIMEOUT_MS,
      )
    }
    if (this.#request.body !== null) void this.#send(stream, this.#request.body.reader)
  }

  /** Lets go of it; the session goes on. */
  cancel(detail: string): void {
    this.#breakOff('upstream_unreachable', detail, 'CANCEL')
  }

  onHead(block: FieldBlock): void {
    if (block.tooLarge) return this.#malformed('HEAD_TOO_LARGE')
    const response = readHttp2Response(block.fields)
    if (response.kind === 'bad') return this.#malformed(response.code)
    const { head } = response
    if (head.status < 200) return this.#onInformational(head, block.endStream)
    // RFC 9110 §6.4.1. A HEAD or 304 declares the length of what it does not send.
    const bodiless = this.#request.method === 'HEAD' || head.status === 204 || head.status === 304
    const length = bodiless ? 0 : response.length
    if (block.endStream && length !== null && length > 0) return this.#malformed('H2_LENGTH_WITHOUT_BODY')
    if (length !== null) this.#stream?.expectLength(length)
    this.#answer({ kind: 'response', head, length, body: this })
  }

  onReset(end: Http2StreamEnd): void {
    const { reason, detail } = causeOf(end)
    const again = againOf(end)
    // The keep-alive race of HTTP/1.1, once for every request on the way.
    const raced =
      this.#reused && end.by === 'connection' && reason === 'upstream_unreachable' && this.#informational === 0
    this.#broken ??= { kind: 'failed', reason, detail }
    const retryable = raced || again !== null
    this.#answer({ kind: 'failed', reason, detail, retryable, ...(again === null ? {} : { again }) })
  }

  async read(): Promise<BodyPart> {
    const part = (await this.#stream?.body.read()) ?? CLOSED
    if (part.kind === 'data') return part
    if (part.kind === 'failed') return this.#broken ?? part
    // The answer is whole, so its attempt ends here: nothing more of the request may leave (RFC 9113 §8.1).
    if (this.#sending) this.#stream?.reset('CANCEL')
    return part
  }

  #onInformational(head: StatusHead, endStream: boolean): void {
    this.#informational += 1
    if (endStream) return this.#malformed('H2_INFORMATIONAL_END')
    if (this.#informational > MAX_INFORMATIONAL) return this.#malformed('TOO_MANY_INFORMATIONAL')
    this.#timer?.refresh()
    // 100 answers an expectation that was ours to answer.
    if (head.status !== 100) this.#request.onInformational(head.status, head.headers)
  }

  /** With backpressure: nothing more is read from the client than the origin's windows and one high-water mark take. */
  async #send(stream: Http2Stream, body: BodyReader): Promise<void> {
    const { sent, trailers } = this.#request
    this.#sending = true
    while (!stream.closed) {
      const part = await body.read()
      if (stream.closed) break
      if (part.kind === 'failed') {
        this.#breakOff(part.reason, part.detail, 'CANCEL')
      } else if (part.kind === 'end') {
        if (!trailers) sent.trailerNames = part.trailers.filter((_value, index) => index % 2 === 0)
        stream.end(trailers ? part.trailers : [])
        break
      } else {
        sent.bytes += part.data.length
        if (!stream.write(part.data)) await stream.drained()
        this.#timer?.refresh()
      }
    }
    this.#sending = false
  }

  #malformed(code: string): void {
    this.#breakOff('upstream_malformed', code, 'PROTOCOL_ERROR')
  }

  /** The first cause counts: what follows from it says less. */
  #breakOff(reason: Reason, detail: string, error: Http2Error): void {
    this.#broken ??= { kind: 'failed', reason, detail }
    this.#answer({ kind: 'failed', reason, detail, retryable: false })
    this.#stream?.reset(error)
  }

  #answer(answer: OriginAnswer): void {
    const settle = this.#settle
    this.#settle = null
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    settle?.(answer)
  }
}

const CLOSED: Broken = { kind: 'failed', reason: 'upstream_unreachable', detail: 'the stream was closed' }

function againOf({ by, error, unprocessed }: Http2StreamEnd): 'unprocessed' | 'http1_required' | null {
  if (by === 'peer' && error === 'HTTP_1_1_REQUIRED') return 'http1_required'
  return unprocessed ? 'unprocessed' : null
}

/** What the origin did not do in time: acknowledge SETTINGS, finish a frame, take what we send. */
const LATE: ReadonlySet<string> = new Set(['H2_SETTINGS_TIMEOUT', 'H2_HEAD_DEADLINE', 'STALLED'])

/** `local`: we ended it because of what the origin sent. */
function causeOf({ by, error, code }: Http2StreamEnd): { reason: Reason; detail: string } {
  if (by === 'peer') return { reason: 'upstream_unreachable', detail: `the origin reset the stream: ${error}` }
  if (LATE.has(code)) return { reason: 'upstream_timeout', detail: code }
  const rule = by === 'local' || code.startsWith('H2_')
  return { reason: rule ? 'upstream_malformed' : 'upstream_unreachable', detail: code }
}
