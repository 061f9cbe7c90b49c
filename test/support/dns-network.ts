// A client whose name server is the proxy, and behind the proxy another name server that tells of every question.
//
//   client namespace: resolv.conf names 192.0.2.1, origins        its gateway: the proxy, and the canary on 127.0.0.1:53

import type { ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, vi } from 'vitest'
import { type ProxyProcess, startProxyProcess } from '../e2e/support/proxy-process.ts'
import { CLIENT, createNetwork, GATEWAY, type Namespace, type Network } from './netns.ts'
import { createTestRoot, type TestRoot } from './origins.ts'

const CANARY = fileURLToPath(new URL('./canary-name-server.mjs', import.meta.url))
const READY_DEADLINE_MS = 15_000

export interface DnsNetwork {
  readonly client: Namespace
  readonly proxy: ProxyProcess
  /** PEM file of the proxy's CA. */
  readonly ca: string
  /** Names of the questions that left the proxy since the last call, each once. */
  leaked(): Promise<string[]>
  close(): Promise<void>
}

export interface DnsNetworkOptions {
  readonly name: string
  /** YAML below `version: 1`; `listen` is given: DNS on 192.0.2.1:53, the gateway door on 192.0.2.1:443. */
  readonly yaml: (root: TestRoot) => string
  readonly listen?: string
  /** Called when the network is there and before the proxy is started. */
  readonly before?: (network: Network, root: TestRoot) => Promise<() => unknown>
}

export async function startDnsNetwork(options: DnsNetworkOptions): Promise<DnsNetwork> {
  const undo: (() => unknown)[] = []
  const close = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step()
  }
  try {
    const network = await createNetwork(options.name, { client: true })
    undo.push(() => network.close())
    const { client } = network
    if (client === null) throw new Error('a network without its client')
    for (const [namespace, server] of [
      [network, '127.0.0.1'],
      [client, GATEWAY.v4],
    ] as const) {
      const etc = `/etc/netns/${namespace.name}`
      mkdirSync(etc, { recursive: true })
      undo.push(() => rmSync(etc, { recursive: true, force: true }))
      // What the stub resolvers of glibc do unless told otherwise: 5 s for each of two tries.
      writeFileSync(join(etc, 'resolv.conf'), `nameserver ${server}\n`)
      writeFileSync(join(etc, 'hosts'), '127.0.0.1 localhost\n')
      writeFileSync(join(etc, 'nsswitch.conf'), 'hosts: files dns\n')
    }
    const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-dns-'))
    undo.push(() => rmSync(folder, { recursive: true, force: true }))
    const root = createTestRoot()
    undo.push(() => root.close())
    const asked: string[] = []
    await canaryReady(network.spawn(process.execPath, [CANARY, CLIENT.v4, '127.0.0.1', '53']), asked)
    if (options.before !== undefined) undo.push(await options.before(network, root))
    const configFile = join(folder, 'mcp-egress.yaml')
    const listen = options.listen ?? `{ gateway: "${GATEWAY.v4}:443", dns: "${GATEWAY.v4}:53" }`
    writeFileSync(configFile, `version: 1\nlisten: ${listen}\n${options.yaml(root)}`)
    const proxy = await startProxyProcess(network, { configFile, trailFile: join(folder, 'logs/audit.jsonl') })
    undo.push(() => proxy.stop())
    let calls = 0
    const leaked = async (): Promise<string[]> => {
      // The canary says what it hears in order: what came before this question has been said when this one has.
      const mark = `mark-${(calls += 1)}.test`
      await network.exec(process.execPath, ['-e', `require('dns').resolve4('${mark}', () => {})`])
      await vi.waitFor(() => expect(asked).toContain(mark), READY_DEADLINE_MS)
      return [...new Set(asked.splice(0))].filter((name) => name !== mark)
    }
    return { client, proxy, ca: join(folder, 'certs/ca.pem'), leaked, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Its process ends with the network. */
function canaryReady(canary: ChildProcess, asked: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('the canary is not ready')), READY_DEADLINE_MS)
    let held = ''
    canary.stdout?.setEncoding('utf8').on('data', (text: string) => {
      held += text
      for (const line of held.split('\n').slice(0, -1)) {
        if (line === 'ready') resolve(clearTimeout(timer))
        else asked.push((JSON.parse(line) as { name: string }).name)
      }
      held = held.slice(held.lastIndexOf('\n') + 1)
    })
    canary.once('close', (code) => reject(new Error(`the canary ended with ${code}`)))
  })
}
