// Messages of MCP as a body holds them: JSON-RPC 2.0 as MCP narrows it, in its revisions from 2024-11-05 to 2026-07-28.

import { type Step, select } from './json-path.ts'
import type { JsonValue } from './json-strict.ts'

/** Messages of one batch (revision 2025-03-26); clients that still send batches send a handful. */
export const MAX_BATCH = 100

/** What a message says, as far as it can be told; null: it has none. */
export interface McpMessage {
  /** Null for a response. */
  readonly method: string | null
  /** What `tools/call` calls. */
  readonly tool: string | null
  /** The URIs that it reads, subscribes to or unsubscribes from. */
  readonly resources: readonly string[]
  /** As JSON. */
  readonly id: string | null
}

/** Why a message is none: `$.params.name`, and what is wrong with that. */
export interface McpFault {
  readonly member: string
  readonly why: string
}

export interface ReadMessage {
  readonly message: McpMessage
  /** What the field Mcp-Name repeats of it (revision 2026-07-28), null for other methods. */
  readonly name: string | null
  readonly fault: McpFault | null
}

/** `fault`: of the whole. */
export interface ReadMessages {
  readonly messages: readonly ReadMessage[]
  readonly fault: McpFault | null
}

type Members = ReadonlyMap<string, JsonValue>

const MEMBERS: ReadonlySet<string> = new Set(['jsonrpc', 'id', 'method', 'params', 'result', 'error'])
const NO_RESOURCES: readonly string[] = []
const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]*$/
/** A longer name is not repeated, or it could be cut within a secret. */
const MAX_NAME = 128

/** A member within a message: how to get there, and how it is called. */
interface Place {
  readonly steps: readonly Step[]
  readonly member: string
}

const place = (...names: readonly string[]): Place => ({
  steps: names.map((name) => ({ kind: 'name', name })),
  member: names.map((name) => `.${name}`).join(''),
})
/** The one thing that a call of the method is about, which it has to name. */
const NAMED: ReadonlyMap<string, Place> = new Map([
  ['tools/call', place('params', 'name')],
  ['prompts/get', place('params', 'name')],
  ['resources/read', place('params', 'uri')],
  ['resources/subscribe', place('params', 'uri')],
  ['resources/unsubscribe', place('params', 'uri')],
])
const MIRRORED: ReadonlySet<string | null> = new Set(['tools/call', 'prompts/get', 'resources/read'])
const SUBSCRIBED: Place = place('params', 'notifications', 'resourceSubscriptions')

/** One message, or a batch of them. */
export function readMessages(value: JsonValue): ReadMessages {
  if (!Array.isArray(value)) return { messages: [readMessage(value, '$')], fault: null }
  const items = value as readonly JsonValue[]
  const messages = items.slice(0, MAX_BATCH).map((item, index) => readMessage(item, `$[${index}]`))
  if (items.length === 0) return { messages, fault: { member: '$', why: 'is an empty batch' } }
  if (items.length <= MAX_BATCH) return { messages, fault: null }
  return { messages, fault: { member: '$', why: `is a batch of more than ${MAX_BATCH}` } }
}

function readMessage(value: JsonValue, at: string): ReadMessage {
  if (!(value instanceof Map)) {
    const message = { method: null, tool: null, resources: NO_RESOURCES, id: null }
    return { message, name: null, fault: { member: at, why: 'is no message' } }
  }
  const members = value as Members
  const written = members.get('method')
  const method = typeof written === 'string' ? written : null
  const named = namedBy(method, members)
  const message = {
    method,
    tool: method === 'tools/call' ? named : null,
    resources: resourcesOf(method, named, members),
    id: idOf(members.get('id')),
  }
  return { message, name: MIRRORED.has(method) ? named : null, fault: faultOf(members, at) }
}

function namedBy(method: string | null, members: Members): string | null {
  const named = NAMED.get(method ?? '')
  const [name] = (named === undefined ? null : select(members, named.steps)) ?? []
  return typeof name === 'string' ? name : null
}

function resourcesOf(method: string | null, named: string | null, members: Members): readonly string[] {
  if (method !== null && method.startsWith('resources/') && named !== null) return [named]
  return method === 'subscriptions/listen' ? (subscribed(members) ?? NO_RESOURCES) : NO_RESOURCES
}

/** URIs of `subscriptions/listen`; null where it can not be said which they are. */
function subscribed(members: Members): readonly string[] | null {
  const [uris = [], ...others] = select(members, SUBSCRIBED.steps) ?? [null]
  if (!Array.isArray(uris) || others.length > 0) return null
  return uris.every((uri) => typeof uri === 'string') ? uris : null
}

function idOf(id: JsonValue | undefined): string | null {
  return typeof id === 'string' || typeof id === 'number' ? JSON.stringify(id) : null
}

/** SECURITY: what two readers could take for different messages is none. */
function faultOf(members: Members, at: string): McpFault | null {
  for (const name of members.keys()) {
    // MCP has no others, and Go takes "Method" for method.
    if (!MEMBERS.has(name)) return { member: at + step(name), why: 'is no member of a message' }
  }
  if (members.get('jsonrpc') !== '2.0') return { member: `${at}.jsonrpc`, why: 'must be "2.0"' }
  const id = members.get('id')
  // MCP forbids null; past 2^53 a number is not the one that was written.
  if (id !== undefined && typeof id !== 'string' && !Number.isSafeInteger(id))
    return { member: `${at}.id`, why: 'must be a string or an integer' }
  return members.has('method') ? requestFault(members, at) : responseFault(members, at)
}

function requestFault(members: Members, at: string): McpFault | null {
  const method = members.get('method')
  if (typeof method !== 'string') return { member: `${at}.method`, why: 'must be a string' }
  for (const name of ['result', 'error'])
    if (members.has(name)) return { member: `${at}.${name}`, why: 'stands beside a method' }
  const params = members.get('params')
  if (params !== undefined && !(params instanceof Map)) return { member: `${at}.params`, why: 'must be an object' }
  const named = NAMED.get(method)
  if (named !== undefined && namedBy(method, members) === null)
    return { member: at + named.member, why: 'must be there once, as a string' }
  if (method === 'subscriptions/listen' && subscribed(members) === null)
    return { member: at + SUBSCRIBED.member, why: 'must be a list of strings' }
  return null
}

function responseFault(members: Members, at: string): McpFault | null {
  if (members.has('params')) return { member: `${at}.params`, why: 'stands in a response' }
  const result = members.get('result')
  const error = members.get('error')
  if ((result === undefined) === (error === undefined)) return { member: at, why: 'is no request and no one response' }
  if (error === undefined) {
    if (!members.has('id')) return { member: `${at}.id`, why: 'must say what the result is of' }
    return result instanceof Map ? null : { member: `${at}.result`, why: 'must be an object' }
  }
  if (!(error instanceof Map) || !Number.isSafeInteger(error.get('code')) || typeof error.get('message') !== 'string')
    return { member: `${at}.error`, why: 'must have a code and a message' }
  return null
}

function step(name: string): string {
  if (name.length > MAX_NAME) return '["…"]'
  return IDENTIFIER.test(name) ? `.${name}` : `[${JSON.stringify(name)}]`
}
