// GraphQL requests held against what a rule allows: types of operations, their names, the fields of the root that they ask for.

import type { ReadBody } from './body.ts'
import type { BodyFailure, Inspected } from './body-failure.ts'
import { compileValueGlob, matchValueGlob, type ValueGlob } from './glob.ts'
import type { Operation, OperationType } from './graphql-document.ts'
import { readRequests, type RequestsRead } from './graphql-request.ts'
import type { GraphqlSpec } from './rule.ts'
import type { Complain } from './rule-check.ts'

export interface CompiledGraphql {
  readonly operations: ReadonlySet<OperationType>
  /** Null: any. */
  readonly names: readonly ValueGlob[] | null
  readonly fields: readonly ValueGlob[] | null
}

/** One operation as it is recorded. `name`: null where it has none. */
export interface GraphqlOperation {
  readonly operation: OperationType
  readonly name: string | null
}

/** GraphQL September 2025, §2.1.9, with `*` for any of it. */
const NAME_GLOB = /^[*0-9A-Za-z_]+$/
/** Of one denial. */
const MAX_FLAGS = 16

export function compileGraphql({ operations, names, fields }: GraphqlSpec, complain: Complain): CompiledGraphql {
  return {
    operations: new Set(operations),
    names: compileGlobs('graphql.names', names, complain),
    fields: compileGlobs('graphql.fields', fields, complain),
  }
}

function compileGlobs(
  at: string,
  globs: readonly string[] | undefined,
  complain: Complain,
): readonly ValueGlob[] | null {
  if (globs === undefined) return null
  return globs.map((glob, index) => {
    if (!NAME_GLOB.test(glob)) {
      const message = `no name of GraphQL is ever ${JSON.stringify(glob)}`
      complain(`${at}[${index}]`, message, 'write letters, digits and _, and * for any of them')
    }
    return compileValueGlob(glob)
  })
}

/** What is asked for, whether it is allowed or not; null where the body is no GraphQL that can be read. */
export function readGraphql(read: ReadBody): readonly GraphqlOperation[] | null {
  const requests = requestsOf(read)
  return requests.kind === 'ok' ? requests.operations.map(({ operation, name }) => ({ operation, name })) : null
}

export function graphqlFailure(graphql: CompiledGraphql, { subject, read }: Inspected): BodyFailure | null {
  if (subject.method !== 'POST') return failure(`GraphQL is sent by POST, not by ${subject.method}`)
  // SECURITY: where the URL has a query too, servers run that one, or that operationName.
  if (subject.target.includes('?')) return failure('a request of GraphQL has no query string')
  const requests = requestsOf(read)
  if (requests.kind === 'bad') return failure(requests.why)
  const missing = requests.operations.flatMap((operation) => missingFor(graphql, operation))
  const [first] = missing
  if (first === undefined) return null
  const flags = new Set(missing.map(({ flag }) => `body_rule:graphql:${flag}`))
  return { why: first.why, flags: [...flags].slice(0, MAX_FLAGS) }
}

const failure = (why: string): BodyFailure => ({ why, flags: [] })

interface Missing {
  readonly why: string
  readonly flag: string
}

/** What the rule would have to say for the operation to be allowed. */
function missingFor({ operations, names, fields }: CompiledGraphql, asked: Operation): readonly Missing[] {
  const missing: Missing[] = []
  const { operation, name } = asked
  if (!operations.has(operation)) missing.push({ why: `add ${operation} to its graphql.operations`, flag: operation })
  if (name === null && names !== null) missing.push({ why: 'the operation has no name', flag: 'anonymous' })
  if (name !== null && !allows(names, name))
    missing.push({ why: `add ${name} to its graphql.names`, flag: `name:${name}` })
  for (const field of asked.fields) {
    if (!allows(fields, field)) missing.push({ why: `add ${field} to its graphql.fields`, flag: `field:${field}` })
  }
  return missing
}

function allows(globs: readonly ValueGlob[] | null, name: string): boolean {
  return globs === null || globs.some((glob) => matchValueGlob(glob, name))
}

/** Read once, however many rules ask. */
const KNOWN = new WeakMap<ReadBody, RequestsRead>()

function requestsOf(read: ReadBody): RequestsRead {
  const known = KNOWN.get(read)
  if (known !== undefined) return known
  const requests = readRequests(read)
  KNOWN.set(read, requests)
  return requests
}
