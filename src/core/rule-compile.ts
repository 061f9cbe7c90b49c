// One rule, compiled: what it matches.

import { compilePathGlob, matchPathGlob, type PathGlob } from './glob.ts'
import { type HostPattern, parseHostPattern } from './host-pattern.ts'
import { compileInspection, type Inspection } from './inspection.ts'
import { parseOriginForm } from './path.ts'
import type { RuleSpec, Subject } from './rule.ts'
import { type Complain, checkRule } from './rule-check.ts'

/** Sets and lists are null where the rule leaves the matter open. */
export interface CompiledRule {
  readonly id: string
  readonly kind: RuleSpec['kind']
  /** Place in the file. */
  readonly order: number
  readonly spec: RuleSpec
  readonly hosts: readonly HostPattern[]
  readonly clients: ReadonlySet<string> | null
  /** Keys of `serviceKeys`. */
  readonly services: ReadonlySet<number> | null
  readonly methods: ReadonlySet<string> | null
  readonly paths: readonly PathGlob[] | null
  /** Taken out of `paths`. */
  readonly notPaths: readonly PathGlob[] | null
  readonly upgrades: ReadonlySet<string> | null
  /** What its requests' bodies are looked at for; null: they are not looked at. */
  readonly inspection: Inspection | null
}

type Scheme = 'http' | 'https'

const DEFAULT_PORT: Readonly<Record<Scheme, number>> = { http: 80, https: 443 }
const MAX_GLOB_LENGTH = 1024
const READ_ONLY: readonly string[] = ['GET', 'HEAD', 'OPTIONS']
/** Where a request goes, as index keys: this port by this scheme, and any port by this scheme. */
export function serviceKeys(scheme: Scheme, port: number): readonly [number, number] {
  const bit = scheme === 'https' ? 1 : 0
  return [port * 2 + bit, -1 - bit]
}

/** The part of a match that is known before a request is: client, scheme and port. The host is the index's matter. */
export function matchesName(rule: CompiledRule, client: string, services: readonly number[]): boolean {
  return matchesClient(rule, client) && matchesService(rule, services)
}

export function matchesClient(rule: CompiledRule, client: string): boolean {
  return rule.clients === null || rule.clients.has(client)
}

export function matchesService({ services }: CompiledRule, keys: readonly number[]): boolean {
  if (services === null) return true
  for (const key of keys) if (services.has(key)) return true
  return false
}

export function matchesMethod(rule: CompiledRule, method: string): boolean {
  if (rule.methods !== null) return rule.methods.has(method)
  // SECURITY: TRACE has an origin send back what it was sent, credentials too (RFC 9110 §9.3.8): only a rule that names it allows it.
  return method !== 'TRACE' || rule.kind !== 'allow'
}

export function matchesPath(rule: CompiledRule, path: string): boolean {
  if (rule.paths === null) return true
  return matchesSome(rule.paths, path) && (rule.notPaths === null || !matchesSome(rule.notPaths, path))
}

function matchesSome(globs: readonly PathGlob[], path: string): boolean {
  for (const glob of globs) if (matchPathGlob(glob, path)) return true
  return false
}

/** SECURITY: %2F is a slash to some servers; a deny rule holds under both readings. */
export function deniedReadings({ path, encodedSlash }: Subject): readonly string[] {
  return encodedSlash ? [path, path.replaceAll('%2F', '/')] : [path]
}

/** A deny rule that names upgrades is for those alone. */
export function deniesUpgrade({ upgrades }: CompiledRule, upgrade: string | null): boolean {
  return upgrades === null || (upgrade !== null && upgrades.has(upgrade))
}

/** Whether the rule looks at what override headers can change behind it. */
export function restricts(rule: CompiledRule): boolean {
  return rule.methods !== null || rule.paths !== null
}

/** All but the host, which is the index's matter, and what a request may carry beside: upgrades, override headers. */
export function matchesRequest(
  rule: CompiledRule,
  subject: Subject,
  services: readonly number[],
  path: string,
): boolean {
  return matchesName(rule, subject.client, services) && matchesMethod(rule, subject.method) && matchesPath(rule, path)
}

/** What is wrong goes to `complain`; a rule with problems is not fit for use. */
export function compileRule(
  spec: RuleSpec,
  order: number,
  clientNames: ReadonlySet<string>,
  complain: Complain,
): CompiledRule {
  const { match } = spec
  checkRule(spec, clientNames, complain)
  const methods = match.access === 'read-only' ? READ_ONLY : match.methods
  return {
    id: spec.id,
    kind: spec.kind,
    order,
    spec,
    hosts: compileHosts(spec, complain),
    clients: setOf(spec.clients),
    services: servicesOf(spec),
    methods: setOf(methods),
    paths: match.paths?.map((text, index) => compilePath(text, index, spec, complain)) ?? null,
    notPaths: match.notPaths?.map(compilePathGlob) ?? null,
    upgrades: setOf(match.upgrade),
    inspection: compileInspection(spec, complain),
  }
}

function setOf<T>(values: readonly T[] | undefined): ReadonlySet<T> | null {
  return values === undefined ? null : new Set(values)
}

function compileHosts({ kind, match }: RuleSpec, complain: Complain): readonly HostPattern[] {
  return match.hosts.flatMap((text, index) => {
    const result = parseHostPattern(text, kind !== 'deny')
    if (result.kind === 'ok') return [result.pattern]
    complain(`${kind}.hosts[${index}]`, result.why, result.fix)
    return []
  })
}

/** Omitted in allow and passthrough: https on its default port. Omitted in deny: everything. */
function servicesOf({ kind, match }: RuleSpec): ReadonlySet<number> | null {
  const { ports } = match
  if (kind === 'deny' && ports === undefined && match.schemes === undefined) return null
  const schemes: readonly Scheme[] = match.schemes ?? (kind === 'deny' ? ['http', 'https'] : ['https'])
  return new Set(
    schemes.flatMap((scheme) => {
      if (ports !== undefined) return ports.map((port) => serviceKeys(scheme, port)[0])
      const [byDefault, anyPort] = serviceKeys(scheme, DEFAULT_PORT[scheme])
      return [kind === 'deny' ? anyPort : byDefault]
    }),
  )
}

function compilePath(text: string, index: number, { kind, match }: RuleSpec, complain: Complain): PathGlob {
  const problem = pathProblem(text, kind === 'allow' && match.encodedSlash !== true)
  if (problem !== null) complain(`${kind}.paths[${index}]`, `${quote(text)}: ${problem[0]}`, problem[1])
  return compilePathGlob(text)
}

/** A glob is held to the form of the paths it is compared with, else it could never match, or not what it seems to. */
function pathProblem(text: string, slashRefused: boolean): readonly [string, string] | null {
  if (text.length > MAX_GLOB_LENGTH) return ['the path is too long', `write at most ${MAX_GLOB_LENGTH} characters`]
  if (!text.startsWith('/')) return ['a path starts with a slash', `write /${text}`]
  if (text.includes('***')) return ['three stars in a row', 'write * within a segment, ** across segments']
  const mark = text.indexOf('?')
  if (mark >= 0) return ['paths are matched without the query', `write ${text.slice(0, mark)}`]
  const target = parseOriginForm(text)
  if (target.kind === 'bad') return [target.why, 'write the path as it stands in a URL, other characters as %XX']
  if (target.path !== text) return ['not the canonical spelling', `write ${target.path}`]
  if (!target.encodedSlash || !slashRefused) return null
  return ['the rule refuses paths with %2F', 'add encoded_slash: allow to the rule, or write the path without']
}

function quote(text: string): string {
  return JSON.stringify(text)
}
