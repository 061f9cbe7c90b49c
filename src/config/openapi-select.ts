// Which operations of a description the entries of `openapi.allow` name.

import { compileValueGlob, matchValueGlob } from '../core/glob.ts'
import { nearest } from './nearest.ts'
import type { Description, Operation } from './openapi-description.ts'

/** An entry and what it names: at least one operation, or what is wrong with it. */
export type Selected =
  | { readonly kind: 'ok'; readonly operations: readonly Operation[] }
  | { readonly kind: 'bad'; readonly message: string; readonly fix: string }

const READ_ONLY: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])
const TAG = 'tag:'
const BY_REQUEST = /^[A-Z]+ \//

/** `METHOD /path`, as the description has it. */
export function requestOf({ method, path }: Operation): string {
  return `${method} ${path}`
}

export function select(entry: string, description: Description, readOnly: boolean): Selected {
  const repeated = description.repeated.get(entry)
  if (repeated !== undefined) {
    const [one, ...others] = repeated.map((operation) => JSON.stringify(requestOf(operation)))
    const message = `${repeated.length} operations are called ${JSON.stringify(entry)}`
    return { kind: 'bad', message, fix: `write which: ${one} or ${others.join(' or ')}` }
  }
  const named = operationsBy(entry, description.operations)
  if (named.length === 0) return notFound(entry, description.operations)
  const operations = readOnly ? named.filter(({ method }) => READ_ONLY.has(method)) : named
  if (operations.length > 0) return { kind: 'ok', operations }
  const message = `access: read-only leaves nothing of ${JSON.stringify(entry)}`
  return { kind: 'bad', message, fix: 'remove it from the list, or remove access' }
}

function operationsBy(entry: string, operations: readonly Operation[]): readonly Operation[] {
  if (BY_REQUEST.test(entry)) return operations.filter((operation) => requestOf(operation) === entry)
  if (entry.startsWith(TAG)) {
    const tag = compileValueGlob(entry.slice(TAG.length))
    return operations.filter(({ tags }) => tags.some((text) => matchValueGlob(tag, text)))
  }
  // An operationId may itself hold a star.
  const exact = operations.filter(({ operationId }) => operationId === entry)
  if (exact.length > 0) return exact
  const glob = compileValueGlob(entry)
  return operations.filter(({ operationId }) => operationId !== null && matchValueGlob(glob, operationId))
}

function notFound(entry: string, operations: readonly Operation[]): Selected {
  const [message, known] = missing(entry, operations)
  const prefix = entry.startsWith(TAG) ? TAG : ''
  const near = nearest(entry.slice(prefix.length).replaceAll('*', ''), known).map((name) => `${prefix}${name}`)
  if (near.length > 0) return { kind: 'bad', message, fix: `did you mean ${near.join(' or ')}?` }
  return {
    kind: 'bad',
    message,
    fix: 'write an operationId of the description, tag:NAME or METHOD /path, as they stand there',
  }
}

/** What is wrong, and the names among which the right one may be. */
function missing(entry: string, operations: readonly Operation[]): readonly [string, Iterable<string>] {
  if (BY_REQUEST.test(entry)) return [`${entry} is not described`, operations.map(requestOf)]
  if (entry.startsWith(TAG)) {
    const tag = entry.slice(TAG.length)
    return [`no operation has the tag ${JSON.stringify(tag)}`, new Set(operations.flatMap(({ tags }) => tags))]
  }
  return [`no operation is called ${JSON.stringify(entry)}`, operations.flatMap(({ operationId }) => operationId ?? [])]
}
