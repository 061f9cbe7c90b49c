// What a rule has recorded of messages beside their metadata: header fields and the beginnings of bodies.

import type { RecordedBody, RecordedField } from './event.ts'
import { number, quote, text } from './record-text.ts'

// Characters as written; a record has room for one list of fields and two bodies.
const MAX_FIELDS = 128
const MAX_FIELDS_LENGTH = 12_288
const MAX_FIELD_NAME = 256
const MAX_FIELD_VALUE = 4_096
const MAX_PREFIX = 16_384

/** Fields over the bounds are left out, from the end. */
export function headerFields(name: string, fields: readonly RecordedField[] | undefined, cut: string[]): string {
  if (fields === undefined) return ''
  let written = ''
  for (const [index, field] of fields.entries()) {
    const cutHere: string[] = []
    const pair = `[${quote(name, field[0], MAX_FIELD_NAME, cutHere)},${quote(name, field[1], MAX_FIELD_VALUE, cutHere)}]`
    if (index >= MAX_FIELDS || written.length + pair.length > MAX_FIELDS_LENGTH) {
      cut.push(name)
      break
    }
    cut.push(...cutHere)
    written += index === 0 ? pair : `,${pair}`
  }
  return `,"${name}":[${written}]`
}

export function messageBody(name: string, body: RecordedBody | undefined, cut: string[]): string {
  if (body === undefined) return ''
  const members =
    number('bytes', body.bytes) +
    text('sha256', body.sha256, MAX_FIELD_NAME, cut, name) +
    text('prefix', body.prefix, MAX_PREFIX, cut, name) +
    text('encoding', body.encoding, MAX_FIELD_NAME, cut, name)
  return `,"${name}":{${members.slice(1)},"redacted":${body.redacted},"truncated":${body.truncated}}`
}
