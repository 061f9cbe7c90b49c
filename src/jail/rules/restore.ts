// Turns planned rules into text for iptables: transactions for iptables-restore, and a shell script a person can read and run.

import {
  type Chain,
  type Family,
  LARGEST_UID,
  MARK_BITS,
  type Mark,
  type Match,
  OWN_CHAINS,
  type Rule,
  type RuleSet,
  type Verdict,
} from './rule.ts'

/** What is ours in one table as `iptables -t TABLE -S` lists it: chains, and for each jump to one its built-in chain. */
export interface OwnState {
  readonly table: Chain['table']
  readonly chains: readonly string[]
  readonly jumps: readonly { readonly hook: string; readonly chain: string }[]
}

/** Names of the programs of one kind of iptables for one family. */
export interface Tools {
  readonly list: string
  readonly restore: string
  readonly save: string
}

export const TABLES: readonly Chain['table'][] = ['filter', 'mangle', 'nat']

/** Seconds to wait for another program that holds the rules. */
const LOCK_WAIT_SECONDS = 5

export const LIST_ARGUMENTS: readonly string[] = ['-w', String(LOCK_WAIT_SECONDS)]
export const RESTORE_ARGUMENTS: readonly string[] = ['--noflush', '-w', String(LOCK_WAIT_SECONDS)]

const REJECT_WITH = { v4: 'icmp-port-unreachable', v6: 'icmp6-port-unreachable' } as const
const FLAGS = { syn: '--syn', 'syn-ack': '--tcp-flags SYN,ACK SYN,ACK', rst: '--tcp-flags RST RST' } as const

/** `iptables`, or with `-nft` or `-legacy` the kind that is meant. */
export function toolsOf(family: Family, suffix: '' | '-nft' | '-legacy'): Tools {
  const list = `${family === 'v4' ? 'iptables' : 'ip6tables'}${suffix}`
  return { list, restore: `${list}-restore`, save: `${list}-save` }
}

/** A rule as iptables(8) takes it after `-A CHAIN`. */
export function ruleText({ matches, verdict }: Rule, family: Family): string {
  const text = [...matches.map(matchText), verdictText(verdict, family)].join(' ')
  return text.replaceAll(/(-m conntrack (?:--\S+ \S+ )+)-m conntrack /g, '$1')
}

function matchText(match: Match): string {
  switch (match.kind) {
    case 'protocol':
      return `-p ${match.protocol}${match.port === undefined ? '' : ` --dport ${match.port}`}`
    case 'icmpv6':
      return `-p ipv6-icmp --icmpv6-type ${match.type}`
    case 'tcp-flags':
      return FLAGS[match.flags]
    case 'from-interface':
      return `${match.not === true ? '! ' : ''}-i ${match.name}`
    case 'to-interface':
      return `${match.not === true ? '! ' : ''}-o ${match.name}`
    case 'to':
      return `-d ${match.address}`
    case 'to-this-host':
      return '-m addrtype --dst-type LOCAL'
    case 'state':
      return `-m conntrack --ctstate ${match.state.toUpperCase()}`
    case 'direction':
      return `-m conntrack --ctdir ${match.direction.toUpperCase()}`
    case 'asked-port':
      return `-m conntrack --ctorigdstport ${match.port}`
    case 'marked':
      return `-m connmark --mark ${bits(match.mark)}`
    case 'user':
      return `-m owner --uid-owner ${match.users.first === match.users.last ? '' : `${match.users.first}-`}${match.users.last}`
    case 'any-user':
      break
  }
  // Not --socket-exists, which holds for what the kernel itself sends, too.
  return `-m owner --uid-owner 0-${LARGEST_UID}`
}

function verdictText(verdict: Verdict, family: Family): string {
  switch (verdict.kind) {
    case 'return':
      return '-j RETURN'
    case 'goto':
      return `-g ${verdict.chain}`
    case 'refuse':
      return `-j REJECT --reject-with ${verdict.as === 'reset' ? 'tcp-reset' : REJECT_WITH[family]}`
    case 'drop':
      return '-j DROP'
    case 'redirect':
      return `-j REDIRECT --to-ports ${verdict.port}`
    case 'mark':
      break
  }
  return `-j CONNMARK --set-xmark ${bits(verdict.mark)}`
}

function bits(mark: Mark): string {
  const hex = `0x${MARK_BITS[mark].toString(16)}`
  return `${hex}/${hex}`
}

/** Finds our chains and the jumps to them; a rule of somebody else's that names our chain is not ours and not listed. */
export function ownState(table: Chain['table'], listing: string): OwnState {
  const lines = new Map<string, number>()
  for (const line of listing.split('\n')) lines.set(line, (lines.get(line) ?? 0) + 1)
  const own = OWN_CHAINS.filter((chain) => chain.table === table)
  return {
    table,
    chains: own.filter(({ name }) => lines.has(`-N ${name}`)).map(({ name }) => name),
    jumps: own.flatMap(({ name, hook }) =>
      hook === null
        ? []
        : Array.from({ length: lines.get(`-A ${hook} -j ${name}`) ?? 0 }, () => ({ hook, chain: name })),
    ),
  }
}

/** What `iptables-save` prints, as `iptables -t TABLE -S` would list that table; the empty string for a table that is not there. */
export function listingOf(table: Chain['table'], saved: string): string {
  const lines = saved.split('\n')
  const start = lines.indexOf(`*${table}`)
  if (start < 0) return ''
  return lines
    .slice(start + 1, lines.indexOf('COMMIT', start))
    .map((line) => line.replace(/^:(\S+) - .*$/, '-N $1'))
    .join('\n')
}

/** One transaction a table: our chains emptied and refilled, our jump moved to first place, chains of another mode gone. */
export function applyText(set: RuleSet, states: readonly OwnState[]): string {
  return TABLES.flatMap((table) => {
    const chains = set.chains.filter((chain) => chain.table === table)
    const names = new Set(chains.map(({ name }) => name))
    const own = states.filter((state) => state.table === table)
    const stale = own.flatMap((state) => state.chains).filter((name) => !names.has(name))
    const lines = [
      // In --noflush a declared chain is made, or emptied if it exists.
      ...chains.map(({ name }) => `:${name} - [0:0]`),
      ...own.flatMap(({ jumps }) => jumps).map(({ hook, chain }) => `-D ${hook} -j ${chain}`),
      ...chains.flatMap(({ hook, name }) => (hook === null ? [] : [`-I ${hook} 1 -j ${name}`])),
      ...ruleLines(chains, set.family),
      ...stale.map((name) => `-F ${name}`),
      ...stale.map((name) => `-X ${name}`),
    ]
    return lines.length === 0 ? [] : [transaction(table, lines)]
  }).join('')
}

/** Takes out jumps, then rules, then chains; the empty string when nothing of ours is there. */
export function removeText(states: readonly OwnState[]): string {
  return states
    .filter(({ chains }) => chains.length > 0)
    .map(({ table, chains, jumps }) =>
      transaction(table, [
        ...jumps.map(({ hook, chain }) => `-D ${hook} -j ${chain}`),
        ...chains.map((name) => `-F ${name}`),
        ...chains.map((name) => `-X ${name}`),
      ]),
    )
    .join('')
}

/** A POSIX sh script that does what `apply` does; it can be run again. */
export function shellScript(sets: readonly RuleSet[], notes: readonly string[], suffix: '' | '-legacy' = ''): string {
  const lines = ['#!/bin/sh', '# Redirects a workload into mcp-egress. Undo: mcp-egress iptables remove']
  for (const note of notes) lines.push(`# ${note}`)
  lines.push('set -eu')
  for (const { family, chains } of sets) {
    const { list, restore } = toolsOf(family, suffix)
    lines.push('', `${restore} ${RESTORE_ARGUMENTS.join(' ')} <<'RULES'`)
    for (const table of TABLES) {
      const own = chains.filter((chain) => chain.table === table)
      if (own.length === 0) continue
      lines.push(
        transaction(table, [...own.map(({ name }) => `:${name} - [0:0]`), ...ruleLines(own, family)]).trimEnd(),
      )
    }
    lines.push('RULES')
    for (const { table, hook, name } of chains) {
      if (hook === null) continue
      const run = `${list} ${LIST_ARGUMENTS.join(' ')} -t ${table}`
      lines.push(`${run} -C ${hook} -j ${name} 2>/dev/null || ${run} -I ${hook} 1 -j ${name}`)
    }
  }
  return `${lines.join('\n')}\n`
}

function ruleLines(chains: readonly Chain[], family: Family): string[] {
  return chains.flatMap(({ name, rules }) => rules.map((rule) => `-A ${name} ${ruleText(rule, family)}`))
}

function transaction(table: Chain['table'], lines: readonly string[]): string {
  return `*${table}\n${lines.join('\n')}\nCOMMIT\n`
}
