// Recorded paths as globs of a rule: what identifies one thing among many becomes a `*`, everything else stays itself.

export interface PathTemplate {
  /** A path glob (core/glob.ts) that matches the path it was made of. */
  readonly glob: string
  /** What each `*` stands for, in order; null for what was redacted. */
  readonly ids: readonly (string | null)[]
}

/** Shapes that are drawn, counted or hashed. What a person would call a name has none of them. */
const ID_FORMS: readonly RegExp[] = [
  /^[0-9]+$/,
  /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i,
  // ULID: 26 digits of Crockford's base32, of which the first holds three bits.
  /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/,
  /^[0-7][0-9a-hjkmnp-tv-z]{25}$/,
]
const HEX = /^(?:[0-9a-f]{7,}|[0-9A-F]{7,})$/
const TOKEN = /^[\w-]{16,}$/
/** A drawn token changes between upper case, lower case and digits every other character, `BatchGetMessagesV2` at every word. */
const PIECES = /[A-Z]?[a-z]+|[A-Z]+|[0-9]+|[_-]+/g
const MOST_OF_A_PIECE = 3
/** As the trail writes redacted secrets (core/redact.ts). In a row they are one `*`: two would be `**`. */
const FINGERPRINTS = /(?:hmac:[0-9a-f]{16})+/g

/**
 * `path` is canonical. Null where it holds a `*` itself: globs have no escape for it, and a rule must not be wider than what was seen.
 */
export function templateOf(path: string): PathTemplate | null {
  if (path.includes('*')) return null
  const ids: (string | null)[] = []
  const segments = path.split('/').map((segment) => {
    if (isId(segment)) {
      ids.push(segment)
      return '*'
    }
    return segment.replaceAll(FINGERPRINTS, () => {
      ids.push(null)
      return '*'
    })
  })
  return { glob: segments.join('/'), ids }
}

function isId(segment: string): boolean {
  return ID_FORMS.some((form) => form.test(segment)) || isHex(segment) || isToken(segment)
}

/** `facade` and `deadbeef` are words. */
function isHex(segment: string): boolean {
  return HEX.test(segment) && /[0-9]/.test(segment)
}

function isToken(segment: string): boolean {
  if (!TOKEN.test(segment) || !/[0-9]/.test(segment) || !/[a-z]/.test(segment) || !/[A-Z]/.test(segment)) return false
  const pieces = [...segment.matchAll(PIECES)].length
  return segment.length < MOST_OF_A_PIECE * pieces
}

/** Deeper paths have no siblings here: all that is done for them grows with the depth. */
const MAX_DEPTH = 32

/**
 * The globs of `templateOf` without those that others cover. `siblings`: so many and more that differ in one segment alone become one with a
 * `*` in its place; null: none do. Sorted.
 */
export function fewestTemplates(globs: Iterable<string>, siblings: number | null): string[] {
  let current = [...new Set(globs)].map(segmentsOf)
  if (siblings !== null) {
    const deepest = current.reduce((depth, segments) => Math.max(depth, segments.length), 0)
    // From the right: the nearer to the end, the more paths differ.
    for (let at = Math.min(deepest, MAX_DEPTH) - 1; at > 0; at -= 1) current = mergedAt(current, at, siblings)
  }
  const wild = current.filter((segments) => segments.includes('*'))
  return current
    .filter((segments) => !wild.some((other) => other !== segments && coversTemplate(other, segments)))
    .map((segments) => segments.join('/'))
    .sort()
}

type Segments = readonly string[]

export function segmentsOf(glob: string): Segments {
  return glob.split('/')
}

function mergedAt(templates: readonly Segments[], at: number, siblings: number): Segments[] {
  const families = new Map<string, Segments[]>()
  const others: Segments[] = []
  for (const segments of templates) {
    // An empty segment is the end of a path with a slash, which `*` does not match.
    if (segments.length > MAX_DEPTH || (segments[at] ?? '') === '') others.push(segments)
    else {
      const family = segments.with(at, '*').join('/')
      const members = families.get(family)
      if (members === undefined) families.set(family, [segments])
      else members.push(segments)
    }
  }
  const merged = [...families].flatMap(([family, members]) => {
    const literal = members.filter((segments) => segments[at] !== '*').length
    return literal >= siblings ? [segmentsOf(family)] : members
  })
  return [...others, ...merged]
}

/** Whether every path that `inner` matches is matched by `outer`, both segments of globs of `templateOf` or `fewestTemplates`. */
export function coversTemplate(outer: Segments, inner: Segments): boolean {
  if (outer.length !== inner.length) return false
  for (const [at, segment] of outer.entries()) {
    if (segment !== inner[at] && (segment !== '*' || inner[at] === '')) return false
  }
  return true
}
