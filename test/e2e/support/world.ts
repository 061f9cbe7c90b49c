// A machine on which `mcp-egress run` is used, behind its only link an internet of one origin, and a canary that counts all else.
//
//   machine (the namespace `client`)            internet (its gateway)
//   mcp-egress run ─┬─ proxy ───────────────────▶ api.github.com:443
//                   └─ jail: the command          everything else that arrives: counted

import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createNetwork, type Finished, GATEWAY, type Namespace } from '../../support/netns.ts'
import { createTestRoot, type TestRoot } from '../../support/origins.ts'
import { GITHUB } from './machine.ts'
import { type CannedAnswer, type OriginProcess, startOriginProcess } from './origin-process.ts'
import { COMMAND, NEUTRAL } from './spawner.ts'

const ORIGIN = { v4: '198.51.100.10', v6: '2001:db8::10' } as const
/** Addresses of the internet that nobody may reach. */
export const OUTSIDE: readonly string[] = ['203.0.113.9', '2001:db8:f::9']

export interface World {
  readonly machine: Namespace
  readonly internet: Namespace
  readonly origin: OriginProcess
  readonly root: TestRoot
  /** A new folder with a configuration that trusts the origin, owned by `uid`. */
  folder(uid: number, rules?: string): string
  /** `mcp-egress run ARGS` on the machine, as `uid`. */
  run(folder: string, args: readonly string[], options?: RunOptions): Promise<Finished>
  /** Packets that reached the internet and were not the proxy's to the origin, since the last time. */
  leaked(): Promise<number>
  close(): Promise<void>
}

export interface RunOptions {
  readonly uid?: number
  readonly env?: NodeJS.ProcessEnv
  readonly input?: string
}

const RUN_TIMEOUT_MS = 90_000

export async function startWorld(answers: Readonly<Record<string, CannedAnswer>> = {}): Promise<World> {
  const undo: (() => unknown)[] = []
  const close = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step()
  }
  try {
    const network = await createNetwork('run', { client: true, addresses: [...Object.values(ORIGIN), ...OUTSIDE] })
    undo.push(() => network.close())
    const machine = network.client
    if (machine === null) throw new Error('a network without its client')
    for (const name of [network.name, machine.name]) nameOrigin(name, undo)
    await watch(network)
    const root = createTestRoot()
    undo.push(() => root.close())
    chmodSync(dirname(root.file), 0o755)
    const origin = await startOriginProcess(network, root, {
      listen: Object.values(ORIGIN).map((host) => ({ host, port: 443 })),
      names: [GITHUB],
      answers,
    })
    undo.push(() => origin.stop())
    return {
      machine,
      internet: network,
      origin,
      root,
      folder: (uid, rules = '') => {
        const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-run-'))
        undo.push(() => rmSync(folder, { recursive: true, force: true }))
        writeFileSync(join(folder, 'mcp-egress.yaml'), `version: 1\nupstream: { trust: [${root.file}] }\n${rules}`)
        chmodSync(folder, 0o755)
        chownSync(folder, uid, uid)
        return folder
      },
      run: (folder, args, { uid = 0, env = {}, input } = {}) =>
        machine.exec(process.execPath, [COMMAND, 'run', ...args], {
          cwd: folder,
          env: { ...NEUTRAL, HOME: folder, ...env },
          timeoutMs: RUN_TIMEOUT_MS,
          ...(uid === 0 ? {} : { uid }),
          ...(input === undefined ? {} : { input }),
        }),
      leaked: async () => {
        const counts = await Promise.all(
          ['iptables', 'ip6tables'].map(async (command) => {
            const listed = await network.exec(command, ['-t', 'raw', '-Z', '-L', 'CANARY', '-v', '-x', '-n'])
            return Number(/^\s*(\d+)\s+\d+\s+RETURN/m.exec(listed.stdout)?.[1] ?? Number.NaN)
          }),
        )
        return counts.reduce((sum, count) => sum + count, 0)
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** `ip netns exec NAME` shows /etc/netns/NAME/hosts as /etc/hosts; without resolv.conf nobody is asked. */
function nameOrigin(namespace: string, undo: (() => unknown)[]): void {
  const folder = `/etc/netns/${namespace}`
  mkdirSync(folder, { recursive: true })
  undo.push(() => rmSync(folder, { recursive: true, force: true }))
  const named = Object.values(ORIGIN).map((address) => `${address} ${GITHUB}\n`)
  writeFileSync(join(folder, 'hosts'), `127.0.0.1 localhost\n::1 localhost\n${named.join('')}`)
  writeFileSync(join(folder, 'resolv.conf'), `nameserver ${OUTSIDE[0]}\n`)
}

/** Counts what comes in from the machine, less the way to the origin and what IPv6 needs to find its neighbours (RFC 4861). */
async function watch(internet: Namespace): Promise<void> {
  for (const [command, address] of [
    ['iptables', ORIGIN.v4],
    ['ip6tables', ORIGIN.v6],
  ] as const) {
    const rules = [
      ['-N', 'CANARY'],
      ['-A', 'CANARY', '-j', 'RETURN'],
      ['-A', 'PREROUTING', '-d', address, '-p', 'tcp', '--dport', '443', '-j', 'ACCEPT'],
      ...(command === 'iptables'
        ? []
        : [133, 134, 135, 136, 143].map((type) => [
            '-A',
            'PREROUTING',
            '-p',
            'icmpv6',
            '--icmpv6-type',
            `${type}`,
            '-j',
            'ACCEPT',
          ])),
      ['-A', 'PREROUTING', '-i', GATEWAY.interface, '-j', 'CANARY'],
    ]
    for (const rule of rules) {
      const { code, stderr } = await internet.exec(command, ['-t', 'raw', ...rule])
      if (code !== 0) throw new Error(`${command} ${rule.join(' ')}: ${stderr}`)
    }
  }
}
