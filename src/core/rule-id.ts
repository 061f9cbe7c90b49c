// Ids of rules: the one that stands in the file, and those of the rules that it was made into.

import { Buffer } from 'node:buffer'

/** In no id of a file, so that what precedes the first one is the id of the file. */
const SEPARATOR = ':'
/** An id stands in records, answers and command lines unquoted; braces are those of path templates. */
const ENCODED = /[^A-Za-z0-9._~/{}:-]/gu

/** The id of the rule made of `id` for `part`, such as `github:issues/get`; different parts have different ids. */
export function derivedRuleId(id: string, part: string): string {
  return `${id}${SEPARATOR}${part.replaceAll(ENCODED, percentEncoded)}`
}

/** The id as it stands in the file, of a rule that stands there or was made of one. */
export function writtenRuleId(id: string): string {
  const end = id.indexOf(SEPARATOR)
  return end < 0 ? id : id.slice(0, end)
}

function percentEncoded(character: string): string {
  return Array.from(Buffer.from(character), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('')
}
