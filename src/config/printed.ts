// The configuration in force as it could be written, and where each value comes from.

import { secretMembers } from './check.ts'
import { DEFAULTS } from './defaults.ts'
import type { Origin } from './load.ts'
import { formatPlace, type Place } from './problem.ts'
import { isReference } from './substitute.ts'

/** `origins`: of each member that is no section, by its place: `default`, a variable's name, or `file`. */
export interface Printed {
  readonly value: Readonly<Record<string, unknown>>
  readonly origins: ReadonlyMap<string, string>
}

type Section = Readonly<Record<string, unknown>>

/** Secrets are shown by their references, or not at all. */
export function printed({ written, value, variables }: Origin): Printed {
  const origins = new Map<string, string>()
  const shown = withoutSecrets(isSection(value) ? value : {}, written, variables)
  const whole = { version: 1, ...filled(shown, DEFAULTS, [], variables, origins) }
  if (written === undefined && !variables.has('version')) origins.set('version', 'default')
  return { value: whole, origins }
}

/** The members of `given`, then those defaults that it has nothing for. */
function filled(
  given: Section,
  defaults: Section,
  place: Place,
  variables: ReadonlyMap<string, string>,
  origins: Map<string, string>,
): Section {
  const result: Record<string, unknown> = {}
  for (const key of new Set([...Object.keys(given), ...Object.keys(defaults)])) {
    const at = [...place, key]
    const own = Object.hasOwn(given, key)
    const value = own ? given[key] : defaults[key]
    // A file that names one door gets no other.
    const below = own && key !== 'listen' ? defaults[key] : own ? {} : defaults[key]
    if (isSection(value)) {
      result[key] = filled(own ? value : {}, isSection(below) ? below : {}, at, variables, origins)
    } else {
      result[key] = value
      origins.set(formatPlace(at), own ? setBy(at, variables) : 'default')
    }
  }
  return result
}

function setBy(place: Place, variables: ReadonlyMap<string, string>): string {
  for (let length = place.length; length > 0; length -= 1) {
    const name = variables.get(formatPlace(place.slice(0, length)))
    if (name !== undefined) return name
  }
  return 'file'
}

/** SECURITY: a secret as written is a reference or came from a variable; what it stands for is never shown. */
function withoutSecrets(value: Section, written: unknown, variables: ReadonlyMap<string, string>): Section {
  let shown: unknown = value
  const references = new Map(secretMembers(written).map(([place, secret]) => [formatPlace(place), secret]))
  for (const [place, secret] of secretMembers(value)) {
    if (secret === undefined || secret === null) continue
    const reference = references.get(formatPlace(place))
    const isShown = typeof reference === 'string' && isReference(reference) && setBy(place, variables) === 'file'
    shown = replaced(shown, place, isShown ? reference : '***')
  }
  return shown as Section
}

function replaced(value: unknown, [step, ...rest]: Place, by: unknown): unknown {
  if (step === undefined) return by
  if (Array.isArray(value))
    return value.map((item: unknown, index) => (index === step ? replaced(item, rest, by) : item))
  return { ...(value as Section), [step]: replaced((value as Section)[step], rest, by) }
}

function isSection(value: unknown): value is Section {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
