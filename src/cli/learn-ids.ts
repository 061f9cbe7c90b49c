// Ids of learned rules: short, from client, host and verb, the same for the same traffic.

import { ANONYMOUS } from '../core/identity.ts'
import type { LearnedPassthrough } from './learn-request.ts'

type Origin = Pick<LearnedPassthrough, 'client' | 'host' | 'scheme' | 'port'>

export const DEFAULT_PORT: Readonly<Record<'http' | 'https', number>> = { http: 80, https: 443 }

/** As the schema has names (config/schema-part.ts). */
const MAX_ID = 64
/** Left for the number behind an id that another rule has too. */
const MAX_NUMBER = 5
const MAX_VERB = 32
const NOT_OF_AN_ID = /[^A-Za-z0-9]+/g
const READ_ONLY: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/** `verb`: what the rule is for, as in `read`. */
export function ruleId({ client, host, scheme, port }: Origin, verb: string, taken: Set<string>): string {
  const parts = [host.text]
  if (client !== ANONYMOUS) parts.unshift(client)
  if (scheme === 'http') parts.push(scheme)
  if (port !== DEFAULT_PORT[scheme]) parts.push(String(port))
  const end = `-${verb}`.replaceAll(NOT_OF_AN_ID, '-').slice(0, MAX_VERB)
  const start = parts.join('-').replaceAll(NOT_OF_AN_ID, '-')
  const base = `${start.slice(0, MAX_ID - MAX_NUMBER - end.length)}${end}`
  let id = base
  for (let number = 2; taken.has(id); number += 1) id = `${base}-${number}`
  taken.add(id)
  return id
}

/** What a rule for these methods is for. */
export function verbOf(methods: readonly string[]): string {
  const [only, ...others] = methods
  if (others.length === 0 && only !== undefined && only !== 'GET') return only.toLowerCase()
  return methods.every((method) => READ_ONLY.has(method)) ? 'read' : 'write'
}
