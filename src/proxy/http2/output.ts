// Writes frames to the socket of a session: what belongs together in one write, and within bounds for a peer that does not read.

import type { Socket } from 'node:net'
import { HpackEncoder } from '../../core/hpack.ts'
import type { RawHeaders } from '../../core/http1.ts'
import { MIN_MAX_FRAME_BYTES } from '../../core/http2-frame.ts'
import { headerFrames } from '../../core/http2-frame-writer.ts'

/** Once so many bytes wait in the socket, no stream sends more until it has drained. */
const SOCKET_HIGH_WATER_BYTES = 64 * 1024
/** Acknowledgements, credits and resets for a peer that does not read them (CVE-2019-9512, CVE-2019-9515). */
const MAX_UNREAD_REPLY_BYTES = 256 * 1024

export class FrameOutput {
  readonly #socket: Socket
  readonly #encoder = new HpackEncoder()
  readonly #onTurnEnd: () => void
  readonly #onUnread: () => void
  #corked = false
  #unreadReplies = 0

  /** `onTurnEnd`: called once in a turn of the loop in which `flushLater` or a write was; `onUnread`: the bound on replies is passed. */
  constructor(socket: Socket, onTurnEnd: () => void, onUnread: () => void) {
    this.#socket = socket
    this.#onTurnEnd = onTurnEnd
    this.#onUnread = onUnread
    socket.on('drain', this.flushLater)
  }

  /** Streams wait. */
  readonly blocked = (): boolean => this.#socket.writableLength >= SOCKET_HIGH_WATER_BYTES

  setMaxTableBytes(bytes: number): void {
    this.#encoder.setMaxTableBytes(bytes)
  }

  /** Before this turn of the loop ends, everything that waits gets its chance, in one write. */
  readonly flushLater = (): void => {
    if (this.#corked) return
    this.#corked = true
    this.#socket.cork()
    process.nextTick(this.#endTurn)
  }

  write(frame: Buffer): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return
    if (this.#socket.writableLength === 0) this.#unreadReplies = 0
    this.flushLater()
    this.#socket.write(frame)
  }

  /** A frame that the peer's own frames bring forth. */
  reply(frame: Buffer): void {
    if (this.#unreadReplies + frame.length > MAX_UNREAD_REPLY_BYTES && this.#socket.writableLength > 0) {
      return this.#onUnread()
    }
    this.write(frame)
    this.#unreadReplies += frame.length
  }

  /** SECURITY: encoded when it is written and no sooner: blocks reach the peer in the order in which its table must see them. */
  headers(streamId: number, fields: RawHeaders, endStream: boolean): void {
    this.write(headerFrames(streamId, this.#encoder.encode(fields), endStream, MIN_MAX_FRAME_BYTES))
  }

  readonly #endTurn = (): void => {
    this.#onTurnEnd()
    this.#corked = false
    this.#socket.uncork()
  }
}
