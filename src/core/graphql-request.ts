// GraphQL over HTTP: the requests that a JSON body holds, and the operations of each.

import type { ReadBody } from './body.ts'
import { type Operation, readDocument } from './graphql-document.ts'
import type { JsonValue } from './json-strict.ts'

export type RequestsRead =
  | { readonly kind: 'ok'; readonly operations: readonly Operation[] }
  | { readonly kind: 'bad'; readonly why: string }

/** Requests in one body. */
export const MAX_BATCH = 64

/** GraphQL over HTTP, §5.3. SECURITY: beside them a server may know one that names a document which is not there to be judged. */
const MEMBERS: ReadonlySet<string> = new Set(['query', 'operationName', 'variables', 'extensions'])
const MEMBER_NAMES: string = [...MEMBERS].join(', ')
/** What a stored document is asked for by, as far as one is known: for the reason alone, all that is no member is denied. */
const STORED: ReadonlySet<string> = new Set(['id', 'documentid', 'doc_id', 'queryid', 'hash', 'persistedquery'])

const bad = (why: string): RequestsRead => ({ kind: 'bad', why })

/** All operations of all requests, in their order. */
export function readRequests(read: ReadBody): RequestsRead {
  if (read.kind === 'bad') return read
  if (read.content.kind !== 'json') return bad('GraphQL is read from JSON only')
  const { value } = read.content
  if (!Array.isArray(value)) return readRequest(value)
  const items = value as readonly JsonValue[]
  if (items.length === 0 || items.length > MAX_BATCH) return bad(`a list of no, or more than ${MAX_BATCH}, requests`)
  const operations: Operation[] = []
  for (const item of items) {
    const request = readRequest(item)
    if (request.kind === 'bad') return request
    operations.push(...request.operations)
  }
  return { kind: 'ok', operations }
}

function readRequest(value: JsonValue): RequestsRead {
  if (!(value instanceof Map)) return bad('the body is no request of GraphQL')
  const request = value as ReadonlyMap<string, JsonValue>
  for (const name of request.keys()) {
    if (MEMBERS.has(name)) continue
    if (STORED.has(name.toLowerCase())) return bad('it asks for a stored document: send the query itself')
    return bad(`the member ${JSON.stringify(name)} is none of ${MEMBER_NAMES}`)
  }
  const query = request.get('query')
  const extensions = request.get('extensions') ?? null
  if (asksForStored(extensions)) return bad('it asks for a stored document: send the query itself')
  if (typeof query !== 'string') return bad('it has no query')
  if (!isObjectOrNull(extensions) || !isObjectOrNull(request.get('variables') ?? null))
    return bad('its variables or extensions are no object')
  const document = readDocument(query)
  if (document.kind === 'bad')
    return bad(`the query is not strict GraphQL: ${document.why} at offset ${document.offset}`)
  if (!namesOne(document.operations, request.get('operationName') ?? null))
    return bad('its operationName is that of no operation')
  return document
}

function isObjectOrNull(value: JsonValue): boolean {
  return value === null || value instanceof Map
}

/** SECURITY: also beside a query: a server may run what it has under that hash. */
function asksForStored(extensions: JsonValue): boolean {
  if (!(extensions instanceof Map)) return false
  return [...(extensions as ReadonlyMap<string, JsonValue>).keys()].some((name) => STORED.has(name.toLowerCase()))
}

/** Null and the empty string name none: the document has one operation, or the server runs none. */
function namesOne(operations: readonly Operation[], wanted: JsonValue): boolean {
  return wanted === null || wanted === '' || operations.some(({ name }) => name === wanted)
}
