// Reads multipart/form-data (RFC 7578, RFC 2046 §5.1.1), strictly: what two readers could take apart differently is refused.

import { Buffer } from 'node:buffer'
import { type Field, type FieldsRead, MAX_FIELDS } from './form-field.ts'
import { parseMediaType, parseParameters } from './media-type.ts'

const BOUNDARY = /^[A-Za-z0-9'()+_,./:=?-]{1,70}$/
const LINE = /^([A-Za-z0-9-]+):[ \t]*([^\0\r\n]*)$/
const PLAIN_TRANSFER = ['7bit', '8bit', 'binary']

const bad = (why: string): FieldsRead => ({ kind: 'bad', why })

export function readMultipart(bytes: Buffer, boundary: string): FieldsRead {
  if (!BOUNDARY.test(boundary)) return bad('its boundary is none')
  const text = bytes.toString('latin1')
  const delimiter = `--${boundary}`
  // As if a line had ended before: so that the first delimiter is one like all others.
  const [before, ...parts] = `\r\n${text}`.split(`\r\n${delimiter}`)
  const end = parts.pop()
  if (before !== '') return bad('something precedes its first boundary')
  if (end !== '--' && end !== '--\r\n') return bad('it does not end with its last boundary')
  // SECURITY: readers that take a bare LF for the end of a line see another part where we see text.
  if (text.split(delimiter).length !== parts.length + 2) return bad('its boundary stands inside of a part')
  if (parts.length > MAX_FIELDS) return bad(`it has more than ${MAX_FIELDS} parts`)
  const fields: Field[] = []
  for (const part of parts) {
    const read = readPart(part)
    if (typeof read === 'string') return bad(read)
    fields.push(read)
  }
  return { kind: 'ok', fields }
}

/** What is wrong with it, as text. */
function readPart(part: string): Field | string {
  if (!part.startsWith('\r\n')) return 'something follows a boundary on its line'
  const end = part.indexOf('\r\n\r\n')
  if (end === -1) return 'a part has no head'
  const content = part.slice(end + 4)
  const head = readHead(part.slice(2, end).split('\r\n'))
  if (head === null) return 'the head of a part is malformed, or says something twice'
  const about = readDisposition(head.get('content-disposition') ?? '')
  if (about === null) return 'the Content-Disposition of a part is not one that all read alike'
  if (!PLAIN_TRANSFER.includes(head.get('content-transfer-encoding')?.toLowerCase() ?? 'binary'))
    return 'a part is encoded once more'
  if (Number(head.get('content-length') ?? content.length) !== content.length)
    return 'a part has another length than it says'
  const type = head.get('content-type')
  if (type !== undefined && !isPlain(type)) return 'a part is of a type that is read in another way'
  return about.isFile ? { name: about.name, value: content.length } : textField(about.name, content)
}

function readHead(lines: readonly string[]): ReadonlyMap<string, string> | null {
  const head = new Map<string, string>()
  for (const line of lines) {
    const [, name, value] = LINE.exec(line) ?? []
    if (name === undefined || value === undefined || head.has(name.toLowerCase())) return null
    head.set(name.toLowerCase(), value.trim())
  }
  return head
}

/** SECURITY: `\"`, `%22` and `name*` are undone by some readers and kept by others, and so end the name elsewhere. */
function readDisposition(text: string): { readonly name: string; readonly isFile: boolean } | null {
  const [type = '', ...rest] = Buffer.from(text, 'latin1').toString('utf8').split(';')
  const parameters = parseParameters(rest)
  const name = parameters?.get('name')
  if (type.trim().toLowerCase() !== 'form-data' || parameters === null || name === undefined) return null
  if (name === '' || name.toLowerCase() === '_charset_' || /[%\\\ufffd]/.test(name)) return null
  if ([...parameters.keys()].some((key) => key !== 'name' && key !== 'filename')) return null
  return { name, isFile: parameters.has('filename') }
}

function isPlain(text: string): boolean {
  const media = parseMediaType(text)
  if (media === null || media.type.startsWith('multipart/')) return false
  return (media.parameters.get('charset')?.toLowerCase() ?? 'utf-8') === 'utf-8'
}

function textField(name: string, content: string): Field | string {
  try {
    const value = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(content, 'latin1'))
    return { name, value }
  } catch {
    return 'a text in it is not UTF-8'
  }
}
