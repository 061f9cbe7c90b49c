// The rules in a kernel: applied, applied again, removed, and tried against from inside, in a namespace of their own.

import { once } from 'node:events'
import { chmodSync, existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { applyRules, FirewallError, removeRules } from '../../src/jail/rules/firewall.ts'
import { shellScript } from '../../src/jail/rules/restore.ts'
import { CLIENT, GATEWAY, networkTestsPossible, type Network } from '../support/netns.ts'
import {
  BOTH,
  createRuledNetwork,
  OPTIONS,
  OTHER,
  OUTSIDE,
  PATIENCE,
  planned,
  PROXY,
  PYTHON,
  type RuledNetwork,
  type Served,
  type Target,
  WORKLOAD,
} from './support/ruled-network.ts'

/** Takes little, and reads only when told to; then prints how much came before the end. */
const SLOW_READER = `
import socket, sys
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
server.bind((sys.argv[1], 8000))
server.listen()
print('ready', flush=True)
connection, _ = server.accept()
sys.stdin.readline()
total = 0
while True:
    chunk = connection.recv(65536)
    if not chunk: break
    total += len(chunk)
print(total, flush=True)
`

/** Leaves all it has to say with the kernel and is gone. */
const HASTY_WRITER = `
import socket, sys
connection = socket.socket()
connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 200000)
connection.connect((sys.argv[1], 8000))
connection.sendall(b'x' * 100000)
`

describe.runIf(networkTestsPossible)('rules in a network namespace', { timeout: PATIENCE }, () => {
  let ruled: RuledNetwork
  let network: Network

  beforeEach(async () => {
    ruled = await createRuledNetwork('firewall')
    network = ruled.network
  })

  afterEach(async () => {
    await ruled.close()
  })

  const rulesNow = (): Promise<string> => ruled.rulesNow()

  async function proxyAndOutside(): Promise<void> {
    await ruled.serve(
      network,
      [
        ['127.0.0.1', 15001, 'proxy'],
        ['::1', 15001, 'proxy'],
        ['127.0.0.1', 8000, 'neighbour'],
        ['127.0.0.1', 9901, 'admin'],
        ['::1', 9901, 'admin'],
        ...[OUTSIDE.v4, OUTSIDE.v6].flatMap((host) => [443, 5432, 53].map((port): Served => [host, port, 'leak'])),
      ],
      [OUTSIDE.v4, OUTSIDE.v6].flatMap((host) => [443, 53].map((port): Served => [host, port, 'leak'])),
    )
  }

  const everywhere: readonly Target[] = [OUTSIDE.v4, OUTSIDE.v6].flatMap((host): Target[] => [
    ['tcp', host, 443],
    ['tcp', host, 5432],
    ['udp', host, 443],
  ])

  it('[F01 F03 F04] lead TCP of the workload in, refuse its UDP, and touch nobody else', async () => {
    await proxyAndOutside()
    const leaks = Array.from({ length: 6 }, () => 'leak')
    expect(await ruled.probe(network, WORKLOAD, everywhere)).toEqual(leaks)
    applyRules(planned(OPTIONS))

    expect(await ruled.probe(network, WORKLOAD, everywhere)).toEqual([
      'proxy',
      'proxy',
      'EPERM',
      'proxy',
      'proxy',
      'EPERM',
    ])
    expect(await ruled.probe(network, PROXY, everywhere)).toEqual(leaks)
    expect(await ruled.probe(network, OTHER, everywhere)).toEqual(leaks)
  })

  it('lead everybody but the proxy in when no workload is named', async () => {
    await proxyAndOutside()
    applyRules(planned({ ...OPTIONS, workloadUids: [] }))
    expect(await ruled.probe(network, OTHER, everywhere)).toEqual([
      'proxy',
      'proxy',
      'EPERM',
      'proxy',
      'proxy',
      'EPERM',
    ])
    // TCP only: the server outside runs in this very network as root, and UDP answers of a workload do not leave.
    const tcp = everywhere.filter(([protocol]) => protocol === 'tcp')
    expect(await ruled.probe(network, PROXY, tcp)).toEqual(['leak', 'leak', 'leak', 'leak'])
  })

  it.runIf(existsSync(PYTHON))(
    'let the proxy finish what it sent before it closed, when everybody else is the workload',
    async () => {
      const { client } = network
      if (client === null) throw new Error('no client')
      applyRules(planned({ ...OPTIONS, workloadUids: [] }))
      const reader = client.spawn(PYTHON, ['-c', SLOW_READER, CLIENT.v4])
      const said = async (): Promise<string> => String((await once(reader.stdout ?? reader, 'data'))[0]).trim()
      expect(await said()).toBe('ready')
      expect((await network.exec(PYTHON, ['-c', HASTY_WRITER, CLIENT.v4], { uid: PROXY })).stderr).toBe('')
      const total = said()
      reader.stdin?.end('go\n')
      expect(await total).toBe('100000')
    },
  )

  it('[F02] refuse other TCP at once when only some ports are redirected', async () => {
    await proxyAndOutside()
    applyRules(planned({ ...OPTIONS, ports: [443] }))
    const tcp = everywhere.filter(([protocol]) => protocol === 'tcp')
    expect(await ruled.probe(network, WORKLOAD, tcp)).toEqual(['proxy', 'ECONNREFUSED', 'proxy', 'ECONNREFUSED'])
  })

  it('keep the workload from the admin listener and leave the rest of loopback open', async () => {
    await proxyAndOutside()
    applyRules(planned(OPTIONS))
    const targets: Target[] = [
      ['tcp', '127.0.0.1', 9901],
      ['tcp', '::1', 9901],
      ['tcp', '127.0.0.1', 8000],
    ]
    expect(await ruled.probe(network, WORKLOAD, targets)).toEqual(['ECONNREFUSED', 'ECONNREFUSED', 'neighbour'])
    expect(await ruled.probe(network, OTHER, targets)).toEqual(['admin', 'admin', 'neighbour'])
  })

  it('[F05] let questions go to the resolver named and to no other, or to none', async () => {
    await proxyAndOutside()
    const questions: Target[] = [
      ['udp', OUTSIDE.v4, 53],
      ['tcp', OUTSIDE.v4, 53],
      ['udp', OUTSIDE.v6, 53],
    ]
    applyRules(planned(OPTIONS))
    expect(await ruled.probe(network, WORKLOAD, questions)).toEqual(['leak', 'leak', 'EPERM'])
    applyRules(planned({ ...OPTIONS, dns: 'reject' }))
    expect(await ruled.probe(network, WORKLOAD, questions)).toEqual(['EPERM', 'ECONNREFUSED', 'EPERM'])
  })

  it('let a server of the workload answer those who connect to it', async () => {
    const { client } = network
    if (client === null) throw new Error('no client')
    applyRules(planned({ ...OPTIONS, workloadUids: [] }))
    await ruled.serve(network, [
      ['::', 8080, 'server'],
      ['0.0.0.0', 8080, 'server'],
    ])
    expect(
      await ruled.probe(client, OTHER, [
        ['tcp', GATEWAY.v4, 8080],
        ['tcp', GATEWAY.v6, 8080],
      ]),
    ).toEqual(['server', 'server'])
  })

  it('are the same after a second time, with the jump back in first place, and gone after removal', async () => {
    const before = await rulesNow()
    applyRules(planned(OPTIONS))
    const applied = await rulesNow()
    expect(applied).toContain('-A OUTPUT -j MCP_EGRESS_OUT')
    applyRules(planned(OPTIONS))
    expect(await rulesNow()).toBe(applied)

    await network.exec('iptables', ['-t', 'nat', '-I', 'OUTPUT', '1', '-p', 'tcp', '-j', 'ACCEPT'])
    applyRules(planned(OPTIONS))
    const outputs = (await rulesNow()).split('\n').filter((line) => line.startsWith('-A OUTPUT'))
    expect(outputs.slice(1, 3)).toEqual(['-A OUTPUT -j MCP_EGRESS_OUT', '-A OUTPUT -p tcp -j ACCEPT'])
    await network.exec('iptables', ['-t', 'nat', '-D', 'OUTPUT', '1'])
    await network.exec('iptables', ['-t', 'nat', '-D', 'OUTPUT', '-p', 'tcp', '-j', 'ACCEPT'])
    applyRules(planned(OPTIONS))

    expect(removeRules(BOTH).map(({ chains }) => chains.length)).toEqual([6, 6])
    expect(await rulesNow()).toBe(before)
    expect(removeRules(BOTH)).toEqual([])
  })

  it('leave rules of others as they were, before, between and after', async () => {
    await network.exec('iptables', ['-N', 'FOREIGN'])
    await network.exec('iptables', ['-A', 'FOREIGN', '-p', 'tcp', '--dport', '25', '-j', 'DROP'])
    await network.exec('iptables', ['-A', 'OUTPUT', '-j', 'FOREIGN'])
    await network.exec('ip6tables', [
      '-t',
      'nat',
      '-A',
      'OUTPUT',
      '-p',
      'tcp',
      '--dport',
      '25',
      '-j',
      'REDIRECT',
      '--to-ports',
      '2525',
    ])
    const before = await rulesNow()

    applyRules(planned(OPTIONS))
    const foreign = (await rulesNow()).split('\n').filter((line) => !line.includes('MCP_EGRESS'))
    expect(foreign.join('\n')).toBe(before)
    removeRules(BOTH)
    expect(await rulesNow()).toBe(before)
  })

  it('printed as a script make the very rules that apply makes', async () => {
    applyRules(planned(OPTIONS))
    const applied = await rulesNow()
    removeRules(BOTH)
    const script = shellScript(planned(OPTIONS), [])
    for (let times = 0; times < 2; times += 1) {
      expect(await network.exec('sh', ['-s'], { input: script })).toEqual({ code: 0, stdout: '', stderr: '' })
      expect(await rulesNow()).toBe(applied)
    }
  })

  it('at a gateway lead in what comes from the client and forward nothing', async () => {
    const { client } = network
    if (client === null) throw new Error('no client')
    await ruled.serve(network, [
      ['0.0.0.0', 15001, 'proxy'],
      ['::', 15001, 'proxy'],
      ['0.0.0.0', 9901, 'admin'],
      ['0.0.0.0', 3128, 'explicit'],
    ])
    const { inInterface, ...rest } = OPTIONS
    expect(inInterface).toBeNull()
    applyRules(
      planned({
        ...rest,
        mode: 'prerouting',
        proxyUid: null,
        workloadUids: [],
        inInterface: GATEWAY.interface,
        listeners: [{ kind: 'tcp', host: '::', port: 15001 }],
      }),
    )
    expect(
      await ruled.probe(client, OTHER, [
        ['tcp', '203.0.113.9', 443],
        ['tcp', '2001:db8:9::9', 443],
        ['tcp', GATEWAY.v4, 9901],
        ['tcp', GATEWAY.v4, 3128],
        ['tcp', CLIENT.v4, 1],
      ]),
    ).toEqual(['proxy', 'proxy', 'ECONNREFUSED', 'explicit', 'ECONNREFUSED'])
  })

  it('are not put in force for one family when the other has no tools', () => {
    rmSync(join(ruled.folder, 'ip6tables-restore'))
    writeFileSync(join(ruled.folder, 'ip6tables-restore'), '#!/bin/sh\necho "no IPv6 here" >&2\nexit 1\n')
    chmodSync(join(ruled.folder, 'ip6tables-restore'), 0o755)
    expect(() => applyRules(planned(OPTIONS))).toThrow(FirewallError)
    rmSync(join(ruled.folder, 'ip6tables-restore'))
    expect(removeRules(['v4'])).toEqual([])
  })
})
