// The shape of a rule that takes its requests from an API description.

import { z } from 'zod'
import type { RuleSpec } from '../core/rule.ts'
import { list, text } from './schema-part.ts'

/** `openapi:` of a rule, as written. `file` counts from the folder of the configuration. */
export interface OpenapiSpec {
  readonly file: string
  /** Operations: an operationId, `tag:NAME`, both with `*`, or `METHOD /path` as the description has it. */
  readonly allow: readonly string[]
  readonly hosts?: readonly string[]
  readonly access?: 'read-only'
}

/** One rule in the file, as many to policy as it allows operations. */
export interface OpenapiRule {
  readonly kind: 'openapi'
  readonly id: string
  readonly openapi: OpenapiSpec
  readonly encodedSlash: boolean
  /** What else it says, which holds for each of them. */
  readonly common: Omit<RuleSpec, 'id' | 'kind' | 'match'>
}

/** A rule of a file: policy's own, or one that is made into some. */
export type WrittenRule = RuleSpec | OpenapiRule

export const openapiSchema: z.ZodType<OpenapiSpec> = z
  .strictObject({
    file: text.describe('OpenAPI 3.0, 3.1 or Swagger 2.0, in YAML or JSON'),
    allow: list(text).describe('An operationId or tag:NAME, * for any characters; or METHOD /path as described'),
    hosts: list(text).exactOptional().describe('Omitted: those of its servers. Servers elsewhere are left out'),
    access: z.literal('read-only').exactOptional().describe('GET, HEAD and OPTIONS'),
  })
  .describe('Allows operations of an API description')
