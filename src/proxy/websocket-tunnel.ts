// Passes the frames of one WebSocket both ways, unchanged and with backpressure, and ends both ways together.

import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { closeFrame, type FrameFault, type FrameReader } from '../core/websocket-frame.ts'
import type { SwitchedClient } from './message.ts'
import type { SwitchedOrigin } from './origin-message.ts'

/** After our own close frames: for the frames under way to end, and for both sides to read why and to close. */
const FAREWELL_MS = 5_000
/** After the close frames of both sides, or the end of one of them: for the rest to be said and the connections to be closed. */
const CLOSING_MS = 10_000

const GOING_AWAY = 1001
const TOO_BIG = 1009
const INTERNAL_ERROR = 1011
const MASK_BYTES = 4

type Side = 'client' | 'origin'

/**
 * `closed`: by one side, in order. `lost`: that side is gone and has left something unsaid. `fault`: it broke the protocol.
 * `let-go`: the client was let go of, for the reason that its link has.
 */
export type TunnelEnd =
  | { readonly kind: 'closed' | 'drained' | 'expired' | 'let-go' }
  | { readonly kind: 'lost'; readonly side: Side }
  | { readonly kind: 'fault'; readonly side: Side; readonly fault: FrameFault }

export interface Tunnelled {
  readonly client: SwitchedClient
  readonly origin: SwitchedOrigin
  /** Reads what the client sends. */
  readonly sent: FrameReader
  /** Reads what the origin sends. */
  readonly received: FrameReader
  /** Ends the client's connection so that nothing looks complete. */
  readonly breakOff: () => void
}

export interface TunnelBounds {
  readonly idleMs: number
  readonly lifetimeMs: number
}

interface Way {
  readonly side: Side
  readonly from: Socket
  readonly to: Socket
  readonly frames: FrameReader
  /** A close frame of ours that goes to `to` once the frame under way has ended. */
  farewell: Buffer | null
  /** `from` has said that nothing follows. */
  ended: boolean
}

export class WebSocketTunnel {
  readonly #tunnelled: Tunnelled
  readonly #up: Way
  readonly #down: Way
  readonly #idle: NodeJS.Timeout
  readonly #lifetime: NodeJS.Timeout
  #closing: NodeJS.Timeout | null = null
  #open = 2
  #end: TunnelEnd | null = null
  #settle: (end: TunnelEnd) => void = () => undefined

  /** Both sockets are paused, and nobody else listens to them. */
  constructor(tunnelled: Tunnelled, bounds: TunnelBounds) {
    const client = tunnelled.client.socket
    const origin = tunnelled.origin.socket
    this.#tunnelled = tunnelled
    this.#up = { side: 'client', from: client, to: origin, frames: tunnelled.sent, farewell: null, ended: false }
    this.#down = { side: 'origin', from: origin, to: client, frames: tunnelled.received, farewell: null, ended: false }
    const expire = (): void => this.#dismiss({ kind: 'expired' }, GOING_AWAY, GOING_AWAY, 'expired')
    this.#idle = setTimeout(expire, bounds.idleMs)
    this.#lifetime = setTimeout(expire, bounds.lifetimeMs)
  }

  /** Resolves when both connections are closed. */
  run(): Promise<TunnelEnd> {
    const { client, origin } = this.#tunnelled
    const done = new Promise<TunnelEnd>((resolve) => {
      this.#settle = resolve
    })
    for (const way of [this.#up, this.#down]) this.#attach(way)
    this.#pass(this.#up, client.rest)
    this.#pass(this.#down, origin.rest)
    if (client.ended) this.#onEnd(this.#up)
    client.onDrain(() => this.#dismiss({ kind: 'drained' }, GOING_AWAY, GOING_AWAY, 'shutting_down'))
    return done
  }

  /** The client was let go of: its connection is broken off already. */
  letGo(): void {
    this.#finish({ kind: 'let-go' })
  }

  #attach(way: Way): void {
    const { from, to } = way
    from.on('data', (chunk: Buffer) => this.#pass(way, chunk))
    from.on('end', () => this.#onEnd(way))
    to.on('drain', () => from.resume())
    if (from.closed) this.#onClosed(way)
    else from.on('close', () => this.#onClosed(way))
    from.resume()
  }

  #pass(way: Way, chunk: Buffer): void {
    this.#idle.refresh()
    const { to, frames } = way
    // A side that has ended both of its ways takes nothing more; what is said to it is read and dropped until the other ends too.
    if (!to.writable) return
    const { pass, fault } = frames.push(chunk)
    if (pass.length > 0 && !to.write(pass)) way.from.pause()
    if (fault !== null) return this.#fail(way.side, fault)
    if (way.farewell !== null && frames.atBoundary) return this.#sayFarewell(way)
    if (this.#up.frames.closed && this.#down.frames.closed) this.#expectClose()
  }

  #onEnd(way: Way): void {
    if (way.ended) return
    way.ended = true
    if (this.#end !== null) return way.farewell === null ? undefined : this.#cut()
    // SECURITY: TLS that was cut is no end; what the origin had yet to say is missing (RFC 8446 §6.1).
    const cutOff = way === this.#down && this.#tunnelled.origin.cutOff() && !way.frames.closed
    if (!way.frames.whole || cutOff) return this.#finish({ kind: 'lost', side: way.side })
    way.to.end()
    this.#expectClose()
  }

  #onClosed(way: Way): void {
    this.#open -= 1
    const inOrder = way.ended || (this.#up.frames.closed && this.#down.frames.closed)
    if (this.#end === null && !inOrder) this.#finish({ kind: 'lost', side: way.side })
    this.#end ??= { kind: 'closed' }
    if (this.#open > 0) {
      // Half-closed and drained: a reset would take from the other side what it has not read yet.
      way.to.end()
      way.to.resume()
      return this.#expectClose()
    }
    clearTimeout(this.#idle)
    clearTimeout(this.#lifetime)
    clearTimeout(this.#closing ?? undefined)
    this.#settle(this.#end)
  }

  #fail(side: Side, fault: FrameFault): void {
    const { closeCode } = fault
    const other = closeCode === TOO_BIG ? TOO_BIG : INTERNAL_ERROR
    if (side === 'client') this.#dismiss({ kind: 'fault', side, fault }, closeCode, other, fault.code)
    else this.#dismiss({ kind: 'fault', side, fault }, other, closeCode, fault.code)
  }

  /** Closes both ways with a word of our own: to the client with the reason, to the origin without. */
  #dismiss(end: TunnelEnd, clientCode: number, originCode: number, reason: string): void {
    if (this.#end !== null) return
    this.#end = end
    this.#down.farewell = closeFrame(clientCode, `mcp-egress: ${reason}`, null)
    this.#up.farewell = closeFrame(originCode, '', randomBytes(MASK_BYTES))
    clearTimeout(this.#closing ?? undefined)
    this.#closing = setTimeout(() => this.#cut(), FAREWELL_MS)
    for (const way of [this.#down, this.#up]) {
      way.frames.stop()
      if (way.frames.atBoundary) this.#sayFarewell(way)
    }
  }

  #sayFarewell(way: Way): void {
    const { farewell, frames, from, to } = way
    way.farewell = null
    // What `from` says from now on is read and dropped, so that it sees the end of its own connection.
    from.resume()
    if (farewell !== null && !frames.closed && to.writable) to.write(farewell)
    if (this.#up.farewell !== null || this.#down.farewell !== null) return
    this.#up.to.end()
    this.#down.to.end()
  }

  #expectClose(): void {
    this.#closing ??= setTimeout(() => this.#finish({ kind: 'closed' }), CLOSING_MS)
  }

  #finish(end: TunnelEnd): void {
    this.#end ??= end
    this.#cut()
  }

  #cut(): void {
    this.#tunnelled.breakOff()
    this.#tunnelled.origin.socket.destroy()
  }
}
