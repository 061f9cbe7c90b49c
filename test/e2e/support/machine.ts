// A machine with a workload and a proxy on it, behind it an internet of two names: two network namespaces joined by a veth pair.
//
//   machine (the namespace `client`)                 internet (its gateway)
//   uid 4001 workload ─ REDIRECT ─▶ uid 4002 proxy ──────▶ api.github.com, api.search.brave.com on port 443

import { chownSync, chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { CLIENT, createNetwork, type Namespace, type Network, networkTestsPossible } from '../../support/netns.ts'
import { createTestRoot, type TestRoot } from '../../support/origins.ts'
import { type CannedAnswer, type OriginProcess, startOriginProcess } from './origin-process.ts'
import { type ProxyProcess, startProxyProcess } from './proxy-process.ts'
import { COMMAND, NEUTRAL, REPOSITORY } from './spawner.ts'

export type Family = 'v4' | 'v6'

export const WORKLOAD_UID = 4001
const PROXY_UID = 4002

export const GITHUB = 'api.github.com'
export const BRAVE = 'api.search.brave.com'

/** Documentation addresses (RFC 5737, RFC 3849). */
const INTERNET = {
  v4: { [GITHUB]: '198.51.100.10', [BRAVE]: '198.51.100.11' },
  v6: { [GITHUB]: '2001:db8::10', [BRAVE]: '2001:db8::11' },
} as const
/** By these the proxy sees the workload: a redirected packet keeps the source that routing chose for it. */
export const SOURCES: readonly string[] = [CLIENT.v4, CLIENT.v6, '127.0.0.1', '::1']

const PROXY_URL = { v4: 'http://127.0.0.1:3128', v6: 'http://[::1]:3128' } as const

const obstacle = networkTestsPossible ? unreadable(REPOSITORY) : 'no network namespaces'
if (obstacle !== null) process.stderr.write(`end-to-end tests on a machine of their own are SKIPPED: ${obstacle}\n`)

/** Whether such a machine can be made here. */
export const machinePossible: boolean = obstacle === null

type Undo = (() => unknown)[]

export interface MachineOptions {
  /** The only family in which the names have addresses. */
  readonly family: Family
  /** YAML of `rules:`, indented as a list. */
  readonly rules: string
  /** By `NAME /path`. */
  readonly answers?: Readonly<Record<string, CannedAnswer>>
}

export interface Machine {
  readonly workload: Namespace
  readonly internet: Namespace
  readonly proxy: ProxyProcess
  readonly origin: OriginProcess
  readonly root: TestRoot
  /** What `mcp-egress ca env` says, without and with `--proxy`. */
  readonly trusting: NodeJS.ProcessEnv
  readonly proxied: NodeJS.ProcessEnv
  /** Writes these rules in place of the old ones and has the proxy load them. */
  reload(rules: string): Promise<void>
  /** Takes the redirection out, stops everything and removes every trace; safe to call twice. */
  close(): Promise<void>
}

export async function startMachine(options: MachineOptions): Promise<Machine> {
  const { family } = options
  const undo: Undo = []
  const close = async (): Promise<void> => {
    const failures: unknown[] = []
    for (const step of undo.splice(0).reverse()) {
      // What one step can not take away must not keep the others from it.
      await Promise.resolve()
        .then(step)
        .catch((error: unknown) => failures.push(error))
    }
    if (failures.length > 0) throw new AggregateError(failures, 'the machine was not taken down cleanly')
  }
  try {
    const addresses = Object.values(INTERNET).flatMap((names) => Object.values(names))
    const network = await createNetwork(`e2e-${family}`, { client: true, addresses })
    undo.push(() => network.close())
    const workload = clientOf(network)
    const folder = proxyFolder(undo)
    for (const { name } of [network, workload]) nameHosts(name, family, undo)
    const root = createTestRoot()
    undo.push(() => root.close())
    chmodSync(dirname(root.file), 0o755)
    const configFile = join(folder, 'mcp-egress.yaml')
    const trailFile = join(folder, 'logs/audit.jsonl')
    const write = (rules: string): void => writeFileSync(configFile, configuration(rules, root))
    write(options.rules)

    const command = async (uid: number | undefined, ...args: string[]): Promise<string> => {
      const as = uid === undefined ? {} : { uid }
      const { code, stdout, stderr } = await workload.exec(process.execPath, [COMMAND, ...args], {
        env: NEUTRAL,
        ...as,
      })
      if (code !== 0) throw new Error(`mcp-egress ${args.join(' ')}: ${code} ${stderr}`)
      return stdout
    }
    const environment = async (...args: string[]): Promise<NodeJS.ProcessEnv> => {
      const said = await command(PROXY_UID, 'ca', 'env', '-c', configFile, '--json', ...args)
      return { ...NEUTRAL, ...(JSON.parse(said) as NodeJS.ProcessEnv) }
    }
    await command(PROXY_UID, 'ca', 'init', '-c', configFile)
    const origin = await startOriginProcess(network, root, {
      listen: Object.values(INTERNET[family]).map((host) => ({ host, port: 443 })),
      names: [GITHUB, BRAVE],
      trail: trailFile,
      ...(options.answers === undefined ? {} : { answers: options.answers }),
    })
    undo.push(() => origin.stop())
    const proxy = await startProxyProcess(workload, { configFile, trailFile, uid: PROXY_UID })
    undo.push(() => proxy.stop())
    await command(undefined, 'iptables', 'apply', '-c', configFile, '--mode', 'output', '--dns', 'reject', ...UIDS)
    undo.push(() => command(undefined, 'iptables', 'remove'))
    return {
      workload,
      internet: network,
      proxy,
      origin,
      root,
      trusting: await environment(),
      proxied: await environment('--proxy', PROXY_URL[family]),
      reload: async (rules) => {
        const loaded = (): number => proxy.records().filter(({ event }) => event === 'config.loaded').length
        const before = loaded()
        write(rules)
        proxy.signal('SIGHUP')
        await proxy.waitFor('reload', () => loaded() > before)
      },
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

const UIDS = ['--proxy-uid', String(PROXY_UID), '--workload-uid', String(WORKLOAD_UID)]

function clientOf(network: Network): Namespace {
  if (network.client === null) throw new Error('a network without its client')
  return network.client
}

/** The proxy's own folder; its CA and trail lie in it, readable for the workload only as the proxy makes them so. */
function proxyFolder(undo: Undo): string {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-e2e-'))
  undo.push(() => rmSync(folder, { recursive: true, force: true }))
  chmodSync(folder, 0o755)
  chownSync(folder, PROXY_UID, PROXY_UID)
  return folder
}

/** `ip netns exec NAME` shows /etc/netns/NAME/hosts as /etc/hosts. */
function nameHosts(namespace: string, family: Family, undo: Undo): void {
  const folder = `/etc/netns/${namespace}`
  mkdirSync(folder, { recursive: true })
  undo.push(() => rmSync(folder, { recursive: true, force: true }))
  const lines = Object.entries(INTERNET[family]).map(([name, address]) => `${address} ${name}\n`)
  writeFileSync(join(folder, 'hosts'), `127.0.0.1 localhost\n::1 localhost\n${lines.join('')}`)
}

function configuration(rules: string, root: TestRoot): string {
  return `version: 1
listen:
  proxy: ["127.0.0.1:3128", "[::1]:3128"]
  transparent: ["127.0.0.1:15001", "[::1]:15001"]
  admin: 127.0.0.1:9901
ca: { directory: certs }
clients:
  - name: workload
    source: ${JSON.stringify(SOURCES)}
rules:
${rules}
upstream: { trust: [${root.file}], allow: ["198.51.100.0/24", "2001:db8::/64"] }
audit: { path: logs/audit.jsonl }
`
}

/** The workload and the proxy run from this repository as users who own nothing of it. */
function unreadable(path: string): string | null {
  if ((statSync(path).mode & 0o001) === 0) return `${path} is closed to other users`
  return dirname(path) === path ? null : unreadable(dirname(path))
}
