// Whether what an earlier policy let in still stands under the one in force: asked anew of everything that is open.

import type { Host } from './address.ts'
import { type AddressPolicy, judgeAddress } from './address-class.ts'
import { type Identity, identify } from './identity.ts'
import { demandsBy } from './inspection.ts'
import { couldAllow, decide, type Policy, passthroughRule } from './policy.ts'
import type { Demand, Permit, Subject } from './rule.ts'

/** The parts of a configuration that decide. In observe mode nothing is taken back. */
export interface Grounds {
  readonly policy: Policy
  readonly identity: Identity
  readonly addresses: AddressPolicy
}

/** Who asked: the peer's address and the proxy credentials it showed, null where there are none. */
export interface Asker {
  readonly source: string | null
  readonly credentials: string | null
}

/** Who asks, and for which destination; `scheme` null: either. */
export interface Route {
  readonly asker: Asker
  readonly scheme: 'http' | 'https' | null
  readonly host: Host
  readonly port: number
}

/** A permitted request. `address`: `address:port` that it went out to, null before it did. */
export interface Underway {
  readonly asker: Asker
  readonly subject: Subject
  readonly held: readonly Demand[]
  readonly address: string | null
}

/** The demands that the body was seen to meet when `policy` gave `permit`. */
export function heldDemands(policy: Policy, permit: Permit): readonly Demand[] {
  const rule = permit.rule === null ? undefined : policy.rules.get(permit.rule)
  return demandsBy(rule?.inspection)
}

/**
 * Whether the request, asked now by whoever the asker is now, would be permitted. Its body is gone by then: a rule that
 * makes demands of it permits it only if each of them is one that was met.
 */
export function permitsStill(grounds: Grounds, { asker, subject, held, address }: Underway): boolean {
  const { policy } = grounds
  if (policy.mode === 'observe') return true
  const client = clientNow(grounds, asker)
  if (client === null || !mayReach(grounds, address)) return false
  const verdict = decide(policy, { ...subject, client })
  if (verdict.kind !== 'needs-body') return verdict.kind === 'permit'
  const known = new Set(held.map((demand) => JSON.stringify(demand)))
  return verdict.candidates.some(({ demands }) => demands.every((wanted) => known.has(JSON.stringify(wanted))))
}

/** Whether the connection may still be passed through undecrypted; `address` as in `Underway`. */
export function passesStill(grounds: Grounds, { asker, host, port }: Route, address: string | null): boolean {
  const { policy } = grounds
  if (policy.mode === 'observe') return true
  const client = clientNow(grounds, asker)
  return client !== null && mayReach(grounds, address) && passthroughRule(policy, { client, host, port }) !== null
}

/** Whether some request on the route could be allowed: a connection on which none could has no use. */
export function couldPermit(grounds: Grounds, { asker, ...name }: Route): boolean {
  if (grounds.policy.mode === 'observe') return true
  const client = clientNow(grounds, asker)
  return client !== null && couldAllow(grounds.policy, { ...name, client })
}

/** Null: the credentials are nobody's any more. */
function clientNow({ identity }: Grounds, asker: Asker): string | null {
  const found = identify(identity, asker)
  return found.kind === 'client' ? found.name : null
}

function mayReach({ addresses }: Grounds, address: string | null): boolean {
  if (address === null) return true
  const bare = address.slice(0, address.lastIndexOf(':')).replace(/^\[|\]$/g, '')
  return judgeAddress(addresses, bare).allowed
}
