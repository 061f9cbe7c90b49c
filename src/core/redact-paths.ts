// Paths in which a segment is a secret, by patterns of the configuration: what stands for `*` is replaced, for `**` kept.

import type { Add } from './redact-range.ts'
import { isAuthorityEnd } from './redact-tokens.ts'

/** One segment of a pattern: what stands before and after its `*`; a segment without one is the same text. */
type Segment = { readonly head: string; readonly tail: string } | { readonly literal: string }

/** `rest`: the pattern ends in `**`, whatever follows is kept. */
export interface SecretPath {
  readonly segments: readonly Segment[]
  readonly rest: boolean
}

export type SecretPathResult =
  | { readonly kind: 'ok'; readonly path: SecretPath }
  | { readonly kind: 'bad'; readonly why: string; readonly fix: string }

/** `*` is one or more characters within a segment, `**` all that follows: one `*` a segment and `**` last, so that matching is one pass. */
export function parseSecretPath(text: string): SecretPathResult {
  const bad = (why: string, fix: string): SecretPathResult => ({ kind: 'bad', why, fix })
  if (!text.startsWith('/')) return bad('a path starts with a slash', `write /${text}`)
  if (/[?#%\0-\x20\x7f]/.test(text)) return bad('a path has no query and no escapes', 'write it as in /bot*/**')
  const written = text.slice(1).split('/')
  const rest = written.at(-1) === '**'
  const parts = rest ? written.slice(0, -1) : written
  if (parts.some((part) => part.includes('**'))) return bad('** stands at the end alone', 'write it as in /bot*/**')
  if (parts.some((part) => part.indexOf('*') !== part.lastIndexOf('*'))) {
    return bad('two stars in one segment', 'write one, it stands for the rest of the segment')
  }
  if (!parts.some((part) => part.includes('*'))) {
    return bad('no * says where the secret stands', 'write * in its place, as in /bot*/**')
  }
  return { kind: 'ok', path: { segments: parts.map(segmentOf), rest } }
}

function segmentOf(text: string): Segment {
  const star = text.indexOf('*')
  return star < 0 ? { literal: text } : { head: text.slice(0, star), tail: text.slice(star + 1) }
}

/** In a path, and in the paths of the URLs in any other text. */
export function findSecretSegments(text: string, isPath: boolean, paths: readonly SecretPath[], add: Add): void {
  if (paths.length === 0) return
  if (isPath || text.startsWith('/')) match(text, 0, isPath ? text.length : endOfPath(text, 0), paths, add)
  for (let slashes = text.indexOf('//'); slashes >= 0; ) {
    let start = slashes + 2
    while (start < text.length && !isAuthorityEnd(text.charCodeAt(start))) start++
    const end = endOfPath(text, start)
    if (text[start] === '/') match(text, start, end, paths, add)
    slashes = text.indexOf('//', Math.max(end, slashes + 1))
  }
}

function endOfPath(text: string, from: number): number {
  PATH_END.lastIndex = from
  return PATH_END.exec(text)?.index ?? text.length
}

const PATH_END = /[\0-\x20?#&"'<>\\]/g

function match(text: string, start: number, end: number, paths: readonly SecretPath[], add: Add): void {
  for (const path of paths) for (const [from, to] of secretsOf(text, start, end, path)) add(from, to)
}

/** Empty where the path is another one. */
function secretsOf(text: string, start: number, end: number, { segments, rest }: SecretPath): [number, number][] {
  const found: [number, number][] = []
  let at = start
  for (const segment of segments) {
    if (at >= end) return []
    const slash = text.indexOf('/', at + 1)
    const stop = slash < 0 || slash > end ? end : slash
    const written = text.slice(at + 1, stop)
    if ('literal' in segment) {
      if (written !== segment.literal) return []
    } else {
      const { head, tail } = segment
      if (written.length <= head.length + tail.length) return []
      if (!written.startsWith(head) || !written.endsWith(tail)) return []
      found.push([at + 1 + head.length, stop - tail.length])
    }
    at = stop
  }
  return rest || at === end ? found : []
}
