// Turns planned rules into nftables scripts: one table of ours for each family, replaced or deleted as a whole.

import {
  type Chain,
  type Family,
  LARGEST_UID,
  MARK_BITS,
  type Mark,
  type Match,
  type Rule,
  type RuleSet,
  type Verdict,
} from './rule.ts'

/** The name of our table in `ip` and in `ip6`. */
export const NFT_TABLE = 'mcp_egress'

/** As nft(8) names them. */
export const NFT_FAMILIES: Readonly<Record<Family, 'ip' | 'ip6'>> = { v4: 'ip', v6: 'ip6' }

/** Where several tables redirect, the first wins: before -150, -100 and 0, where iptables and most others are. */
const PRIORITIES: Readonly<Record<Chain['table'], number>> = { mangle: -155, nat: -105, filter: -5 }
const FLAGS = {
  syn: 'tcp flags & (fin|syn|rst|ack) == syn',
  'syn-ack': 'tcp flags & (syn|ack) == syn|ack',
  rst: 'tcp flags & rst == rst',
} as const

/** One transaction for nft(8): whatever our tables held is replaced, in all families at once. */
export function nftScript(sets: readonly RuleSet[], notes: readonly string[]): string {
  const head = ['#!/usr/sbin/nft -f', '# Redirects a workload into mcp-egress. Undo: mcp-egress iptables remove']
  return `${[...head, ...notes.map((note) => `# ${note}`), ...sets.flatMap(tableLines)].join('\n')}\n`
}

/** Deletes our tables; the empty string for none. */
export function nftRemoval(families: readonly Family[]): string {
  return families.map((family) => `delete table ${NFT_FAMILIES[family]} ${NFT_TABLE}\n`).join('')
}

/** Which of our tables are in what `nft list tables` prints. */
export function nftOwn(listing: string): Family[] {
  const lines = new Set(listing.split('\n').map((line) => line.trim()))
  return (['v4', 'v6'] as const).filter((family) => lines.has(`table ${NFT_FAMILIES[family]} ${NFT_TABLE}`))
}

function tableLines({ family, chains }: RuleSet): string[] {
  const table = `table ${NFT_FAMILIES[family]} ${NFT_TABLE}`
  return [
    '',
    // Made if it is not there, so that deleting it can not fail.
    table,
    `delete ${table}`,
    `${table} {`,
    // A chain has to stand before the rules that lead to it.
    ...chains.filter(({ hook }) => hook === null).flatMap((chain) => chainLines(chain, family)),
    ...chains.filter(({ hook }) => hook !== null).flatMap((chain) => chainLines(chain, family)),
    '}',
  ]
}

function chainLines({ table, name, hook, rules }: Chain, family: Family): string[] {
  const base =
    hook === null
      ? []
      : [
          `    type ${table === 'nat' ? 'nat' : 'filter'} hook ${hook.toLowerCase()} priority ${PRIORITIES[table]}; policy accept;`,
        ]
  return [`  chain ${name} {`, ...base, ...rules.map((rule) => `    ${nftRule(rule, family)}`), '  }']
}

/** A rule as nft(8) takes it. */
export function nftRule({ matches, verdict }: Rule, family: Family): string {
  return [...matches.map((match) => matchText(match, family)), verdictText(verdict)].join(' ')
}

function matchText(match: Match, family: Family): string {
  switch (match.kind) {
    case 'protocol':
      return match.port === undefined ? `meta l4proto ${match.protocol}` : `${match.protocol} dport ${match.port}`
    case 'icmpv6':
      return `icmpv6 type ${match.type}`
    case 'tcp-flags':
      return FLAGS[match.flags]
    case 'from-interface':
      return `iifname ${match.not === true ? '!= ' : ''}"${match.name}"`
    case 'to-interface':
      return `oifname ${match.not === true ? '!= ' : ''}"${match.name}"`
    case 'to':
      return `${NFT_FAMILIES[family]} daddr ${match.address}`
    case 'to-this-host':
      return 'fib daddr type local'
    case 'state':
      return `ct state ${match.state}`
    case 'direction':
      return `ct direction ${match.direction}`
    case 'asked-port':
      return `ct original proto-dst ${match.port}`
    case 'marked':
      return `ct mark & ${bit(match.mark)} == ${bit(match.mark)}`
    case 'user':
      return `meta skuid ${match.users.first === match.users.last ? '' : `${match.users.first}-`}${match.users.last}`
    case 'any-user':
      break
  }
  // There is nothing to compare where no process holds the socket, and then the rule does not match.
  return `meta skuid 0-${LARGEST_UID}`
}

function verdictText(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'return':
      return 'return'
    case 'goto':
      return `goto ${verdict.chain}`
    case 'refuse':
      return verdict.as === 'reset' ? 'reject with tcp reset' : 'reject'
    case 'drop':
      return 'drop'
    case 'redirect':
      return `redirect to :${verdict.port}`
    case 'mark':
      break
  }
  return `ct mark set ct mark | ${bit(verdict.mark)}`
}

function bit(mark: Mark): string {
  return `0x${MARK_BITS[mark].toString(16)}`
}
