// How records look on a terminal: escapes, cells, tables, and the one line a request is.

import type { TrailRecord } from '../audit/read.ts'
import type { Output } from './output.ts'

const GREEN = '\u001b[32m'
const RED = '\u001b[31m'
const YELLOW = '\u001b[33m'
const DIM = '\u001b[2m'
const RESET = '\u001b[0m'

/** Characters of a URL on a line of its own request; `show` prints it whole. */
const MAX_URL = 300
/** Characters of one cell of a table. */
const MAX_CELL = 200
const CLIENT_WIDTH = 14
const METHOD_WIDTH = 6

/**
 * SECURITY: what a peer chose must not move the cursor, colour a line or turn its direction (K25). Everything outside printable ASCII
 * becomes `\uXXXX` as it is in the trail, and a backslash is doubled, so that no text looks like the escape of another.
 */
export function escaped(text: string): string {
  return text.replaceAll(/[^\x20-\x5b\x5d-\x7e]/g, (char) =>
    char === '\\' ? '\\\\' : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** JSON on one line, ASCII alone. */
export function asciiJson(value: unknown): string {
  return ascii(JSON.stringify(value))
}

/** The same for strict readers: half a surrogate pair, which is no Unicode, becomes U+FFFD. */
export function strictJson(value: unknown): string {
  return ascii(
    JSON.stringify(value, (_key, each: unknown) =>
      typeof each === 'string' ? each.replaceAll(/\p{Surrogate}/gu, '\ufffd') : each,
    ),
  )
}

function ascii(json: string): string {
  return json.replaceAll(/[^\x20-\x7e]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Any value as one safe piece of a line; null and nothing are `-`. */
export function cell(value: unknown): string {
  if (value === null || value === undefined || value === '') return '-'
  if (typeof value === 'string') return escaped(value)
  return asciiJson(value)
}

/** Rows below their headings, columns padded; a column of numbers is set to the right. Cells must be safe already. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const cut = rows.map((row) => row.map((text) => shortened(text, MAX_CELL)))
  const widths = headings.map((heading, at) =>
    cut.reduce((most, row) => Math.max(most, row[at]?.length ?? 0), heading.length),
  )
  const numeric = headings.map((_, at) => cut.length > 0 && cut.every((row) => /^(?:-|-?[\d.]+)$/.test(row[at] ?? '-')))
  const line = (row: readonly string[]): string =>
    row
      .map((text, at) => (numeric[at] === true ? text.padStart(widths[at] ?? 0) : text.padEnd(widths[at] ?? 0)))
      .join('  ')
      .trimEnd()
  return `${[headings, ...cut].map(line).join('\n')}\n`
}

function shortened(text: string, limit: number): string {
  return text.length <= limit ? text : `${text.slice(0, limit)}...`
}

/** `scheme://host:port/path?query` as far as it was known; the port only where it is not the scheme's own. */
export function urlOf(decided: TrailRecord): string {
  const { scheme, host, port, path, query } = decided
  const name = typeof host === 'string' ? host : '-'
  const standard = (scheme === 'https' && port === 443) || (scheme === 'http' && port === 80)
  const authority = `${name.includes(':') && !name.startsWith('[') ? `[${name}]` : name}${standard || typeof port !== 'number' ? '' : `:${port}`}`
  const target = `${typeof path === 'string' ? path : ''}${typeof query === 'string' ? `?${query}` : ''}`
  return `${typeof scheme === 'string' ? `${scheme}://` : ''}${authority}${target}`
}

export function clientName(record: TrailRecord): unknown {
  return member(record, 'client', 'name')
}

/** A member of a member; undefined where either is missing. */
export function member(record: TrailRecord, outer: string, inner: string): unknown {
  const value = record[outer]
  return typeof value === 'object' && value !== null ? (value as TrailRecord)[inner] : undefined
}

/** `allow`, `deny`, or `would-deny` for what observe mode let through. */
export function verdictOf(decided: TrailRecord): string {
  return decided['decision'] === 'deny' && decided['enforced'] === false ? 'would-deny' : cell(decided['decision'])
}

/** One request on one line; `completed` null while it is under way. */
export function requestLine(decided: TrailRecord, completed: TrailRecord | null, output: Output): string {
  const what = `${cell(decided['method']).padEnd(METHOD_WIDTH)} ${shortened(escaped(urlOf(decided)), MAX_URL)}`
  const who = `${cell(decided['timestamp'])} ${cell(clientName(decided)).padEnd(CLIENT_WIDTH)}`
  const verdict = verdictOf(decided)
  const mark = colourOf(verdict, output)(verdict.padEnd('would-deny'.length))
  const why = decided['reason'] === null ? '' : ` ${cell(decided['reason'])}`
  return `${who} ${mark} ${what}${why} ${completed === null ? 'open' : ending(completed, decided)}`
}

/** The end of a request that was printed when it was open. */
export function endLine(decided: TrailRecord, completed: TrailRecord): string {
  const who = `${cell(completed['timestamp'])} ${cell(clientName(decided)).padEnd(CLIENT_WIDTH)}`
  const what = `${cell(decided['method']).padEnd(METHOD_WIDTH)} ${shortened(escaped(urlOf(decided)), MAX_URL)}`
  return `${who} ${'end'.padEnd('would-deny'.length)} ${what} ${ending(completed, decided)}`
}

function ending(completed: TrailRecord, decided: TrailRecord): string {
  const outcome =
    completed['outcome'] === 'completed' || completed['outcome'] === 'refused' ? [] : [cell(completed['outcome'])]
  const reason = [null, decided['reason'], completed['outcome']].includes(completed['reason'])
    ? []
    : [cell(completed['reason'])]
  return [...outcome, ...reason, cell(completed['status']), `${cell(completed['duration_ms'])} ms`].join(' ')
}

/** Any other event on one line: its own members, in their order. */
export function eventLine(record: TrailRecord, output: Output): string {
  const { schema: _, instance: _instance, seq: _seq, timestamp, event, prev_hash: _prev, hash: _hash, ...own } = record
  const members = Object.entries(own)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${escaped(name)}=${shortened(cell(value), MAX_CELL)}`)
  return `${cell(timestamp)} ${dim(cell(event), output)} ${members.join(' ')}`
}

function colourOf(verdict: string, { colour }: Output): (text: string) => string {
  if (!colour) return (text) => text
  const paint = verdict === 'allow' ? GREEN : verdict === 'deny' ? RED : YELLOW
  return (text) => `${paint}${text}${RESET}`
}

function dim(text: string, { colour }: Output): string {
  return colour ? `${DIM}${text}${RESET}` : text
}
