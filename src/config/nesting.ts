// How deep a YAML text is nested, told before it is composed.

import type { CST } from 'yaml'

/**
 * Where the first level over `most` begins; null: nowhere. SECURITY: the composer calls itself for each level, and what it runs into
 * at the end of the stack ends the process.
 */
export function tooDeep(tokens: readonly CST.Token[], most: number): number | null {
  const rest: (readonly [CST.Token | null | undefined, number])[] = tokens.map((token) => [token, 0])
  for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
    const [token, depth] = next
    if (!token) continue
    if (depth > most) return token.offset
    if (token.type === 'document') rest.push([token.value, depth])
    if (!('items' in token)) continue
    for (const item of token.items) rest.push([item.key, depth + 1], [item.value, depth + 1])
  }
  return null
}
