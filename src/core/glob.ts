// Globs: the patterns of rule paths and of body values, matched without backtracking.

const SLASH = 0x2f

type Step =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'star' }
  | { readonly kind: 'globstar' }

/** A compiled path glob. `head` and `tail` are the literal text before the first and after the last wildcard. */
export interface PathGlob {
  readonly text: string
  /** No wildcard: `text` is the one path that matches. */
  readonly literal: boolean
  readonly head: string
  readonly tail: string
  /** What stands between head and tail: it starts and ends with a wildcard. */
  readonly middle: readonly Step[]
}

/** `*`: one or more characters within a segment; `**`: zero or more across segments. Everything else is itself. */
export function compilePathGlob(text: string): PathGlob {
  const pieces = text.split(/(\*\*|\*)/)
  const steps = pieces.slice(1, -1).filter((piece) => piece !== '')
  return {
    text,
    literal: pieces.length === 1,
    head: pieces[0] as string,
    tail: pieces[pieces.length - 1] as string,
    middle: steps.map(stepOf),
  }
}

function stepOf(piece: string): Step {
  if (piece === '*') return { kind: 'star' }
  return piece === '**' ? { kind: 'globstar' } : { kind: 'literal', text: piece }
}

/** Whether the whole of `path` matches. Time is bounded by length of path × length of glob, whatever either holds. */
export function matchPathGlob(glob: PathGlob, path: string): boolean {
  if (glob.literal) return path === glob.text
  const { head, tail, middle } = glob
  if (path.length < head.length + tail.length || !path.startsWith(head) || !path.endsWith(tail)) return false
  const rest = path.slice(head.length, path.length - tail.length)
  const [only] = middle
  if (middle.length === 1 && only?.kind === 'globstar') return true
  return matchSteps(middle, rest)
}

/** Walks all readings at once: `ends[i]` says that the steps so far can match the first `i` characters. */
function matchSteps(steps: readonly Step[], text: string): boolean {
  let ends = new Uint8Array(text.length + 1)
  ends[0] = 1
  for (const step of steps) ends = advance(step, text, ends)
  return ends[text.length] === 1
}

function advance(step: Step, text: string, ends: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const next = new Uint8Array(ends.length)
  if (step.kind === 'globstar') return next.fill(1, indexOfFirst(ends))
  if (step.kind === 'literal') {
    for (let at = ends.indexOf(1); at >= 0; at = ends.indexOf(1, at + 1)) {
      if (text.startsWith(step.text, at)) next[at + step.text.length] = 1
    }
    return next
  }
  let reached = false
  for (let at = 0; at < text.length; at += 1) {
    reached = (reached || ends[at] === 1) && text.charCodeAt(at) !== SLASH
    if (reached) next[at + 1] = 1
  }
  return next
}

function indexOfFirst(ends: Uint8Array): number {
  const first = ends.indexOf(1)
  return first < 0 ? ends.length : first
}

/** A compiled value glob: the literal pieces between its `*`. */
export type ValueGlob = readonly [string, ...string[]]

/** Only `*`, which stands for any run of characters, none included. */
export function compileValueGlob(text: string): ValueGlob {
  return text.split(/\*+/) as [string, ...string[]]
}

/** Whether the whole of `value` matches; case-sensitive. With one kind of wildcard, the leftmost find is always right. */
export function matchValueGlob(glob: ValueGlob, value: string): boolean {
  const [head] = glob
  const last = glob.length - 1
  if (last === 0) return value === head
  const tail = glob[last] as string
  if (value.length < head.length + tail.length || !value.startsWith(head) || !value.endsWith(tail)) return false
  const end = value.length - tail.length
  let at = head.length
  for (let index = 1; index < last; index += 1) {
    const piece = glob[index] as string
    const found = value.indexOf(piece, at)
    if (found < 0 || found + piece.length > end) return false
    at = found + piece.length
  }
  return true
}
