// A proxy in a process of its own, an origin that counts what reaches it, and clients that know what they were answered.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { verifyTrail } from '../../support/audit-events.ts'
import { type ProxyProcess, startProxyProcess } from './proxy-process.ts'
import { type Spawner, thisMachine } from './spawner.ts'

export interface AuditBed {
  readonly folder: string
  /** Paths that reached the origin, each of them one of a request of these tests. */
  readonly seen: ReadonlySet<string>
  /** Starts the proxy, or the next one on the same trail. */
  start(spawner?: Spawner): Promise<RunningBed>
  close(): Promise<void>
}

export interface RunningBed {
  readonly proxy: ProxyProcess
  /** Status of the answer to a request of its own; 0: none came. Paths below `/stream` are answered for ever. */
  ask(path: string): Promise<number>
  /** Status of the admin listener's answer, and how long it took. */
  admin(path: '/health' | '/ready'): Promise<{ readonly status: number; readonly ms: number }>
  /** Resolves when a request is served again; to how long that took. Rejects after `withinMs`. */
  served(withinMs: number): Promise<number>
}

export interface BedOptions {
  /** Members of `audit:` beside `path`, as YAML flow. */
  readonly audit?: string
  /** Where the trail lies, as the proxy sees it; default: below the folder of the bed. */
  readonly path?: string
}

const ANSWER_DEADLINE_MS = 10_000

export async function startAuditBed({ audit = '', path }: BedOptions = {}): Promise<AuditBed> {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-audit-'))
  const seen = new Set<string>()
  const origin = createServer((incoming, answer: ServerResponse) => {
    seen.add(incoming.url ?? '')
    answer.writeHead(200)
    if (incoming.url?.startsWith('/stream') === true) answer.write('first')
    else answer.end('ok')
  })
  await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve))
  const originPort = (origin.address() as AddressInfo).port
  const configFile = join(folder, 'mcp-egress.yaml')
  const trail = path ?? join(folder, 'logs/audit.jsonl')
  writeFileSync(
    configFile,
    `version: 1
listen: { proxy: "127.0.0.1:0", admin: "127.0.0.1:0" }
rules:
  - id: origin
    allow: { hosts: [127.0.0.1], schemes: [http], ports: [${originPort}] }
upstream: { allow: [127.0.0.0/8] }
audit: { path: ${trail}${audit === '' ? '' : `, ${audit}`} }
`,
  )
  const running: ProxyProcess[] = []
  let number = 0
  const start = async (spawner: Spawner = thisMachine): Promise<RunningBed> => {
    const proxy = await startProxyProcess(spawner, { configFile, trailFile: trail })
    running.push(proxy)
    const port = (door: string): number => proxy.ports.get(door) ?? 0
    const ask = (asked: string): Promise<number> =>
      new Promise((resolve) => {
        const target = `http://127.0.0.1:${originPort}${asked}`
        const sent = request({ host: '127.0.0.1', port: port('proxy'), path: target, agent: false }, (answer) => {
          answer.resume()
          answer.once('close', () => resolve(answer.statusCode ?? 0))
        })
        sent.setTimeout(ANSWER_DEADLINE_MS, () => sent.destroy())
        sent.once('error', () => resolve(0))
        sent.setHeader('Host', `127.0.0.1:${originPort}`)
        sent.end()
      })
    return {
      proxy,
      ask,
      admin: (asked) => {
        const started = performance.now()
        return new Promise((resolve, reject) => {
          const sent = request({ host: '127.0.0.1', port: port('admin'), path: asked, agent: false }, (answer) => {
            answer.resume()
            answer.once('end', () => resolve({ status: answer.statusCode ?? 0, ms: performance.now() - started }))
          })
          sent.setTimeout(ANSWER_DEADLINE_MS, () => sent.destroy(new Error(`no answer to ${asked}`)))
          sent.once('error', reject)
          sent.end()
        })
      },
      served: async (withinMs) => {
        const started = performance.now()
        while ((await ask(`/served/${number++}`)) !== 200) {
          if (performance.now() - started > withinMs) throw new Error(`nothing was served for ${withinMs} ms`)
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
        return performance.now() - started
      },
    }
  }
  return {
    folder,
    seen,
    start,
    close: async () => {
      for (const { pid } of running) killIfThere(pid)
      origin.closeAllConnections()
      await new Promise((resolve) => origin.close(resolve))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}

/** The verified trail, with the paths of the decisions that are in it. */
export function recordedPaths(
  trail: string,
): ReturnType<typeof verifyTrail> & { readonly paths: ReadonlySet<unknown> } {
  const verified = verifyTrail(trail)
  const decided = verified.records.filter(({ event }) => event === 'request.decided')
  return { ...verified, paths: new Set(decided.map((record) => record['path'])) }
}

/** Of all files of a trail whose chain was broken by the removal of one. */
export function pathsIn(files: readonly string[]): ReadonlySet<string> {
  const paths = files.flatMap((file) =>
    [...readFileSync(file, 'latin1').matchAll(/"event":"request\.decided".*?"path":"([^"]*)"/g)].map(
      ([, found]) => found ?? '',
    ),
  )
  return new Set(paths)
}
