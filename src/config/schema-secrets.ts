// The shape of `secrets:`: what may not leave, and the hosts that it may go to all the same.

import { z } from 'zod'
import { MIN_KNOWN_SECRET_LENGTH } from '../core/redact-values.ts'
import { ANY_TOKEN, type SecretSpec } from '../core/secret.ts'
import { FORMAT_NAMES } from '../core/token-formats.ts'
import { custom, host, name } from './schema-part.ts'

/** Every entry costs each request that is looked through. */
const MAX_SECRETS = 64
const MAX_SECRET_LENGTH = 4_096

// SECURITY: the value itself must not stand in a message.
const value = z
  .string({ error: 'is not a text\nwrite ${NAME} or file:PATH' })
  .min(MIN_KNOWN_SECRET_LENGTH, {
    error: `a secret of under ${MIN_KNOWN_SECRET_LENGTH} characters would be found in everything\nname a longer one`,
  })
  .max(MAX_SECRET_LENGTH, { error: `is longer than ${MAX_SECRET_LENGTH} characters\nname a shorter part of it` })

const entry = z
  .strictObject({
    match: z
      .enum([...FORMAT_NAMES, ANY_TOKEN])
      .exactOptional()
      .describe('A known format of tokens; any_token: every one without an entry of its own'),
    name: name.exactOptional().describe('What records and answers call the value'),
    value: value.exactOptional().describe('${NAME} or file:PATH'),
    only_to: z.array(host).describe('Names, *.name, **.name, or literal addresses; empty: to nobody'),
  })
  .refine(
    ({ match, name: called, value: known }) =>
      match === undefined ? called !== undefined && known !== undefined : called === undefined && known === undefined,
    { error: 'a secret is a format or a value\nname match, or name and value', when: isObject },
  )
  .transform(({ match, name: called, value: known, only_to }): SecretSpec => {
    return { name: match ?? called ?? '', value: known ?? null, onlyTo: only_to }
  })

/** Names are unique: of two entries for one secret each would take back what the other allows. */
export const secretsSchema: z.ZodType<SecretSpec[]> = z
  .array(entry)
  .min(1)
  .max(MAX_SECRETS)
  .superRefine((entries, context) => {
    for (const [index, { name: called, value: known }] of entries.entries()) {
      if (entries.findIndex((other) => other.name === called) === index) continue
      const issue = custom(`another entry is about ${called}`, 'put all of its hosts in one only_to, or rename it')
      context.addIssue({ ...issue, path: [index, known === null ? 'match' : 'name'] })
    }
  })

function isObject({ value: given }: { value: unknown }): boolean {
  return typeof given === 'object' && given !== null
}
