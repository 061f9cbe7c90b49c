// The text given to nft: one table a family, replaced as a whole, and every part of a rule as nftables writes it.

import { describe, expect, it } from 'vitest'

import { nftOwn, nftRemoval, nftRule, nftScript } from '../../src/jail/rules/nft.ts'
import { ruleText } from '../../src/jail/rules/restore.ts'
import type { Match, Rule, RuleSet, Verdict } from '../../src/jail/rules/rule.ts'

const TCP = { kind: 'protocol', protocol: 'tcp' } as const
const ON: Rule = { matches: [], verdict: { kind: 'goto', chain: 'MCP_EGRESS_WORKLOAD' } }
const SET: RuleSet = {
  family: 'v6',
  namespace: 'shared',
  chains: [
    { table: 'filter', name: 'MCP_EGRESS_FILTER', hook: 'OUTPUT', rules: [ON] },
    { table: 'filter', name: 'MCP_EGRESS_WORKLOAD', hook: null, rules: [{ matches: [], verdict: { kind: 'return' } }] },
    {
      table: 'nat',
      name: 'MCP_EGRESS_OUT',
      hook: 'OUTPUT',
      rules: [{ matches: [TCP], verdict: { kind: 'redirect', port: 15001 } }],
    },
  ],
}

it('a script replaces the table in one transaction, hooks ahead of those of others', () => {
  expect(nftScript([SET], ['Workload: uid 1000.'])).toBe(`#!/usr/sbin/nft -f
# Redirects a workload into mcp-egress. Undo: mcp-egress iptables remove
# Workload: uid 1000.

table ip6 mcp_egress
delete table ip6 mcp_egress
table ip6 mcp_egress {
  chain MCP_EGRESS_WORKLOAD {
    return
  }
  chain MCP_EGRESS_FILTER {
    type filter hook output priority -5; policy accept;
    goto MCP_EGRESS_WORKLOAD
  }
  chain MCP_EGRESS_OUT {
    type nat hook output priority -105; policy accept;
    meta l4proto tcp redirect to :15001
  }
}
`)
})

it('removal deletes the tables that are ours and there', () => {
  const listing = 'table ip filter\ntable inet mcp_egress\ntable ip6 mcp_egress_other\ntable ip6 mcp_egress\n'
  expect(nftOwn(listing)).toEqual(['v6'])
  expect(nftRemoval(nftOwn(listing))).toBe('delete table ip6 mcp_egress\n')
  expect(nftRemoval([])).toBe('')
})

describe('one part of a rule, in both languages', () => {
  it.each<[Match[], string, string]>([
    [[{ ...TCP, port: 53 }], 'tcp dport 53', '-p tcp --dport 53'],
    [[{ kind: 'icmpv6', type: 135 }], 'icmpv6 type 135', '-p ipv6-icmp --icmpv6-type 135'],
    [
      [TCP, { kind: 'tcp-flags', flags: 'syn' }],
      'meta l4proto tcp tcp flags & (fin|syn|rst|ack) == syn',
      '-p tcp --syn',
    ],
    [
      [TCP, { kind: 'tcp-flags', flags: 'syn-ack' }],
      'meta l4proto tcp tcp flags & (syn|ack) == syn|ack',
      '-p tcp --tcp-flags SYN,ACK SYN,ACK',
    ],
    [[{ kind: 'from-interface', name: 'eth1', not: true }], 'iifname != "eth1"', '! -i eth1'],
    [[{ kind: 'to-interface', name: 'eth1' }], 'oifname "eth1"', '-o eth1'],
    [[{ kind: 'to', address: '::1/128' }], 'ip6 daddr ::1/128', '-d ::1/128'],
    [[{ kind: 'to-this-host' }], 'fib daddr type local', '-m addrtype --dst-type LOCAL'],
    [
      [
        { kind: 'state', state: 'established' },
        { kind: 'direction', direction: 'reply' },
      ],
      'ct state established ct direction reply',
      '-m conntrack --ctstate ESTABLISHED --ctdir REPLY',
    ],
    [[{ kind: 'asked-port', port: 53 }], 'ct original proto-dst 53', '-m conntrack --ctorigdstport 53'],
    [
      [{ kind: 'marked', mark: 'served' }],
      'ct mark & 0x10000000 == 0x10000000',
      '-m connmark --mark 0x10000000/0x10000000',
    ],
    [[{ kind: 'user', users: { first: 7, last: 7 } }], 'meta skuid 7', '-m owner --uid-owner 7'],
    [[{ kind: 'user', users: { first: 7, last: 9 } }], 'meta skuid 7-9', '-m owner --uid-owner 7-9'],
    [[{ kind: 'any-user' }], 'meta skuid 0-4294967294', '-m owner --uid-owner 0-4294967294'],
  ])('%j', (matches, nft, iptables) => {
    const rule: Rule = { matches, verdict: { kind: 'return' } }
    expect(nftRule(rule, 'v6')).toBe(`${nft} return`)
    expect(ruleText(rule, 'v6')).toBe(`${iptables} -j RETURN`)
  })

  it.each<[Verdict, string, string]>([
    [{ kind: 'refuse', as: 'reset' }, 'reject with tcp reset', '-j REJECT --reject-with tcp-reset'],
    [{ kind: 'refuse', as: 'unreachable' }, 'reject', '-j REJECT --reject-with icmp6-port-unreachable'],
    [
      { kind: 'mark', mark: 'free' },
      'ct mark set ct mark | 0x20000000',
      '-j CONNMARK --set-xmark 0x20000000/0x20000000',
    ],
    [{ kind: 'goto', chain: 'MCP_EGRESS_X' }, 'goto MCP_EGRESS_X', '-g MCP_EGRESS_X'],
  ])('%j', (verdict, nft, iptables) => {
    expect(nftRule({ matches: [], verdict }, 'v6')).toBe(nft)
    expect(ruleText({ matches: [], verdict }, 'v6')).toBe(iptables)
  })
})
