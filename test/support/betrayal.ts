// Finds a secret in what a program has kept: in files, in output, in every spelling that would still give it away.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** So much of a secret is too much. */
const WINDOW = 12

export const percent = (text: string): string =>
  text.replace(/[^]/g, (unit) => `%${unit.charCodeAt(0).toString(16).padStart(2, '0')}`)
export const unicode = (text: string): string =>
  text.replace(/[^]/g, (unit) => `\\u00${unit.charCodeAt(0).toString(16)}`)
export const base64 = (text: string): string => Buffer.from(text).toString('base64')

/** Every spelling that would give the secret away, in lower case where case does not matter. */
function betrayals(c: string): { folded: string[]; exact: string[] } {
  const windows = Array.from({ length: c.length - WINDOW + 1 }, (_, at) => c.slice(at, at + WINDOW))
  const folded = windows.flatMap((part) => [part, percent(part), Buffer.from(part).toString('hex'), unicode(part)])
  // Of base64 those digits in the middle that do not depend on what stands beside them.
  const exact = [0, 1, 2].map((offset) => base64('x'.repeat(offset) + c).slice(4, 4 + WINDOW))
  return { folded: folded.map((part) => part.toLowerCase()), exact }
}

/** A text as it is, with the escapes of JSON read, and what its base64 says, also of UTF-16. */
function readings(text: string): string[] {
  const read = text.replace(/\\+u00([0-9a-f]{2})/gi, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  )
  const decoded = (text.match(/[A-Za-z0-9+/]{24,}={0,2}/g) ?? []).map((part) =>
    Buffer.from(part, 'base64').toString('latin1'),
  )
  return [text, read, decoded.join('\n').replaceAll('\0', '')]
}

/** Where in the files under `folder`, and in `texts` by their names, the secret can be read; empty: nowhere. */
export function betrayedIn(folder: string, texts: Readonly<Record<string, string>>, c: string): string[] {
  const { folded, exact } = betrayals(c)
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path): [string, string] => [path, readFileSync(path, 'latin1')])
  return [...files, ...Object.entries(texts)].flatMap(([where, text]) =>
    readings(text).flatMap((reading) => {
      const lower = reading.toLowerCase()
      const found = [
        ...folded.filter((part) => lower.includes(part)),
        ...exact.filter((part) => reading.includes(part)),
      ]
      const at = lower.indexOf(found[0]?.toLowerCase() ?? '')
      return found.length === 0 ? [] : [`${where}: ${found[0]} in ${reading.slice(Math.max(0, at - 500), at + 100)}`]
    }),
  )
}
