// The text given to iptables-restore and to sh: one transaction a table, our chains only.

import { describe, expect, it } from 'vitest'

import { applyText, listingOf, type OwnState, ownState, removeText, shellScript } from '../../src/jail/rules/restore.ts'
import type { Rule, RuleSet } from '../../src/jail/rules/rule.ts'

const TCP = { kind: 'protocol', protocol: 'tcp' } as const
const ON: Rule = { matches: [], verdict: { kind: 'goto', chain: 'MCP_EGRESS_WORKLOAD' } }
const REFUSED: Rule = { matches: [TCP], verdict: { kind: 'refuse', as: 'reset' } }
const LED: Rule = { matches: [TCP], verdict: { kind: 'redirect', port: 15001 } }

const SET: RuleSet = {
  family: 'v4',
  namespace: 'shared',
  chains: [
    { table: 'filter', name: 'MCP_EGRESS_FILTER', hook: 'OUTPUT', rules: [ON] },
    { table: 'filter', name: 'MCP_EGRESS_WORKLOAD', hook: null, rules: [REFUSED] },
    { table: 'nat', name: 'MCP_EGRESS_OUT', hook: 'OUTPUT', rules: [LED] },
  ],
}

const LISTING = `-P OUTPUT ACCEPT
-N FOREIGN
-N MCP_EGRESS_FILTER
-A OUTPUT -j FOREIGN
-A OUTPUT -j MCP_EGRESS_FILTER
-A OUTPUT -j MCP_EGRESS_FILTER
-A OUTPUT -o eth0 -j MCP_EGRESS_FILTER
-A FOREIGN -j MCP_EGRESS_FILTER
`

describe('what is ours in a listing', () => {
  it('is our chains and the plain jumps to them, twice if they are there twice', () => {
    const jump = { hook: 'OUTPUT', chain: 'MCP_EGRESS_FILTER' }
    expect(ownState('filter', LISTING)).toEqual({ table: 'filter', chains: ['MCP_EGRESS_FILTER'], jumps: [jump, jump] })
  })

  it('is nothing where only a name alike exists', () => {
    expect(ownState('nat', '-N MCP_EGRESS_OUTER\n-A OUTPUT -j MCP_EGRESS_OUTER\n')).toEqual({
      table: 'nat',
      chains: [],
      jumps: [],
    })
  })
})

describe('applying', () => {
  it('makes chains, puts the jump first and fills the chains, filter before nat', () => {
    expect(applyText(SET, [])).toBe(`*filter
:MCP_EGRESS_FILTER - [0:0]
:MCP_EGRESS_WORKLOAD - [0:0]
-I OUTPUT 1 -j MCP_EGRESS_FILTER
-A MCP_EGRESS_FILTER -g MCP_EGRESS_WORKLOAD
-A MCP_EGRESS_WORKLOAD -p tcp -j REJECT --reject-with tcp-reset
COMMIT
*nat
:MCP_EGRESS_OUT - [0:0]
-I OUTPUT 1 -j MCP_EGRESS_OUT
-A MCP_EGRESS_OUT -p tcp -j REDIRECT --to-ports 15001
COMMIT
`)
  })

  it('takes chains of another mode out in the same transaction', () => {
    const old = ownState('filter', '-N MCP_EGRESS_FORWARD\n-A FORWARD -j MCP_EGRESS_FORWARD\n')
    const filter = applyText(SET, [old]).split('COMMIT')[0] ?? ''
    expect(filter).toContain('-D FORWARD -j MCP_EGRESS_FORWARD\n')
    expect(filter).toMatch(/-F MCP_EGRESS_FORWARD\n-X MCP_EGRESS_FORWARD\n$/)
  })

  it('takes out every old jump in the same transaction', () => {
    const text = applyText(SET, [ownState('filter', LISTING)])
    expect(text.match(/^-D OUTPUT -j MCP_EGRESS_FILTER$/gm)).toHaveLength(2)
    expect(text.match(/^-I OUTPUT 1 -j MCP_EGRESS_FILTER$/gm)).toHaveLength(1)
  })
})

it('what iptables-save prints reads as a listing of one table', () => {
  const saved = `# Generated
*nat
:OUTPUT ACCEPT [1:60]
:MCP_EGRESS_OUT - [0:0]
-A OUTPUT -j MCP_EGRESS_OUT
COMMIT
*filter
:MCP_EGRESS_FILTER - [0:0]
COMMIT
`
  expect(ownState('nat', listingOf('nat', saved))).toEqual({
    table: 'nat',
    chains: ['MCP_EGRESS_OUT'],
    jumps: [{ hook: 'OUTPUT', chain: 'MCP_EGRESS_OUT' }],
  })
  expect(listingOf('mangle', saved)).toBe('')
})

describe('removing', () => {
  it('goes from jump to rules to chain', () => {
    const state: OwnState = ownState('filter', LISTING)
    expect(removeText([state])).toBe(`*filter
-D OUTPUT -j MCP_EGRESS_FILTER
-D OUTPUT -j MCP_EGRESS_FILTER
-F MCP_EGRESS_FILTER
-X MCP_EGRESS_FILTER
COMMIT
`)
  })

  it('is empty where nothing of ours is', () => {
    expect(removeText([ownState('nat', '-P OUTPUT ACCEPT\n')])).toBe('')
  })
})

describe('the script', () => {
  it('carries its notes as comments and inserts a jump only where there is none', () => {
    const script = shellScript([SET], ['Workload: uid 1000.'])
    expect(script).toMatch(/^#!\/bin\/sh\n/)
    expect(script).toContain('# Workload: uid 1000.\n')
    expect(script).toContain(
      'iptables -w 5 -t nat -C OUTPUT -j MCP_EGRESS_OUT 2>/dev/null || iptables -w 5 -t nat -I OUTPUT 1 -j MCP_EGRESS_OUT\n',
    )
  })
})
