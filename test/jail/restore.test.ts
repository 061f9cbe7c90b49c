// The text given to iptables-restore and to sh: one transaction a table, our chains only.

import { describe, expect, it } from 'vitest'

import type { RuleSet } from '../../src/jail/iptables.ts'
import { applyText, type OwnState, ownState, removeText, shellScript } from '../../src/jail/restore.ts'

const SET: RuleSet = {
  family: 'v4',
  chains: [
    { table: 'filter', name: 'MCP_EGRESS_FILTER', hook: 'OUTPUT', rules: ['-j MCP_EGRESS_WORKLOAD'] },
    { table: 'filter', name: 'MCP_EGRESS_WORKLOAD', hook: null, rules: ['-p tcp -j REJECT'] },
    { table: 'nat', name: 'MCP_EGRESS_OUT', hook: 'OUTPUT', rules: ['-p tcp -j REDIRECT --to-ports 15001'] },
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
-A MCP_EGRESS_FILTER -j MCP_EGRESS_WORKLOAD
-A MCP_EGRESS_WORKLOAD -p tcp -j REJECT
COMMIT
*nat
:MCP_EGRESS_OUT - [0:0]
-I OUTPUT 1 -j MCP_EGRESS_OUT
-A MCP_EGRESS_OUT -p tcp -j REDIRECT --to-ports 15001
COMMIT
`)
  })

  it('takes out every old jump in the same transaction', () => {
    const text = applyText(SET, [ownState('filter', LISTING)])
    expect(text.match(/^-D OUTPUT -j MCP_EGRESS_FILTER$/gm)).toHaveLength(2)
    expect(text.match(/^-I OUTPUT 1 -j MCP_EGRESS_FILTER$/gm)).toHaveLength(1)
  })
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
