// A proxy in this process with a folder of its own, a fake internet on loopback, and its audit trail at hand.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type RunningProxy, startProxy, systemGround } from '../../src/cli/runtime.ts'
import { type Config, loadConfig } from '../../src/config/load.ts'
import type { DecisionLine } from '../../src/proxy/decision-line.ts'
import { DEADLINES, type Deadlines } from '../../src/proxy/deadlines.ts'
import { PEEK_DEADLINES, type PeekDeadlines } from '../../src/proxy/peek.ts'
import { createTestRoot, type TestRoot } from './origins.ts'

export interface LabOptions {
  /** YAML of `rules:`, indented as a list. */
  readonly rules: string
  readonly clients?: string
  readonly mode?: 'enforce' | 'observe'
  /** Names the fake internet knows; every other one does not resolve. Default for `resolve` misses: failure. */
  readonly names?: Readonly<Record<string, readonly string[]>>
  /** Where the client of the transparent door "dialled"; null: not redirected. */
  readonly original?: { address: string; port: number } | null
  readonly deadlines?: Partial<Deadlines>
  readonly peekDeadlines?: Partial<PeekDeadlines>
  readonly root?: TestRoot
  readonly env?: NodeJS.ProcessEnv
  /** Default: loopback is reachable, for the origins of the test. */
  readonly upstreamAllow?: readonly string[]
  /** More members of `audit:`, in flow style. */
  readonly audit?: string
  /** More top-level YAML. */
  readonly extra?: string
  /** `upstream.trust` beside the test root; relative paths count from the folder of the lab. */
  readonly trust?: readonly string[]
}

export type AuditRecord = Record<string, unknown> & { event: string; seq: number; request_id?: string }

export interface Lab {
  readonly root: TestRoot
  readonly proxy: RunningProxy
  readonly proxyPort: number
  readonly transparentPort: number
  readonly gatewayPort: number
  readonly adminPort: number
  /** PEM of the proxy's CA. */
  readonly ca: string
  readonly folder: string
  readonly trailFile: string
  readonly resolved: string[]
  readonly decisions: DecisionLine[]
  /** The trail as it is on disk now. */
  records(): AuditRecord[]
  recordsOf(event: string): AuditRecord[]
  /** Resolves when the trail holds at least `count` records of that event; rejects after 5 s. */
  waitFor(event: string, count: number): Promise<AuditRecord[]>
  /** What the transparent door takes for the original destination from now on. */
  redirectTo(original: { address: string; port: number } | null): void
  /** What the fake internet answers for the name from now on. */
  resolveTo(name: string, addresses: readonly string[]): void
  /** Puts a changed configuration in force: what is given replaces what the lab was started with. */
  reload(changes: Partial<LabOptions>): void
  close(): Promise<void>
}

export async function startLab(options: LabOptions): Promise<Lab> {
  const root = options.root ?? createTestRoot()
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-lab-'))
  const file = join(folder, 'mcp-egress.yaml')
  writeFileSync(file, yamlOf(options, root))
  const load = (): Config => {
    const loaded = loadConfig(file, options.env ?? {})
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems, null, 2))
    return loaded.config
  }
  const resolved: string[] = []
  const decisions: DecisionLine[] = []
  const names = new Map(Object.entries(options.names ?? {}))
  let original = options.original ?? null
  const proxy = await startProxy(load(), {
    ...systemGround(),
    resolver: {
      resolve: async (name) => {
        resolved.push(name)
        const addresses = names.get(name)
        return addresses === undefined ? { kind: 'failed', detail: 'ENOTFOUND' } : { kind: 'addresses', addresses }
      },
    },
    originalDestination: () => (original === null ? { kind: 'direct' } : { kind: 'redirected', ...original }),
    deadlines: { ...DEADLINES, ...options.deadlines },
    peekDeadlines: { ...PEEK_DEADLINES, ...options.peekDeadlines },
    onDecision: (line) => decisions.push(line),
  })
  const portOf = (door: string): number => {
    const found = proxy.addresses.find((entry) => entry.door === door)?.address
    if (found?.kind !== 'tcp') throw new Error(`no ${door}`)
    return found.port
  }
  const trailFile = join(folder, 'logs/audit.jsonl')
  // What follows the last newline is still being written.
  const records = (): AuditRecord[] =>
    readFileSync(trailFile, 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as AuditRecord)
  const recordsOf = (event: string): AuditRecord[] => records().filter((record) => record.event === event)
  return {
    root,
    proxy,
    proxyPort: portOf('proxy'),
    transparentPort: portOf('transparent'),
    gatewayPort: portOf('gateway'),
    adminPort: portOf('admin'),
    ca: readFileSync(join(folder, 'certs/ca.pem'), 'utf8'),
    folder,
    trailFile,
    resolved,
    decisions,
    records,
    recordsOf,
    waitFor: async (event, count) => {
      const deadline = Date.now() + 5_000
      for (;;) {
        const found = recordsOf(event)
        if (found.length >= count) return found
        if (Date.now() > deadline) throw new Error(`${found.length} of ${count} ${event} records`)
        await new Promise((resolve) => setImmediate(resolve))
      }
    },
    redirectTo: (next) => {
      original = next
    },
    resolveTo: (name, addresses) => void names.set(name, addresses),
    reload: (changes) => {
      writeFileSync(file, yamlOf({ ...options, ...changes }, root))
      void proxy.reload(load())
    },
    close: async () => {
      await proxy.stop()
      rmSync(folder, { recursive: true, force: true })
      if (options.root === undefined) root.close()
    },
  }
}

function yamlOf(options: LabOptions, root: TestRoot): string {
  const trust = [root.file, ...(options.trust ?? [])].join(', ')
  const allow = (options.upstreamAllow ?? ['127.0.0.0/8', '::1/128']).map((cidr) => `"${cidr}"`).join(', ')
  return `version: 1
mode: ${options.mode ?? 'enforce'}
listen: { proxy: "127.0.0.1:0", transparent: "127.0.0.1:0", gateway: "127.0.0.1:0", admin: "127.0.0.1:0" }
ca: { directory: certs }
${options.clients === undefined ? '' : `clients:\n${options.clients}\n`}
${options.rules === '' ? '' : `rules:\n${options.rules}\n`}
upstream: { trust: [${trust}]${allow === '' ? '' : `, allow: [${allow}]`} }
audit: { path: logs/audit.jsonl${options.audit === undefined ? '' : `, ${options.audit}`} }
${options.extra ?? ''}
`
}
