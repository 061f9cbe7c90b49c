// Requests as CSV (RFC 4180), safe to open in a spreadsheet.

import type { TrailRecord } from '../audit/read.ts'
import { COLUMNS } from './audit-columns.ts'
import { asciiJson, escaped } from './audit-text.ts'

export const CSV_HEAD: string = `${COLUMNS.map(({ name }) => name).join(',')}\r\n`

export function csvRow(decided: TrailRecord, completed: TrailRecord | null): string {
  return `${COLUMNS.map(({ value }) => csvField(value(decided, completed))).join(',')}\r\n`
}

/** Nothing for null; text in ASCII with `\uXXXX`, as on a terminal. */
export function csvField(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  const text = typeof value === 'string' ? value : asciiJson(value)
  // SECURITY: a spreadsheet runs a field that begins so as a formula (K25); the apostrophe makes it text.
  const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  const plain = escaped(harmless)
  return /[",]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain
}
