// Puts planned rules into the running kernel, reads them back and takes them out again, through iptables or nftables.

import { existsSync } from 'node:fs'

import {
  type Backend,
  type BackendChoice,
  chooseBackend,
  FirewallError,
  type Iptables,
  installedIptables,
  iptablesFor,
  nftInstalled,
  run,
} from './backend.ts'
import { NFT_FAMILIES, NFT_TABLE, nftOwn, nftRemoval, nftScript } from './nft.ts'
import {
  applyText,
  LIST_ARGUMENTS,
  listingOf,
  type OwnState,
  ownState,
  removeText,
  RESTORE_ARGUMENTS,
  TABLES,
} from './restore.ts'
import type { Family, RuleSet } from './rule.ts'

export { FirewallError } from './backend.ts'

/** In `inet`: what `verify` counts with for as long as it runs. */
const VERIFY_TABLE = 'mcp_egress_verify'

/** Rules of ours as they are in the kernel. */
export interface Installed {
  /** `legacy` only where it is not what `iptables` is here. */
  readonly backend: Backend
  readonly family: Family
  readonly chains: readonly string[]
  /** Every line of ours as the back end lists it: chains, jumps to them, rules in them. */
  readonly lines: readonly string[]
}

/** IPv4 always; IPv6 unless this kernel was started without it, and then nothing can leave by it. */
export function kernelFamilies(): Family[] {
  return existsSync('/proc/self/net/if_inet6') ? ['v4', 'v6'] : ['v4']
}

/**
 * Makes the kernel's rules of ours exactly `sets`, through the back end that is given back; once or many times, the result is the same.
 * Rules of ours by another back end go when the new ones hold. Throws FirewallError.
 */
export function applyRules(sets: readonly RuleSet[], choice: BackendChoice = 'auto'): Backend {
  const backend = chooseBackend(
    choice,
    sets.map(({ family }) => family),
  )
  const kept = backend === 'nft' ? applyNft(sets) : applyIptables(sets, backend)
  const shared = sets.filter(({ namespace }) => namespace === 'shared').map(({ family }) => family)
  for (const kind of shared.flatMap((family) => installedIptables(family))) {
    if (!kept.some(({ family, engine }) => family === kind.family && engine === kind.engine)) removeIptables(kind)
  }
  if (backend !== 'nft' && shared.length > 0) removeNft(shared)
  return backend
}

function applyNft(sets: readonly RuleSet[]): Iptables[] {
  const script = nftScript(sets, [])
  run('nft', ['--check', '--file', '-'], script)
  run('nft', ['--file', '-'], script)
  return []
}

function applyIptables(sets: readonly RuleSet[], backend: 'iptables' | 'legacy'): Iptables[] {
  const kinds = sets.map((set) => {
    const kind = iptablesFor(backend, set.family)
    return { kind, text: applyText(set, states(kind, set)) }
  })
  // All families are tried before any is changed: rules for IPv4 alone would leave IPv6 open and look finished.
  for (const { kind, text } of kinds) restore(kind, text, ['--test'])
  for (const { kind, text } of kinds) restore(kind, text, [])
  return kinds.map(({ kind }) => kind)
}

/**
 * Removes all that is ours, in whatever mode and by whichever back end it was made, and what a killed `verify` left; gives the rules that
 * were there. Throws FirewallError.
 */
export function removeRules(families: readonly Family[]): Installed[] {
  const found = installedRules(families)
  for (const kind of families.flatMap((family) => installedIptables(family))) removeIptables(kind)
  removeNft(families)
  if (nftInstalled() && run('nft', ['list', 'tables'], '').split('\n').includes(`table inet ${VERIFY_TABLE}`)) {
    run('nft', ['delete', 'table', 'inet', VERIFY_TABLE], '')
  }
  return found
}

/** What is ours in this network namespace, by every back end installed; empty when there is nothing. Throws FirewallError. */
export function installedRules(families: readonly Family[]): Installed[] {
  const iptables = families
    .flatMap((family) => installedIptables(family))
    .flatMap((kind) => {
      const listings = savedListings(kind)
      const chains = listings.flatMap(({ table, listing }) => ownState(table, listing).chains)
      const names = new Set(chains)
      const lines = listings.flatMap(({ listing }) =>
        listing.split('\n').filter((line) => line.split(' ').some((word) => names.has(word))),
      )
      return chains.length === 0 ? [] : [{ backend: kind.backend, family: kind.family, chains, lines }]
    })
  return [...iptables, ...ownNft(families).map((family) => installedNft(family))]
}

function installedNft(family: Family): Installed {
  const lines = run('nft', ['list', 'table', NFT_FAMILIES[family], NFT_TABLE], '').trimEnd().split('\n')
  const chains = lines.flatMap((line) => /^\s*chain (\S+) \{$/.exec(line)?.[1] ?? [])
  return { backend: 'nft', family, chains, lines }
}

function removeIptables(kind: Iptables): void {
  const text = removeText(savedListings(kind).map(({ table, listing }) => ownState(table, listing)))
  if (text !== '') restore(kind, text, [])
}

function removeNft(families: readonly Family[]): void {
  const script = nftRemoval(ownNft(families))
  if (script !== '') run('nft', ['--file', '-'], script)
}

function ownNft(families: readonly Family[]): Family[] {
  if (!nftInstalled()) return []
  const own = nftOwn(run('nft', ['list', 'tables'], ''))
  return families.filter((family) => own.includes(family))
}

/** Of the tables that the set needs and those that are there: listing one makes it, and not every kernel has them all. */
function states({ tools }: Iptables, { chains }: RuleSet): OwnState[] {
  const saved = run(tools.save, [], '')
  const tables = TABLES.filter(
    (table) => chains.some((chain) => chain.table === table) || saved.includes(`*${table}\n`),
  )
  return tables.map((table) => ownState(table, run(tools.list, [...LIST_ARGUMENTS, '-t', table, '-S'], '')))
}

/** Read with -save, which, other than -S, does not make the tables of an engine that nobody uses here. */
function savedListings({ tools }: Iptables): { table: OwnState['table']; listing: string }[] {
  const saved = run(tools.save, [], '')
  return TABLES.map((table) => {
    // SECURITY: what can not be read is not taken for empty: rules of ours would stay and be called removed.
    if (saved.includes(`Table \`${table}' is incompatible`)) {
      throw new FirewallError(
        `${tools.save} can not read the ${table} table, which another program made: list it with nft`,
      )
    }
    return { table, listing: listingOf(table, saved) }
  })
}

function restore({ tools }: Iptables, text: string, extra: readonly string[]): void {
  run(tools.restore, [...RESTORE_ARGUMENTS, ...extra], text)
}
