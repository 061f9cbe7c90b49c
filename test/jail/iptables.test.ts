// The redirection rules as planned: what is refused, what is led in, what is closed, in both families.

import { assert, constantFrom, property, string } from 'fast-check'
import { describe, expect, it } from 'vitest'

import { type JailOptions, planRules, redirectPort, type RedirectOptions } from '../../src/jail/rules/plan.ts'
import { nftScript } from '../../src/jail/rules/nft.ts'
import { ruleText, shellScript } from '../../src/jail/rules/restore.ts'
import { type Family, OWN_CHAINS } from '../../src/jail/rules/rule.ts'

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

function rules(options: RedirectOptions | JailOptions, family: Family, chain: string): readonly string[] {
  const plan = planRules(options, [family])
  if (!plan.ok) throw new Error(plan.problems.join('\n'))
  const found = plan.sets[0]?.chains.find(({ name }) => name === chain)
  if (found === undefined) throw new Error(`no chain ${chain}`)
  return found.rules.map((rule) => ruleText(rule, family))
}

function problems(options: RedirectOptions | JailOptions, families: readonly Family[] = BOTH): readonly string[] {
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
    [
      'DNS through a proxy that has no listener for it',
      { ...OUTPUT, dns: 'proxy' },
      'add "127.0.0.1:15053" to listen.dns',
    ],
    [
      'DNS through a listener whose answers the kernel would not know',
      { ...OUTPUT, dns: 'proxy', dnsListeners: [{ kind: 'tcp', host: '0.0.0.0', port: 53 }] },
      'add "127.0.0.1:15053" to listen.dns',
    ],
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
      '-m owner --uid-owner 1000 -g MCP_EGRESS_REDIRECT',
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
    expect(rules(everybody, 'v4', 'MCP_EGRESS_FILTER').filter((rule) => !rule.includes('CONNMARK'))).toEqual([
      '-m owner --uid-owner 998 -j RETURN',
      '-m owner --uid-owner 0-4294967294 -g MCP_EGRESS_WORKLOAD',
      '-p tcp -m connmark --mark 0x20000000/0x20000000 -j RETURN',
      '-g MCP_EGRESS_WORKLOAD',
    ])
    const sparing = (chain: readonly string[]): string[] => chain.filter((rule) => rule.includes('icmpv6'))
    expect(sparing(rules(everybody, 'v4', 'MCP_EGRESS_WORKLOAD'))).toEqual([])
    expect(sparing(rules(everybody, 'v6', 'MCP_EGRESS_WORKLOAD'))).toHaveLength(5)
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
    expect(rules(range, 'v4', 'MCP_EGRESS_FILTER')).toContain('-m owner --uid-owner 2000-2999 -g MCP_EGRESS_WORKLOAD')
  })

  it('with DNS refused, refuses stub resolvers on loopback too and opens no other', () => {
    const workload = rules({ ...OUTPUT, dns: 'reject' }, 'v4', 'MCP_EGRESS_WORKLOAD')
    const asking = workload.filter((rule) => / 53\b/.test(rule))
    expect(asking.map((rule) => rule.replace(/-j REJECT.*/, 'REJECT'))).toEqual([
      '-p tcp --dport 53 REJECT',
      '-p tcp -m conntrack --ctorigdstport 53 --ctdir ORIGINAL REJECT',
      '-p udp --dport 53 REJECT',
      '-p udp -m conntrack --ctorigdstport 53 --ctdir ORIGINAL REJECT',
    ])
    expect(workload.indexOf(asking.at(-1) ?? '')).toBeLessThan(workload.indexOf('-d 127.0.0.0/8 -j RETURN'))
  })
})

describe('DNS through the proxy', () => {
  const served: RedirectOptions = {
    ...OUTPUT,
    dns: 'proxy',
    dnsListeners: [
      { kind: 'tcp', host: '127.0.0.1', port: 15053 },
      { kind: 'tcp', host: '[::1]', port: 15054 },
    ],
  }

  it('leads every question there, before loopback is left alone', () => {
    expect(rules(served, 'v6', 'MCP_EGRESS_REDIRECT')).toEqual([
      '-p udp --dport 53 -j REDIRECT --to-ports 15054',
      '-p tcp --dport 53 -j REDIRECT --to-ports 15054',
      '-d ::1/128 -j RETURN',
      '-p tcp -j REDIRECT --to-ports 15002',
    ])
  })

  it('refuses on loopback what was not led there, and nothing else', () => {
    const workload = rules(served, 'v4', 'MCP_EGRESS_WORKLOAD')
    const order = [
      '-d 127.0.0.1/32 -p udp --dport 15053 -j RETURN',
      '-p udp --dport 53 -j REJECT --reject-with icmp-port-unreachable',
      '-d 127.0.0.0/8 -j RETURN',
    ].map((rule) => workload.indexOf(rule))
    expect(order).not.toContain(-1)
    expect(order).toEqual(order.toSorted((a, b) => a - b))
  })

  it('at a gateway also takes questions addressed to the gateway itself', () => {
    const gateway: RedirectOptions = {
      ...GATEWAY,
      dns: 'proxy',
      dnsListeners: [{ kind: 'tcp', host: '::', port: 15053 }],
    }
    expect(rules(gateway, 'v4', 'MCP_EGRESS_PRE').slice(0, 4)).toEqual([
      '! -i eth1 -j RETURN',
      '-p udp --dport 53 -j REDIRECT --to-ports 15053',
      '-p tcp --dport 53 -j REDIRECT --to-ports 15053',
      '-m addrtype --dst-type LOCAL -j RETURN',
    ])
  })

  it('is what happens in each family it is served in, unless told otherwise', () => {
    const unlessServed: RedirectOptions = {
      ...served,
      dns: { unlessServed: ['192.0.2.53', '2001:db8::53'] },
      dnsListeners: [{ kind: 'tcp', host: '127.0.0.1', port: 15053 }],
    }
    expect(rules(unlessServed, 'v4', 'MCP_EGRESS_REDIRECT')[0]).toBe('-p udp --dport 53 -j REDIRECT --to-ports 15053')
    expect(rules(unlessServed, 'v6', 'MCP_EGRESS_REDIRECT')[1]).toBe('-d 2001:db8::53 -p tcp --dport 53 -j RETURN')
    const plan = planRules(unlessServed, BOTH)
    const notes = plan.ok ? plan.notes.join('\n') : ''
    expect(notes).toContain('DNS over IPv4: every question goes to the proxy')
    expect(notes).toContain('port 53 stays open, UDP and TCP, to 192.0.2.53, 2001:db8::53')
  })
})

describe('a jail', () => {
  const JAIL: JailOptions = {
    mode: 'jail',
    listeners: OUTPUT.listeners,
    dnsPort: 53,
  }

  it('exempts nobody and leads everything in', () => {
    expect(rules(JAIL, 'v4', 'MCP_EGRESS_OUT')).toEqual([
      '-p udp --dport 53 -j REDIRECT --to-ports 53',
      '-p tcp --dport 53 -j REDIRECT --to-ports 53',
      '-d 127.0.0.0/8 -j RETURN',
      '-p tcp -j REDIRECT --to-ports 15001',
    ])
    expect(rules(JAIL, 'v4', 'MCP_EGRESS_FILTER').join('\n')).not.toContain('owner')
  })

  it('needs a listener in each family', () => {
    expect(problems({ ...JAIL, listeners: [] })).toHaveLength(2)
  })
})

describe('prerouting', () => {
  it.each(['MCP_EGRESS_FORWARD', 'MCP_EGRESS_INPUT', 'MCP_EGRESS_PRE'])(
    '%s leaves every other interface alone',
    (chain) => {
      // A mark decides nothing yet.
      const deciding = rules(GATEWAY, 'v4', chain).filter((rule) => !rule.includes('CONNMARK'))
      expect(deciding[0]).toBe('! -i eth1 -j RETURN')
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
  const lengths = (() => {
    const plan = planRules(GATEWAY, BOTH)
    if (!plan.ok) throw new Error(plan.problems.join('\n'))
    return [shellScript(plan.sets, []), nftScript(plan.sets, [])].map((script) => script.split('\n').length)
  })()

  it('plan only chains of ours, and never a line of text from an interface name that is more than one word', () => {
    assert(
      property(string({ unit: constantFrom(...Array.from('eth0._-+ \n\t"\'\\!;é')), maxLength: 17 }), (inInterface) => {
        const plan = planRules({ ...GATEWAY, inInterface }, BOTH)
        if (!plan.ok) return
        const own = new Set(OWN_CHAINS.map(({ name }) => name))
        for (const { name } of plan.sets.flatMap(({ chains }) => chains)) expect(own.has(name)).toBe(true)
        const written = [shellScript(plan.sets, []), nftScript(plan.sets, [])].map(
          (script) => script.split('\n').length,
        )
        expect(written).toEqual(lengths)
        expect(shellScript(plan.sets, [])).not.toMatch(/["\\]/)
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
