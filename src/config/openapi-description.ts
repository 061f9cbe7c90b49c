// An API description: its operations, each with where it is served. Nothing else of it is looked at, nothing is fetched.

import { type TemplateRead, readTemplate } from './openapi-path.ts'
import { readText } from './openapi-text.ts'

export interface Operation {
  /** Null: it has none, or another has the same. */
  readonly operationId: string | null
  /** Upper case. */
  readonly method: string
  /** As the description has it. */
  readonly path: string
  readonly template: TemplateRead
  readonly tags: readonly string[]
  /** Operations with the same servers share the list. */
  readonly servers: readonly Server[]
}

/** OpenAPI's Server Object. `enum`: null where any value will do. */
export interface Server {
  readonly url: string
  readonly variables: ReadonlyMap<string, { readonly default: string; readonly enum: readonly string[] | null }>
}

/** `repeated`: operations by an operationId that more than one of them has. */
export interface Description {
  readonly operations: readonly Operation[]
  readonly repeated: ReadonlyMap<string, readonly Operation[]>
}

/** `why` goes on from the name of the file. */
export type DescriptionRead =
  | { readonly kind: 'ok'; readonly description: Description }
  | { readonly kind: 'bad'; readonly why: string; readonly fix: string }

const MAX_OPERATIONS = 10_000
/** From one `$ref` of a path to the next. */
const MAX_REFERENCES = 16
const MAX_OPERATION_ID_LENGTH = 256
/** Not TRACE: only a rule that names it allows it, and a name with a `*` in it does not. */
const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch'] as const

const NOT_ONE = 'name a description in OpenAPI 3.0, 3.1 or Swagger 2.0'
/** OpenAPI 3.1 §4.8.1.1: what `servers` is where it is not given. */
const NO_SERVERS: readonly Server[] = [{ url: '/', variables: new Map() }]

const TOO_MANY: DescriptionRead = {
  kind: 'bad',
  why: `describes more than ${MAX_OPERATIONS} operations`,
  fix: 'cut it down to those you use',
}

type Located = { readonly servers: readonly Server[] | null; readonly methods: ReadonlyMap<string, unknown> }
type Fault = Extract<DescriptionRead, { readonly kind: 'bad' }>

export function readDescription(text: string): DescriptionRead {
  const read = readText(text)
  if (read.kind === 'bad') return fault(`line ${read.line}`, read.why)
  const { value: root } = read
  const isSwagger = ['2', '2.0'].includes(textOf(get(root, 'swagger')))
  if (!isSwagger && !/^3\.[01](?:\.\d+)?$/.test(textOf(get(root, 'openapi')))) {
    return { kind: 'bad', why: 'is not an API description of a version known here', fix: NOT_ONE }
  }
  const paths = get(root, 'paths')
  const rootServers = isSwagger ? swaggerServers(root, null) : (serversOf(root) ?? NO_SERVERS)
  const operations: Operation[] = []
  for (const [path, item] of paths instanceof Map ? paths : []) {
    if (typeof path !== 'string' || path.startsWith('x-')) continue
    const located = pathItem(root, path, item)
    if ('kind' in located) return located
    const template = readTemplate(path)
    for (const [method, described] of located.methods) {
      const own = isSwagger ? swaggerServers(root, described) : serversOf(described)
      const servers = own ?? located.servers ?? rootServers
      operations.push({ ...operationOf(described), method: method.toUpperCase(), path, template, servers })
    }
    if (operations.length > MAX_OPERATIONS) return TOO_MANY
  }
  if (operations.length === 0) return { kind: 'bad', why: 'describes no operation', fix: NOT_ONE }
  return { kind: 'ok', description: withUniqueIds(operations) }
}

/** The operations of one path, behind its `$ref` if it has one (OpenAPI 3.1 §4.8.9). */
function pathItem(root: unknown, path: string, written: unknown): Located | Fault {
  let item = written
  for (let hops = 0; get(item, '$ref') !== undefined; hops += 1) {
    const reference = textOf(get(item, '$ref'))
    if (!reference.startsWith('#/')) {
      const fix = 'bundle the description into one file first; nothing is fetched or opened for it'
      return fault(path, `its $ref ${JSON.stringify(reference)} leads out of the file`, fix)
    }
    if (hops === MAX_REFERENCES) return fault(path, `more than ${MAX_REFERENCES} $ref, one after the other`)
    // What stands beside a reference may or may not count ("the behavior is undefined").
    if (describes(item)) return fault(path, 'operations stand beside its $ref')
    item = pointedAt(root, reference)
    if (item === undefined) return fault(path, `its $ref ${JSON.stringify(reference)} leads nowhere`)
  }
  const found = METHODS.map((method) => [method, get(item, method)] as const)
  return { servers: serversOf(item), methods: new Map(found.filter(([, described]) => described instanceof Map)) }
}

function describes(item: unknown): boolean {
  return [...METHODS, 'servers'].some((key) => get(item, key) !== undefined)
}

/** RFC 6901 §6, as a fragment; undefined where it leads nowhere. */
function pointedAt(root: unknown, reference: string): unknown {
  let node = root
  for (const step of reference.slice(2).split('/')) {
    let text = step
    try {
      text = decodeURIComponent(step)
    } catch {
      return undefined
    }
    node = get(node, text.replaceAll('~1', '/').replaceAll('~0', '~'))
  }
  return node
}

function operationOf(described: unknown): { operationId: string | null; tags: readonly string[] } {
  const id = get(described, 'operationId')
  const isUsable = typeof id === 'string' && id !== '' && id.length <= MAX_OPERATION_ID_LENGTH
  return { operationId: isUsable ? id : null, tags: strings(get(described, 'tags')) }
}

/** Null: not given, or empty. */
function serversOf(holder: unknown): readonly Server[] | null {
  const written = get(holder, 'servers')
  if (!Array.isArray(written) || written.length === 0) return null
  return written.map((server: unknown) => ({ url: textOf(get(server, 'url')), variables: variablesOf(server) }))
}

function variablesOf(server: unknown): Server['variables'] {
  const written = get(server, 'variables')
  const variables = new Map<string, { default: string; enum: readonly string[] | null }>()
  for (const [name, variable] of written instanceof Map ? written : []) {
    const values = strings(get(variable, 'enum'))
    const byDefault = textOf(get(variable, 'default'))
    variables.set(textOf(name), { default: byDefault, enum: values.length === 0 ? null : values })
  }
  return variables
}

/** Swagger 2.0 has one host, one base path, and schemes that an operation may have of its own; null: it has none. */
function swaggerServers(root: unknown, described: null): readonly Server[]
function swaggerServers(root: unknown, described: unknown): readonly Server[] | null
function swaggerServers(root: unknown, described: unknown): readonly Server[] | null {
  const schemes = strings(get(described ?? root, 'schemes'))
  if (described !== null && schemes.length === 0) return null
  const host = textOf(get(root, 'host'))
  const basePath = textOf(get(root, 'basePath'))
  // SECURITY: a base path that begins with something else would become a part of the host.
  const base = basePath.startsWith('/') ? basePath : `/${basePath}`
  const variables: Server['variables'] = new Map()
  if (host === '') return [{ url: base, variables }]
  const known = schemes.length === 0 ? ['https'] : schemes
  return known.map((scheme) => ({ url: `${scheme}://${host}${base}`, variables }))
}

function withUniqueIds(operations: readonly Operation[]): Description {
  const byId = new Map<string, Operation[]>()
  for (const operation of operations) {
    if (operation.operationId === null) continue
    const same = byId.get(operation.operationId)
    if (same === undefined) byId.set(operation.operationId, [operation])
    else same.push(operation)
  }
  const repeated = new Map([...byId].filter(([, same]) => same.length > 1))
  if (repeated.size === 0) return { operations, repeated }
  const isRepeated = ({ operationId }: Operation): boolean => repeated.has(operationId ?? '')
  return { operations: operations.map((own) => (isRepeated(own) ? { ...own, operationId: null } : own)), repeated }
}

function fault(where: string, why: string, fix = 'correct it there'): Fault {
  return { kind: 'bad', why: `${where}: ${why}`, fix }
}

/** Numbers too: YAML takes an unquoted 3.1, or a port, for one. */
function textOf(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}

function get(node: unknown, key: string): unknown {
  return node instanceof Map ? (node as ReadonlyMap<unknown, unknown>).get(key) : undefined
}

function strings(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}
