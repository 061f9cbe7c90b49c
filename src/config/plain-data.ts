// Looks into parsed data of unknown shape without trusting it.

/** The own member `key`, undefined where there is none. */
export function member(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
  return (value as Readonly<Record<string, unknown>>)[key]
}

/** The list, or an empty one for what is none. */
export function items(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}
