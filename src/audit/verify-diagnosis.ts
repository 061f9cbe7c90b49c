// What happened where a chain breaks: told from the line that does not follow and some of those behind it.

import type { Head, InspectedLine } from './verify-line.ts'
import type { Fault, FaultReason, Place } from './verify-report.ts'

/** The line that does not follow, and the chain before it. */
export interface Break {
  readonly line: InspectedLine
  readonly place: Place
  readonly instance: string | null
  /** What should have stood here. */
  readonly seq: number
  readonly prevHash: string
  /** The record before, null at the beginning. */
  readonly before: { readonly place: Place; readonly prevHash: string } | null
  readonly atFileStart: boolean
}

/** Lines behind the break that are looked at: enough to see whether what is missing stands a little later. */
export const LOOKAHEAD = 64

export function diagnose(broken: Break, following: readonly Head[]): Fault {
  const { line, place, seq } = broken
  const fault = (reason: FaultReason, message: string, at: Place = place, number: number = seq): Fault => ({
    reason,
    seq: number,
    ...at,
    message,
  })
  if (line.kind === 'torn') return fault('torn', 'a record is broken off, and no restart follows it')
  if (line.kind === 'not_a_record') return fault('not_a_record', 'this line is no record of an audit trail')
  if (line.kind !== 'record') return fault('edited', 'this line was a record and is not as it was written')
  const { head } = line
  if (!head.valid) return fault('edited', 'the record does not match its hash')
  if (broken.instance !== null && head.instance !== broken.instance)
    return fault('spliced', `the record is of trail ${head.instance}, not of ${broken.instance}`)
  const valid = following.filter((each) => each.valid)
  const expected = valid.some((each) => each.seq === seq && each.prevHash === broken.prevHash)
  if (head.seq > seq) {
    if (expected) return fault('reordered', `record ${head.seq} stands where ${seq} should, which comes later`)
    const missing = head.seq === seq + 1 ? `record ${seq} is` : `records ${seq} to ${head.seq - 1} are`
    return fault(broken.atFileStart ? 'gap' : 'removed', `${missing} missing`)
  }
  if (head.seq === seq) return misfit(broken, head, valid, expected, fault)
  const twice = `a second record has number ${head.seq}`
  // Two records claim one number: the one that the next record stands on is the real one.
  const rival = head.seq === seq - 1 && head.prevHash === broken.before?.prevHash && head.hash !== broken.prevHash
  const wronged = rival && valid.find((each) => each.seq === seq)?.prevHash === head.hash
  return fault('inserted', twice, wronged ? broken.before?.place : place, head.seq)
}

/** The right number on the wrong record before it. */
function misfit(
  { before, seq }: Break,
  head: Head,
  valid: readonly Head[],
  expected: boolean,
  fault: (reason: FaultReason, message: string, at?: Place, number?: number) => Fault,
): Fault {
  if (expected)
    return fault('inserted', `the record does not stand on the one before it, and another record ${seq} follows`)
  const next = valid[0]
  const goesOn = next?.seq === seq + 1 && next.prevHash === head.hash
  if (before === null || !goesOn) return fault('edited', 'the record does not stand on the one before it')
  const message = `record ${seq} stands on another record ${seq - 1}: this one was put in its place`
  return fault('edited', message, before.place, seq - 1)
}
