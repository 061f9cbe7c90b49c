// Puts secrets in the place of their placeholders: fixed bytes for fixed bytes, in values alone, never in a name, a path or what frames a message.

import { Buffer } from 'node:buffer'
import type { RawHeaders } from './http1.ts'
import {
  type BodyForm,
  type Injection,
  type InjectionPlace,
  type InjectionPolicy,
  isRecipient,
  MIN_PLACEHOLDER_LENGTH,
  type Recipient,
} from './injection.ts'
import type { Leak } from './secret.ts'

/** In one head, and in one body: honest requests hold one or two, and a short placeholder may stand for a long value. */
export const MAX_FILLED = 16

/** Placeholders by what became of them. `denial`: one that its value must not be put in for, and why; it stays where it is. */
export interface Sighted {
  readonly filled: ReadonlySet<string>
  readonly left: ReadonlySet<string>
  readonly denial: Leak | null
}

export interface FilledHead extends Sighted {
  readonly headers: RawHeaders
  readonly target: string
}

export interface FilledBody extends Sighted {
  readonly bytes: Buffer
}

const BASIC = /^basic +/i
const AMPERSAND = 0x26
const EQUALS = 0x3d
const QUOTE = 0x22
const BACKSLASH = 0x5c
/** RFC 8259 §4: what stands behind the quote that ends a name. */
const AFTER_NAME = /[ \t\r\n]*:/y

/** Null: there is no placeholder in it, not in its path either. `headers`: of its end-to-end fields. */
export function fillHead(
  policy: InjectionPolicy,
  recipient: Recipient,
  headers: RawHeaders,
  target: string,
): FilledHead | null {
  if (!isInHead(policy, headers, target)) return null
  const filler = new Filler(policy, recipient)
  const query = target.indexOf('?')
  const parameters = new Parameters(target, query < 0 ? target.length : query + 1)
  const written = filler.fill(target, 'query', ({ value }, at) =>
    parameters.isValue(at) ? encodeURIComponent(value) : null,
  )
  const { injections } = policy
  const fields = headers.map((text, at) =>
    at % 2 === 0 ? text : fillField(headers[at - 1] as string, text, injections, filler),
  )
  return { headers: fields, target: written, filled: filler.filled, left: filler.left, denial: filler.denial }
}

/** Null: there is no placeholder in it. */
export function fillBody(
  policy: InjectionPolicy,
  recipient: Recipient,
  form: BodyForm,
  body: Buffer,
): FilledBody | null {
  if (!policy.injections.some(({ placeholder }) => body.includes(placeholder, 0, 'latin1'))) return null
  const filler = new Filler(policy, recipient)
  const text = body.toString('latin1')
  const parameters = new Parameters(text, 0)
  const strings = new Strings(text)
  const filled = filler.fill(text, 'body', ({ value }, at) => {
    if (form === 'text') return value
    if (form === 'form') return parameters.isValue(at) ? encodeURIComponent(value) : null
    // SECURITY: behind a backslash, a value that begins with a quote would end the string of JSON that it stands in.
    return text[at - 1] === '\\' || strings.isName(at) ? null : JSON.stringify(value).slice(1, -1)
  })
  return { bytes: Buffer.from(filled, 'latin1'), filled: filler.filled, left: filler.left, denial: filler.denial }
}

function isInHead({ injections }: InjectionPolicy, headers: RawHeaders, target: string): boolean {
  if (isIn(target, injections)) return true
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const value = headers[at + 1] as string
    if (isIn(value, injections)) return true
    const basic = basicOf(headers[at] as string, value)
    if (basic !== null && isIn(basic.pair, injections)) return true
  }
  return false
}

function isIn(text: string, injections: readonly Injection[]): boolean {
  if (text.length < MIN_PLACEHOLDER_LENGTH) return false
  for (const { placeholder } of injections) if (text.includes(placeholder)) return true
  return false
}

function fillField(name: string, value: string, injections: readonly Injection[], filler: Filler): string {
  const isRaw = isIn(value, injections)
  const basic = isRaw ? null : basicOf(name, value)
  if (!isRaw && (basic === null || !isIn(basic.pair, injections))) return value
  const write = ({ isField, value: secret }: Injection): string | null => (isField(name) ? secret : null)
  if (basic === null) return filler.fill(value, 'header', write)
  const pair = filler.fill(basic.pair, 'header', write)
  return pair === basic.pair ? value : basic.scheme + Buffer.from(pair, 'latin1').toString('base64')
}

/** RFC 7617 §2: `pair` is the user and the password, which stand in base64 behind the scheme. */
function basicOf(name: string, value: string): { readonly scheme: string; readonly pair: string } | null {
  if (name.length !== 'authorization'.length || name.toLowerCase() !== 'authorization') return null
  const scheme = BASIC.exec(value)?.[0]
  if (scheme === undefined) return null
  return { scheme, pair: Buffer.from(value.slice(scheme.length), 'base64').toString('latin1') }
}

/** `name=value&…`, read once from its beginning: a body may be nothing but placeholders. */
class Parameters {
  readonly #text: string
  #at: number
  #inValue = false

  constructor(text: string, from: number) {
    this.#text = text
    this.#at = from
  }

  /** Whether `at`, which only grows, stands in a value. */
  isValue(at: number): boolean {
    for (; this.#at < at; this.#at += 1) {
      const unit = this.#text.charCodeAt(this.#at)
      if (unit === EQUALS) this.#inValue = true
      else if (unit === AMPERSAND) this.#inValue = false
    }
    return this.#inValue
  }
}

/** Of JSON, read at most once: a body may be one string of placeholders. */
class Strings {
  readonly #text: string
  /** Behind the string that was looked at last. */
  #end = 0
  #isName = false

  constructor(text: string) {
    this.#text = text
  }

  /** Whether `at`, which only grows, stands in the name of a member. */
  isName(at: number): boolean {
    if (at < this.#end) return this.#isName
    const text = this.#text
    let end = at
    for (; end < text.length && text.charCodeAt(end) !== QUOTE; end += 1)
      if (text.charCodeAt(end) === BACKSLASH) end += 1
    this.#end = end
    AFTER_NAME.lastIndex = end + 1
    this.#isName = AFTER_NAME.test(text)
    return this.#isName
  }
}

class Filler {
  readonly filled = new Set<string>()
  readonly left = new Set<string>()
  denial: Leak | null = null
  readonly #pattern: RegExp
  readonly #byPlaceholder: InjectionPolicy['byPlaceholder']
  readonly #granted: readonly Injection[]
  readonly #scheme: Recipient['scheme']
  #count = 0

  constructor({ pattern, byPlaceholder, injections }: InjectionPolicy, recipient: Recipient) {
    this.#pattern = pattern
    this.#byPlaceholder = byPlaceholder
    this.#granted = injections.filter((injection) => isRecipient(injection, recipient))
    this.#scheme = recipient.scheme
  }

  /** In one pass: what was put in is not looked at again. `write`: null where a placeholder may not be replaced. */
  fill(text: string, place: InjectionPlace, write: (injection: Injection, at: number) => string | null): string {
    return text.replace(this.#pattern, (placeholder, at: number) => {
      const injection = this.#byPlaceholder.get(placeholder) as Injection
      const isFor = injection.places.has(place) && this.#granted.includes(injection)
      if (isFor && this.#count > MAX_FILLED) return placeholder
      const value = isFor ? write(injection, at) : null
      if (value === null) this.left.add(placeholder)
      if (value === null || !this.#mayFill(placeholder)) return placeholder
      this.filled.add(placeholder)
      return value
    })
  }

  #mayFill(name: string): boolean {
    // SECURITY: in clear everybody on the way would read it.
    if (this.#scheme === 'http') return this.#deny(name, 'over https only')
    this.#count += 1
    return this.#count <= MAX_FILLED || this.#deny(name, `at most ${MAX_FILLED} times in one head or body`)
  }

  #deny(name: string, how: string): false {
    this.denial ??= { name, hint: `${name} stands for a secret, which goes out ${how}` }
    return false
  }
}
