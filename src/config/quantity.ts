// Sizes, durations and listen addresses as people write them.

import { isIP } from 'node:net'

export type ListenAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }

const UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['B', 1],
  ['KB', 1e3],
  ['MB', 1e6],
  ['GB', 1e9],
  ['KiB', 2 ** 10],
  ['MiB', 2 ** 20],
  ['GiB', 2 ** 30],
])

/** Bytes of `1024`, `50MB` or `1MiB`; null: not a size. */
export function parseSize(text: string): number | null {
  const parts = /^(0|[1-9]\d{0,14}) ?([A-Za-z]{0,3})$/.exec(text)
  const unit = UNITS.get(parts?.[2] ?? '')
  if (parts === null || unit === undefined) return null
  const bytes = Number(parts[1]) * unit
  return Number.isSafeInteger(bytes) ? bytes : null
}

const MILLISECONDS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
])

/** Milliseconds of `500ms`, `8s`, `1m`, `24h` or `30d`; null: not a duration. */
export function parseDuration(text: string): number | null {
  const parts = /^(0|[1-9]\d{0,8}) ?(ms|s|m|h|d)$/.exec(text)
  return parts === null ? null : Number(parts[1]) * (MILLISECONDS.get(parts[2] ?? '') ?? 1)
}

/** Longest path a Unix socket may have on Linux: `sun_path` less its closing zero, see unix(7). */
const UNIX_PATH_BYTES = 107

/** An IP literal with a port (0: any free one), or `unix:` and a path; null: neither. Names are not resolved. */
export function parseListenAddress(text: string): ListenAddress | null {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length)
    return path === '' || Buffer.byteLength(path) > UNIX_PATH_BYTES ? null : { kind: 'unix', path }
  }
  const colon = text.lastIndexOf(':')
  const name = text.slice(0, Math.max(colon, 0))
  const port = parsePort(text.slice(colon + 1))
  const host = name.startsWith('[') && name.endsWith(']') ? name.slice(1, -1) : name
  const family = host.includes('%') ? 0 : isIP(host)
  if (port === null || family !== (host === name ? 4 : 6)) return null
  return { kind: 'tcp', host: host.toLowerCase(), port }
}

function parsePort(text: string): number | null {
  if (!/^(0|[1-9]\d{0,4})$/.test(text)) return null
  const port = Number(text)
  return port <= 65_535 ? port : null
}

/** Writes a listen address as it is configured. */
export function formatListenAddress(address: ListenAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}
