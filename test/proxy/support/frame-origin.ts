// An HTTP/2 origin that a test plays itself, frame by frame, over real TLS.

import type { AddressInfo, Socket } from 'node:net'
import { createServer } from 'node:tls'
import { HpackDecoder, HpackEncoder } from '../../../src/core/hpack.ts'
import type { RawHeaders } from '../../../src/core/http1.ts'
import { FRAME_FLAG, FRAME_TYPE, type Frame, PREFACE, readFrame, type Settings } from '../../../src/core/http2-frame.ts'
import { frameHeader, headerFrames, settingsAck, settingsFrame } from '../../../src/core/http2-frame-writer.ts'
import type { TestRoot } from '../../support/origins.ts'

const DEADLINE_MS = 6_000
/** The real ones, also in a test that moves the clock of the proxy. */
const { setTimeout: later, clearTimeout: never } = globalThis
const LIMITS = { maxListBytes: 256 * 1024, maxFields: 1_000, maxStringBytes: 256 * 1024 }

export interface Asked {
  readonly streamId: number
  readonly fields: RawHeaders
  readonly endStream: boolean
}

type Wanted<T extends Frame['type']> = Extract<Frame, { type: T }>

export class FramePeer {
  readonly socket: Socket
  readonly #decoder = new HpackDecoder()
  readonly #encoder = new HpackEncoder()
  readonly #frames: Frame[] = []
  readonly #watchers = new Set<() => void>()
  #bytes: Buffer = Buffer.alloc(0)
  #preface = true
  closed = false
  /** Every frame that arrived, by type. */
  readonly seen: Frame['type'][] = []

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.closed = true
      this.#changed()
    })
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
  }

  write(...parts: readonly Buffer[]): boolean {
    return this.socket.write(Buffer.concat(parts))
  }

  settings(settings: Settings = []): this {
    this.write(settingsFrame(settings), settingsAck())
    return this
  }

  head(streamId: number, fields: RawHeaders, endStream = false): this {
    this.write(headerFrames(streamId, this.#encoder.encode(fields), endStream, 16_384))
    return this
  }

  data(streamId: number, data: string | Buffer, endStream = false): this {
    const bytes = Buffer.from(data as string, 'latin1')
    this.write(frameHeader(FRAME_TYPE.DATA, endStream ? FRAME_FLAG.END_STREAM : 0, streamId, bytes.length), bytes)
    return this
  }

  /** A frame of any kind, with any payload. */
  frame(type: number, flags: number, streamId: number, payload: Buffer = Buffer.alloc(0)): this {
    this.write(frameHeader(type, flags, streamId, payload.length), payload)
    return this
  }

  /** The next frame of that type; those before it are passed over. */
  async next<T extends Frame['type']>(type: T): Promise<Wanted<T>> {
    for (;;) {
      const at = this.#frames.findIndex((frame) => frame.type === type)
      if (at >= 0) {
        const found = this.#frames[at] as Wanted<T>
        this.#frames.splice(0, at + 1)
        return found
      }
      if (this.closed) throw new Error(`closed before ${type}; seen: ${this.seen.join(' ')}`)
      await this.#change(type)
    }
  }

  async asked(): Promise<Asked> {
    const { streamId, fragment, endStream } = await this.next('headers')
    const block = this.#decoder.decode(fragment, LIMITS)
    if (block.kind === 'bad') throw new Error(block.code)
    return { streamId, fields: block.fields, endStream }
  }

  /** DATA up to END_STREAM. */
  async body(): Promise<string> {
    for (let text = ''; ; ) {
      const { data, endStream } = await this.next('data')
      text += data.toString('latin1')
      if (endStream) return text
    }
  }

  async end(): Promise<void> {
    while (!this.closed) await this.#change('the end')
  }

  #take(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    if (this.#preface) {
      if (this.#bytes.length < PREFACE.length) return
      this.#preface = false
      this.#bytes = this.#bytes.subarray(PREFACE.length)
    }
    for (;;) {
      const read = readFrame(this.#bytes, 0, 16_384)
      if (read.kind === 'more') break
      if (read.kind === 'bad') throw new Error(`the proxy sent a bad frame: ${read.code}`)
      this.seen.push(read.frame.type)
      this.#frames.push(read.frame)
      this.#bytes = this.#bytes.subarray(read.end)
    }
    this.#changed()
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher()
    this.#watchers.clear()
  }

  #change(what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = later(() => reject(new Error(`no ${what}; seen: ${this.seen.join(' ')}`)), DEADLINE_MS)
      this.#watchers.add(() => {
        never(late)
        resolve()
      })
    })
  }
}

export interface FrameOrigin {
  readonly port: number
  readonly peers: FramePeer[]
  /** The connection of that number, counted from 0, as soon as it is there. */
  peer(index?: number): Promise<FramePeer>
  close(): Promise<void>
}

/** Answers every HTTP/1.1 request, one at a time. */
function plainOk(socket: Socket): void {
  socket.on('error', () => undefined)
  socket.on('data', () => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'))
}

/** `alpn`: what it speaks; `script`: played on each connection, but those of HTTP/1.1, which get `plainOk`. */
export async function startFrameOrigin(
  root: TestRoot,
  name: string,
  script: (peer: FramePeer) => unknown = () => undefined,
  alpn: readonly string[] = ['h2'],
): Promise<FrameOrigin> {
  const peers: FramePeer[] = []
  const sockets = new Set<Socket>()
  const waiting: (() => void)[] = []
  let closing = false
  const server = createServer({ ...root.issue(name), ALPNProtocols: [...alpn], noDelay: true }, (socket) => {
    if (closing) return void socket.destroy()
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    if (socket.alpnProtocol === 'http/1.1') return plainOk(socket)
    const peer = new FramePeer(socket)
    peers.push(peer)
    for (const wake of waiting.splice(0)) wake()
    void Promise.resolve(script(peer)).catch(() => socket.destroy())
  })
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    peers,
    peer: async (index = 0) => {
      while (peers[index] === undefined) await new Promise<void>((resolve) => void waiting.push(resolve))
      return peers[index]
    },
    close: () =>
      new Promise((resolve) => {
        closing = true
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}
