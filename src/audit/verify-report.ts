// What checking a trail can find: the closed list of faults, where one is, and the summary.

export type FaultReason =
  | 'edited'
  | 'removed'
  | 'inserted'
  | 'reordered'
  | 'spliced'
  | 'torn'
  | 'not_a_record'
  | 'damaged_archive'
  | 'gap'
  | 'incomplete'
  | 'cut_off'
  | 'rewritten'
  | 'bad_signature'
  | 'unknown_key'
  | 'unsigned'
  | 'duplicate_decision'
  | 'duplicate_end'
  | 'missing_end'
  | 'unknown_policy'

/** `line` from 1, `offset` in bytes from 0, before compression. */
export interface Place {
  readonly file: string
  readonly line: number
  readonly offset: number
}

/** `seq`: the first number in the chain that is not as it was written; null where there is no chain yet. */
export interface Fault extends Place {
  readonly reason: FaultReason
  readonly seq: number | null
  readonly message: string
}

export interface VerifyReport {
  readonly ok: boolean
  /** The first one; nothing behind it was looked at. */
  readonly fault: Fault | null
  readonly instance: string | null
  readonly segments: number
  /** Records that were found good. */
  readonly records: number
  readonly first_seq: number | null
  readonly last_seq: number | null
  readonly first_time: string | null
  readonly last_time: string | null
  readonly last_hash: string | null
  readonly checkpoints: {
    readonly found: number
    /** Of those, how many carry a signature by one of the keys given. */
    readonly verified: number
    readonly last_seq: number | null
  }
  /** Records behind the last checkpoint. */
  readonly uncovered: number
  /** Checkpoints that were kept elsewhere: how many are in the trail, and how many lie before its beginning. */
  readonly kept: { readonly given: number; readonly found: number; readonly before: number }
  /** Decisions without an end yet, at the tail of a trail that goes on. */
  readonly still_open: number
  /** Decisions whose end an outage of the trail kept from being written. */
  readonly lost_ends: number
  /** Lines broken off by a crash. */
  readonly torn: number
  /** Records up to this number were pruned: so says a tombstone, `signed` by one of the keys given. Null: no record is missing, or none says so. */
  readonly pruned: { readonly last_seq: number; readonly signed: boolean } | null
  readonly warnings: readonly string[]
}
