// What takes more than one member to judge: references, uniqueness, and whether the rules compile to a policy.

import { ANONYMOUS, compileIdentity, type Identity } from '../core/identity.ts'
import type { Policy } from '../core/policy.ts'
import { compilePolicy } from '../core/policy.ts'
import type { ClientSpec, RuleSpec } from '../core/rule.ts'
import { writtenRuleId } from '../core/rule-id.ts'
import { nearest } from './nearest.ts'
import { type Expanded, expandRules, findingOf, type Origin } from './openapi.ts'
import { items, member } from './plain-data.ts'
import { type Finding, parsePlace, type Place } from './problem.ts'
import { type JwtSettings, type Reading, readProofs } from './proofs.ts'
import { formatListenAddress } from './quantity.ts'
import type { ConfigFile } from './schema.ts'
import { isLiteralSecret } from './schema-audit-sink.ts'
import { isReference } from './substitute.ts'
import { checkShape } from './wording.ts'

/** Of the names that are known, how many one fix lists. */
const MAX_NAMED = 20

/** What the command line adds to a file. */
export interface Overrides {
  /** Hosts to allow: any method and path, https on its default port. */
  readonly allow: readonly string[]
  readonly observe: boolean
}

/** A file that holds: its members with the overrides applied, and what its rules and clients compile to. `origins` go with `rules`. */
export interface Effective {
  readonly file: ConfigFile
  readonly mode: 'enforce' | 'observe'
  readonly clients: readonly ClientSpec[]
  readonly rules: readonly RuleSpec[]
  readonly origins: readonly Origin[]
  readonly policy: Policy
  readonly identity: Identity
  /** Null: no signed token proves anybody. */
  readonly jwt: JwtSettings | null
}

export type Checked =
  | { readonly ok: true; readonly effective: Effective }
  | { readonly ok: false; readonly findings: readonly Finding[] }

/**
 * Checks the value of a file, references replaced, and the files that it names. Where the shape is wrong, what is left of it is checked
 * all the same.
 */
export function checkFile(value: unknown, overrides: Overrides, reading: Reading): Checked {
  const shaped = checkShape(value)
  if (shaped.ok) return checkMeaning(shaped.file, wholeFile(shaped.file), overrides, reading)
  const sound = soundPart(value, shaped.findings)
  const part = checkShape(sound.value)
  const rest = part.ok ? checkMeaning(part.file, sound.names, overrides, reading) : null
  return { ok: false, findings: [...shaped.findings, ...(rest?.ok === false ? rest.findings : [])] }
}

/** Secrets that stand in the file as they are. Takes the value as written. */
export function literalSecrets(written: unknown): Finding[] {
  return secretMembers(written).flatMap(([place, secret]) => {
    if (secret === undefined || secret === null || (typeof secret === 'string' && isReference(secret))) return []
    const fix = 'write ${NAME} and set that variable, or file:PATH; and replace this secret, it has been written down'
    return [{ place, message: 'a secret stands in the file', fix }]
  })
}

/** The environment variables that are secrets of the proxy alone, as the file names them. */
export function withheldVariables(written: unknown): string[] {
  return secretMembers(written).flatMap(([[section], secret]) => {
    if ((section !== 'inject' && section !== 'admin') || typeof secret !== 'string') return []
    return /^\$\{(.+)\}$/.exec(secret)?.[1] ?? []
  })
}

/** Every member whose value is a secret, and that value; undefined where it is not there. */
export function secretMembers(written: unknown): [Place, unknown][] {
  const clients = items(member(written, 'clients')).map((client, index): [Place, unknown] => [
    ['clients', index, 'token'],
    member(client, 'token'),
  ])
  const admin: [Place, unknown] = [['admin', 'token'], member(member(written, 'admin'), 'token')]
  const values = items(member(member(member(written, 'audit'), 'redact'), 'values')).map(
    (secret, index): [Place, unknown] => [['audit', 'redact', 'values', index], secret],
  )
  const secrets = items(member(written, 'secrets')).map((secret, index): [Place, unknown] => [
    ['secrets', index, 'value'],
    member(secret, 'value'),
  ])
  const injected = items(member(written, 'inject')).map((entry, index): [Place, unknown] => [
    ['inject', index, 'value'],
    member(entry, 'value'),
  ])
  return [...clients, admin, ...values, ...secrets, ...injected, ...sinkHeaders(written)]
}

/** Headers of `audit.sinks` that are literal credentials. */
function sinkHeaders(written: unknown): [Place, unknown][] {
  return items(member(member(written, 'audit'), 'sinks')).flatMap((sink, index) => {
    const headers = member(sink, 'headers')
    if (typeof headers !== 'object' || headers === null) return []
    const literal = Object.entries(headers).filter(([field, value]) => isLiteralSecret(field, value))
    return literal.map(([field, value]): [Place, unknown] => [['audit', 'sinks', index, 'headers', field], value])
  })
}

/** Where the entries of a checked part stand in the whole file, and what may be referred to. */
interface Names {
  readonly rules: readonly number[]
  readonly clients: readonly number[]
  readonly tests: readonly number[]
  readonly ruleIds: ReadonlySet<string>
  readonly clientNames: ReadonlySet<string>
}

function wholeFile({ rules = [], clients = [], tests = [] }: ConfigFile): Names {
  return {
    rules: [...rules.keys()],
    clients: [...clients.keys()],
    tests: [...tests.keys()],
    ruleIds: new Set(rules.map(({ id }) => id)),
    clientNames: new Set(clients.map(({ name }) => name)),
  }
}

/**
 * The file without its misshapen rules, clients, tests and sections; names that stood in them stay known. A rule that
 * lacks nothing but a good id is given one, so that the rest of it is looked at.
 */
function soundPart(value: unknown, findings: readonly Finding[]): { value: unknown; names: Names } {
  const faultsOf = (section: string): readonly Finding[] => findings.filter(({ place }) => place[0] === section)
  // Whom a misshapen identity would prove is not known: nobody is blamed for it.
  const isLeft = (client: unknown): boolean =>
    faultsOf('identity').length > 0 && ['source', 'token'].every((way) => member(client, way) === undefined)
  const kept = (section: string): number[] => {
    const faults = faultsOf(section).filter(({ place }) => !isRuleId(place))
    const isFaulty = (index: number): boolean => faults.some(({ place }) => place.length === 1 || place[1] === index)
    const isSound = (entry: unknown, index: number): boolean =>
      !isFaulty(index) && !(section === 'clients' && isLeft(entry))
    return [...items(member(value, section)).entries()].flatMap(([index, entry]) =>
      isSound(entry, index) ? [index] : [],
    )
  }
  const pick = (section: string): unknown[] => kept(section).map((index) => items(member(value, section))[index])
  const unnamed = new Set(faultsOf('rules').flatMap(({ place }) => (isRuleId(place) ? [place[1]] : [])))
  const rules = kept('rules').map((index) => {
    const rule = items(member(value, 'rules'))[index]
    return unnamed.has(index) && typeof rule === 'object' ? { ...rule, id: `rule-${index}-without-id` } : rule
  })
  const sound = (section: string): Record<string, unknown> => {
    const given = faultsOf(section).length > 0 ? undefined : member(value, section)
    return given === undefined ? {} : { [section]: given }
  }
  return {
    value: {
      version: 1,
      ...sound('listen'),
      ...sound('inject'),
      ...sound('identity'),
      clients: pick('clients'),
      rules,
      tests: pick('tests'),
    },
    names: {
      rules: kept('rules'),
      clients: kept('clients'),
      tests: kept('tests'),
      ruleIds: strings(value, 'rules', 'id'),
      clientNames: strings(value, 'clients', 'name'),
    },
  }
}

function isRuleId(place: Place): boolean {
  return place.length === 3 && place[0] === 'rules' && place[2] === 'id'
}

function checkMeaning(file: ConfigFile, names: Names, overrides: Overrides, reading: Reading): Checked {
  const { clients, jwt, findings: unproven } = readProofs(file, names.clients, reading)
  const opened = [...new Set(overrides.allow)]
  const expanded = expandRules(file.rules ?? [], reading.description)
  const rules = [...expanded.rules, ...opened.map(ruleForHost)]
  const mode = overrides.observe ? 'observe' : (file.mode ?? 'enforce')
  const inFile = (finding: Finding): Finding => {
    const [section, index, ...rest] = finding.place
    return { ...finding, place: [section ?? '', names.rules[Number(index)] ?? 0, ...rest] }
  }
  // A client that is left out for its shape is still one that rules may name; its place-holder never serves a request.
  const leftOut = [...names.clientNames].filter((name) => !clients.some((client) => client.name === name))
  const known = [...clients, ...leftOut.map((name) => ({ name, token: name }))]
  const compiled = compilePolicy({ mode, clients: known, rules })
  const policyProblems = compiled.kind === 'ok' ? [] : compiled.problems
  const findings = [
    ...unproven,
    ...policyProblems.flatMap(({ ruleIndex, at, message, fix }) => {
      if (ruleIndex === null) return []
      const origin = expanded.origins[ruleIndex]
      if (origin !== undefined) return [inFile(findingOf(origin, parsePlace(at), message, fix))]
      return [{ place: [`--allow ${opened[ruleIndex - expanded.rules.length]}`], message, fix }]
    }),
    ...expanded.findings.map(inFile),
    ...listenerFindings(file),
    ...dnsFindings(file),
    ...injectFindings(file, names),
    ...testFindings(file, names, expanded),
  ]
  if (findings.length > 0 || compiled.kind === 'bad') return { ok: false, findings }
  const { policy } = compiled
  return {
    ok: true,
    effective: {
      file,
      mode,
      clients,
      rules,
      origins: expanded.origins,
      policy,
      identity: compileIdentity(clients),
      jwt,
    },
  }
}

function ruleForHost(host: string): RuleSpec {
  const id = `allow-${host}`.replaceAll(/[^A-Za-z0-9._-]/g, '_')
  return { id, kind: 'allow', match: { hosts: [host] } }
}

function listenerFindings({ listen }: ConfigFile): Finding[] {
  const taken = new Map<string, string>()
  return Object.entries(listen ?? {}).flatMap(([door, addresses]) =>
    addresses.flatMap((address, index): Finding[] => {
      const text = formatListenAddress(address)
      const owner = taken.get(text)
      if (address.kind === 'unix' || address.port !== 0) taken.set(text, door)
      if (owner === undefined) return []
      return [
        { place: ['listen', door, index], message: `${text} is taken by listen.${owner}`, fix: 'choose another port' },
      ]
    }),
  )
}

function dnsFindings({ listen, dns }: ConfigFile): Finding[] {
  if (dns === undefined) return []
  if (listen?.dns === undefined) {
    const message = 'there is no listener for questions'
    return [{ place: ['dns'], message, fix: 'add listen: { dns: 127.0.0.1:15053 }, or remove dns' }]
  }
  if (dns.answers !== 'resolved' || listen.gateway === undefined || listen.transparent !== undefined) return []
  const message = 'clients that are told the addresses of a name pass listen.gateway by'
  return [{ place: ['dns', 'answers'], message, fix: 'write answers: own, or add listen.transparent' }]
}

function injectFindings({ inject = [] }: ConfigFile, { clientNames }: Names): Finding[] {
  return inject.flatMap(({ clients }, index) =>
    (clients ?? []).flatMap((name, at): Finding[] => {
      const isKnown = name === ANONYMOUS || clientNames.has(name)
      return isKnown ? [] : [unknownName(['inject', index, 'clients', at], 'client', name, clientNames)]
    }),
  )
}

function testFindings({ tests = [] }: ConfigFile, names: Names, expanded: Expanded): Finding[] {
  const made = new Set(expanded.rules.map(({ id }) => id))
  return tests.flatMap(({ client, rule }, position): Finding[] => {
    const found: Finding[] = []
    const index = names.tests[position] ?? position
    const name = typeof client === 'string' ? client : client?.name
    const isKnown = name === undefined || name === ANONYMOUS || names.clientNames.has(name)
    if (!isKnown) found.push(unknownName(['tests', index, 'client'], 'client', name, names.clientNames))
    // Which operations there are is known only where no description is at fault.
    const isUnsure = rule !== undefined && names.ruleIds.has(writtenRuleId(rule)) && expanded.findings.length > 0
    if (rule !== undefined && !names.ruleIds.has(rule) && !made.has(rule) && !isUnsure) {
      found.push(unknownRule(['tests', index, 'rule'], rule, names.ruleIds, made))
    }
    return found
  })
}

function unknownRule(place: Place, id: string, written: ReadonlySet<string>, made: ReadonlySet<string>): Finding {
  const finding = unknownName(place, 'rule', id, written)
  const near = written.has(writtenRuleId(id)) ? nearest(id, made) : []
  return near.length === 0 ? finding : { ...finding, fix: `did you mean ${near.join(' or ')}?` }
}

function unknownName(place: Place, what: string, name: string, known: ReadonlySet<string>): Finding {
  const more = known.size > MAX_NAMED ? `, and ${known.size - MAX_NAMED} more` : ''
  const fix = known.size === 0 ? `add it to ${what}s` : `known: ${[...known].slice(0, MAX_NAMED).join(', ')}${more}`
  return { place, message: `no ${what} is named ${JSON.stringify(name)}`, fix }
}

function strings(value: unknown, section: string, key: string): Set<string> {
  const found = items(member(value, section)).map((item) => member(item, key))
  return new Set(found.filter((item) => typeof item === 'string'))
}
