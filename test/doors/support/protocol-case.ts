// One thing that both versions of HTTP can do, and what has to come of it whichever are spoken on either side.

import { expect } from 'vitest'
import type { ProtocolBed } from './protocol-bed.ts'
import type { Answer, Ask } from './protocol-client.ts'
import type { Script } from './protocol-origin.ts'

export interface ProtocolCase {
  /** What is played. */
  readonly does: string
  /** The origin's part; without it: 200, `ok`. */
  readonly script?: Script
  /** Plays the client's part with requests for `path`; resolves to what it saw. */
  readonly play: (bed: ProtocolBed, path: string) => Promise<unknown>
  /** What of that must be so. From cell to cell all of it is compared, and so are the other two. */
  readonly client: unknown
  /** Every attempt: decision, outcome, reason, status. */
  readonly trail: readonly string[]
  /** What must be so of each request at the origin. */
  readonly origin: readonly unknown[]
}

/** Allowed, and answered with 200. */
export const PASSED: readonly string[] = ['allow completed 200']
/** What the client sees of an origin without a script. */
export const OK = { status: 200, body: 'ok', ending: 'whole' } as const

/** A case of one request, sent whole. */
export function asks(ask: Partial<Ask>, host?: string): ProtocolCase['play'] {
  return (bed, path) => bed.ask({ path, ...ask }, host)
}

/** What the client sees of a refusal. */
export function refusal(status: number, reason: string): unknown {
  return { status, ending: 'whole', body: expect.stringContaining(`"reason":"${reason}"`) as string }
}

/** A refusal whose hint tells what only this door or version has. */
export function unhinted({ status, ending, body }: Answer): unknown {
  return { status, ending, reason: (JSON.parse(body) as { reason: string }).reason }
}

/** Less than all: how much had arrived when it was cut off is a matter of time. */
export function briefly({ status, ending }: Answer): unknown {
  return { status, ending }
}
