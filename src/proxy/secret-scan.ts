// The body of a request on its way to a host that some secret may not go to: looked through before the decision where it is small or
// packed, and as it streams where it is not.

import { BODY_INSPECTION_LIMIT } from '../core/body.ts'
import { GrpcMessages } from '../core/grpc-messages.ts'
import { type RawHeaders, soleValue } from '../core/http1.ts'
import { type Guard, type Leak, unreadable } from '../core/secret.ts'
import { leakInCoding, leakInFields } from '../core/secret-head.ts'
import { scanForSecrets } from '../core/secret-scan.ts'
import { SecretStream } from '../core/secret-stream.ts'
import type { Attempt } from './attempt.ts'
import { chain, type Inspected, readWhole } from './inspected-body.ts'
import type { BodyPart, BodyReader } from './message.ts'
import { turnEnd } from './turn.ts'
import type { OutgoingBody } from './upstream.ts'

/** A body that says it is no longer is read whole before the decision, and its sender waits for it anyway. */
const SMALL_BODY_BYTES = 65_536

/**
 * Whole where it is small or has a content coding, since nothing of that can be told from a part. Of any other as much as is there by
 * the end of this turn: a body that comes at once is denied with nothing sent, and one that waits for an answer is not waited for.
 */
export function readForSecrets(body: OutgoingBody, headers: RawHeaders, source: string | null): Promise<Inspected> {
  const coding = soleValue(headers, 'content-encoding')
  const isSmall = body.length !== null && body.length <= SMALL_BODY_BYTES
  return isSmall || isCoded(coding) ? readWhole(body, coding, source) : readArrived(body.reader)
}

async function readArrived(reader: BodyReader): Promise<Inspected> {
  const parts: Buffer[] = []
  let size = 0
  const turn = turnEnd().then(() => null)
  while (size <= SMALL_BODY_BYTES) {
    const next = reader.read()
    const part = next instanceof Promise ? await Promise.race([next, turn]) : next
    if (part === null) return arrived(parts, resumed(reader, next), null)
    if (part.kind === 'failed') return arrived(parts, reader, part)
    if (part.kind === 'end') return { ...arrived(parts, null, null), complete: true, trailers: part.trailers }
    parts.push(part.data)
    size += part.data.length
  }
  return arrived(parts, reader, null)
}

function arrived(parts: readonly Buffer[], rest: BodyReader | null, failure: Inspected['failure']): Inspected {
  const bytes = Buffer.concat(parts)
  return { bytes, content: { kind: 'decoded', bytes }, complete: false, trailers: [], rest, failure }
}

/** `pending`: what the reader was asked for already. */
function resumed(reader: BodyReader, pending: BodyPart | Promise<BodyPart>): BodyReader {
  let first: BodyPart | Promise<BodyPart> | null = pending
  return {
    read: () => {
      const next = first ?? reader.read()
      first = null
      return next
    },
  }
}

/** What of a body is known before the decision. Null: nothing to say, or it has yet to stream. */
export function leakInBody({ content, complete, trailers }: Inspected, headers: RawHeaders, guard: Guard): Leak | null {
  const packed = leakInCoding(headers)
  if (packed !== null) return packed
  if (content.kind === 'undecodable') return unreadable(content.why)
  if (!complete && isCoded(soleValue(headers, 'content-encoding'))) {
    return unreadable(`the body is over the inspection limit of ${BODY_INSPECTION_LIMIT} bytes`)
  }
  if (!complete) return null
  const scanned = scanForSecrets(content.bytes.toString('latin1'), guard, true)
  if (scanned.kind === 'leak') return scanned.leak
  return trailers.length === 0 ? null : leakInFields(trailers, guard)
}

/** '': the field is there twice. */
function isCoded(coding: string | null): boolean {
  return coding !== null && coding.trim().toLowerCase() !== 'identity'
}

/** From its beginning. What of it nobody has seen yet is looked through on its way; `guard` null: it may hold any secret. */
export function bodyToSend(
  body: OutgoingBody | null,
  whole: Inspected | null,
  guard: Guard | null,
  attempt: Attempt,
): OutgoingBody | null {
  if (body === null || whole === null) return body
  const reader = chain(whole)
  if (guard === null || whole.complete) return { reader, length: body.length }
  const onLeak = (leak: Leak): void => {
    attempt.leak = leak
  }
  const enforced = attempt.judgement.mode === 'enforce'
  return { reader: new GuardedBody(reader, { guard, enforced, grpc: attempt.grpc, onLeak }), length: body.length }
}

/** How a body is guarded. `enforced` false: what is seen is told and leaves all the same. */
interface Guarding {
  readonly guard: Guard
  readonly enforced: boolean
  readonly grpc: boolean
  readonly onLeak: (leak: Leak) => void
}

/** SECURITY: the bytes that complete a secret never leave, whatever the chunks or frames that they come in. */
class GuardedBody implements BodyReader {
  readonly #reader: BodyReader
  readonly #guarding: Guarding
  readonly #stream: SecretStream
  /** A token can not go on behind the end of its message: the next one begins with a flag. */
  readonly #messages: GrpcMessages | null
  #last: BodyPart | null = null

  constructor(reader: BodyReader, guarding: Guarding) {
    this.#reader = reader
    this.#guarding = guarding
    this.#stream = new SecretStream(guarding.guard, guarding.enforced)
    this.#messages = guarding.grpc ? new GrpcMessages() : null
  }

  read(): BodyPart | Promise<BodyPart> {
    while (this.#last === null) {
      const next = this.#reader.read()
      if (next instanceof Promise) return this.#later(next)
      const passed = this.#pass(next)
      if (passed !== null) return passed
    }
    return this.#last
  }

  async #later(next: Promise<BodyPart>): Promise<BodyPart> {
    return this.#pass(await next) ?? this.read()
  }

  /** Null: nothing of it may leave yet. */
  #pass(part: BodyPart): BodyPart | null {
    if (part.kind === 'data') return this.#passData(part.data)
    this.#last = part.kind === 'end' ? this.#passTrailers(part) : part
    if (this.#last.kind === 'failed') return this.#last
    const held = this.#stream.end()
    return held.length === 0 ? this.#last : { kind: 'data', data: held }
  }

  #passData(data: Buffer): BodyPart | null {
    const { out, leak } = this.#stream.push(data, this.#messages?.endsWith(data) === true)
    if (leak !== null) this.#last = this.#stopAt(leak)
    if (this.#last !== null) return this.#last
    return out.length === 0 ? null : { kind: 'data', data: out }
  }

  #passTrailers(part: Extract<BodyPart, { kind: 'end' }>): BodyPart {
    const leak = part.trailers.length === 0 ? null : leakInFields(part.trailers, this.#guarding.guard)
    return (leak === null ? null : this.#stopAt(leak)) ?? part
  }

  /** Null: it is only told. */
  #stopAt(leak: Leak): BodyPart | null {
    this.#guarding.onLeak(leak)
    return this.#guarding.enforced ? { kind: 'failed', reason: 'denied_by_rule', detail: leak.hint } : null
  }
}
