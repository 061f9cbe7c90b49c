// A record on its way to a sink: its line as it stands in the file, and what a receiver has to know of it without parsing.

import { AUDIT_SCHEMA } from '../core/record.ts'

export type Severity = 'error' | 'warning' | 'info'

export interface ShippedRecord {
  readonly instance: string
  readonly seq: number
  /** RFC 3339, as recorded. */
  readonly timestamp: string
  readonly event: string
  readonly severity: Severity
  /** The line without its newline: printable ASCII, so characters are bytes. */
  readonly text: string
}

/** What became of a batch. */
export type Delivery =
  /** Every record is with the receiver. */
  | { readonly kind: 'accepted' }
  /** The receiver took all but those, by their place in the batch, and will never take them. */
  | { readonly kind: 'partly'; readonly refused: ReadonlyMap<number, string> }
  /** The receiver looked at the batch and took none of it, for what is in it. */
  | { readonly kind: 'refused'; readonly why: string }
  /** Not now. `afterMs`: the receiver says when. */
  | { readonly kind: 'failed'; readonly why: string; readonly afterMs: number | null }

/** Where batches go. `deliver` settles soon after `signal` fires, and never rejects. */
export interface Destination {
  readonly maxRecords: number
  deliver(batch: readonly ShippedRecord[], signal: AbortSignal): Promise<Delivery>
  close(): void
}

export function failed(why: string, afterMs: number | null = null): Delivery {
  return { kind: 'failed', why, afterMs }
}

const ENVELOPE = new RegExp(
  String.raw`^\{"schema":"${AUDIT_SCHEMA.replace('.', String.raw`\.`)}","instance":"([0-9A-HJKMNP-TV-Z]{26})","seq":(\d{1,15}),` +
    String.raw`"timestamp":"([^"\\]{1,64})","event":"([a-z._]{1,64})"`,
)
/** `,"hash":"` + 64 digits + `"}` */
const SEAL_LENGTH = 9 + 64 + 2
const SEAL = /^,"hash":"[0-9a-f]{64}"\}$/

/** Null: a torn line, or none of ours. Whether the hash is the right one is for whoever verifies; the receiver can, too. */
export function parseShipped(line: string): ShippedRecord | null {
  const [, instance, seq, timestamp, event] = ENVELOPE.exec(line.slice(0, 256)) ?? []
  if (instance === undefined || timestamp === undefined || event === undefined) return null
  if (!SEAL.test(line.slice(-SEAL_LENGTH))) return null
  return { instance, seq: Number(seq), timestamp, event, severity: severityOf(event, line), text: line }
}

const ERRORS = [',"outcome":"failed"', ',"outcome":"upstream_aborted"']

// A quote inside a string is escaped, so a member written like this can be nothing but a member.
function severityOf(event: string, line: string): Severity {
  if (event === 'config.rejected' || event === 'audit.restored') return 'error'
  if (ERRORS.some((member) => line.includes(member))) return 'error'
  return event === 'tls.rejected' || event === 'request.malformed' || line.includes(',"decision":"deny"')
    ? 'warning'
    : 'info'
}

/** The same for the same record, wherever and however often it is sent. */
export function recordId({ instance, seq }: ShippedRecord): string {
  return `${instance}-${seq}`
}
