// The members of a record as text: JSON that is printable ASCII only, within limits, and says where it was cut.

const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/

/** `,"name":value`. Throws a TypeError for what is no finite number. */
export function number(name: string, value: number | null): string {
  if (value !== null && !Number.isFinite(value)) throw new TypeError(`audit field ${name} is not a finite number`)
  return `,"${name}":${value}`
}

/** `limit`: characters of an item as it is written; `most`: items. What is over is cut, and `cut` takes the name. */
export function list(name: string, items: readonly string[], limit: number, most: number, cut: string[]): string {
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
