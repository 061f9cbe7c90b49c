// A media type as in Content-Type (RFC 9110 §8.3): the type, and parameters that nobody could read in two ways.

export interface MediaType {
  /** In lower case: `application/json`. */
  readonly type: string
  /** By name in lower case; the value as written, without its quotes. */
  readonly parameters: ReadonlyMap<string, string>
}

const TYPE = /^[a-z0-9!#$&^_.+-]+\/[a-z0-9!#$&^_.+-]+$/
/** RFC 9110 §5.6.6, without escapes in the quotes, which readers undo or do not. */
const PARAMETER = /^([A-Za-z0-9_*-]+)=("[^"\\]*"|[^\s"(),/:<=>?@[\\\]{}]+)$/

/** Null for none, and for one that is malformed or says something twice. */
export function parseMediaType(text: string | null): MediaType | null {
  const [type = '', ...rest] = (text ?? '').split(';')
  const named = type.trim().toLowerCase()
  const parameters = parseParameters(rest)
  return TYPE.test(named) && parameters !== null ? { type: named, parameters } : null
}

/** `name=value` or `name="value"`, each in its own text. Null where one is malformed or there twice. */
export function parseParameters(texts: readonly string[]): ReadonlyMap<string, string> | null {
  const parameters = new Map<string, string>()
  for (const text of texts) {
    const [, name, value] = PARAMETER.exec(text.trim()) ?? []
    if (name === undefined || value === undefined || parameters.has(name.toLowerCase())) return null
    parameters.set(name.toLowerCase(), value.startsWith('"') ? value.slice(1, -1) : value)
  }
  return parameters
}
