// What a rule allows of MCP (Streamable HTTP): methods, tools, resources, and how often.

import type { ReadBody } from './body.ts'
import type { BodyFailure, Inspected } from './body-failure.ts'
import { compileValueGlob, matchValueGlob, type ValueGlob } from './glob.ts'
import { contradicted } from './mcp-fields.ts'
import { type McpFault, type McpMessage, type ReadMessage, readMessages } from './mcp-message.ts'
import type { McpSpec, MethodRate } from './rule.ts'
import type { Complain } from './rule-check.ts'

export type { McpMessage } from './mcp-message.ts'

/** Lists are null where any will do. */
export interface CompiledMcp {
  readonly methods: readonly ValueGlob[]
  readonly tools: readonly ValueGlob[] | null
  readonly resources: readonly ValueGlob[] | null
  readonly rates: ReadonlyMap<string, MethodRate>
}

/** Without these no session comes about or goes on, in one revision or another; none of them calls anything. */
export const SESSION_METHODS: readonly string[] = [
  'initialize',
  'server/discover',
  'ping',
  'logging/setLevel',
  'subscriptions/listen',
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
]
export const TOOL_METHODS: readonly string[] = ['tools/call']
export const RESOURCE_METHODS: readonly string[] = ['resources/read', 'resources/subscribe', 'resources/unsubscribe']
/** Allowed beside tools and resources where a rule leaves its methods open. */
const TOOL_LISTS: readonly string[] = ['tools/list']
const RESOURCE_LISTS: readonly string[] = ['resources/list', 'resources/templates/list']

const KNOWN_METHODS: ReadonlyMap<string, string> = new Map(
  [
    ...SESSION_METHODS,
    ...TOOL_METHODS,
    ...RESOURCE_METHODS,
    ...TOOL_LISTS,
    ...RESOURCE_LISTS,
    'prompts/list',
    'prompts/get',
    'completion/complete',
    'tasks/get',
    'tasks/list',
    'tasks/result',
    'tasks/update',
    'tasks/cancel',
  ].map((method) => [method.toLowerCase(), method]),
)
const MAX_GLOB_LENGTH = 1024
/** Dot segments in any number of escapes, and what some readers of URLs take for a slash or leave out (WHATWG URL §4.4). */
const AMBIGUOUS_URI = /\.\.|%(?:25)*2e|[\0-\x20\x7f\\]/i
/** The event stream, and the end of a session, have no message; OPTIONS and HEAD have none anywhere. */
const WITHOUT_MESSAGE: ReadonlySet<string> = new Set(['GET', 'DELETE', 'HEAD', 'OPTIONS'])
const NO_FLAGS: readonly string[] = []
/** A longer one is not repeated in a flag, or it could be cut within a secret. */
const MAX_NAME = 256

export function compileMcp(spec: McpSpec, complain: Complain): CompiledMcp {
  const { methods, tools, resources, rates = [] } = spec
  methods?.forEach((method, index) => checkMethod(method, `mcp.methods[${index}]`, complain))
  for (const [name, globs] of [['methods', methods] as const, ['tools', tools] as const])
    globs?.forEach((glob, index) => checkLength(glob, `mcp.${name}[${index}]`, complain))
  resources?.forEach((uri, index) => checkUri(uri, `mcp.resources[${index}]`, complain))
  const compiled: CompiledMcp = {
    methods: methodsOf(spec).map(compileValueGlob),
    tools: tools?.map(compileValueGlob) ?? null,
    resources: resources?.map(compileValueGlob) ?? null,
    rates: new Map(rates.map((each) => [each.method, each])),
  }
  for (const { method } of rates) {
    if (matchesAny(compiled.methods, method)) continue
    complain(
      'mcp.rates',
      `no message of ${quote(method)} is allowed`,
      `add ${method} to mcp.methods, or remove its rate`,
    )
  }
  return compiled
}

function methodsOf({ methods, tools, resources }: McpSpec): readonly string[] {
  const called = [...(tools === undefined ? [] : TOOL_METHODS), ...(resources === undefined ? [] : RESOURCE_METHODS)]
  const listed = [...(tools === undefined ? [] : TOOL_LISTS), ...(resources === undefined ? [] : RESOURCE_LISTS)]
  return [...SESSION_METHODS, ...called, ...(methods ?? listed)]
}

function checkMethod(method: string, at: string, complain: Complain): void {
  const known = KNOWN_METHODS.get(method.toLowerCase())
  if (known !== undefined && known !== method) complain(at, 'methods are case-sensitive', `write ${known}`)
}

function checkLength(glob: string, at: string, complain: Complain): void {
  if (glob.length > MAX_GLOB_LENGTH) complain(at, 'the glob is too long', `write at most ${MAX_GLOB_LENGTH} characters`)
}

function checkUri(glob: string, at: string, complain: Complain): void {
  checkLength(glob, at, complain)
  if (AMBIGUOUS_URI.test(glob))
    complain(at, `${quote(glob)} matches nothing`, 'write it without .., %2e, \\, blanks and control characters')
}

/** The messages that the body holds, whatever is wrong with them; null: it holds none. */
export function recognizeMcp(read: ReadBody): readonly McpMessage[] | null {
  if (read.kind === 'bad' || read.content.kind !== 'json') return null
  const { messages } = readMessages(read.content.value)
  const found = messages.filter(({ message, fault }) => fault === null || message.method !== null)
  return found.length === 0 ? null : found.map(({ message }) => message)
}

/** Each message of a batch has to be allowed. Responses are: what a server asked for, they carry. */
export function mcpFailure(mcp: CompiledMcp, inspected: Inspected): BodyFailure | null {
  const { subject, empty, read } = inspected
  if (empty) {
    if (WITHOUT_MESSAGE.has(subject.method)) return null
    return { why: 'the request has no message of MCP', flags: NO_FLAGS }
  }
  if (subject.method !== 'POST') return { why: 'messages of MCP are sent by POST', flags: NO_FLAGS }
  if (read.kind === 'bad') return { why: read.why, flags: NO_FLAGS }
  if (read.content.kind !== 'json') return { why: 'messages of MCP are JSON', flags: NO_FLAGS }
  const { messages, fault } = readMessages(read.content.value)
  const failures = fault === null ? [] : [ofFault(fault)]
  for (const message of messages) {
    const failure = messageFailure(mcp, message, inspected)
    if (failure !== null) failures.push(failure)
  }
  const [first] = failures
  return first === undefined ? null : { why: first.why, flags: [...new Set(failures.map(({ flag }) => flag))] }
}

interface MessageFailure {
  readonly why: string
  readonly flag: string
}

function ofFault({ member, why }: McpFault): MessageFailure {
  return { why: `${member} ${why}`, flag: `body_rule:${member}` }
}

function messageFailure(mcp: CompiledMcp, read: ReadMessage, { mcpFields }: Inspected): MessageFailure | null {
  if (read.fault !== null) return ofFault(read.fault)
  const field = mcpFields === undefined ? null : contradicted(mcpFields, read)
  if (field !== null) return { why: `the field ${field} names another call than the message`, flag: flagOf(field) }
  const { method, tool, resources } = read.message
  if (method === null) return null
  if (!matchesAny(mcp.methods, method)) return methodFailure(read.message, method)
  if (tool !== null && mcp.tools !== null && !matchesAny(mcp.tools, tool)) return toolFailure(tool)
  return resourceFailure(mcp, method, resources)
}

/** What is missing, where the rule would need the least of it: a tool or a resource brings its method along. */
function methodFailure({ tool, resources }: McpMessage, method: string): MessageFailure {
  if (tool !== null) return toolFailure(tool)
  const [uri] = resources
  if (uri !== undefined) return unnamed(method, uri)
  return { why: `add ${method} to its mcp.methods`, flag: flagOf(method) }
}

function toolFailure(tool: string): MessageFailure {
  return { why: `add ${tool} to its mcp.tools`, flag: flagOf('tools/call', tool) }
}

function unnamed(method: string, uri: string): MessageFailure {
  return { why: `add ${uri} to its mcp.resources`, flag: flagOf(method, uri) }
}

function resourceFailure(mcp: CompiledMcp, method: string, uris: readonly string[]): MessageFailure | null {
  // Whoever may listen may not by that subscribe to any resource there is.
  const any = method !== 'subscriptions/listen' || matchesAny(mcp.methods, 'resources/subscribe')
  for (const uri of uris) {
    if (mcp.resources === null && any) return null
    if (mcp.resources === null || !matchesAny(mcp.resources, uri)) return unnamed(method, uri)
    // SECURITY: file:///docs/../etc matches file:///docs/* and is another file.
    if (AMBIGUOUS_URI.test(uri)) return { why: `${uri} can be read as another URI`, flag: flagOf(method, uri) }
  }
  return null
}

function flagOf(...names: readonly string[]): string {
  return ['body_rule:mcp', ...names.filter(({ length }) => length <= MAX_NAME)].join(':')
}

/** One for each message whose method has a rate of its own. */
export function methodRates(mcp: CompiledMcp | null, messages: readonly McpMessage[] | null): readonly MethodRate[] {
  if (mcp === null || messages === null || mcp.rates.size === 0) return []
  return messages.flatMap(({ method }) => mcp.rates.get(method ?? '') ?? [])
}

function matchesAny(globs: readonly ValueGlob[], value: string): boolean {
  return globs.some((glob) => matchValueGlob(glob, value))
}

function quote(text: string): string {
  return JSON.stringify(text)
}
