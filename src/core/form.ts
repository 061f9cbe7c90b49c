// Reads application/x-www-form-urlencoded (URL Standard §5.1), strictly: what two readers could take apart differently is refused.

import type { Buffer } from 'node:buffer'
import { type Field, type FieldsRead, MAX_FIELDS } from './form-field.ts'

/** What a serialiser leaves unescaped is a part of this; blanks, controls and bytes beyond ASCII are not. */
const PRINTABLE = /^[\x21-\x7e]*$/

const bad = (why: string): FieldsRead => ({ kind: 'bad', why })

export function readForm(bytes: Buffer): FieldsRead {
  const text = bytes.toString('latin1')
  if (!PRINTABLE.test(text)) return bad('it holds a byte that has to be escaped')
  // SECURITY: for some readers ; separates fields, as HTML 4.01 had it.
  if (text.includes(';')) return bad('it holds a ; that is not escaped')
  const fields: Field[] = []
  for (const piece of text.split('&')) {
    if (piece === '') continue
    const field = readField(piece)
    if (field === null) return bad('an escape in it is not %XX, or not UTF-8')
    if (field.name.includes('\0')) return bad('a name in it holds a zero')
    // SECURITY: where this field is obeyed it says how all others are to be read.
    if (field.name.toLowerCase() === '_charset_') return bad('it names its own charset')
    if (fields.push(field) > MAX_FIELDS) return bad(`it has more than ${MAX_FIELDS} fields`)
  }
  return { kind: 'ok', fields }
}

function readField(piece: string): Field | null {
  const at = piece.indexOf('=')
  const name = unescaped(at === -1 ? piece : piece.slice(0, at))
  const value = unescaped(at === -1 ? '' : piece.slice(at + 1))
  return name === null || value === null ? null : { name, value }
}

function unescaped(text: string): string | null {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return null
  }
}
