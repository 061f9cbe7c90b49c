// Which streams a session has, has had and may yet have (RFC 9113 §5.1, §5.1.1).

import type { Http2Stream } from './stream.ts'

/** Streams that we reset, whose last frames may still be on their way. */
const MAX_RESET_REMEMBERED = 1_024

/** `reset`: by us, so that what the peer sent before it knew is not held against it. `closed`: the peer knows. */
export type Found = Http2Stream | 'idle' | 'reset' | 'closed'

export class StreamTable {
  readonly #role: 'server' | 'client'
  readonly #open = new Map<number, Http2Stream>()
  /** By id, how much DATA may still come: what was left of the window. */
  readonly #reset = new Map<number, number>()
  #nextOwn = 1
  /** The highest id that the peer has used: server role. */
  lastPeer = 0

  constructor(role: 'server' | 'client') {
    this.#role = role
  }

  get size(): number {
    return this.#open.size
  }

  [Symbol.iterator](): IterableIterator<Http2Stream> {
    return this.#open.values()
  }

  find(id: number): Found {
    const stream = this.#open.get(id)
    if (stream !== undefined) return stream
    if (this.isIdle(id)) return 'idle'
    return this.#reset.has(id) ? 'reset' : 'closed'
  }

  /** Only clients open streams: a server could with PUSH_PROMISE, which our SETTINGS forbid. So an even id is idle for ever. */
  isIdle(id: number): boolean {
    if (id % 2 === 0) return true
    return this.#role === 'server' ? id > this.lastPeer : id >= this.#nextOwn
  }

  /** Null when they are used up (RFC 9113 §5.1.1). */
  nextId(): number | null {
    if (this.#nextOwn > 0x7fff_ffff) return null
    this.#nextOwn += 2
    return this.#nextOwn - 2
  }

  add(stream: Http2Stream): void {
    this.#open.set(stream.id, stream)
  }

  delete(id: number): void {
    this.#open.delete(id)
  }

  /** `left`: of its window. */
  remember(id: number, left: number): void {
    this.#reset.set(id, left)
    if (this.#reset.size <= MAX_RESET_REMEMBERED) return
    for (const oldest of this.#reset.keys()) {
      this.#reset.delete(oldest)
      return
    }
  }

  /** DATA for a stream that we reset. False: more than its window had left. */
  takeLate(id: number, bytes: number): boolean {
    const left = (this.#reset.get(id) ?? 0) - bytes
    this.#reset.set(id, left)
    return left >= 0
  }
}
