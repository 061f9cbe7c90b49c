// Path templates of API descriptions: the globs that they are, and which of two is asked first.

import { compilePathGlob, matchPathGlob, type PathGlob } from '../core/glob.ts'
import { parseOriginForm } from '../core/path.ts'

export type TemplateRead =
  | { readonly kind: 'ok'; readonly template: PathTemplate }
  | { readonly kind: 'bad'; readonly why: string; readonly fix: string }

/** `glob` is a path of a rule, to be appended to the base path of a server. */
export interface PathTemplate {
  readonly glob: string
  readonly segments: readonly Segment[]
}

interface Segment {
  readonly text: string
  readonly glob: PathGlob
  /** 0: a variable and nothing else; 2: no variable. */
  readonly concreteness: 0 | 1 | 2
}

const MAX_TEMPLATE_LENGTH = 1024
/** Adjacent variables are one: as two stars they would match across segments. */
const VARIABLES = /(?:\{[^{}]*\})+/g
/** Beyond a name: RFC 6570 operators, which stand for more than one segment, and routers' own extensions of it. */
const NO_NAME = /\{(?:[^{}]*[/?#*+=;,&|!:][^{}]*)?\}/

/** Each variable is a `*`, also within a segment, as in `{id}.json`. What is more than a name in braces has no such form. */
export function readTemplate(text: string): TemplateRead {
  if (text.length > MAX_TEMPLATE_LENGTH) return bad(`a path of over ${MAX_TEMPLATE_LENGTH} characters`)
  if (!text.startsWith('/')) return bad('a path starts with a slash')
  const expression = NO_NAME.exec(text)?.[0]
  if (expression !== undefined) return bad(`${expression} is not a name in braces`)
  // SECURITY: a star of the description is a character of the path, not a wildcard of a rule.
  if (text.includes('*')) return bad('rules can not tell a literal * in a path from a wildcard')
  if (text.includes('?')) return bad('rules do not look at the query that stands in its path')
  if (text.includes('#')) return bad('a fragment is never sent')
  const stars = text.replaceAll(VARIABLES, '*')
  if (/[{}]/.test(stars)) return bad('a brace without its other one')
  const target = parseOriginForm(stars)
  if (target.kind === 'bad') return bad(target.why)
  return { kind: 'ok', template: { glob: target.path, segments: target.path.split('/').map(segment) } }
}

/**
 * Whether some path that `own` matches may belong to `other`: "concrete paths are matched before templated ones" (OpenAPI 3.1
 * §4.8.8.2). Where neither is the more concrete one, each is held to be the other's.
 */
export function comesBefore(other: PathTemplate, own: PathTemplate): boolean {
  if (other.segments.length !== own.segments.length) return false
  let isMoreConcrete = false
  for (let index = 0; index < own.segments.length; index += 1) {
    const mine = own.segments[index] as Segment
    const theirs = other.segments[index] as Segment
    if (theirs.text === mine.text) continue
    if (!canMeet(theirs, mine)) return false
    isMoreConcrete ||= theirs.concreteness > 0 && theirs.concreteness >= mine.concreteness
  }
  return isMoreConcrete
}

/** Two of variables and text are taken to meet: to find out otherwise would gain nothing. */
function canMeet(a: Segment, b: Segment): boolean {
  if (a.concreteness === 2) return b.concreteness !== 2 && matchPathGlob(b.glob, a.text)
  return b.concreteness !== 2 || matchPathGlob(a.glob, b.text)
}

function segment(text: string): Segment {
  return { text, glob: compilePathGlob(text), concreteness: text === '*' ? 0 : text.includes('*') ? 1 : 2 }
}

function bad(why: string): TemplateRead {
  return { kind: 'bad', why, fix: 'take this operation out of the list; an allow rule may name paths of its own' }
}
