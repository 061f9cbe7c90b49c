// Which bodies can be inspected, and what they hold.

import type { Buffer } from 'node:buffer'
import { readForm } from './form.ts'
import type { Field, FieldsRead } from './form-field.ts'
import { type JsonValue, readJson } from './json-strict.ts'
import type { McpFields } from './mcp-fields.ts'
import { parseMediaType } from './media-type.ts'
import { readMultipart } from './multipart.ts'

/** Bytes of a decoded body that are read for a decision; a body with more is denied by every rule with conditions. */
export const BODY_INSPECTION_LIMIT = 1_048_576

/**
 * A body as far as it was read. `bytes`: without their content coding; `undecodable` says why that could not be undone, null where it
 * was or there is none. `complete`: nothing follows `bytes`.
 */
export interface InspectedBody {
  readonly bytes: Buffer
  readonly complete: boolean
  readonly contentType: string | null
  readonly undecodable: string | null
  /** Absent: of no interest. */
  readonly mcpFields?: McpFields | undefined
}

/** What a body holds, by its Content-Type. */
export type Content =
  | { readonly kind: 'json'; readonly value: JsonValue }
  | { readonly kind: 'form' | 'multipart'; readonly fields: readonly Field[] }

export type ReadBody =
  | { readonly kind: 'ok'; readonly content: Content }
  | { readonly kind: 'bad'; readonly why: string }

/** The content of a body that can be judged. Everything else is named and denied: unknown means no. */
export function readBody(body: InspectedBody): ReadBody {
  if (!body.complete || body.bytes.length > BODY_INSPECTION_LIMIT) {
    return { kind: 'bad', why: `the body is over the inspection limit of ${BODY_INSPECTION_LIMIT} bytes` }
  }
  if (body.undecodable !== null) return { kind: 'bad', why: body.undecodable }
  const media = parseMediaType(body.contentType)
  // SECURITY: a charset that we ignore and the destination obeys would have it read another text than the one judged.
  if (media === null || (media.parameters.get('charset')?.toLowerCase() ?? 'utf-8') !== 'utf-8') {
    return { kind: 'bad', why: 'the Content-Type is not JSON, a form or form data, in UTF-8' }
  }
  if (JSON_TYPE.test(media.type)) return readJsonBody(body.bytes)
  if (media.type === 'application/x-www-form-urlencoded') return withFields('form', readForm(body.bytes))
  if (media.type === 'multipart/form-data')
    return withFields('multipart', readMultipart(body.bytes, media.parameters.get('boundary') ?? ''))
  return { kind: 'bad', why: 'the Content-Type is not JSON, a form or form data, in UTF-8' }
}

const JSON_TYPE = /^(?:application\/json|[^/]+\/[^/]+\+json)$/

function readJsonBody(bytes: Buffer): ReadBody {
  const read = readJson(bytes)
  if (read.kind === 'ok') return { kind: 'ok', content: { kind: 'json', value: read.value } }
  return { kind: 'bad', why: `the body is not strict JSON: ${read.why} at offset ${read.offset}` }
}

function withFields(kind: 'form' | 'multipart', read: FieldsRead): ReadBody {
  if (read.kind === 'ok') return { kind: 'ok', content: { kind, fields: read.fields } }
  return { kind: 'bad', why: `the body is no strict ${kind === 'form' ? 'form' : 'form data'}: ${read.why}` }
}
