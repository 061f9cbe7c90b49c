// The rules in a kernel: applied, applied again, removed, and tried against from inside, in a namespace of their own.

import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { applyRules, FirewallError, removeRules } from '../../src/jail/firewall.ts'
import { type Family, planRules, type RedirectOptions, type RuleSet } from '../../src/jail/iptables.ts'
import { shellScript } from '../../src/jail/restore.ts'
import { CLIENT, createNetwork, GATEWAY, type Namespace, type Network, networkTestsPossible } from '../support/netns.ts'

const BOTH: readonly Family[] = ['v4', 'v6']
const PROXY = 64_001
const WORKLOAD = 64_002
const OTHER = 64_003
const OUTSIDE = { v4: '198.51.100.7', v6: '2001:db8::7' } as const

const OPTIONS: RedirectOptions = {
  mode: 'output',
  proxyUid: PROXY,
  workloadUids: [{ first: WORKLOAD, last: WORKLOAD }],
  inInterface: null,
  ports: [],
  dns: [OUTSIDE.v4],
  listeners: [
    { kind: 'tcp', host: '127.0.0.1', port: 15001 },
    { kind: 'tcp', host: '::1', port: 15001 },
  ],
  adminPorts: [9901],
}

function planned(options: RedirectOptions): readonly RuleSet[] {
  const plan = planRules(options, BOTH)
  if (!plan.ok) throw new Error(plan.problems.join('\n'))
  return plan.sets
}

/** Answers on every address with its own name; the name tells where a connection ended up. UDP is echoed. */
const SERVER = `
import net from 'node:net'
import dgram from 'node:dgram'
const [tcp, udp] = JSON.parse(process.argv[2])
for (const [host, port, name] of tcp) {
  await new Promise((up) => net.createServer((socket) => socket.on('error', () => {}).end(name)).listen({ host, port, ipv6Only: host === '::' }, up))
}
for (const [host, port, name] of udp) {
  const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4')
  socket.on('message', (_, from) => socket.send(name, from.port, from.address))
  await new Promise((up) => socket.bind(port, host, up))
}
console.log('ready')
`

/** Tries each [protocol, host, port] as a user; prints what came back: the server's name, or the error code. */
const PROBE = `
import net from 'node:net'
import dgram from 'node:dgram'
const [uid, ...targets] = JSON.parse(process.argv[2])
process.setgroups([]); process.setgid(uid); process.setuid(uid)
const tcp = (host, port) => new Promise((done) => {
  let text = ''
  net.connect(port, host).on('data', (bytes) => (text += bytes)).on('end', () => done(text)).on('error', ({ code }) => done(code))
})
const udp = (host, port) => new Promise((done) => {
  const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4')
  const finish = (what) => (socket.close(), done(what))
  socket.on('message', (bytes) => finish(String(bytes))).on('error', ({ code }) => finish(code))
  socket.connect(port, host, () => socket.send('x', (error) => error && finish(error.code)))
})
const answers = []
for (const [protocol, host, port] of targets) answers.push(await (protocol === 'tcp' ? tcp : udp)(host, port))
console.log(JSON.stringify(answers))
process.exit()
`

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

const PYTHON = '/usr/bin/python3'

type Target = ['tcp' | 'udp', string, number]

describe.runIf(networkTestsPossible)('rules in a network namespace', () => {
  let folder: string
  let network: Network
  let path: string | undefined

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mcp-egress-firewall-'))
    network = await createNetwork('firewall', { addresses: [`${OUTSIDE.v4}/32`, `${OUTSIDE.v6}/128`], client: true })
    writeFileSync(join(folder, 'server.mjs'), SERVER)
    writeFileSync(join(folder, 'probe.mjs'), PROBE)
    // The code under test finds its tools by PATH; these run the real ones, inside the namespace.
    for (const tool of ['iptables', 'iptables-restore', 'ip6tables', 'ip6tables-restore']) {
      writeFileSync(join(folder, tool), `#!/bin/sh\nexec ip netns exec ${network.name} /usr/sbin/${tool} "$@"\n`)
      chmodSync(join(folder, tool), 0o755)
    }
    path = process.env['PATH']
    process.env['PATH'] = `${folder}:${path ?? ''}`
  })

  afterEach(async () => {
    process.env['PATH'] = path
    await network.close()
    rmSync(folder, { recursive: true, force: true })
  })

  async function rulesNow(): Promise<string> {
    const listings = await Promise.all(
      ['iptables', 'ip6tables'].flatMap((tool) =>
        ['filter', 'nat'].map(
          async (table) => `${tool} ${table}\n${(await network.exec(tool, ['-t', table, '-S'])).stdout}`,
        ),
      ),
    )
    return listings.join('')
  }

  async function serve(
    where: Namespace,
    tcp: [string, number, string][],
    udp: [string, number, string][] = [],
  ): Promise<void> {
    const child = where.spawn(process.execPath, [join(folder, 'server.mjs'), JSON.stringify([tcp, udp])])
    let errors = ''
    child.stderr?.on('data', (text: Buffer) => (errors += String(text)))
    await new Promise<void>((resolve, reject) => {
      child.stdout?.once('data', () => resolve())
      child.once('close', () => reject(new Error(errors)))
    })
  }

  async function probe(where: Namespace, uid: number, targets: readonly Target[]): Promise<unknown> {
    const { stdout, stderr } = await where.exec(process.execPath, [
      join(folder, 'probe.mjs'),
      JSON.stringify([uid, ...targets]),
    ])
    if (stdout === '') throw new Error(`probe gave nothing (no answer in time?): ${stderr}`)
    return JSON.parse(stdout)
  }

  async function proxyAndOutside(): Promise<void> {
    await serve(
      network,
      [
        ['127.0.0.1', 15001, 'proxy'],
        ['::1', 15001, 'proxy'],
        ['127.0.0.1', 8000, 'neighbour'],
        ['127.0.0.1', 9901, 'admin'],
        ['::1', 9901, 'admin'],
        ...([OUTSIDE.v4, OUTSIDE.v6].flatMap((host) => [443, 5432, 53].map((port) => [host, port, 'leak'])) as [
          string,
          number,
          string,
        ][]),
      ],
      [OUTSIDE.v4, OUTSIDE.v6].flatMap((host) =>
        [443, 53].map((port): [string, number, string] => [host, port, 'leak']),
      ),
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
    expect(await probe(network, WORKLOAD, everywhere)).toEqual(leaks)
    applyRules(planned(OPTIONS))

    expect(await probe(network, WORKLOAD, everywhere)).toEqual(['proxy', 'proxy', 'EPERM', 'proxy', 'proxy', 'EPERM'])
    expect(await probe(network, PROXY, everywhere)).toEqual(leaks)
    expect(await probe(network, OTHER, everywhere)).toEqual(leaks)
  })

  it('lead everybody but the proxy in when no workload is named', async () => {
    await proxyAndOutside()
    applyRules(planned({ ...OPTIONS, workloadUids: [] }))
    expect(await probe(network, OTHER, everywhere)).toEqual(['proxy', 'proxy', 'EPERM', 'proxy', 'proxy', 'EPERM'])
    // TCP only: the server outside runs in this very network as root, and UDP answers of a workload do not leave.
    const tcp = everywhere.filter(([protocol]) => protocol === 'tcp')
    expect(await probe(network, PROXY, tcp)).toEqual(['leak', 'leak', 'leak', 'leak'])
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
    expect(await probe(network, WORKLOAD, tcp)).toEqual(['proxy', 'ECONNREFUSED', 'proxy', 'ECONNREFUSED'])
  })

  it('keep the workload from the admin listener and leave the rest of loopback open', async () => {
    await proxyAndOutside()
    applyRules(planned(OPTIONS))
    const targets: Target[] = [
      ['tcp', '127.0.0.1', 9901],
      ['tcp', '::1', 9901],
      ['tcp', '127.0.0.1', 8000],
    ]
    expect(await probe(network, WORKLOAD, targets)).toEqual(['ECONNREFUSED', 'ECONNREFUSED', 'neighbour'])
    expect(await probe(network, OTHER, targets)).toEqual(['admin', 'admin', 'neighbour'])
  })

  it('[F05] let questions go to the resolver named and to no other, or to none', async () => {
    await proxyAndOutside()
    const questions: Target[] = [
      ['udp', OUTSIDE.v4, 53],
      ['tcp', OUTSIDE.v4, 53],
      ['udp', OUTSIDE.v6, 53],
    ]
    applyRules(planned(OPTIONS))
    expect(await probe(network, WORKLOAD, questions)).toEqual(['leak', 'leak', 'EPERM'])
    applyRules(planned({ ...OPTIONS, dns: 'reject' }))
    expect(await probe(network, WORKLOAD, questions)).toEqual(['EPERM', 'ECONNREFUSED', 'EPERM'])
  })

  it('let a server of the workload answer those who connect to it', async () => {
    const { client } = network
    if (client === null) throw new Error('no client')
    applyRules(planned({ ...OPTIONS, workloadUids: [] }))
    await serve(network, [
      ['::', 8080, 'server'],
      ['0.0.0.0', 8080, 'server'],
    ])
    expect(
      await probe(client, OTHER, [
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

    expect(removeRules(BOTH).map(({ chains }) => chains.length)).toEqual([4, 4])
    expect(await rulesNow()).toBe(before)
    expect(removeRules(BOTH)).toEqual([
      { family: 'v4', chains: [] },
      { family: 'v6', chains: [] },
    ])
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
    await serve(network, [
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
      await probe(client, OTHER, [
        ['tcp', '203.0.113.9', 443],
        ['tcp', '2001:db8:9::9', 443],
        ['tcp', GATEWAY.v4, 9901],
        ['tcp', GATEWAY.v4, 3128],
        ['tcp', CLIENT.v4, 1],
      ]),
    ).toEqual(['proxy', 'proxy', 'ECONNREFUSED', 'explicit', 'ECONNREFUSED'])
  })

  it('are not put in force for one family when the other has no tools', () => {
    rmSync(join(folder, 'ip6tables-restore'))
    writeFileSync(join(folder, 'ip6tables-restore'), '#!/bin/sh\necho "no IPv6 here" >&2\nexit 1\n')
    chmodSync(join(folder, 'ip6tables-restore'), 0o755)
    expect(() => applyRules(planned(OPTIONS))).toThrow(FirewallError)
    rmSync(join(folder, 'ip6tables-restore'))
    expect(removeRules(['v4'])).toEqual([{ family: 'v4', chains: [] }])
  })
})
