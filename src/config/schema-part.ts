// The pieces that the schema is made of. An error is a text of two lines: what is wrong, and what to write instead.

import { z } from 'zod'
import { parseHostPattern } from '../core/host-pattern.ts'

export const text: z.ZodString = z.string().min(1)

/** Names of clients and rules: they stand in records, metrics and command lines, so they need no quoting anywhere. */
export const name: z.ZodString = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, {
  error: ({ input }) => `${JSON.stringify(input)} is not a name\nuse 1 to 64 of A-Z a-z 0-9 . _ -`,
})

export function list<T extends z.ZodType>(item: T): z.ZodArray<T> {
  return z.array(item).min(1)
}

/** One value, or a list of them; always a list for the reader. */
export function oneOrList<Out>(item: z.ZodType<Out, string>): z.ZodType<Out[], string | string[]> {
  return z.union([item, list(item)]).transform((value): Out[] => (Array.isArray(value) ? value : [value]))
}

/** An issue for a transform that found its value wrong. */
export function custom(message: string, fix: string): { code: 'custom'; message: string } {
  return { code: 'custom', message: `${message}\n${fix}` }
}

/** A host as in a rule that opens something; stays as it is written. */
export const host: z.ZodType<string, string> = text.transform((value, context): string => {
  const parsed = parseHostPattern(value, true)
  if (parsed.kind === 'ok') return value
  context.addIssue(custom(parsed.why, parsed.fix))
  return z.NEVER
})
