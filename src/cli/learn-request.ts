// What one recorded request has to teach: the rule that would allow it and nothing else, or why it is left out.

import type { TrailRecord } from '../audit/read.ts'
import { formatHost, type Host, parseServerName } from '../core/address.ts'
import { parseOriginForm } from '../core/path.ts'
import { type PathTemplate, templateOf } from '../core/path-template.ts'
import { REFUSALS } from '../core/refusal.ts'
import { clientName, member } from './audit-text.ts'

/** Who asked whom. `host` as a rule has it. */
export interface Asked {
  readonly client: string
  /** Address of the client, null for a Unix socket. */
  readonly source: string | null
  readonly scheme: 'http' | 'https'
  readonly host: Host
  readonly port: number
  /** When it was decided, as the trail writes it. */
  readonly at: string
}

export interface LearnedRequest extends Asked {
  readonly kind: 'request'
  readonly method: string
  readonly template: PathTemplate
  readonly encodedSlash: boolean
  /** It became a WebSocket, or was to. */
  readonly upgrade: boolean
  /** It was refused and never left. */
  readonly refused: boolean
  /** The messages of MCP in it, as recorded; undefined where none are. None are allowed by another method than POST. */
  readonly mcp: unknown
}

/** A connection that was spliced: of the requests in it nothing is known. */
export interface LearnedPassthrough extends Asked {
  readonly kind: 'passthrough'
}

export type Learned = LearnedRequest | LearnedPassthrough | { readonly kind: 'left-out'; readonly why: string }

/** What observe mode forwarded and an allow rule could have allowed; of paths only those are forwarded whose one fault is a %2F. */
const LEARNABLE: ReadonlySet<unknown> = new Set(['no_matching_rule', 'upgrade_denied', 'path_not_canonical'])
/** As the schema has names (config/schema-part.ts). */
const NAME = /^[A-Za-z0-9._-]{1,64}$/
const MAX_PORT = 65_535
const SWITCHED = 101

const leftOut = (why: string): { readonly kind: 'left-out'; readonly why: string } => ({ kind: 'left-out', why })

/** `completed`: its end, null where the trail has none. `refused`: what no rule allowed is taken too. */
export function learnedFrom(decided: TrailRecord, completed: TrailRecord | null, refused: boolean): Learned {
  const fate = fateOf(decided, completed, refused)
  if (fate !== 'forwarded' && fate !== 'refused') return leftOut(fate)
  const asked = askedOf(decided)
  if (typeof asked === 'string') return leftOut(asked)
  const { method, path } = decided
  if (isCut(decided)) return leftOut('cut in the trail')
  if (typeof method !== 'string') {
    return fate === 'forwarded' ? { kind: 'passthrough', ...asked } : leftOut('refused before it was a request')
  }
  if (path === '*') return leftOut('about the origin itself (OPTIONS *), which no path of a rule matches')
  if (typeof path !== 'string') return leftOut('refused before it was a request')
  const target = parseOriginForm(path)
  if (target.kind === 'bad' || target.query !== null) return leftOut('of a path with more than one reading')
  const template = templateOf(target.path)
  if (template === null) return leftOut('of a path with a * in it, which a rule can not tell from a wildcard')
  return {
    kind: 'request',
    ...asked,
    method,
    template,
    encodedSlash: target.encodedSlash,
    upgrade: completed?.['status'] === SWITCHED || decided['reason'] === 'upgrade_denied',
    refused: fate === 'refused',
    mcp: method === 'POST' ? decided['mcp'] : undefined,
  }
}

/** SECURITY: what was refused is what an attacker tried: it becomes a rule only where that is asked for. */
function fateOf(decided: TrailRecord, completed: TrailRecord | null, refused: boolean): string {
  const { decision, enforced } = decided
  const reason = reasonOf(decided)
  if (decision === 'allow') return 'forwarded'
  if (enforced !== false) {
    if (reason !== 'no_matching_rule') return `refused, never left: ${reason}`
    return refused ? 'refused' : `refused, never left: ${reason} (--refused proposes rules for them)`
  }
  if (reason === 'denied_by_rule') return 'denied by a rule on purpose, forwarded by observe mode'
  if (!LEARNABLE.has(reason)) return `forwarded by observe mode in spite of ${reason}`
  if (completed?.['outcome'] !== 'refused') return 'forwarded'
  return `refused on the way out: ${reasonOf(completed)}`
}

/** One of the closed list, whatever a trail says. */
function reasonOf({ reason }: TrailRecord): string {
  return typeof reason === 'string' && Object.hasOwn(REFUSALS, reason) ? reason : 'no known reason'
}

function askedOf(decided: TrailRecord): Asked | string {
  const { scheme, port, timestamp } = decided
  const client = clientName(decided)
  const source = member(decided, 'client', 'source')
  if (typeof client !== 'string' || !NAME.test(client)) return 'of a client without a proper name'
  const host = typeof decided['host'] === 'string' ? parseServerName(decided['host']) : null
  if (host === null) return 'without a proper host'
  if (scheme !== 'http' && scheme !== 'https') return 'neither http nor https'
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > MAX_PORT) return 'without a port'
  return {
    client,
    source: typeof source === 'string' ? source : null,
    scheme,
    host,
    port,
    at: typeof timestamp === 'string' ? timestamp : '',
  }
}

/** A piece of a path is another path. */
function isCut({ truncated }: TrailRecord): boolean {
  return Array.isArray(truncated) && ['path', 'method', 'host', 'client'].some((name) => truncated.includes(name))
}

/** The host as a rule has it, IPv6 in brackets. */
export function hostOf({ host }: Pick<Asked, 'host'>): string {
  return formatHost(host)
}
