// Whether the checkpoints of a trail are signed by a key one trusts, and those that were kept elsewhere are in it.

import { type KeyObject, verify } from 'node:crypto'
import { checkpointStatement } from './signing.ts'
import { type Head, inspectLine, RECORD_START } from './verify-line.ts'
import type { FaultReason } from './verify-report.ts'

export interface CheckpointFault {
  readonly reason: FaultReason
  readonly message: string
}

export interface CheckpointRules {
  /** By their ids; null: signatures are not looked at. */
  readonly keys: ReadonlyMap<string, KeyObject> | null
  /** Also those without a signature pass, and none being there at all. */
  readonly allowUnsigned: boolean
  /** Records in a row without a checkpoint among them. */
  readonly maxUncovered: number
  /** Kept elsewhere. */
  readonly kept: readonly Head[]
}

/** About two gigabytes of memory; a checkpoint a minute makes them in ten years. */
const MAX_KEPT = 5_000_000

export class Checkpoints {
  found = 0
  verified = 0
  lastSeq: number | null = null
  keptFound = 0
  keptBefore = 0
  readonly #rules: CheckpointRules
  readonly #kept: readonly Head[]
  #at = 0

  constructor(rules: CheckpointRules) {
    this.#rules = rules
    this.#kept = rules.kept.toSorted((a, b) => a.seq - b.seq)
  }

  /** Told where the trail begins, before its first record. */
  begin(firstSeq: number): void {
    while ((this.#kept[this.#at]?.seq ?? firstSeq) < firstSeq) this.#at++
    this.keptBefore = this.#at
  }

  /** Of the next one that was kept; Infinity when there is none. */
  get nextKept(): number {
    return this.#kept[this.#at]?.seq ?? Number.POSITIVE_INFINITY
  }

  /** Record `nextKept` has this hash. */
  compare(hash: string): CheckpointFault | null {
    for (
      let kept = this.#kept[this.#at], { seq } = kept ?? { seq: -1 };
      kept?.seq === seq;
      kept = this.#kept[this.#at]
    ) {
      if (kept.hash !== hash) {
        return {
          reason: 'rewritten',
          message: `this record is not the one that was kept in ${kept.place.file}, line ${kept.place.line}: it or one before it was replaced`,
        }
      }
      this.#at++
      this.keptFound++
    }
    return null
  }

  /** The trail ended. */
  cutOff(lastSeq: number | null): (CheckpointFault & { readonly seq: number }) | null {
    const kept = this.#kept[this.#at]
    if (kept === undefined) return null
    const last = this.#kept.at(-1)?.seq ?? kept.seq
    return {
      reason: 'cut_off',
      seq: (lastSeq ?? -1) + 1,
      message: `the trail ends at seq ${lastSeq ?? 'none'}, and a checkpoint of seq ${last} was kept in ${kept.place.file}: its end was cut off`,
    }
  }

  /** `line`: a record with event `checkpoint`, as written. */
  check(line: string, instance: string, seq: number, prevHash: string): CheckpointFault | null {
    this.found++
    const { records, key_id: keyId, signature } = membersOf(line)
    if (records !== seq)
      return { reason: 'edited', message: `the checkpoint counts ${String(records)} records before it, not ${seq}` }
    const { keys, allowUnsigned } = this.#rules
    if (keys === null) {
      this.lastSeq = seq
      return null
    }
    if (typeof keyId !== 'string' || typeof signature !== 'string')
      return allowUnsigned ? null : { reason: 'unsigned', message: 'the checkpoint carries no signature' }
    const key = keys.get(keyId)
    if (key === undefined)
      return {
        reason: 'unknown_key',
        message: `the checkpoint is signed by key ${keyId}, which is none of those given`,
      }
    const statement = Buffer.from(checkpointStatement(instance, seq, prevHash), 'ascii')
    if (!verify(null, statement, key, Buffer.from(signature, 'base64')))
      return { reason: 'bad_signature', message: `the signature is not one of key ${keyId} over this checkpoint` }
    this.verified++
    this.lastSeq = seq
    return null
  }

  /** `records`: how many there are since the last checkpoint. */
  uncovered(records: number): CheckpointFault | null {
    const { keys, allowUnsigned, maxUncovered } = this.#rules
    if (keys === null || allowUnsigned || records <= maxUncovered) return null
    return { reason: 'unsigned', message: `more than ${maxUncovered} records in a row without a signed checkpoint` }
  }
}

function membersOf(line: string): { records?: unknown; key_id?: unknown; signature?: unknown } {
  try {
    return JSON.parse(line) as Record<string, unknown>
  } catch {
    return {}
  }
}

/**
 * The checkpoints in a text where they were kept, such as what the proxy wrote to stdout; other lines do not count. Throws an Error
 * for a checkpoint that is not as it was written, for a text without any, and for more than can be held.
 */
export function keptCheckpoints(text: string, file: string): Head[] {
  const heads: Head[] = []
  let offset = 0
  for (const [index, raw] of text.split('\n').entries()) {
    const place = { file, line: index + 1, offset }
    offset += raw.length + 1
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw
    if (!line.startsWith(RECORD_START)) continue
    const inspected = inspectLine(Buffer.from(line, 'latin1'), place)
    if (inspected.kind !== 'record' || !inspected.head.valid)
      throw new Error(
        `${file}, line ${place.line}: a record that is not as it was written: give the file as it was kept`,
      )
    if (inspected.head.event === 'checkpoint') heads.push(inspected.head)
    if (heads.length > MAX_KEPT) throw new Error(`${file}: more than ${MAX_KEPT} checkpoints: give the later ones`)
  }
  if (heads.length === 0)
    throw new Error(`${file} holds no checkpoint: give the lines that audit.checkpoints.sink wrote`)
  return heads
}
