// DNS over TCP (RFC 7766): messages behind their length, answered one after the other, within bounds of size and time.

import type { Socket } from 'node:net'

/** Far above any question; the length field could say 65,535. */
const MAX_MESSAGE_BYTES = 4_096
/** For one whole message and for taking one answer, also if it comes byte by byte. */
const PATIENCE_MS = 10_000
const LENGTH_BYTES = 2

/** `send` resolves when the answer is on its way, and rejects when the connection is gone. */
export type ServeMessage = (message: Buffer, send: (answer: Buffer) => Promise<void>) => Promise<void>

/** Serves the connection until it ends. Resolves when it is gone, whatever became of it. */
export async function serveStream(
  socket: Socket,
  serve: ServeMessage,
  patienceMs: number = PATIENCE_MS,
): Promise<void> {
  const patience = setTimeout(() => socket.destroy(), patienceMs)
  let held: Buffer = Buffer.alloc(0)
  try {
    // Nothing more is read while an answer is made: whoever asks faster than that waits in the kernel's buffer.
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      held = Buffer.concat([held, chunk])
      for (;;) {
        const message = firstMessage(held)
        if (message === 'incomplete') break
        if (message === 'too-long') return
        held = held.subarray(LENGTH_BYTES + message.length)
        patience.refresh()
        await serve(message, (answer) => write(socket, answer))
        patience.refresh()
      }
    }
  } catch (error) {
    // A client that went away is no fault; anything else is one of ours.
    if (!socket.destroyed) throw error
  } finally {
    clearTimeout(patience)
    socket.destroy()
  }
}

function firstMessage(held: Buffer): Buffer | 'incomplete' | 'too-long' {
  if (held.length < LENGTH_BYTES) return 'incomplete'
  const length = held.readUInt16BE(0)
  if (length > MAX_MESSAGE_BYTES) return 'too-long'
  const end = LENGTH_BYTES + length
  return held.length < end ? 'incomplete' : held.subarray(LENGTH_BYTES, end)
}

/** Length and answer in one segment (RFC 7766 §8). */
function write(socket: Socket, answer: Buffer): Promise<void> {
  const framed = Buffer.alloc(LENGTH_BYTES + answer.length)
  framed.writeUInt16BE(answer.length, 0)
  answer.copy(framed, LENGTH_BYTES)
  return new Promise((resolve, reject) => {
    socket.write(framed, (error) => (error ? reject(error) : resolve()))
  })
}
