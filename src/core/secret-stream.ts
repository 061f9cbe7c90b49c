// Looks for secrets in a body as it passes, and keeps back only those of its bytes that could still become one.

import { Buffer } from 'node:buffer'
import type { Guard, Leak } from './secret.ts'
import { scanForSecrets } from './secret-scan.ts'

/**
 * Bytes that have left and are looked at again with what follows: what stands before a secret tells what it is, and its first few
 * characters are not kept back.
 */
const CONTEXT_BYTES = 256
/** More is never kept back: 512 characters, the most that is looked for, with each of them escaped twice. */
export const MAX_HELD_BYTES = 8_192

/** `out`: what may leave, in order with what was let out before. `leak`: a secret is complete, and nothing more may leave. */
export interface Passed {
  readonly out: Buffer
  readonly leak: Leak | null
}

const EMPTY = Buffer.alloc(0)

export class SecretStream {
  readonly #guard: Guard
  readonly #enforced: boolean
  #context = ''
  #held: Buffer = EMPTY
  /** There is nothing left to tell. */
  #told = false

  /** `enforced` false: everything leaves, and each secret is told once. */
  constructor(guard: Guard, enforced: boolean) {
    this.#guard = enforced ? guard : { ...guard, kept: Uint8Array.from(guard.kept) }
    this.#enforced = enforced
  }

  /** `bounded`: no secret goes on behind `data`. */
  push(data: Buffer, bounded: boolean): Passed {
    if (this.#told) return { out: data, leak: null }
    const waiting = this.#held.length === 0 ? data : Buffer.concat([this.#held, data])
    const text = this.#context + waiting.toString('latin1')
    const scanned = scanForSecrets(text, this.#guard, false)
    if (scanned.kind === 'leak' && this.#enforced) return { out: EMPTY, leak: scanned.leak }
    if (scanned.kind === 'leak') this.#forget(scanned.secret)
    const begun = scanned.kind === 'leak' || bounded || !this.#enforced ? text.length : scanned.begun
    const open = Math.max(0, begun - this.#context.length, waiting.length - MAX_HELD_BYTES)
    this.#context = (this.#context + waiting.toString('latin1', Math.max(0, open - CONTEXT_BYTES), open)).slice(
      -CONTEXT_BYTES,
    )
    // A copy: what is kept back may be a small part of a large buffer that lives on with it.
    this.#held = open === waiting.length ? EMPTY : Buffer.from(waiting.subarray(open))
    return { out: waiting.subarray(0, open), leak: scanned.kind === 'leak' ? scanned.leak : null }
  }

  /** What was kept back and has become no secret: the body has ended. */
  end(): Buffer {
    const held = this.#held
    this.#held = EMPTY
    return held
  }

  #forget(secret: number | null): void {
    if (secret === null) this.#told = true
    else this.#guard.kept[secret] = 0
  }
}
