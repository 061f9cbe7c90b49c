// The clients and addresses that a learned policy has to name: who was seen from where, and which addresses that are denied by default were reached.

import type { TrailRecord } from '../audit/read.ts'
import { addressBytes, hostFromAddress } from '../core/address.ts'
import { classifyAddress } from '../core/address-class.ts'
import { ANONYMOUS } from '../core/identity.ts'
import type { ClientSpec } from '../core/rule.ts'
import { clientName, member } from './audit-text.ts'
import type { Asked } from './learn-request.ts'

export interface Addresses {
  /** Names of all who asked, by the address they asked from. */
  readonly sources: Map<string, Set<string>>
  /** Clients who were seen without an address, or from one that there was no room for. */
  readonly unplaced: Set<string>
  /** Addresses that are denied by default and were dialled for requests in a rule. */
  readonly reached: Set<string>
  /** More of them than there is room for. */
  overflow: boolean
}

const MAX_SOURCES = 4_096
const MAX_NAMES_OF_A_SOURCE = 64
const MAX_REACHED = 256

export function noAddresses(): Addresses {
  return { sources: new Map(), unplaced: new Set(), reached: new Set(), overflow: false }
}

/**
 * Of every record, whatever becomes of it. SECURITY: an address from which somebody else asked too, `anonymous` among them, identifies
 * nobody: made the source of a client, it would hand that client's rules to the others.
 */
export function noteSource({ sources, unplaced }: Addresses, decided: TrailRecord): void {
  const name = clientName(decided)
  const source = canonical(member(decided, 'client', 'source'))
  if (typeof name !== 'string') return
  const names = source === null ? undefined : sources.get(source)
  if (names !== undefined && names.size < MAX_NAMES_OF_A_SOURCE) names.add(name)
  else if (names === undefined && source !== null && sources.size < MAX_SOURCES) sources.set(source, new Set([name]))
  else if (names?.has(name) !== true && unplaced.size < MAX_SOURCES) unplaced.add(name)
}

/** `completed`: the end of a request that is in a rule. */
export function noteReached(addresses: Addresses, { host }: Asked, completed: TrailRecord | null): void {
  const dialled = completed?.['upstream_address']
  const authority = typeof dialled === 'string' ? dialled.replace(/:[0-9]+$/, '').replaceAll(/[[\]]/g, '') : null
  for (const text of [host.kind === 'name' ? null : host.text, authority]) {
    const address = canonical(text)
    // Public ones need no permission, metadata services get none.
    if (address === null || ['public', 'metadata'].includes(classifyAddress(address))) continue
    if (addresses.reached.size < MAX_REACHED) addresses.reached.add(address)
    else addresses.overflow ||= !addresses.reached.has(address)
  }
}

/** Null for what is no address. */
function canonical(text: unknown): string | null {
  if (typeof text !== 'string') return null
  const zone = text.indexOf('%')
  const address = zone < 0 ? text : text.slice(0, zone)
  return addressBytes(address) === null ? null : hostFromAddress(address).text
}

/**
 * The clients as a configuration has them, `known` being there already. By their addresses where these are their own; where not, by a token
 * that stands in the environment.
 */
export function clientsOf(names: Iterable<string>, seen: Addresses, known: readonly ClientSpec[]): ClientSpec[] {
  const taken = new Set(known.flatMap(({ source = [] }) => source))
  const variables = new Set<string>()
  return [...new Set(names)]
    .filter((name) => name !== ANONYMOUS && !known.some((client) => client.name === name))
    .sort()
    .map((name) => {
      const all = [...seen.sources].filter(([, who]) => who.has(name))
      const own = all.every(([source, who]) => who.size === 1 && !taken.has(source)) && !seen.unplaced.has(name)
      if (own && all.length > 0) return { name, source: all.map(([source]) => source).sort() }
      return { name, token: `\${${variableFor(name, variables)}}` }
    })
}

function variableFor(name: string, taken: Set<string>): string {
  const base = `${/^[0-9]/.test(name) ? 'CLIENT_' : ''}${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}_TOKEN`
  let variable = base
  for (let number = 2; taken.has(variable); number += 1) variable = `${base}_${number}`
  taken.add(variable)
  return variable
}
