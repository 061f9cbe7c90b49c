// A writer that writes as fast as it may, how to tell that it may no more, and the rude end of a connection.

import { setImmediate as turn } from 'node:timers/promises'
import type { Wire } from '../../support/wire.ts'
import { gate } from './gate.ts'

const BLOCK = Buffer.alloc(64 * 1_024, 'x')
/** Turns of the event loop without progress after which a writer counts as stopped. */
const QUIET_TURNS = 300

/** Writes `total` bytes of body, no faster than they are taken; `written` hears of each block. Ends early with the connection. */
export async function pour(
  wire: Wire,
  total: number,
  written: (bytes: number) => void = () => undefined,
): Promise<void> {
  for (let sent = 0; sent < total && !wire.socket.destroyed; ) {
    const more = wire.write(BLOCK)
    sent += BLOCK.length
    written(sent)
    if (more) continue
    const { opened, open } = gate()
    wire.socket.once('drain', open).once('close', open)
    await opened
    wire.socket.off('drain', open).off('close', open)
  }
}

/** Resolves to the count once it is above zero and has not changed for a while. */
export async function settled(count: () => number): Promise<number> {
  for (let last = -1, quiet = 0; ; ) {
    await turn()
    quiet = count() === last ? quiet + 1 : 0
    last = count()
    if (quiet >= QUIET_TURNS && last > 0) return last
  }
}

/** TCP's own reset, under TLS too. */
export function reset(wire: Wire): void {
  const { socket } = wire
  const below = (socket as unknown as { _parent?: typeof socket })._parent
  ;(below ?? socket).resetAndDestroy()
}
