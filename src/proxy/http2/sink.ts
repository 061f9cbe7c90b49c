// Writes one answer to a stream; what breaks off ends in RST_STREAM, which nobody takes for the end of a message.

import type { RawHeaders } from '../../core/http1.ts'
import { http2ResponseFields } from '../../core/http2-message.ts'
import type { ResponseLength, ResponseSink } from '../message.ts'
import type { Http2Stream } from './stream.ts'

export class Http2Sink implements ResponseSink {
  readonly #stream: Http2Stream
  #bodiless = false
  started = false
  finished = false

  constructor(stream: Http2Stream) {
    this.#stream = stream
  }

  informational(status: number, headers: RawHeaders): void {
    if (!this.started) this.#stream.sendHeaders(http2ResponseFields(status, headers), false)
  }

  /** HTTP/2 has no reason phrase (RFC 9113 §8.3.2). */
  head(status: number, _statusText: string, headers: RawHeaders, length: ResponseLength): void {
    this.started = true
    this.#bodiless = length.kind === 'none'
    this.#stream.sendHeaders(http2ResponseFields(status, headers), false)
  }

  write(data: Buffer): boolean {
    return this.#bodiless || this.#stream.write(data)
  }

  /** The session gathers what is written in one turn by itself. */
  flush(): boolean {
    return true
  }

  drained(): Promise<void> {
    return this.#stream.drained()
  }

  end(trailers: RawHeaders): void {
    if (this.finished) return
    this.finished = true
    this.#stream.end(trailers.length === 0 ? trailers : trailerFields(trailers))
  }

  abort(): void {
    if (this.finished) return
    this.finished = true
    this.#stream.reset('INTERNAL_ERROR')
  }
}

/** In lower case, and without what is about an HTTP/1 connection. */
function trailerFields(trailers: RawHeaders): RawHeaders {
  const [, , ...fields] = http2ResponseFields(200, trailers)
  return fields
}
