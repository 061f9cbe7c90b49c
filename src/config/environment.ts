// Settings from the environment: `MCP_EGRESS_AUDIT_PATH` is the `path` of `audit`, over what the file says.

import { configJsonSchema } from './json-schema.ts'
import { nearest } from './nearest.ts'
import { type Finding, formatPlace, type Place } from './problem.ts'
import { parseSource } from './source.ts'

/** `origins`: the variable, by the place as `formatPlace` writes it. */
export interface Overlaid {
  readonly value: unknown
  readonly findings: readonly Finding[]
  readonly origins: ReadonlyMap<string, string>
}

const PREFIX = 'MCP_EGRESS_'
/** Ours, and no settings of the file. */
const OTHERS = /^MCP_EGRESS_(?:LOG_LEVEL|(?:TEST|BENCH)_.*)$/
/** What Kubernetes tells of a Service that is called mcp-egress. */
const SERVICE =
  /^MCP_EGRESS_(?:[A-Z0-9_]+_)?(?:SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)|PORT(?:_[0-9]+_(?:TCP|UDP)(?:_[A-Z]+)?)?)$/

interface Shape {
  readonly properties?: Readonly<Record<string, Shape>>
}

/** Every member of the file that is no part of a list, by its variable: the deepest ones, and whole sections. */
export function settings(): ReadonlyMap<string, Place> {
  const found = new Map<string, Place>()
  const walk = ({ properties = {} }: Shape, place: Place): void => {
    for (const [key, shape] of Object.entries(properties)) {
      found.set(variableOf([...place, key]), [...place, key])
      walk(shape, [...place, key])
    }
  }
  walk(configJsonSchema(), [])
  return found
}

export function variableOf(place: Place): string {
  return `${PREFIX}${place.join('_').toUpperCase()}`
}

/**
 * A copy of `value` with the settings of `env` in it, whole sections before their parts. A value is YAML: a word, or a list or section as
 * `[a, b]` and `{ a: b }`. It is taken as it is: `${NAME}` in it is not replaced.
 */
export function overlayEnvironment(value: unknown, env: Readonly<Record<string, string | undefined>>): Overlaid {
  const given = Object.keys(env).filter((name) => name.startsWith(PREFIX) && !OTHERS.test(name) && !SERVICE.test(name))
  const findings: Finding[] = []
  const origins = new Map<string, string>()
  if (given.length === 0) return { value, findings, origins }
  const known = settings()
  let overlaid = value
  for (const name of given.sort()) {
    const place = known.get(name)
    if (place === undefined) {
      const names = [...known.keys()].map((variable) => variable.slice(PREFIX.length))
      const [near] = nearest(name.slice(PREFIX.length), names)
      const fix = near === undefined ? 'unset it' : `unset it, or write ${PREFIX}${near}`
      findings.push({ place: [name], message: 'the environment variable names no setting', fix })
      continue
    }
    origins.set(formatPlace(place), name)
    const { value: written, problems } = parseSource(env[name] ?? '')
    findings.push(...problems.map(({ message, fix }) => ({ place: [name], message, fix })))
    if (problems.length === 0) overlaid = withMember(overlaid, place, written)
  }
  return { value: overlaid, findings, origins }
}

function withMember(value: unknown, [step, ...rest]: Place, member: unknown): unknown {
  if (step === undefined) return member
  const members = typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {}
  const inner = Object.hasOwn(members, step) ? (members as Record<string, unknown>)[step] : undefined
  return { ...members, [step]: withMember(inner, rest, member) }
}
