// The redirection rules as planned: what is refused, what is led in, what is closed, in both families.

import { assert, constantFrom, property, string } from 'fast-check'
import { describe, expect, it } from 'vitest'

import { type Family, OWN_CHAINS, planRules, redirectPort, type RedirectOptions } from '../../src/jail/iptables.ts'

const BOTH: readonly Family[] = ['v4', 'v6']

const OUTPUT: RedirectOptions = {
  mode: 'output',
  proxyUid: 998,
  workloadUids: [{ first: 1000, last: 1000 }],
  inInterface: null,
  ports: [],
  dns: ['192.0.2.53', '2001:db8::53'],
  listeners: [
    { kind: 'tcp', host: '127.0.0.1', port: 15001 },
    { kind: 'tcp', host: '::1', port: 15002 },
  ],
  adminPorts: [9901],
}

const GATEWAY: RedirectOptions = {
  ...OUTPUT,
  mode: 'prerouting',
  proxyUid: null,
  workloadUids: [],
  inInterface: 'eth1',
  listeners: [{ kind: 'tcp', host: '::', port: 15001 }],
}

function rules(options: RedirectOptions, family: Family, chain: string): readonly string[] {
  const plan = planRules(options, [family])
  if (!plan.ok) throw new Error(plan.problems.join('\n'))
  const found = plan.sets[0]?.chains.find(({ name }) => name === chain)
  if (found === undefined) throw new Error(`no chain ${chain}`)
  return found.rules
}

function problems(options: RedirectOptions, families: readonly Family[] = BOTH): readonly string[] {
  const plan = planRules(options, families)
  return plan.ok ? [] : plan.problems
}

describe('a plan is refused with its fix', () => {
  const listener = (host: string): RedirectOptions['listeners'] => [{ kind: 'tcp', host, port: 15001 }]

  it.each<[string, RedirectOptions, string]>([
    ['no listener for IPv6 in output', { ...OUTPUT, listeners: listener('127.0.0.1') }, 'add "[::1]:15001"'],
    ['no listener for IPv4 in output', { ...OUTPUT, listeners: listener('::1') }, 'add "127.0.0.1:15001"'],
    ['a listener on some other address', { ...OUTPUT, listeners: listener('192.0.2.1') }, 'add "127.0.0.1:15001"'],
    ['no listener at all', { ...OUTPUT, listeners: [] }, 'no transparent listener serves redirected IPv4'],
    ['a gateway that listens on loopback only', { ...GATEWAY, listeners: OUTPUT.listeners }, 'add "0.0.0.0:15001"'],
    ['a gateway without IPv6', { ...GATEWAY, listeners: listener('0.0.0.0') }, 'add "[::]:15001"'],
    ['output without the proxy user', { ...OUTPUT, proxyUid: null }, '--proxy-uid'],
    ['the proxy among the workload', { ...OUTPUT, workloadUids: [{ first: 900, last: 999 }] }, 'a user of its own'],
    ['output with an interface', { ...OUTPUT, inInterface: 'eth1' }, '--in-interface belongs to'],
    ['a gateway without an interface', { ...GATEWAY, inInterface: null }, 'name the interface'],
    ['a gateway with a workload uid', { ...GATEWAY, workloadUids: OUTPUT.workloadUids }, 'carry no uid'],
    ['a wildcard interface', { ...GATEWAY, inInterface: 'eth+' }, 'not an interface name'],
    ['a port out of range', { ...OUTPUT, ports: [65536] }, '65536 is not a port'],
    ['a resolver by name', { ...OUTPUT, dns: ['dns.example'] }, 'resolver "dns.example"'],
  ])('%s', (_sentence, options, fix) => {
    expect(problems(options).join('\n')).toContain(fix)
  })

  it('all problems come at once', () => {
    expect(problems({ ...OUTPUT, proxyUid: null, ports: [0], listeners: [] })).toHaveLength(4)
  })

  it('a family the kernel does not have needs no listener', () => {
    expect(problems({ ...OUTPUT, listeners: listener('127.0.0.1') }, ['v4'])).toEqual([])
  })
})

describe('which listener serves', () => {
  it.each<[string, Family, 'output' | 'prerouting', string, boolean]>([
    ['127.0.0.1 for IPv4 in output', 'v4', 'output', '127.0.0.1', true],
    ['0.0.0.0 for IPv4 in output', 'v4', 'output', '0.0.0.0', true],
    [':: for IPv4 in output: the socket takes both', 'v4', 'output', '::', true],
    ['[::1] in brackets for IPv6 in output', 'v6', 'output', '[::1]', true],
    ['0.0.0.0 not for IPv6', 'v6', 'output', '0.0.0.0', false],
    ['::1 not for a gateway: traffic arrives on the interface', 'v6', 'prerouting', '::1', false],
    [':: for IPv6 at a gateway', 'v6', 'prerouting', '::', true],
  ])('%s', (_sentence, family, mode, host, serves) => {
    expect(redirectPort([{ kind: 'tcp', host, port: 15001 }], family, mode)).toBe(serves ? 15001 : null)
  })
})

describe('output', () => {
  it('exempts the proxy before it looks for the workload', () => {
    expect(rules(OUTPUT, 'v4', 'MCP_EGRESS_OUT')).toEqual([
      '-m owner --uid-owner 998 -j RETURN',
      '-m owner --uid-owner 1000 -j MCP_EGRESS_REDIRECT',
    ])
  })

  it('redirects each family to the port of its own listener, loopback and resolvers left alone', () => {
    expect(rules(OUTPUT, 'v6', 'MCP_EGRESS_REDIRECT')).toEqual([
      '-d ::1/128 -j RETURN',
      '-d 2001:db8::53 -p tcp --dport 53 -j RETURN',
      '-p tcp -j REDIRECT --to-ports 15002',
    ])
  })

  it.each<[Family, string]>([
    ['v4', '-j REJECT --reject-with icmp-port-unreachable'],
    ['v6', '-j REJECT --reject-with icmp6-port-unreachable'],
  ])('ends in refusal in %s', (family, last) => {
    const workload = rules(OUTPUT, family, 'MCP_EGRESS_WORKLOAD')
    expect(workload.slice(-2)).toEqual(['-p tcp -j REJECT --reject-with tcp-reset', last])
  })

  it('refuses the admin port before it lets loopback go', () => {
    const workload = rules(OUTPUT, 'v4', 'MCP_EGRESS_WORKLOAD')
    const admin = workload.indexOf('-p tcp --dport 9901 -j REJECT --reject-with tcp-reset')
    expect(admin).toBeGreaterThan(-1)
    expect(admin).toBeLessThan(workload.indexOf('-d 127.0.0.0/8 -j RETURN'))
  })

  it('takes everybody but the proxy when no workload is named, and then spares what the kernel itself sends', () => {
    const everybody: RedirectOptions = { ...OUTPUT, workloadUids: [] }
    expect(rules(everybody, 'v4', 'MCP_EGRESS_FILTER')).toEqual([
      '-m owner --uid-owner 998 -j RETURN',
      '-j MCP_EGRESS_WORKLOAD',
    ])
    const sparing = (chain: readonly string[]): string[] => chain.filter((rule) => /socket-exists|icmpv6/.test(rule))
    expect(sparing(rules(everybody, 'v4', 'MCP_EGRESS_WORKLOAD'))).toHaveLength(1)
    expect(sparing(rules(everybody, 'v6', 'MCP_EGRESS_WORKLOAD'))).toHaveLength(6)
    expect(sparing(rules(OUTPUT, 'v6', 'MCP_EGRESS_WORKLOAD'))).toEqual([])
  })

  it('lets questions to the resolvers of its own family out, and nothing to the others', () => {
    const dns = rules(OUTPUT, 'v4', 'MCP_EGRESS_WORKLOAD').filter((rule) => rule.includes('--dport 53'))
    expect(dns).toEqual(['-d 192.0.2.53 -p udp --dport 53 -j RETURN', '-d 192.0.2.53 -p tcp --dport 53 -j RETURN'])
  })

  it('redirects only the ports asked for', () => {
    const redirects = rules({ ...OUTPUT, ports: [80, 443] }, 'v4', 'MCP_EGRESS_REDIRECT').filter((rule) =>
      rule.includes('REDIRECT'),
    )
    expect(redirects).toEqual([
      '-p tcp --dport 80 -j REDIRECT --to-ports 15001',
      '-p tcp --dport 443 -j REDIRECT --to-ports 15001',
    ])
  })

  it('writes a range of users as iptables does', () => {
    const range: RedirectOptions = { ...OUTPUT, workloadUids: [{ first: 2000, last: 2999 }] }
    expect(rules(range, 'v4', 'MCP_EGRESS_FILTER')).toContain('-m owner --uid-owner 2000-2999 -j MCP_EGRESS_WORKLOAD')
  })

  it('with DNS refused, refuses stub resolvers on loopback too and opens no other', () => {
    const workload = rules({ ...OUTPUT, dns: 'reject' }, 'v4', 'MCP_EGRESS_WORKLOAD')
    expect(workload.filter((rule) => rule.includes('--dport 53'))).toEqual([])
    expect(workload.filter((rule) => rule.includes('--ctorigdstport 53')).map((rule) => rule.slice(0, 6))).toEqual([
      '-p tcp',
      '-p udp',
    ])
  })
})

describe('prerouting', () => {
  it.each(['MCP_EGRESS_FORWARD', 'MCP_EGRESS_INPUT', 'MCP_EGRESS_PRE'])(
    '%s leaves every other interface alone',
    (chain) => {
      expect(rules(GATEWAY, 'v4', chain)[0]).toBe('! -i eth1 -j RETURN')
    },
  )

  it('forwards nothing but answers and questions to the resolvers', () => {
    expect(rules(GATEWAY, 'v6', 'MCP_EGRESS_FORWARD').slice(-2)).toEqual([
      '-p tcp -j REJECT --reject-with tcp-reset',
      '-j REJECT --reject-with icmp6-port-unreachable',
    ])
  })
})

describe('any options', () => {
  it('plan only chains of ours, and never a line of text from an interface name that is more than one word', () => {
    assert(
      property(string({ unit: constantFrom(...Array.from('eth0._-+ \n\t"\'\\!;é')), maxLength: 17 }), (inInterface) => {
        const plan = planRules({ ...GATEWAY, inInterface }, BOTH)
        if (!plan.ok) return
        const own = new Set(OWN_CHAINS.map(({ name }) => name))
        for (const { name, rules: lines } of plan.sets.flatMap(({ chains }) => chains)) {
          expect(own.has(name)).toBe(true)
          for (const line of lines) expect(line).not.toMatch(/[\n"'\\]/)
        }
        expect(inInterface).toMatch(/^[\w.-]+$/)
      }),
    )
  })

  it('say in the notes who is the workload and that DNS stays open', () => {
    const plan = planRules(OUTPUT, ['v4'])
    const notes = plan.ok ? plan.notes.join('\n') : ''
    expect(notes).toContain('uid 1000; uid 998 is the proxy')
    expect(notes).toContain('port 53 stays open, UDP and TCP, to 192.0.2.53, 2001:db8::53')
    expect(notes).toContain('IPv6: this kernel has none')
  })
})
