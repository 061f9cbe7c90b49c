// The shape of one rule: its kind, its matchers, and what it asks of the requests it matches.

import { z } from 'zod'
import type { BodyCondition, MatchSpec, McpSpec } from '../core/rule.ts'
import { parseSize } from './quantity.ts'
import { openapiSchema, type WrittenRule } from './schema-openapi.ts'
import { custom, list, name, text } from './schema-part.ts'

const KINDS = ['allow', 'deny', 'passthrough', 'openapi'] as const

const hosts = list(text).describe('Names, *.name, **.name, or literal addresses')
const ports = list(z.int().min(1).max(65_535))
const encodedSlash = z.literal('allow').describe('Paths may hold %2F')

const request = {
  hosts,
  methods: list(text).exactOptional().describe('Exact, case-sensitive tokens'),
  access: z.literal('read-only').exactOptional().describe('GET, HEAD and OPTIONS'),
  paths: list(text).exactOptional().describe('* within a segment, ** across segments'),
  schemes: list(z.enum(['http', 'https'])).exactOptional(),
  ports: ports.exactOptional(),
  upgrade: list(text).exactOptional().describe('Protocols that the connection may change to'),
}

const allow = z
  .strictObject({ ...request, encoded_slash: encodedSlash.exactOptional() })
  .transform(
    ({ encoded_slash, ...match }): MatchSpec =>
      encoded_slash === undefined ? match : { ...match, encodedSlash: true },
  )

const deny = z.strictObject(request)

/** A spliced connection shows its name and its port, and nothing else. */
const passthrough = z.strictObject({ hosts, ports: ports.exactOptional() })

const rate = z.strictObject({
  requests: z.int().min(1),
  per: z.enum(['second', 'minute', 'hour']),
  burst: z.int().min(1).exactOptional(),
})

const size = z
  .union([z.int().min(0), text], { error: 'not a size\nwrite for example 1024, 50MB or 1MiB' })
  .transform((value, context): number => {
    const bytes = parseSize(String(value))
    if (bytes !== null) return bytes
    context.addIssue(custom(`${JSON.stringify(value)} is not a size`, 'write for example 1024, 50MB or 1MiB'))
    return z.NEVER
  })

const limits = z
  .strictObject({ request_bytes: size.exactOptional(), response_bytes: size.exactOptional() })
  .refine((given) => Object.keys(given).length > 0, {
    error: 'no limit is named\nname request_bytes, response_bytes or both',
  })
  .transform(({ request_bytes = null, response_bytes = null }) => ({
    requestBytes: request_bytes,
    responseBytes: response_bytes,
  }))

const path = text.describe('A member of the body: $.a.b, $.list[*].name')
const condition: z.ZodType<BodyCondition> = z.discriminatedUnion('must', [
  z.strictObject({ path, must: z.enum(['be-absent', 'be-present']) }),
  z.strictObject({ path, must: z.literal('match'), value: z.string().describe('* stands for any characters') }),
  z.strictObject({
    path,
    must: z.literal('be-in'),
    value: list(z.union([z.string(), z.number(), z.boolean(), z.null()])),
  }),
  z.strictObject({ path, must: z.literal('be-at-most'), value: z.number() }),
  z.strictObject({
    path,
    must: z.literal('be-of-type'),
    value: z.enum(['string', 'number', 'integer', 'boolean', 'object', 'array', 'null']),
  }),
])

const field = z.string().min(1).describe('The name of a field, in exactly this spelling')
const fieldCondition = z.discriminatedUnion('must', [
  z.strictObject({ field, must: z.enum(['be-absent', 'be-present']) }),
  z.strictObject({ field, must: z.literal('match'), value: z.string().describe('* stands for any characters') }),
  z.strictObject({ field, must: z.literal('be-in'), value: list(z.string()) }),
  z.strictObject({ field, must: z.literal('be-at-most'), value: z.number().describe('Characters; of a file bytes') }),
])
const fieldsOf = (kind: 'form' | 'multipart'): z.ZodType<BodyCondition[]> =>
  list(fieldCondition).transform((conditions) =>
    conditions.map(({ field: named, ...wanted }) => ({ in: kind, path: named, ...wanted })),
  )

const body = z
  .strictObject({
    json: list(condition).exactOptional(),
    form: fieldsOf('form').exactOptional().describe('Of application/x-www-form-urlencoded'),
    multipart: fieldsOf('multipart').exactOptional().describe('Of multipart/form-data'),
  })
  .refine((given) => Object.keys(given).length > 0, {
    error: 'no kind of body is named\nname json, form, multipart or several of them',
  })

const glob = text.describe('* stands for any characters')
const mcp = z
  .strictObject({
    methods: list(glob)
      .exactOptional()
      .describe('Beside those of every session; omitted: those that list tools and resources'),
    tools: list(glob).exactOptional().describe('Names that tools/call may call'),
    resources: list(glob).exactOptional().describe('URIs that resources/read and resources/subscribe may name'),
    rates: z.record(text, rate).exactOptional().describe('By method: one bucket per method, rule and client'),
  })
  .refine(({ methods, tools, resources }) => (methods ?? tools ?? resources) !== undefined, {
    error: 'nothing is named that may be called\nname methods, tools, resources or several of them',
  })
  .transform(({ rates, ...named }): McpSpec => {
    if (rates === undefined) return named
    return { ...named, rates: Object.entries(rates).map(([method, own]) => ({ method, rate: own })) }
  })

const graphql = z.strictObject({
  operations: list(z.enum(['query', 'mutation', 'subscription'])),
  names: list(glob).exactOptional().describe('Names of operations'),
  fields: list(glob).exactOptional().describe('Members of the root that they ask for'),
})

const rule = z
  .strictObject({
    id: name,
    clients: list(name).exactOptional().describe('Omitted: every client'),
    allow: allow.exactOptional(),
    deny: deny.exactOptional(),
    passthrough: passthrough.exactOptional(),
    openapi: openapiSchema.exactOptional(),
    rate: rate.exactOptional().describe('One bucket per rule and client'),
    limits: limits.exactOptional(),
    body: body.exactOptional().describe('Of other kinds of bodies none is allowed'),
    mcp: mcp.exactOptional().describe('Messages of MCP over Streamable HTTP that are allowed'),
    graphql: graphql.exactOptional().describe('Operations of GraphQL that are allowed'),
    shape: z
      .enum(['learn', 'alert', 'enforce'])
      .exactOptional()
      .describe('Members of bodies that the rule has not seen before are remembered, flagged or denied'),
    audit: z
      .enum(['metadata', 'headers', 'body'])
      .exactOptional()
      .describe('What is recorded: header fields and bodies too, redacted'),
    encoded_slash: encodedSlash.exactOptional(),
  })
  .refine((given) => KINDS.filter((kind) => Object.hasOwn(given, kind)).length === 1, {
    error: 'a rule allows, denies or passes through\nname exactly one of allow, deny, passthrough, openapi',
    when: isObject,
  })
  .refine(
    ({ deny: denied, passthrough: passed, encoded_slash }) =>
      (denied ?? passed) === undefined || encoded_slash === undefined,
    {
      error: 'only allow rules open paths with %2F\nremove it',
      path: ['encoded_slash'],
    },
  )
  .meta({ oneOf: KINDS.map((kind) => ({ required: [kind] })) })

/** What a rule takes beside its matchers, and what those take: a key among the wrong ones is told where it belongs. */
export const RULE_KEYS: readonly string[] = Object.keys(rule.shape)
export const MATCH_KEYS: readonly string[] = [...Object.keys(request), 'encoded_slash']

/** One rule as policy takes it, or `openapi` that is still to be made into some. */
export const ruleSchema: z.ZodType<WrittenRule> = rule.transform((written) => toSpec(written))

function toSpec({
  allow: allowed,
  deny: denied,
  passthrough: passed,
  openapi,
  encoded_slash,
  ...common
}: z.output<typeof rule>): WrittenRule {
  if (openapi !== undefined) {
    const { id, ...rest } = common
    return { kind: 'openapi', id, openapi, encodedSlash: encoded_slash !== undefined, common: rest }
  }
  if (denied !== undefined) return { ...common, kind: 'deny', match: denied }
  if (passed !== undefined) return { ...common, kind: 'passthrough', match: passed }
  const match = allowed ?? { hosts: [] }
  return { ...common, kind: 'allow', match: encoded_slash === undefined ? match : { ...match, encodedSlash: true } }
}

function isObject({ value }: { value: unknown }): boolean {
  return typeof value === 'object' && value !== null
}
