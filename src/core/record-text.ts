// The members of a record as text: JSON that is printable ASCII only, within limits, and says where it was cut.

const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/

/** `,"name":value`. Throws a TypeError for what is no finite number. */
export function number(name: string, value: number | null): string {
  return `,"${name}":${numeral(name, value)}`
}

/** The value alone. */
export function numeral(name: string, value: number | null): string {
  if (value === null) return 'null'
  if (!Number.isFinite(value)) throw new TypeError(`audit field ${name} is not a finite number`)
  return decimal(value)
}

const THOUSANDTHS: readonly string[] = Array.from({ length: 1_000 }, (_, n) => String(n / 1_000).slice(1))
const MOST_THOUSANDTHS = 1e9

/** As `String` writes it; milliseconds with three decimals, which nearly all are, in a third of the time. */
function decimal(value: number): string {
  const thousandths = Math.round(value * 1_000)
  if (!(thousandths >= 0 && thousandths < MOST_THOUSANDTHS) || thousandths / 1_000 !== value) return String(value)
  const whole = Math.floor(thousandths / 1_000)
  return `${whole}${THOUSANDTHS[thousandths - whole * 1_000]}`
}

const COMMA = 0x2c

/** A text member of records that are written often. `start`: its name as it is written, with its colon; `limit`, `owner`: as for `text`. */
export class TextMember {
  readonly #start: string
  readonly #limit: number
  readonly #owner: string

  constructor(start: string, limit: number, owner: string) {
    this.#start = start
    this.#limit = limit
    this.#owner = owner
  }

  write(value: string | null, cut: string[]): string {
    return this.#start + (value === null ? 'null' : quote(this.#owner, value, this.#limit, cut))
  }
}

/** One that has the same value in many records in a row: the last one is kept as it was written, at a quarter of the time. */
export class RepeatedText {
  readonly #member: TextMember
  #value: string | null | undefined = undefined
  #written = ''

  constructor(member: TextMember) {
    this.#member = member
  }

  write(value: string | null, cut: string[]): string {
    if (value === this.#value) return this.#written
    const before = cut.length
    const written = this.#member.write(value, cut)
    // What was cut is not kept: every record of it has to say so. Asking for a character joins the pieces into one string.
    if (cut.length === before && written.charCodeAt(0) === COMMA) {
      this.#value = value
      this.#written = written
    }
    return written
  }
}

/** `limit`: characters of an item as it is written; `most`: items. What is over is cut, and `cut` takes the name. */
export function list(name: string, items: readonly string[], limit: number, most: number, cut: string[]): string {
  if (items.length === 0) return `,"${name}":[]`
  if (items.length > most) cut.push(name)
  return `,"${name}":[${items
    .slice(0, most)
    .map((item) => quote(name, item, limit, cut))
    .join(',')}]`
}

/** `owner`: the top-level member that `truncated` names when this one is cut. */
export function text(name: string, value: string | null, limit: number, cut: string[], owner: string = name): string {
  return value === null ? `,"${name}":null` : `,"${name}":${quote(owner, value, limit, cut)}`
}

export function quote(owner: string, value: string, limit: number, cut: string[]): string {
  if (value.length <= limit && PLAIN.test(value)) return `"${value}"`
  let out = ''
  for (let at = 0; at < value.length; at++) {
    const escaped = escape(value.charCodeAt(at))
    if (out.length + escaped.length > limit) {
      cut.push(owner)
      return `"${out}[cut ${value.length - at}]"`
    }
    out += escaped
  }
  return `"${out}"`
}

// SECURITY: nothing outside printable ASCII may reach the line: CR LF forges records, C1 and U+202E drive terminals, U+2028 splits lines in some readers.
function escape(unit: number): string {
  if (unit === 0x22) return '\\"'
  if (unit === 0x5c) return '\\\\'
  if (unit >= 0x20 && unit <= 0x7e) return String.fromCharCode(unit)
  return `\\u${unit.toString(16).padStart(4, '0')}`
}
