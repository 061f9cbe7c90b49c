// How members of bodies are written: `$.items[*].id`, `$.users.*`, `form:Bcc`; and read again.

/** `name`: a member of an object; `[*]`: every element of a list; `.*`: every member of an object, which is a map then. */
export type MemberStep = { readonly name: string } | '[*]' | '.*'

/** `field`: of a form, whatever its encoding, which has no members of members. */
export type Member =
  | { readonly kind: 'json'; readonly steps: readonly MemberStep[] }
  | { readonly kind: 'field'; readonly text: string }

/** Characters of a member as it is written. */
export const MAX_MEMBER_LENGTH = 256
/** The body itself, where it is no object but a list or a plain value. */
export const ROOT = '$'
export const ELEMENTS = '[*]'
export const ANY_NAME = '.*'

/** As json-path.ts reads them behind a dot. */
const IDENTIFIER = /^[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*$/
const PLAIN = /\.([A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)/y
const QUOTED = /\['((?:[^'\\]|\\['\\])*)'\]/y
const FIELD = /^(?:form|multipart):/

/** `.name`, or `['any name']` with \' and \\ as in the normalized paths of RFC 9535 §2.7. */
export function nameStep(name: string): string {
  // What is too long is never compared, only shown.
  const shown = name.slice(0, MAX_MEMBER_LENGTH + 1)
  return IDENTIFIER.test(shown) ? `.${shown}` : `['${shown.replaceAll(/['\\]/g, '\\$&')}']`
}

export function fieldMember(kind: 'form' | 'multipart', name: string): string {
  return `${kind}:${name.slice(0, MAX_MEMBER_LENGTH + 1)}`
}

/** The beginning of one that is too long. */
export function clipMember(text: string): string {
  return `${text.slice(0, MAX_MEMBER_LENGTH - 1)}…`
}

/** Null: not a member, or not as it would be written here. */
export function parseMember(text: string): Member | null {
  if (text.length > MAX_MEMBER_LENGTH) return null
  if (FIELD.test(text)) return { kind: 'field', text }
  if (!text.startsWith(ROOT)) return null
  const steps: MemberStep[] = []
  for (let at = ROOT.length; at < text.length; ) {
    const step = stepAt(text, at)
    if (step === null) return null
    steps.push(step)
    at += stepText(step).length
  }
  return { kind: 'json', steps }
}

export function stepText(step: MemberStep): string {
  return typeof step === 'string' ? step : nameStep(step.name)
}

function stepAt(text: string, at: number): MemberStep | null {
  if (text.startsWith(ELEMENTS, at)) return ELEMENTS
  if (text.startsWith(ANY_NAME, at)) return ANY_NAME
  const plain = matchAt(PLAIN, text, at)
  if (plain !== null) return { name: plain }
  const name = matchAt(QUOTED, text, at)?.replaceAll(/\\(['\\])/g, '$1') ?? null
  // One spelling for each member: what has another is known under none.
  return name === null || IDENTIFIER.test(name) ? null : { name }
}

function matchAt(pattern: RegExp, text: string, at: number): string | null {
  pattern.lastIndex = at
  return pattern.exec(text)?.[1] ?? null
}
