// Turns planned rules into text: transactions for iptables-restore, and a shell script a person can read and run.

import { OWN_CHAINS, type Chain, type Family, type RuleSet } from './iptables.ts'

/** What is ours in one table as `iptables -t TABLE -S` lists it: chains, and for each jump to one its built-in chain. */
export interface OwnState {
  readonly table: Chain['table']
  readonly chains: readonly string[]
  readonly jumps: readonly { readonly hook: string; readonly chain: string }[]
}

export const TABLES: readonly Chain['table'][] = ['filter', 'nat']

/** Seconds to wait for another program that holds the rules. */
const LOCK_WAIT_SECONDS = 5

export const COMMANDS: Readonly<Record<Family, { readonly list: string; readonly restore: string }>> = {
  v4: { list: 'iptables', restore: 'iptables-restore' },
  v6: { list: 'ip6tables', restore: 'ip6tables-restore' },
}
export const LIST_ARGUMENTS: readonly string[] = ['-w', String(LOCK_WAIT_SECONDS)]
export const RESTORE_ARGUMENTS: readonly string[] = ['--noflush', '-w', String(LOCK_WAIT_SECONDS)]

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

/** One transaction a table: our chains emptied and refilled, our jump moved to first place. Nothing else changes. */
export function applyText(set: RuleSet, states: readonly OwnState[]): string {
  return tables(set.chains)
    .map(([table, chains]) => {
      const names = new Set(chains.map(({ name }) => name))
      const jumps = states.filter((state) => state.table === table).flatMap((state) => state.jumps)
      return transaction(table, [
        // In --noflush a declared chain is made, or emptied if it exists.
        ...chains.map(({ name }) => `:${name} - [0:0]`),
        ...jumps.filter(({ chain }) => names.has(chain)).map(({ hook, chain }) => `-D ${hook} -j ${chain}`),
        ...chains.flatMap(({ hook, name }) => (hook === null ? [] : [`-I ${hook} 1 -j ${name}`])),
        ...ruleLines(chains),
      ])
    })
    .join('')
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
export function shellScript(sets: readonly RuleSet[], notes: readonly string[]): string {
  const lines = ['#!/bin/sh', '# Redirects a workload into mcp-egress. Undo: mcp-egress iptables remove']
  for (const note of notes) lines.push(`# ${note}`)
  lines.push('set -eu')
  for (const { family, chains } of sets) {
    const { list, restore } = COMMANDS[family]
    lines.push('', `${restore} ${RESTORE_ARGUMENTS.join(' ')} <<'RULES'`)
    for (const [table, own] of tables(chains)) {
      lines.push(transaction(table, [...own.map(({ name }) => `:${name} - [0:0]`), ...ruleLines(own)]).trimEnd())
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

function tables(chains: readonly Chain[]): [Chain['table'], Chain[]][] {
  return TABLES.map((table): [Chain['table'], Chain[]] => [
    table,
    chains.filter((chain) => chain.table === table),
  ]).filter(([, own]) => own.length > 0)
}

function ruleLines(chains: readonly Chain[]): string[] {
  return chains.flatMap(({ name, rules }) => rules.map((rule) => `-A ${name} ${rule}`))
}

function transaction(table: Chain['table'], lines: readonly string[]): string {
  return `*${table}\n${lines.join('\n')}\nCOMMIT\n`
}
