// What is wrong with one rule as written: everything but its hosts, paths and body conditions, which their parsers judge.

import type { RuleSpec } from './rule.ts'

/** `ruleIndex`: null for what is wrong with `clients`. `at`: the place within, as in `allow.hosts[0]`. `fix`: what to do. */
export interface PolicyProblem {
  readonly ruleIndex: number | null
  readonly at: string
  readonly message: string
  readonly fix: string
}

/** Takes one problem of the rule at hand: the place, what is wrong, what to do. */
export type Complain = (at: string, message: string, fix: string) => void

const MAX_PORT = 65_535
/** Keeps the arithmetic of token buckets exact. */
const MAX_RATE = 1_000_000_000
/** Methods of RFC 9110 §9.3 and RFC 5789: in any other case they are another method, and always a slip. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'])
/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

export function checkRule(spec: RuleSpec, clientNames: ReadonlySet<string>, complain: Complain): void {
  const { kind, match } = spec
  if (spec.id === '') complain('id', 'the rule has no id', 'give it a short name of its own')
  spec.clients?.forEach((name, index) => {
    if (clientNames.has(name)) return
    complain(`clients[${index}]`, `no client is named ${quote(name)}`, 'add it to clients, or correct the name')
  })
  if (match.methods !== undefined && match.access !== undefined) {
    complain(`${kind}.access`, 'methods and access say the same thing twice', 'remove one of them')
  }
  match.methods?.forEach((method, index) => checkMethod(method, `${kind}.methods[${index}]`, complain))
  match.ports?.forEach((port, index) => {
    if (Number.isInteger(port) && port >= 1 && port <= MAX_PORT) return
    complain(`${kind}.ports[${index}]`, `${port} is not a port`, `write a whole number from 1 to ${MAX_PORT}`)
  })
  match.upgrade?.forEach((token, index) => {
    if (TOKEN.test(token) && token === token.toLowerCase()) return
    complain(`${kind}.upgrade[${index}]`, `${quote(token)} is not a lower-case token`, 'write it as in websocket')
  })
  checkLists(spec, complain)
  checkKind(spec, complain)
  checkCounts(spec, complain)
}

function checkLists({ kind, match, clients, body, mcp, graphql }: RuleSpec, complain: Complain): void {
  const lists: readonly (readonly [string, readonly unknown[] | undefined])[] = [
    ['clients', clients],
    [`${kind}.hosts`, match.hosts],
    [`${kind}.methods`, match.methods],
    [`${kind}.paths`, match.paths],
    [`${kind}.schemes`, match.schemes],
    [`${kind}.ports`, match.ports],
    [`${kind}.upgrade`, match.upgrade],
    ['mcp.methods', mcp?.methods],
    ['mcp.tools', mcp?.tools],
    ['mcp.resources', mcp?.resources],
    ['graphql.operations', graphql?.operations],
    ['graphql.names', graphql?.names],
    ['graphql.fields', graphql?.fields],
    ['body.json', body?.json],
    ['body.form', body?.form],
    ['body.multipart', body?.multipart],
  ]
  for (const [at, list] of lists) {
    if (list?.length === 0) complain(at, 'an empty list matches nothing', 'name at least one, or remove the rule')
  }
}

/** What only rules of another kind can keep is refused, so that nobody relies on it. */
function checkKind(
  { kind, match, body, mcp, graphql, shape, rate, limits, audit }: RuleSpec,
  complain: Complain,
): void {
  const refuse = (at: string, set: boolean, why: string): void => {
    if (set) complain(at, why, 'remove it')
  }
  const passes = kind === 'passthrough'
  if (kind === 'allow') return
  refuse('body', body !== undefined, 'only allow rules have body conditions')
  refuse('mcp', mcp !== undefined, 'only allow rules look at messages of MCP')
  refuse('graphql', graphql !== undefined, 'only allow rules look at operations of GraphQL')
  refuse('shape', shape !== undefined, 'only allow rules look at the shape of bodies')
  refuse('rate', rate !== undefined, 'only allow rules have a rate')
  refuse('limits', limits !== undefined, 'only allow rules have limits')
  refuse(`${kind}.encoded_slash`, match.encodedSlash === true, 'only allow rules open paths with %2F')
  refuse('audit', audit === 'body', 'only what is allowed has its bodies recorded')
  const unseen = 'passthrough never sees a request, only the name of the host'
  refuse('audit', passes && audit === 'headers', unseen)
  refuse('passthrough.methods', passes && match.methods !== undefined, unseen)
  refuse('passthrough.access', passes && match.access !== undefined, unseen)
  refuse('passthrough.paths', passes && match.paths !== undefined, unseen)
  refuse('passthrough.upgrade', passes && match.upgrade !== undefined, unseen)
  refuse('passthrough.schemes', passes && match.schemes?.includes('http') === true, 'passthrough is for TLS only')
}

function checkCounts({ rate, limits, mcp }: RuleSpec, complain: Complain): void {
  const check = (at: string, value: number | null | undefined, least: number, most: number): void => {
    if (value === undefined || value === null || (Number.isInteger(value) && value >= least && value <= most)) return
    complain(at, `${value} is out of range`, `write a whole number from ${least} to ${most}`)
  }
  check('rate.requests', rate?.requests, 1, MAX_RATE)
  check('rate.burst', rate?.burst, 1, MAX_RATE)
  for (const { rate: own } of mcp?.rates ?? []) {
    check('mcp.rates', own.requests, 1, MAX_RATE)
    check('mcp.rates', own.burst, 1, MAX_RATE)
  }
  check('limits.request_bytes', limits?.requestBytes, 0, Number.MAX_SAFE_INTEGER)
  check('limits.response_bytes', limits?.responseBytes, 0, Number.MAX_SAFE_INTEGER)
}

function checkMethod(method: string, at: string, complain: Complain): void {
  const upper = method.toUpperCase()
  if (!TOKEN.test(method)) complain(at, `${quote(method)} is not a method`, 'write it as in GET')
  else if (method !== upper && METHODS.has(upper)) complain(at, 'methods are case-sensitive', `write ${upper}`)
}

function quote(text: string): string {
  return JSON.stringify(text)
}
