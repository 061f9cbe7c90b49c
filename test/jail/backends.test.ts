// The back ends side by side, in a kernel: the same plan lets the same traffic through and refuses the same, and one takes over from another.

import { afterEach, describe, expect, it } from 'vitest'

import { applyRules, installedRules, removeRules } from '../../src/jail/rules/firewall.ts'
import type { JailOptions, RedirectOptions } from '../../src/jail/rules/plan.ts'
import { nftScript } from '../../src/jail/rules/nft.ts'
import { CLIENT, GATEWAY, networkTestsPossible } from '../support/netns.ts'
import {
  BACKENDS,
  BOTH,
  createRuledNetwork,
  OPTIONS,
  OTHER,
  OUTSIDE,
  PATIENCE,
  planned,
  PROXY,
  type RuledNetwork,
  type Served,
  type Target,
  WORKLOAD,
} from './support/ruled-network.ts'

const LOOPBACKS = ['127.0.0.1', '::1']
const OUTSIDES = [OUTSIDE.v4, OUTSIDE.v6]
const INSIDE: readonly Served[] = LOOPBACKS.flatMap((host): Served[] => [
  [host, 15001, 'proxy'],
  [host, 15053, 'names'],
  [host, 8000, 'neighbour'],
  [host, 9901, 'admin'],
])
const NAMES: readonly Served[] = LOOPBACKS.map((host): Served => [host, 15053, 'names'])
const STUB: Served = ['127.0.0.53', 53, 'stub']
const LEAKS: readonly Served[] = OUTSIDES.flatMap((host) => [443, 5432, 53].map((port): Served => [host, port, 'leak']))

const TARGETS: readonly Target[] = [
  ...OUTSIDES.flatMap((host): Target[] => [
    ['tcp', host, 443],
    ['tcp', host, 5432],
    ['tcp', host, 53],
    ['udp', host, 53],
    ['udp', host, 443],
  ]),
  ['udp', '127.0.0.53', 53],
  ['tcp', '127.0.0.53', 53],
  ['udp', '127.0.0.1', 15053],
  ...LOOPBACKS.flatMap((host): Target[] => [
    ['tcp', host, 8000],
    ['tcp', host, 9901],
  ]),
]

const JAIL: JailOptions = { mode: 'jail', listeners: OPTIONS.listeners, dnsPort: 15053 }
const REFUSED = 'ECONNREFUSED'

describe.runIf(networkTestsPossible)('the back ends', { timeout: PATIENCE }, () => {
  let ruled: RuledNetwork

  afterEach(async () => {
    await ruled.close()
  })

  async function answers(options: RedirectOptions | JailOptions, uid: number): Promise<unknown[]> {
    const seen: unknown[] = []
    for (const backend of BACKENDS) {
      expect(applyRules(planned(options), backend)).toBe(backend)
      seen.push(await ruled.probe(ruled.network, uid, TARGETS))
    }
    return seen
  }

  it.each<[string, RedirectOptions, number, string[]]>([
    [
      'questions to the proxy',
      { ...OPTIONS, dns: 'proxy' },
      WORKLOAD,
      [
        ...OUTSIDES.flatMap(() => ['proxy', 'proxy', 'names', 'names', 'EPERM']),
        'names',
        'names',
        'names',
        'neighbour',
        REFUSED,
        'neighbour',
        REFUSED,
      ],
    ],
    [
      'some ports and no questions',
      { ...OPTIONS, dns: 'reject', ports: [443] },
      WORKLOAD,
      [
        ...OUTSIDES.flatMap(() => ['proxy', REFUSED, REFUSED, 'EPERM', 'EPERM']),
        'EPERM',
        REFUSED,
        'names',
        'neighbour',
        REFUSED,
        'neighbour',
        REFUSED,
      ],
    ],
    [
      'everybody, and one resolver',
      { ...OPTIONS, workloadUids: [] },
      OTHER,
      [
        'proxy',
        'proxy',
        'leak',
        'leak',
        'EPERM',
        'proxy',
        'proxy',
        'proxy',
        'EPERM',
        'EPERM',
        'stub',
        'stub',
        'names',
        'neighbour',
        REFUSED,
        'neighbour',
        REFUSED,
      ],
    ],
    [
      'a named workload, asked by somebody else',
      { ...OPTIONS, dns: 'proxy' },
      OTHER,
      [
        ...OUTSIDES.flatMap(() => ['leak', 'leak', 'leak', 'leak', 'leak']),
        'stub',
        'stub',
        'names',
        'neighbour',
        'admin',
        'neighbour',
        'admin',
      ],
    ],
  ])('let through and refuse the same: %s', async (_what, options, uid, expected) => {
    ruled = await createRuledNetwork('same')
    // The servers are the proxy's: its answers leave also when everybody else is the workload.
    await ruled.network.exec('sysctl', ['-qw', 'net.ipv4.ip_unprivileged_port_start=53'])
    await ruled.serve(ruled.network, [...INSIDE, STUB, ...LEAKS], [...NAMES, STUB, ...LEAKS], PROXY)
    expect(await answers(options, uid)).toEqual(BACKENDS.map(() => expected))
  })

  it('hold a jail in which nobody is exempt', async () => {
    ruled = await createRuledNetwork('jail', false)
    for (const family of ['-4', '-6']) {
      await ruled.network.exec('ip', [family, 'route', 'add', 'default', 'dev', 'lo'])
    }
    await ruled.serve(ruled.network, [...INSIDE, STUB], [...NAMES, STUB])
    const expected = [
      ...OUTSIDES.flatMap(() => ['proxy', 'proxy', 'names', 'names', 'EPERM']),
      'names',
      'names',
      'names',
      'neighbour',
      'admin',
      'neighbour',
      'admin',
    ]
    for (const uid of [0, WORKLOAD]) expect(await answers(JAIL, uid)).toEqual(BACKENDS.map(() => expected))
  })

  it('serve a gateway alike, questions to it among them', async () => {
    ruled = await createRuledNetwork('gateways')
    const { client } = ruled.network
    if (client === null) throw new Error('no client')
    // Somewhere to forward to, so that a refusal is the rules' own.
    await ruled.network.exec('sysctl', ['-qw', 'net.ipv4.ip_forward=1'])
    await ruled.network.exec('ip', ['route', 'add', '203.0.113.0/24', 'dev', 'lo'])
    const wild = ['0.0.0.0', '::']
    await ruled.serve(
      ruled.network,
      wild.flatMap((host): Served[] => [
        [host, 15001, 'proxy'],
        [host, 15053, 'names'],
        [host, 53, 'stub'],
        [host, 9901, 'admin'],
        [host, 3128, 'explicit'],
      ]),
      [
        ['0.0.0.0', 15053, 'names'],
        ['0.0.0.0', 53, 'stub'],
      ],
    )
    const options: RedirectOptions = {
      ...OPTIONS,
      mode: 'prerouting',
      proxyUid: null,
      workloadUids: [],
      inInterface: GATEWAY.interface,
      dns: { unlessServed: [] },
      listeners: [{ kind: 'tcp', host: '::', port: 15001 }],
      dnsListeners: [{ kind: 'tcp', host: '::', port: 15053 }],
    }
    for (const backend of BACKENDS) {
      applyRules(planned(options), backend)
      expect(
        await ruled.probe(client, OTHER, [
          ['tcp', '203.0.113.9', 443],
          ['tcp', '2001:db8:9::9', 5432],
          ['tcp', GATEWAY.v4, 9901],
          ['tcp', GATEWAY.v4, 3128],
          ['udp', '203.0.113.9', 53],
          ['udp', GATEWAY.v4, 53],
          ['tcp', GATEWAY.v6, 53],
          ['udp', '203.0.113.9', 443],
          ['tcp', CLIENT.v4, 1],
        ]),
      ).toEqual(['proxy', 'proxy', REFUSED, 'explicit', 'names', 'names', 'names', REFUSED, REFUSED])
    }
  })

  it('take over from each other, and are all removed at once', async () => {
    ruled = await createRuledNetwork('takeover')
    const before = await ruled.rulesNow()
    for (const backend of [...BACKENDS, ...BACKENDS.toReversed()]) {
      applyRules(planned(OPTIONS), backend)
      expect(installedRules(BOTH).map((found) => [found.backend, found.family])).toEqual([
        [backend, 'v4'],
        [backend, 'v6'],
      ])
    }
    // In force beside each other, as an older version or a hand may have left them.
    const beside = planned(OPTIONS).map((set) => ({ ...set, namespace: 'own' as const }))
    for (const backend of BACKENDS) applyRules(beside, backend)
    await ruled.network.exec('nft', ['add', 'table', 'inet', 'mcp_egress_verify'])
    expect(removeRules(BOTH)).toHaveLength(2 * BACKENDS.length)
    expect(installedRules(BOTH)).toEqual([])
    expect(await ruled.rulesNow()).toBe(before)
    expect((await ruled.network.exec('nft', ['list', 'tables'])).stdout).not.toContain('mcp_egress')
  })

  it.runIf(BACKENDS.includes('nft'))('print for nft what apply sets', async () => {
    ruled = await createRuledNetwork('script')
    applyRules(planned(OPTIONS), 'nft')
    const applied = installedRules(BOTH)
    removeRules(BOTH)
    for (let times = 0; times < 2; times += 1) {
      const input = nftScript(planned(OPTIONS), ['A note.'])
      expect(await ruled.network.exec('nft', ['-f', '-'], { input })).toEqual({ code: 0, stdout: '', stderr: '' })
      expect(installedRules(BOTH)).toEqual(applied)
    }
  })
})
