// A peer that speaks HTTP/2 frame by frame, whatever the rules say, over any byte stream.

import type { Duplex } from 'node:stream'
import { HpackDecoder, HpackEncoder } from '../../../../src/core/hpack.ts'
import type { RawHeaders } from '../../../../src/core/http1.ts'
import { type Http2Error, http2ErrorName } from '../../../../src/core/http2-error.ts'
import { FRAME_FLAG, FRAME_TYPE, type Frame, PREFACE, readFrame, SETTING } from '../../../../src/core/http2-frame.ts'
import {
  frameHeader,
  headerFrames,
  ping,
  rstStream,
  settingsAck,
  settingsFrame,
  windowUpdate,
} from '../../../../src/core/http2-frame-writer.ts'

export { FRAME_FLAG, FRAME_TYPE, PREFACE, SETTING }

const WAIT_MS = 5_000
const LIMITS = { maxListBytes: 1 << 20, maxFields: 1_000, maxStringBytes: 1 << 20 }

type FrameOf<Type extends Frame['type']> = Extract<Frame, { type: Type }>

/** A frame of any type with any payload. */
export function raw(type: number, flags: number, streamId: number, payload: Buffer | string = ''): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload
  return Buffer.concat([frameHeader(type, flags, streamId, bytes.length), bytes])
}

/** DATA with `padding` bytes behind the text. */
export function padded(streamId: number, text: string, padding: number): Buffer {
  const bytes = Buffer.concat([Buffer.from([padding]), Buffer.from(text), Buffer.alloc(padding)])
  return raw(FRAME_TYPE.DATA, FRAME_FLAG.PADDED, streamId, bytes)
}

export function data(streamId: number, text: Buffer | string, endStream = false): Buffer {
  return raw(FRAME_TYPE.DATA, endStream ? FRAME_FLAG.END_STREAM : 0, streamId, text)
}

export function request(path: string, ...more: string[]): string[] {
  return [':method', 'GET', ':scheme', 'https', ':authority', 'a.test', ':path', path, ...more]
}

/** The request `method path` with more fields. */
export function asked(method: string, path: string, ...more: string[]): string[] {
  return [':method', method, ':scheme', 'https', ':authority', 'a.test', ':path', path, ...more]
}

export class RawPeer {
  readonly stream: Duplex
  readonly frames: Frame[] = []
  readonly #encoder = new HpackEncoder()
  readonly #decoder = new HpackDecoder()
  #pending = Buffer.alloc(0)
  #changed: (() => void)[] = []
  #block: { id: number; parts: Buffer[]; endStream: boolean } | null = null
  /** Field blocks by stream, in order. */
  readonly blocks = new Map<number, { fields: RawHeaders; endStream: boolean }[]>()
  closed = false

  constructor(stream: Duplex) {
    this.stream = stream
    stream.on('data', (chunk: Buffer) => this.#take(chunk))
    for (const event of ['end', 'close', 'error']) stream.on(event, () => this.#end())
  }

  write(...frames: Buffer[]): void {
    if (!this.stream.destroyed && !this.stream.writableEnded) this.stream.write(Buffer.concat(frames))
  }

  /** Preface of a client, with SETTINGS. */
  begin(settings: readonly (readonly [number, number])[] = []): void {
    this.write(PREFACE, settingsFrame(settings), settingsAck())
  }

  headers(streamId: number, fields: RawHeaders, endStream = true): Buffer {
    return headerFrames(streamId, this.#encoder.encode(fields), endStream, 16_384)
  }

  get(streamId: number, path: string, ...more: string[]): void {
    this.write(this.headers(streamId, request(path, ...more)))
  }

  ping(): Buffer {
    return ping(Buffer.alloc(8))
  }

  reset(streamId: number, error: Http2Error = 'CANCEL'): Buffer {
    return rstStream(streamId, error)
  }

  widen(streamId: number, bytes: number): Buffer {
    return windowUpdate(streamId, bytes)
  }

  of<Type extends Frame['type']>(type: Type): FrameOf<Type>[] {
    return this.frames.filter((frame): frame is FrameOf<Type> => frame.type === type)
  }

  /** What came in DATA on the stream. */
  body(streamId: number): Buffer {
    return Buffer.concat(this.of('data').flatMap((frame) => (frame.streamId === streamId ? [frame.data] : [])))
  }

  status(streamId: number): string | undefined {
    return this.blocks.get(streamId)?.[0]?.fields[1]
  }

  resetOf(streamId: number): Http2Error | null | undefined {
    const frame = this.of('rst_stream').find((found) => found.streamId === streamId)
    return frame === undefined ? undefined : http2ErrorName(frame.errorCode)
  }

  get goaway(): Http2Error | null | undefined {
    const frame = this.of('goaway').at(-1)
    return frame === undefined ? undefined : http2ErrorName(frame.errorCode)
  }

  ended(streamId: number): boolean {
    const inData = this.of('data').some((frame) => frame.streamId === streamId && frame.endStream)
    return inData || (this.blocks.get(streamId)?.some(({ endStream }) => endStream) ?? false)
  }

  /** Resolves when `wanted` holds; rejects after a bound, with what came. */
  async until(wanted: () => boolean, what = String(wanted)): Promise<void> {
    const deadline = setTimeout(() => this.#wake(), WAIT_MS)
    const since = Date.now()
    try {
      while (!wanted()) {
        if (Date.now() - since >= WAIT_MS)
          throw new Error(`${what} did not come: ${this.frames.slice(-10).map(brief).join(' ')}`)
        await new Promise<void>((resolve) => this.#changed.push(resolve))
      }
    } finally {
      clearTimeout(deadline)
    }
  }

  /** The connection still works: a PING comes back. */
  async alive(): Promise<void> {
    const acks = (): number => this.of('ping').filter(({ ack }) => ack).length
    const before = acks()
    this.write(this.ping())
    await this.until(() => acks() > before, 'the answer to a PING')
  }

  #take(chunk: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, chunk])
    for (;;) {
      const read = readFrame(this.#pending, 0, 1 << 24)
      if (read.kind === 'more') break
      if (read.kind === 'bad') throw new Error(`the other side sent a bad frame: ${read.code}`)
      this.frames.push(read.frame)
      this.#read(read.frame)
      this.#pending = this.#pending.subarray(read.end)
    }
    this.#wake()
  }

  #read(frame: Frame): void {
    if (frame.type === 'headers') this.#block = { id: frame.streamId, parts: [], endStream: frame.endStream }
    if ((frame.type !== 'headers' && frame.type !== 'continuation') || this.#block === null) return
    this.#block.parts.push(frame.fragment)
    if (!frame.endHeaders) return
    const { id, parts, endStream } = this.#block
    const decoded = this.#decoder.decode(Buffer.concat(parts), LIMITS)
    if (decoded.kind === 'bad') throw new Error(`the other side sent a bad block: ${decoded.code}`)
    this.blocks.set(id, [...(this.blocks.get(id) ?? []), { fields: decoded.fields, endStream }])
    this.#block = null
  }

  #end(): void {
    this.closed = true
    this.#wake()
  }

  #wake(): void {
    for (const changed of this.#changed.splice(0)) changed()
  }
}

function brief(frame: Frame): string {
  return 'streamId' in frame ? `${frame.type}:${frame.streamId}` : frame.type
}
