// The shape of `audit.redact`: what is a secret here besides what is one everywhere.

import { z } from 'zod'
import { parseSecretPath, type SecretPath } from '../core/redact-paths.ts'
import { MIN_KNOWN_SECRET_LENGTH } from '../core/redact-values.ts'
import { custom, list, text } from './schema-part.ts'

/** `values` are the secrets themselves, references replaced. */
export interface RedactSettings {
  readonly parameters: readonly string[]
  readonly headers: readonly string[]
  readonly paths: readonly SecretPath[]
  readonly values: readonly string[]
}

const MAX_VALUES = 256

const name = z.string().regex(/^[!-~]{1,64}$/, {
  error: ({ input }) => `${JSON.stringify(input)} is no name\nwrite 1 to 64 characters without spaces`,
})

const path = text.transform((value, context): SecretPath => {
  const parsed = parseSecretPath(value)
  if (parsed.kind === 'ok') return parsed.path
  context.addIssue(custom(`${JSON.stringify(value)}: ${parsed.why}`, parsed.fix))
  return z.NEVER
})

// SECURITY: the value itself must not stand in the message.
const value = z.string().min(MIN_KNOWN_SECRET_LENGTH, {
  error: `a secret of under ${MIN_KNOWN_SECRET_LENGTH} characters would be found in everything\nname the parameter or the header that it stands in`,
})

export const redactSchema: z.ZodType<Partial<RedactSettings>> = z.strictObject({
  parameters: list(name).exactOptional().describe('Names of query parameters and body members'),
  headers: list(name).exactOptional().describe('Names of header fields'),
  paths: list(path).exactOptional().describe('/bot*/**: what stands for * is secret'),
  values: list(value).max(MAX_VALUES).exactOptional().describe('Secrets to find anywhere: ${NAME} or file:PATH'),
})

export function redactSettings(section: Partial<RedactSettings>): RedactSettings {
  return { parameters: [], headers: [], paths: [], values: [], ...section }
}
