// One `openapi` rule as allow rules: exactly the requests of its operations, and none of an operation that it does not name.

import { parseHostPattern } from '../core/host-pattern.ts'
import type { RuleSpec } from '../core/rule.ts'
import { derivedRuleId } from '../core/rule-id.ts'
import type { Description, Operation } from './openapi-description.ts'
import { comesBefore, type PathTemplate } from './openapi-path.ts'
import { requestOf, select } from './openapi-select.ts'
import { type Endpoint, type Endpoints, endpointsOf } from './openapi-server.ts'
import type { Finding } from './problem.ts'
import type { OpenapiRule } from './schema-openapi.ts'

/** `operation` is as in the file: `METHOD /path`. Places of findings count from the rule. */
export interface RulesOfOperations {
  readonly rules: readonly { readonly operation: string; readonly rule: RuleSpec }[]
  readonly findings: readonly Finding[]
}

/** Those of one method and with as many segments. */
type ByShape = ReadonlyMap<string, readonly PathTemplate[]>

type Fault = { readonly kind: 'bad'; readonly why: string; readonly fix: string }

/** Each request that matches the path of a rule is compared with all that are taken out of it. */
const MAX_NOT_PATHS = 256
const TOO_GENERAL: Fault = {
  kind: 'bad',
  why: `its path takes in more than ${MAX_NOT_PATHS} that are described as other operations`,
  fix: 'take it out of the list, or name those as well',
}

export function rulesOfOperations(written: OpenapiRule, description: Description): RulesOfOperations {
  const { openapi } = written
  const hosts = hostFindings(openapi.hosts ?? [])
  if (hosts.length > 0) return { rules: [], findings: hosts }
  const findings: Finding[] = []
  const entries = entryByOperation(written, description, findings)
  const others = byShape(description.operations.filter((operation) => !entries.has(operation)))
  const served = new Map<Operation['servers'], Endpoints>()
  const rules: RulesOfOperations['rules'][number][] = []
  for (const [operation, entry] of entries) {
    const endpoints = served.get(operation.servers) ?? endpointsOf(operation.servers, openapi.hosts ?? null)
    served.set(operation.servers, endpoints)
    const made = rulesOf(written, operation, endpoints, others)
    const request = requestOf(operation)
    if (!('kind' in made)) rules.push(...made.map((rule) => ({ operation: request, rule })))
    else findings.push({ place: ['openapi', 'allow', entry], message: `${request}: ${made.why}`, fix: made.fix })
  }
  return { rules, findings }
}

function hostFindings(hosts: readonly string[]): readonly Finding[] {
  return hosts.flatMap((text, index) => {
    const read = parseHostPattern(text, true)
    return read.kind === 'ok' ? [] : [{ place: ['openapi', 'hosts', index], message: read.why, fix: read.fix }]
  })
}

/** The operations that the rule names, each with the index of the first entry that does. */
function entryByOperation(
  { openapi }: OpenapiRule,
  description: Description,
  findings: Finding[],
): ReadonlyMap<Operation, number> {
  const entries = new Map<Operation, number>()
  for (const [index, entry] of openapi.allow.entries()) {
    const selected = select(entry, description, openapi.access === 'read-only')
    if (selected.kind === 'bad') {
      findings.push({ place: ['openapi', 'allow', index], message: selected.message, fix: selected.fix })
      continue
    }
    for (const operation of selected.operations) if (!entries.has(operation)) entries.set(operation, index)
  }
  return entries
}

/** One rule for each endpoint: in one rule for two, each path would be open at the other host and port as well. */
function rulesOf(
  written: OpenapiRule,
  { method, operationId, path, template: read }: Operation,
  served: Endpoints,
  others: ByShape,
): readonly RuleSpec[] | Fault {
  if (read.kind === 'bad') return read
  if (served.kind === 'bad') return served
  const { template } = read
  const before = templatesBefore(template, others.get(shapeOf(method, template)) ?? [])
  if (before.length > MAX_NOT_PATHS) return TOO_GENERAL
  const name = derivedRuleId(written.id, operationId ?? `${method}:${path}`)
  return served.endpoints.map((endpoint, index): RuleSpec => {
    const id = index === 0 ? name : `${name}@${index + 1}`
    return { ...written.common, id, kind: 'allow', match: matchOf(written, method, endpoint, template, before) }
  })
}

function matchOf(
  { encodedSlash }: OpenapiRule,
  method: string,
  { scheme, hosts, port, base }: Endpoint,
  template: PathTemplate,
  before: readonly PathTemplate[],
): RuleSpec['match'] {
  return {
    hosts,
    methods: [method],
    paths: [`${base}${template.glob}`],
    ...(before.length === 0 ? {} : { notPaths: before.map(({ glob }) => `${base}${glob}`) }),
    ...(scheme === 'https' ? {} : { schemes: [scheme] }),
    ...(port === null ? {} : { ports: [port] }),
    ...(encodedSlash ? { encodedSlash } : {}),
  }
}

/** SECURITY: `/issues/{id}` alone would open `/issues/comments` as well, which is another operation. At most one too many. */
function templatesBefore(own: PathTemplate, others: readonly PathTemplate[]): readonly PathTemplate[] {
  const before: PathTemplate[] = []
  for (const other of others) {
    if (comesBefore(other, own)) before.push(other)
    if (before.length > MAX_NOT_PATHS) break
  }
  return before
}

function byShape(operations: readonly Operation[]): ByShape {
  const found = new Map<string, PathTemplate[]>()
  for (const { method, template: read } of operations) {
    if (read.kind === 'bad') continue
    const shape = shapeOf(method, read.template)
    const same = found.get(shape)
    if (same === undefined) found.set(shape, [read.template])
    else same.push(read.template)
  }
  return found
}

function shapeOf(method: string, { segments }: PathTemplate): string {
  return `${method} ${segments.length}`
}
