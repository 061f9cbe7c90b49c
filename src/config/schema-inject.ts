// The shape of `inject:`: placeholders that the workload holds, and the secrets that are put in their place for named hosts.

import { z } from 'zod'
import { INJECTABLE, type InjectionPlace, type InjectionSpec, PLACEHOLDER } from '../core/injection.ts'
import { MIN_KNOWN_SECRET_LENGTH } from '../core/redact-values.ts'
import { custom, host, list, text } from './schema-part.ts'

/** Every entry costs each request that is looked through. */
const MAX_INJECTIONS = 32
const MAX_VALUE_LENGTH = 4_096
const PLACES = ['header', 'query', 'body'] as const satisfies readonly InjectionPlace[]
const DEFAULT_PLACES: readonly InjectionPlace[] = ['header']

const placeholder = z.string().regex(PLACEHOLDER, {
  error: ({ input }) =>
    `${JSON.stringify(input)} is not a placeholder\nuse 16 to 128 of A-Z a-z 0-9 _ -, as in GITHUB_TOKEN_PLACEHOLDER`,
})

// SECURITY: the value itself must not stand in a message.
const value = z
  .string({ error: 'is not a text\nwrite ${NAME}, file:PATH or exec:COMMAND' })
  .min(MIN_KNOWN_SECRET_LENGTH, {
    error: `a secret of under ${MIN_KNOWN_SECRET_LENGTH} characters could not be kept out of the trail\nname a longer one`,
  })
  .max(MAX_VALUE_LENGTH, { error: `is longer than ${MAX_VALUE_LENGTH} characters\nname a shorter one` })
  .regex(INJECTABLE, {
    error: 'holds what can not be put into every place\nuse printable ASCII without a blank at either end',
  })

const field = z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/, {
  error: ({ input }) => `${JSON.stringify(input)} is no name of a field\nwrite for example X-Api-Key`,
})

const entry = z
  .strictObject({
    placeholder: placeholder.describe('What the workload holds in place of the secret'),
    value: value.describe('The secret: ${NAME}, file:PATH or exec:COMMAND'),
    hosts: list(host).describe('Names, *.name, **.name, or literal addresses that are sent the secret'),
    in: list(z.enum(PLACES)).exactOptional().describe('Where it is put in; default: header'),
    headers: list(field).exactOptional().describe('Fields it is put in; default: those named like credentials'),
    clients: list(text).exactOptional().describe('Clients it is put in for; default: all'),
  })
  .refine(({ in: places, headers }) => headers === undefined || (places ?? DEFAULT_PLACES).includes('header'), {
    error: 'names fields, and nothing is put into fields\nadd header to in, or remove headers',
    path: ['headers'],
    when: ({ value: given }) => typeof given === 'object' && given !== null,
  })
  .transform(
    ({ in: places, headers, clients, ...rest }): InjectionSpec => ({
      ...rest,
      in: places ?? DEFAULT_PLACES,
      headers: headers ?? null,
      clients: clients ?? null,
    }),
  )

/** A text must hold at most one of them at any place, and none must come in with a value. */
export const injectSchema: z.ZodType<InjectionSpec[]> = z
  .array(entry)
  .min(1)
  .max(MAX_INJECTIONS)
  .superRefine((entries, context) => {
    for (const [index, { placeholder: sought, value: known }] of entries.entries()) {
      const holder = entries.findIndex((other, at) => at !== index && other.placeholder.includes(sought))
      const isSecond = entries[holder]?.placeholder === sought && holder > index
      if (holder >= 0 && !isSecond) {
        const issue = custom(`another entry holds ${sought}`, 'choose placeholders that are no part of each other')
        context.addIssue({ ...issue, path: [index, 'placeholder'] })
      }
      if (!entries.some((other) => known.includes(other.placeholder))) continue
      const issue = custom('the secret holds a placeholder', 'choose a placeholder that is no part of a secret')
      context.addIssue({ ...issue, path: [index, 'value'] })
    }
  })
