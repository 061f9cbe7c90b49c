// The DNS question that probes ask, and what of an answer to it can be compared with another.

import type { Buffer } from 'node:buffer'
import { decode, encode, RECURSION_DESIRED } from 'dns-packet'

/** The same in every question: answers are compared byte for byte. */
const QUESTION_ID = 0x4d43

/** A question for the addresses of `name` (absolute, without the last dot). */
export function question(name: string): Buffer {
  return encode({ type: 'query', id: QUESTION_ID, flags: RECURSION_DESIRED, questions: [{ type: 'A', name }] })
}

/** The message if it is an answer to a question of ours; null for anything else. */
export function readAnswer(message: Buffer): Buffer | null {
  try {
    const packet = decode(message)
    return packet.type === 'response' && packet.id === QUESTION_ID ? message : null
  } catch {
    return null
  }
}

/** For the reader of a report: the response code, and how many records there are. */
export function describeAnswer(message: Buffer): string {
  const packet = decode(message) as { rcode?: string; answers?: unknown[] }
  return `${packet.rcode ?? 'an answer'} with ${packet.answers?.length ?? 0} records`
}

/** Whether the answer says that there is nothing: a door of ours says so to a name that no rule allows. */
export function isNegative(message: Buffer): boolean {
  const packet = decode(message)
  return (packet.answers ?? []).length === 0
}
