// Placeholders in a request: seen while it is judged, and replaced in its body on its way out, when it is written down as it came.

import { BODY_INSPECTION_LIMIT } from '../core/body.ts'
import { endToEndRequestHeaders } from '../core/framing.ts'
import type { RawHeaders } from '../core/http1.ts'
import { type BodyForm, type InjectionPolicy, type Recipient, soughtForm } from '../core/injection.ts'
import { fillBody, fillHead, type Sighted } from '../core/injection-fill.ts'
import type { Permit, Subject } from '../core/rule.ts'
import type { Leak } from '../core/secret.ts'
import { bufferedBody } from './body-queue.ts'
import { chain, type Inspected, readWhole } from './inspected-body.ts'
import type { OutgoingBody } from './upstream.ts'

/** `flags`: as they are recorded. `denial`: why nothing may be put in, null where it may. */
export interface Sighting {
  readonly flags: readonly string[]
  readonly denial: Leak | null
}

export const NOTHING: Sighting = { flags: [], denial: null }

export function sightInHead(policy: InjectionPolicy | null, headers: RawHeaders, subject: Subject): Sighting {
  // What does not leave is not looked at: the proxy's own credentials, for one.
  return policy === null ? NOTHING : told(fillHead(policy, subject, endToEndRequestHeaders(headers), subject.target))
}

/** `whole`: what was read of a body in which placeholders are sought. */
export function sightInBody(
  policy: InjectionPolicy,
  form: BodyForm,
  { bytes, complete }: Pick<Inspected, 'bytes' | 'complete'>,
  recipient: Recipient,
): Sighting {
  if (complete) return told(fillBody(policy, recipient, form, bytes))
  const hint = `placeholders are looked for in whole bodies only, and this one is over the inspection limit of ${BODY_INSPECTION_LIMIT} bytes`
  return { flags: [], denial: { name: 'unreadable', hint } }
}

function told(sighted: Sighted | null): Sighting {
  if (sighted === null) return NOTHING
  const { filled, left, denial } = sighted
  // The denial brings a flag of its own.
  const given = [...filled].filter((name) => name !== denial?.name).map((name) => `inject:${name}`)
  return { flags: [...given, ...Array.from(left, (name) => `placeholder:${name}`)], denial }
}

/** Each once, though it may be in the head and in the body. */
export function flagsOf(head: Sighting, body: Sighting): readonly string[] {
  return body.flags.length === 0 ? head.flags : [...new Set([...head.flags, ...body.flags])]
}

interface Outgoing {
  readonly headers: RawHeaders
  readonly body: OutgoingBody | null
}

/** `body` with its secrets, and the fields that say how long it is then. It was read whole before it was judged. */
export async function injectBody(
  policy: InjectionPolicy,
  permit: Permit,
  { headers, body }: Outgoing,
  source: string | null,
): Promise<Outgoing> {
  const form = body === null ? null : soughtForm(policy, permit, headers)
  if (body === null || form === null) return { headers, body }
  const whole = await readWhole(body, null, source)
  const { failure } = whole
  // SECURITY: said again to whoever reads on, so that what is cut short never looks complete.
  if (failure !== null) return { headers, body: { reader: { read: () => failure }, length: body.length } }
  // In observe mode a body over the limit goes on as it is.
  const filled = whole.complete ? fillBody(policy, permit, form, whole.bytes) : null
  if (filled === null) return { headers, body: { reader: chain(whole), length: body.length } }
  const { bytes } = filled
  const reader = bufferedBody(bytes, whole.trailers)
  if (body.length === null) return { headers, body: { reader, length: null } }
  return { headers: withLength(headers, bytes.length), body: { reader, length: bytes.length } }
}

/** SECURITY: the length that the origin reads by is the one of what is sent. */
function withLength(headers: RawHeaders, length: number): RawHeaders {
  return headers.map((text, at) => {
    const isLength = at % 2 === 1 && headers[at - 1]?.toLowerCase() === 'content-length'
    return isLength ? String(length) : text
  })
}
