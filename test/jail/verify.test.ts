// `iptables verify` in a kernel: right rules are called closed, every broken set is found out, and silence is never taken for safety.

import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Report, WayResult } from '../../src/jail/verify/verify.ts'
import { startProxyProcess } from '../e2e/support/proxy-process.ts'
import { COMMAND, NEUTRAL } from '../e2e/support/spawner.ts'
import { type Machine, machinePossible, startMachine, WORKLOAD_UID } from '../e2e/support/machine.ts'
import {
  createNetwork,
  type Finished,
  CLIENT,
  GATEWAY,
  type Namespace,
  type Network,
  networkTestsPossible,
} from '../support/netns.ts'

const PROXY_UID = 4002
/** What the probes dial: the public addresses of the plan, put on the loopback of the internet so that they answer there. */
const STRANGERS = [
  '1.0.0.1',
  '1.1.1.1',
  '8.8.8.8',
  '2606:4700:4700::1001',
  '2606:4700:4700::1111',
  '2001:4860:4860::8888',
]

const TARGETS = { v4: '1.0.0.1', v6: '2606:4700:4700::1001' } as const

/** An internet that answers: TCP is accepted and greeted, UDP comes back, a question gets an address. */
const ANSWERING = `
import net from 'node:net'
import dgram from 'node:dgram'
import { createRequire } from 'node:module'
const { decode, encode } = createRequire(process.argv[2])('dns-packet')
const hosts = JSON.parse(process.argv[3])
for (const host of hosts) {
  for (const port of [443, 80, 22, 25, 853, 5432, 6379, 8080, 8443, 53])
    await new Promise((up) => net.createServer((socket) => socket.on('error', () => {}).end('stranger\\r\\n')).listen({ host, port }, up))
  for (const port of [443, 53, 853, 123, 33445]) {
    const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4')
    socket.on('message', (message, from) => {
      if (port !== 53) return socket.send(message, from.port, from.address)
      const { id, questions } = decode(message)
      const answers = [{ type: 'A', name: questions[0].name, data: '203.0.113.9' }]
      socket.send(encode({ type: 'response', id, questions, answers }), from.port, from.address)
    })
    await new Promise((up) => socket.bind(port, host, up))
  }
}
console.log('ready')
`

/** Listens where the proxy should: with a certificate of somebody else for the very name, with a greeting, or without a word. */
const IMPOSTOR = `
const [, kind, file] = process.argv
const { key, cert } = JSON.parse(require('node:fs').readFileSync(file, 'utf8'))
const ended = (socket) => socket.on('error', () => {})
const make = () =>
  kind === 'tls' ? require('node:tls').createServer({ key, cert }, ended)
  : require('node:net').createServer((socket) => kind === 'greeting' ? ended(socket).end('HTTP/1.1 403 Forbidden\\r\\nProxy-Status: mcp-egress\\r\\n\\r\\n') : ended(socket).resume())
make().listen(15001, '127.0.0.1', () => make().listen({ port: 15001, host: '::1' }, () => console.log('up')))
`

interface Verified {
  readonly code: number | null
  readonly report: Report
  ways(name: string, family?: 'v4' | 'v6'): WayResult[]
}

function read({ code, stdout, stderr }: Finished): Verified {
  if (!stdout.startsWith('{')) throw new Error(`verify printed no report (${code}): ${stderr}`)
  const report = JSON.parse(stdout) as Report
  return {
    code,
    report,
    ways: (name, family) =>
      report.ways.filter(({ way, family: own }) => way.startsWith(name) && (family === undefined || own === family)),
  }
}

const verdicts = (ways: readonly WayResult[]): string[] => [...new Set(ways.map(({ verdict }) => verdict))]

function notClosed(report: Report): string[] {
  return report.ways
    .filter(({ verdict }) => verdict !== 'closed')
    .map(({ way, family, target, verdict, evidence }) => `${verdict} ${family} ${way} ${target}: ${evidence}`)
}

/** The interface of the only default route. */
const BOUND = `bound to ${CLIENT.interface}`
const WAYS = ['UDP 53', 'UDP 443', 'TCP 443']

const open = (report: Report): string[] => notClosed(report).map((line) => line.replace(/: [^:]*$/, ''))

/** What the rules rewrite to the loopback, and nothing else. */
const holes = (family: 'v4' | 'v6'): string[] =>
  ['UDP 53', 'TCP 443'].map((way) => `open ${family} ${BOUND}: ${way} ${TARGETS[family]} ${way.slice(4)}`)

const hostPrefix = (host: string): string => `${host}/${host.includes(':') ? 128 : 32}`

async function run(one: Namespace, command: string): Promise<void> {
  const { code, stderr } = await one.exec('sh', ['-c', command])
  if (code !== 0) throw new Error(`${command}: ${stderr}`)
}

async function waitFor(child: ReturnType<Namespace['spawn']>): Promise<void> {
  let errors = ''
  child.stderr?.on('data', (text: Buffer) => (errors += String(text)))
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once('data', () => resolve())
    child.once('close', () => reject(new Error(`not ready: ${errors}`)))
  })
}

describe.runIf(machinePossible)('iptables verify', () => {
  let machine: Machine
  let configFile: string

  beforeAll(async () => {
    machine = await startMachine({
      family: 'v4',
      rules: '  - { id: read, allow: { hosts: [api.github.com], methods: [GET] } }',
    })
    configFile = join(machine.proxy.trailFile, '../../mcp-egress.yaml')
    for (const host of STRANGERS) {
      const length = host.includes(':') ? 128 : 32
      await machine.internet.exec('ip', ['addr', 'add', `${host}/${length}`, 'dev', 'lo'])
    }
    const script = join(machine.proxy.trailFile, '../../answering.mjs')
    writeFileSync(script, ANSWERING)
    await waitFor(
      machine.internet.spawn(process.execPath, [script, new URL(import.meta.url).pathname, JSON.stringify(STRANGERS)]),
    )
  }, 120_000)
  afterAll(() => machine?.close())

  const asRoot = (...args: string[]): Promise<Verified> => asRootWith(process.env['PATH'] ?? '', ...args)
  const asRootWith = async (path: string, ...args: string[]): Promise<Verified> => {
    const verify = [COMMAND, 'iptables', 'verify', '--json', '-c', configFile]
    const command = [`PATH=${path}`, process.execPath, ...verify, '--workload-uid', String(WORKLOAD_UID), ...args]
    return read(await machine.workload.exec('env', command, { env: NEUTRAL, timeoutMs: 60_000 }))
  }

  const withoutNft = (): string => {
    const folder = join(machine.proxy.trailFile, '../../bin')
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'nft'), '#!/bin/sh\nexit 1\n', { mode: 0o755 })
    return `${folder}:${process.env['PATH'] ?? ''}`
  }

  const unprivileged = async (...args: string[]): Promise<Verified> => {
    const as = [`--reuid=${WORKLOAD_UID}`, `--regid=${WORKLOAD_UID}`, '--clear-groups', '--no-new-privs', '--']
    const verify = [process.execPath, COMMAND, 'iptables', 'verify', '-c', configFile, '--json', ...args]
    return read(await machine.workload.exec('setpriv', [...as, ...verify], { env: NEUTRAL, timeoutMs: 60_000 }))
  }

  const apply = async (): Promise<void> => {
    const uids = ['--proxy-uid', String(PROXY_UID), '--workload-uid', String(WORKLOAD_UID)]
    const args = [COMMAND, 'iptables', 'apply', '-c', configFile, '--dns', 'reject', ...uids]
    const { code, stderr } = await machine.workload.exec(process.execPath, args, { env: NEUTRAL })
    if (code !== 0) throw new Error(stderr)
  }

  /** Breaks the rules, looks, and makes them good again whatever came of it. */
  async function broken(commands: readonly string[], look: () => Promise<void>): Promise<void> {
    try {
      for (const command of commands) {
        const { code, stderr } = await machine.workload.exec('sh', ['-c', command])
        if (code !== 0) throw new Error(`${command}: ${stderr}`)
      }
      await look()
    } finally {
      for (const tool of ['iptables', 'ip6tables']) {
        for (const table of ['filter', 'nat']) await machine.workload.exec(tool, ['-t', table, '-F'])
      }
      await apply()
    }
  }

  const accounting = async (): Promise<string> => {
    const { stdout: nft } = await machine.workload.exec('nft', ['list', 'tables'])
    const { stdout: raw } = await machine.workload.exec('iptables-save', ['-t', 'raw'])
    const { stdout: mangle } = await machine.workload.exec('ip6tables-save', ['-t', 'mangle'])
    return nft.includes('mcp_egress_verify') || /MCP_EGRESS_(?:MADE|LEFT)/.test(raw + mangle) ? 'left behind' : 'gone'
  }

  /** A process of the workload's, with these arguments for setpriv, while `look` looks. */
  async function beside(privileges: readonly string[], look: () => Promise<void>): Promise<void> {
    const user = [`--reuid=${WORKLOAD_UID}`, `--regid=${WORKLOAD_UID}`, '--clear-groups']
    const child = machine.workload.spawn('setpriv', [...user, ...privileges, '--', 'sh', '-c', 'echo up; cat'])
    await waitFor(child)
    try {
      await look()
    } finally {
      child.kill('SIGKILL')
    }
  }

  it('calls right rules closed, from outside and from inside, and leaves nothing behind', async () => {
    await beside(['--no-new-privs', '--bounding-set=-all', '--inh-caps=-all'], async () => {
      const { code, report, ways } = await asRoot()
      expect(notClosed(report)).toEqual([])
      expect([code, report.contained, report.accounting, report.uid]).toEqual([0, true, 'nft', WORKLOAD_UID])
      expect(ways('TCP 443')).toMatchObject([{ how: 'proxy' }, { how: 'proxy' }])
      expect(ways('UDP 443')).toMatchObject([{ how: 'refused' }, { how: 'refused' }])
      expect(ways('transparent listener')[0]?.evidence).toContain('403 self')
      expect(ways('capabilities')[0]?.evidence).toContain('(sh)')
    })
    expect(await accounting()).toBe('gone')
    const inside = await unprivileged()
    expect(notClosed(inside.report)).toEqual([])
    expect([inside.code, inside.report.accounting]).toEqual([0, 'none'])
  })

  it('needs no nft: iptables counts as well, and a leftover of a killed run is replaced', async () => {
    const args = ['-t', 'mangle', '-A', 'POSTROUTING', '-j', 'MCP_EGRESS_LEFT']
    await machine.workload.exec('iptables', ['-t', 'mangle', '-N', 'MCP_EGRESS_LEFT'])
    await machine.workload.exec('iptables', args)
    const found = await asRootWith(withoutNft())
    expect([found.report.accounting, notClosed(found.report)]).toEqual(['iptables', []])
    await broken(['ip6tables -F', 'ip6tables -t nat -F'], async () => {
      const opened = await asRootWith(withoutNft())
      expect(opened.report.accounting).toBe('iptables')
      expect(verdicts(opened.ways('UDP', 'v6'))).toEqual(['open'])
      expect(verdicts(opened.ways('UDP', 'v4'))).toEqual(['closed'])
    })
    expect(await accounting()).toBe('gone')
  })

  it('takes its counters out when it is told to stop', async () => {
    await machine.workload.exec('nft', ['add', 'table', 'inet', 'mcp_egress_verify'])
    const args = [COMMAND, 'iptables', 'verify', '-c', configFile, '--workload-uid', String(WORKLOAD_UID)]
    // A silent net makes it wait, so that the signal comes in the middle.
    await broken(
      ['iptables -I OUTPUT -p udp -j DROP', 'iptables -t nat -F', 'iptables -F MCP_EGRESS_WORKLOAD'],
      async () => {
        const child = machine.workload.spawn(process.execPath, args, { env: NEUTRAL })
        const closed = once(child, 'close')
        const counting = async (): Promise<boolean> =>
          (await machine.workload.exec('nft', ['list', 'table', 'inet', 'mcp_egress_verify'])).stdout.includes(
            'counter',
          )
        const deadline = performance.now() + 15_000
        while (!(await counting()) && performance.now() < deadline);
        expect(child.exitCode).toBeNull()
        child.kill('SIGTERM')
        expect((await closed)[1]).toBe('SIGTERM')
      },
    )
    expect(await accounting()).toBe('gone')
  })

  it.each<[string, readonly string[], readonly [string, 'v4' | 'v6'][], readonly [string, 'v4' | 'v6'][]]>([
    [
      'no rules for IPv6',
      ['ip6tables -F', 'ip6tables -t nat -F'],
      [
        ['TCP', 'v6'],
        ['UDP', 'v6'],
        ['other IP', 'v6'],
        ['cloud metadata', 'v6'],
      ],
      [
        ['TCP', 'v4'],
        ['UDP', 'v4'],
      ],
    ],
    [
      'UDP accepted',
      ['iptables -I OUTPUT -p udp -j ACCEPT'],
      [
        ['UDP', 'v4'],
        [`${BOUND}: UDP`, 'v4'],
      ],
      [
        ['TCP', 'v4'],
        ['UDP', 'v6'],
        [`${BOUND}: TCP`, 'v4'],
        [BOUND, 'v6'],
      ],
    ],
    [
      'one resolver accepted',
      ['iptables -I OUTPUT -p udp -d 1.0.0.1 --dport 53 -j ACCEPT'],
      [['UDP 53', 'v4']],
      [
        ['UDP 443', 'v4'],
        ['TCP', 'v4'],
        ['UDP', 'v6'],
      ],
    ],
    [
      'no rules at all',
      ['iptables -F', 'iptables -t nat -F', 'ip6tables -F', 'ip6tables -t nat -F'],
      [
        ['TCP', 'v4'],
        ['TCP', 'v6'],
        ['UDP', 'v4'],
        ['UDP', 'v6'],
        ['DoH', 'v4'],
        ['gateway', 'v4'],
        ['admin', 'v4'],
      ],
      [],
    ],
    [
      'no refusal, only redirection',
      ['iptables -F', 'ip6tables -F'],
      [
        ['UDP', 'v4'],
        ['UDP', 'v6'],
        ['other IP', 'v4'],
        ['admin', 'v4'],
      ],
      [
        ['TCP', 'v4'],
        ['TCP', 'v6'],
        ['DoH', 'v4'],
      ],
    ],
  ])('names what is open: %s', async (_what, commands, opened, closed) => {
    await broken(commands, async () => {
      const { code, report, ways } = await asRoot()
      expect([code, report.contained]).toEqual([3, false])
      for (const [name, family] of opened) expect([name, ...verdicts(ways(name, family))]).toEqual([name, 'open'])
      for (const [name, family] of closed) expect([name, ...verdicts(ways(name, family))]).toEqual([name, 'closed'])
      expect(report.ways.filter(({ verdict }) => verdict === 'open').every((way) => 'fix' in way)).toBe(true)
    })
  })

  it('sends nothing to strangers when it counts, and says what it did when it can not', async () => {
    await broken(['iptables -F', 'iptables -t nat -F'], async () => {
      const seen = machine.internet.spawn('nft', ['-f', '-'])
      seen.stdin?.end(
        'table ip watch {\n chain arrived { type filter hook input priority 0;\n iifname "to-client" ip protocol { tcp, udp, icmp } counter\n}\n}\n',
      )
      await once(seen, 'close')
      const arrived = async (): Promise<number> => {
        const { stdout } = await machine.internet.exec('nft', ['list', 'table', 'ip', 'watch'])
        return Number(/packets (\d+)/.exec(stdout)?.[1])
      }
      const { ways } = await asRoot()
      expect(verdicts(ways('TCP', 'v4'))).toEqual(['open'])
      expect(await arrived()).toBe(0)
      // As the workload itself the packets go out, and somebody there answers.
      const inside = await unprivileged()
      expect(verdicts(inside.ways('TCP', 'v4'))).toEqual(['open'])
      expect(verdicts(inside.ways('UDP', 'v4'))).toEqual(['open'])
      expect(inside.ways('UDP 53', 'v4')[0]?.evidence).toContain('answered')
      expect(inside.code).toBe(3)
      expect(await arrived()).toBeGreaterThan(0)
      await machine.internet.exec('nft', ['delete', 'table', 'ip', 'watch'])
    })
  })

  it('names a socket bound to an interface when what it sends to the loopback may leave', {
    timeout: 240_000,
  }, async () => {
    const withDns = `${configFile}.dns`
    const listeners = '  dns: ["127.0.0.1:15353", "[::1]:15353"]\n  admin:'
    writeFileSync(withDns, readFileSync(configFile, 'utf8').replace('  admin:', listeners))
    const uids = `--proxy-uid ${PROXY_UID} --workload-uid ${WORKLOAD_UID}`
    const applied = `${process.execPath} ${COMMAND} iptables apply -c ${withDns} --dns proxy ${uids}`
    const watch = machine.internet.spawn('nft', ['-f', '-'])
    // As they come from the wire: the kernel refuses ::1 from there before any later hook.
    watch.stdin?.end(`table netdev watch {
      chain arrived {
        type filter hook ingress device "${GATEWAY.interface}" priority 0;
        ip daddr 127.0.0.0/8 counter
        ip6 daddr ::1 counter
      }
    }\n`)
    expect((await once(watch, 'close'))[0]).toBe(0)
    const arrived = async (): Promise<number[]> => {
      const { stdout } = await machine.internet.exec('nft', ['list', 'table', 'netdev', 'watch'])
      return [...stdout.matchAll(/packets (\d+)/g)].map(([, packets]) => Number(packets))
    }
    const counting = [
      ['nft', process.env['PATH'] ?? ''],
      ['iptables', withoutNft()],
    ] as const
    await broken([applied], async () => {
      for (const [kind, path] of counting) {
        const right = await asRootWith(path)
        expect([right.report.accounting, notClosed(right.report), right.code]).toEqual([kind, [], 0])
        expect(right.ways(BOUND).map(({ way, family }) => `${family} ${way}`)).toEqual(
          ['v4', 'v6'].flatMap((family) => WAYS.map((way) => `${family} ${BOUND}: ${way}`)),
        )
      }
      const inside = await unprivileged()
      expect([notClosed(inside.report), inside.code]).toEqual([[], 0])
      expect(inside.ways(`${BOUND}: TCP`)).toMatchObject([{ how: 'refused' }, { how: 'refused' }])

      await run(machine.workload, 'iptables -t mangle -F MCP_EGRESS_LEAVING')
      for (const [kind, path] of counting) {
        const { code, report, ways } = await asRootWith(path)
        expect([kind, report.accounting, code, ...open(report)]).toEqual([kind, kind, 3, ...holes('v4')])
        expect(ways(BOUND, 'v4')[0]).toMatchObject({ fix: expect.stringContaining('MCP_EGRESS_LEAVING') as string })
      }
      await run(machine.workload, 'ip6tables -t mangle -F MCP_EGRESS_LEAVING')
      for (const [kind, path] of counting) {
        const { code, report } = await asRootWith(path)
        expect([kind, report.accounting, code, ...open(report)]).toEqual([
          kind,
          kind,
          3,
          ...holes('v4'),
          ...holes('v6'),
        ])
        expect(report.summary.unknown).toBe(0)
      }
      // As root it was stopped; what the workload itself sends is not, and it can not see whether that left.
      expect(await arrived()).toEqual([0, 0])
      const blind = await unprivileged()
      expect([
        blind.code,
        ...verdicts(blind.ways(`${BOUND}: UDP 53`)),
        ...verdicts(blind.ways(`${BOUND}: TCP`)),
      ]).toEqual([3, 'unknown', 'unknown'])
      expect((await arrived()).every((packets) => packets > 0)).toBe(true)
    })
    await machine.internet.exec('nft', ['delete', 'table', 'netdev', 'watch'])
  })

  it('is content with refusal alone when redirection is gone, and says that nothing works', async () => {
    await broken(['iptables -t nat -F', 'ip6tables -t nat -F'], async () => {
      const { code, report, ways } = await asRoot()
      expect(notClosed(report)).toEqual([])
      expect([code, ways('TCP 443', 'v4')[0]]).toMatchObject([0, { how: 'refused' }])
      expect(report.notes.join('\n')).toContain('No connection was led to our proxy')
    })
  })

  it('names a workload that is the proxy, and one that holds capabilities', async () => {
    const { code, ways } = await asRoot('--workload-uid', String(PROXY_UID))
    expect([code, ways("the proxy's user")[0]?.verdict]).toEqual([3, 'open'])
    expect(verdicts(ways('UDP'))).toEqual(['open'])
    await beside(['--inh-caps=+net_raw,+setuid', '--ambient-caps=+net_raw,+setuid'], async () => {
      const found = await asRoot()
      expect(found.ways('capabilities')[0]?.evidence).toMatch(/CAP_SETUID becomes.*CAP_NET_RAW sends raw frames/)
      expect([found.code, found.ways('no_new_privs')[0]?.verdict]).toEqual([3, 'unknown'])
    })
  })

  it('names a socket of somebody who acts for others', async () => {
    const folder = `/run/user/${WORKLOAD_UID}`
    mkdirSync(folder, { recursive: true })
    const script =
      "require('node:net').createServer().listen(process.argv[1], () => (require('node:fs').chmodSync(process.argv[1], 0o666), console.log('up')))"
    const child = machine.workload.spawn(process.execPath, ['-e', script, `${folder}/docker.sock`])
    try {
      await waitFor(child)
      const { code, ways } = await asRoot()
      const found = ways('socket').filter(({ verdict }) => verdict !== 'closed')
      expect([code, found]).toMatchObject([3, [{ verdict: 'open', target: `${folder}/docker.sock` }]])
    } finally {
      child.kill('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('says when the proxy is dead, and takes nobody else for it', async () => {
    await machine.proxy.stop()
    const dead = await asRoot('--proxy-uid', String(PROXY_UID))
    expect(notClosed(dead.report)).toEqual([])
    expect([dead.code, dead.report.notes.join('\n')]).toEqual([0, expect.stringContaining('The proxy is not running')])

    const certificate = machine.root.issue('mcp-egress-verify.invalid')
    const folder = join(machine.proxy.trailFile, '../..')
    writeFileSync(join(folder, 'impostor.json'), JSON.stringify(certificate))
    for (const [kind, expected] of [
      ['tls', ['open']],
      ['greeting', ['open']],
      ['silent', ['unknown']],
    ] as const) {
      const child = machine.workload.spawn(process.execPath, ['-e', IMPOSTOR, kind, join(folder, 'impostor.json')], {
        uid: PROXY_UID,
      })
      try {
        await waitFor(child)
        const found = await asRoot()
        expect([kind, found.code, ...verdicts(found.ways('TCP 443'))]).toEqual([kind, 3, ...expected])
        // Port 53 is refused before anybody is asked.
        const redirected = found.ways('TCP').filter(({ way }) => way !== 'TCP 53 DNS')
        expect(verdicts(redirected)).not.toContain('closed')
      } finally {
        const closed = once(child, 'close')
        child.kill('SIGKILL')
        await closed
      }
    }
  })
})

describe.runIf(networkTestsPossible)('iptables verify in a net without rules', () => {
  let network: Network
  let middle: Network
  let far: Network

  beforeAll(async () => {
    network = await createNetwork('verify-open', { client: true })
    middle = await createNetwork('verify-middle')
    far = await createNetwork('verify-far', {
      addresses: STRANGERS.map(hostPrefix),
    })
  })
  afterAll(async () => {
    await far?.close()
    await middle?.close()
    await network?.close()
  })

  const verify = async (uid: number | undefined, ...args: string[]): Promise<Verified> => {
    if (network.client === null) throw new Error('no client')
    const command = [COMMAND, 'iptables', 'verify', '--json', ...args]
    const as = uid === undefined ? {} : { uid }
    return read(
      await network.client.exec(process.execPath, command, { env: NEUTRAL, timeoutMs: 60_000, cwd: '/', ...as }),
    )
  }
  const outside = ({ report }: Verified): WayResult[] =>
    report.ways.filter(({ way }) => /^(?:TCP|UDP|DoH|other)/.test(way))

  it('says what is wrong with its command line, and what it may not do', async () => {
    const { client } = network
    if (client === null) throw new Error('no client')
    const wrong = async (...args: string[]): Promise<[number | null, string]> => {
      const command = [COMMAND, 'iptables', 'verify', ...args]
      const { code, stderr } = await client.exec(process.execPath, command, {
        env: NEUTRAL,
        uid: WORKLOAD_UID,
        cwd: '/',
      })
      return [code, stderr.trim()]
    }
    expect(await wrong('--canary', 'host')).toEqual([1, '--canary: "host" is not an IP address'])
    expect((await wrong('--workload-uid', 'no-such-user-here'))[0]).toBe(1)
    expect(await wrong('--workload-uid', '4002')).toEqual([2, 'probing as uid 4002 needs root: run it with sudo'])
  })

  it('does not take silence for safety', async () => {
    const inside = await verify(WORKLOAD_UID)
    expect([inside.code, verdicts(outside(inside))]).toEqual([3, ['unknown']])
    const counted = await verify(undefined, '--workload-uid', String(WORKLOAD_UID))
    expect([counted.code, verdicts(outside(counted))]).toEqual([3, ['open']])
    const behind = await verify(undefined, '--mode', 'prerouting', '--workload-uid', String(WORKLOAD_UID))
    expect([behind.code, verdicts(outside(behind))]).toEqual([3, ['unknown']])
    expect(outside(behind)[0]?.evidence).toContain('left this namespace')
  })

  it('does not take the refusal of a far host for one of ours', async () => {
    for (const [one, other, net] of [
      [network, middle, 1],
      [middle, far, 2],
    ] as const) {
      await run(one, `ip link add to-far type veth peer name to-near netns ${other.name}`)
      for (const [end, name, host] of [
        [one, 'to-far', 1],
        [other, 'to-near', 2],
      ] as const) {
        await run(end, `ip addr add 198.18.${net}.${host}/24 dev ${name}`)
        await run(end, `ip addr add 2001:db8:a${net}::${host}/64 dev ${name} nodad && ip link set ${name} up`)
      }
      await run(one, `ip route add default via 198.18.${net}.2 && ip -6 route add default via 2001:db8:a${net}::2`)
      await run(one, 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding')
    }
    await run(far, 'ip route add default via 198.18.2.1 && ip -6 route add default via 2001:db8:a2::1')
    await run(middle, 'ip route add 192.0.2.0/24 via 198.18.1.1 && ip -6 route add 2001:db8:1::/64 via 2001:db8:a1::1')
    for (const mode of ['output', 'prerouting']) {
      const found = await verify(WORKLOAD_UID, '--mode', mode)
      const tcp = outside(found).filter(({ way }) => way.startsWith('TCP'))
      // The far host did say no: this is no test of silence.
      expect([mode, tcp[0]?.evidence]).toEqual([mode, expect.stringContaining('ECONNREFUSED')])
      expect([mode, ...verdicts(outside(found))]).toEqual([mode, 'unknown'])
    }
  })
})

describe.runIf(machinePossible)('iptables verify behind a gateway', () => {
  const undo: (() => unknown)[] = []
  let network: Network
  let workload: Namespace
  let configFile: string

  beforeAll(async () => {
    network = await createNetwork('verify-gateway', { client: true })
    undo.push(() => network.close())
    if (network.client === null) throw new Error('no client')
    workload = network.client
    const internet = await createNetwork('verify-internet', { addresses: STRANGERS.map(hostPrefix) })
    undo.push(() => internet.close())
    await run(network, `ip link add to-far type veth peer name to-near netns ${internet.name}`)
    for (const [one, end, host] of [
      [network, 'to-far', 1],
      [internet, 'to-near', 2],
    ] as const) {
      await run(
        one,
        `ip addr add 198.18.1.${host}/24 dev ${end} && ip addr add 2001:db8:a1::${host}/64 dev ${end} nodad`,
      )
      await run(one, `ip link set ${end} up`)
    }
    await run(network, 'ip route add default via 198.18.1.2 && ip -6 route add default via 2001:db8:a1::2')
    await run(network, 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding')
    await run(internet, 'ip route add default via 198.18.1.1 && ip -6 route add default via 2001:db8:a1::1')
    const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-verify-'))
    undo.push(() => rmSync(folder, { recursive: true, force: true }))
    chmodSync(folder, 0o755)
    writeFileSync(join(folder, 'answering.mjs'), ANSWERING)
    const { pathname } = new URL(import.meta.url)
    await waitFor(
      internet.spawn(process.execPath, [join(folder, 'answering.mjs'), pathname, JSON.stringify(STRANGERS)]),
    )
    configFile = join(folder, 'mcp-egress.yaml')
    writeFileSync(configFile, 'version: 1\nlisten: { transparent: "[::]:15001", admin: "0.0.0.0:9901" }\n')
    const proxy = await startProxyProcess(network, { configFile, trailFile: join(folder, 'logs/audit.jsonl') })
    undo.push(() => proxy.stop())
    const mode = ['--mode', 'prerouting', '--in-interface', GATEWAY.interface, '--dns', 'reject']
    await run(network, [process.execPath, COMMAND, 'iptables', 'apply', '-c', configFile, ...mode].join(' '))
  }, 120_000)
  afterAll(async () => {
    for (const step of undo.reverse()) await step()
  })

  const verify = async (uid: number | undefined): Promise<Verified> => {
    const command = [COMMAND, 'iptables', 'verify', '--json', '--mode', 'prerouting', '-c', configFile]
    const as = uid === undefined ? {} : { uid }
    return read(await workload.exec(process.execPath, command, { env: NEUTRAL, timeoutMs: 60_000, cwd: '/', ...as }))
  }

  it('calls its right rules closed, without root', async () => {
    const { code, report, ways } = await verify(WORKLOAD_UID)
    expect(notClosed(report)).toEqual([])
    expect([code, report.accounting]).toEqual([0, 'none'])
    expect(ways('bound')).toEqual([])
    expect(ways('TCP 8443')).toMatchObject([{ how: 'proxy' }, { how: 'proxy' }])
    expect(ways('UDP 443')).toMatchObject([{ how: 'refused' }, { how: 'refused' }])
    expect(ways('admin')).toMatchObject([{ how: 'refused' }])
  })

  it('names what it forwards', async () => {
    await run(network, 'iptables -F MCP_EGRESS_FORWARD && iptables -F MCP_EGRESS_INPUT')
    const { code, ways } = await verify(WORKLOAD_UID)
    expect([code, ...verdicts(ways('UDP', 'v4'))]).toEqual([3, 'open'])
    expect(verdicts(ways('UDP', 'v6'))).not.toContain('open')
    expect(verdicts(ways('admin', 'v4'))).toEqual(['open'])
  })

  it('is not content with packets that vanish behind the gateway', async () => {
    await run(network, 'iptables -t nat -F MCP_EGRESS_PRE && iptables -I FORWARD -j DROP')
    const { code, report, ways } = await verify(undefined)
    expect([code, report.accounting]).toEqual([3, 'nft'])
    expect(verdicts([...ways('TCP', 'v4'), ...ways('UDP', 'v4')])).toEqual(['unknown'])
  })
})
