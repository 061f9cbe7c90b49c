// Puts entries in their place in the chain, and a checkpoint wherever one is due.

import { encodeFields, MAX_RECORD_BYTES } from '../core/record.ts'
import { type ChainHead, sealInto } from './chain.ts'
import type { Entry } from './entry.ts'
import { checkpointStatement } from './signing.ts'

/** Signs a checkpoint; `sign` answers in base64. */
export interface Signer {
  readonly keyId: string
  sign(statement: string): string
}

export interface CheckpointOptions {
  /** A checkpoint at least every so many milliseconds, and every so many records. */
  readonly every: number
  readonly records: number
  /** Null: checkpoints are not signed. */
  readonly signer: Signer | null
  /** A checkpoint is in the file: its line without newline. Must neither throw nor wait. */
  readonly onCheckpoint?: (line: string) => void
}

/** A record in a buffer. */
export interface SealedEntry {
  readonly entry: Entry
  /** Offset behind its newline. */
  readonly end: number
  readonly head: ChainHead
}

export interface Sealed {
  /** Good until the next call. */
  readonly bytes: Buffer
  readonly lines: readonly SealedEntry[]
}

/** The checkpoints among them, without newline. */
export function checkpointLines({ bytes, lines }: Sealed): string[] {
  return lines.flatMap(({ entry, end }, at) =>
    entry.event === null ? [bytes.toString('latin1', lines[at - 1]?.end ?? 0, end - 1)] : [],
  )
}

/** Kept from group to group; what a bigger one needed is let go of. */
const KEPT_BYTES = 1_048_576

export class Sealer {
  readonly instance: string
  readonly #checkpoints: CheckpointOptions | null
  #buffer: Buffer = Buffer.allocUnsafe(KEPT_BYTES)

  constructor(instance: string, checkpoints: CheckpointOptions | null) {
    this.instance = instance
    this.#checkpoints = checkpoints
  }

  /** `since`: records behind the last checkpoint already. The records in order, with the checkpoints that fall between them. */
  seal(entries: readonly Entry[], head: ChainHead, since: number): Sealed {
    const most = this.#checkpoints?.records ?? Number.POSITIVE_INFINITY
    const lines: SealedEntry[] = []
    if (this.#buffer.length > KEPT_BYTES) this.#buffer = Buffer.allocUnsafe(KEPT_BYTES)
    let at = head
    let offset = 0
    let count = since
    const add = (entry: Entry): void => {
      this.#makeRoom(offset)
      const { event, timestamp } = entry
      const fields = event === null ? this.#checkpoint(at) : entry.fields
      const { end, head: next } = sealInto(this.#buffer, offset, { fields, timestamp }, this.instance, at)
      lines.push({ entry, end, head: next })
      offset = end
      at = next
      count = event === null ? 0 : count + 1
    }
    for (const entry of entries) {
      add(entry)
      if (count >= most) add({ event: null, fields: '', timestamp: entry.timestamp })
    }
    return { bytes: this.#buffer.subarray(0, offset), lines }
  }

  #makeRoom(offset: number): void {
    if (this.#buffer.length - offset >= MAX_RECORD_BYTES) return
    const bigger = Buffer.allocUnsafe(this.#buffer.length * 2)
    this.#buffer.copy(bigger, 0, 0, offset)
    this.#buffer = bigger
  }

  #checkpoint(previous: ChainHead): string {
    const signer = this.#checkpoints?.signer ?? null
    const seq = previous.seq + 1
    return encodeFields({
      event: 'checkpoint',
      records: seq,
      key_id: signer?.keyId ?? null,
      signature: signer?.sign(checkpointStatement(this.instance, seq, previous.hash)) ?? null,
    })
  }
}
