// A built proxy in a process of its own, an origin that behaves as badly as it is told to, and what an attack did to the process.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type ProxyProcess, startProxyProcess } from '../../e2e/support/proxy-process.ts'
import { SUPPORT as E2E_SUPPORT, type Spawner, thisMachine } from '../../e2e/support/spawner.ts'
import { unevenRequests, verifyTrail } from '../../support/audit-events.ts'

/** `full`: the sizes of the threat catalogue. Otherwise those that show the same in a few seconds. */
export const FULL: boolean = process.env['MCP_EGRESS_TEST_LOAD'] === 'full'
export const MIB: number = 1_024 * 1_024
/** How late the event loop may be for one turn in a hundred; alone on its machine it stays below 50 ms. */
export const P99_ALLOWED_MS = 200
/** How soon an honest client is served while an attack goes on, and behind it. */
const SERVED_WITHIN_MS = 1_000
const ANSWER_DEADLINE_MS = 10_000
const TRAIL_DEADLINE_MS = FULL ? 60_000 : 10_000
/** No origin of ours is stricter than the proxy. */
const MAX_ORIGIN_HEAD = 128 * 1_024
/** On a machine that does other things too, one slow answer is no starvation. */
const TRIES = 3
/** Upstream connections that are kept for the next request to an origin. */
const KEPT_SOCKETS = 32
/** Caches, compiled code, pools of buffers: what a first attack leaves and a second does not add to. */
const KEPT_BYTES = 8 * 1_024 * 1_024
const PROBE = join(E2E_SUPPORT, '../../attack/support/load-probe.mjs')

/** `reachable`: bytes that a collection of garbage leaves, on the heap and outside of it. */
export interface Memory {
  readonly reachable: number
  readonly sockets: number
  readonly timers: number
}

export interface Lateness {
  readonly p99Ms: number
  readonly maxMs: number
}

export interface LoadBed {
  readonly proxy: ProxyProcess
  /** `127.0.0.1:PORT`, allowed by plain HTTP. */
  readonly authority: string
  /** A connection to the explicit door, from an address of the loopback network; it may have been refused by then. */
  open(from?: string): Promise<Socket>
  /** The bytes of an absolute-form request without a body of its own. */
  request(path: string, fields?: string, method?: string): string
  /** Status of the answer to an honest client; 0: none came. */
  ask(path: string): Promise<number>
  /** Fails unless the proxy lives, says that it is healthy, and serves an honest client within a second. */
  servesOthers(): Promise<void>
  memory(): Promise<Memory>
  /** Since it was asked last. */
  lateness(): Promise<Lateness>
  descriptors(): number
  /** Fails unless the proxy comes back to what it held in `before`: its sockets, and its memory but for what it keeps for all. */
  recovers(before: Memory): Promise<void>
  /** Fails unless the chain holds and each attempt has one decision and one end; waits for the last end. */
  accounted(): Promise<Record<string, unknown>[]>
  close(): Promise<void>
}

export type Behaviour = (request: IncomingMessage, response: ServerResponse) => void

export interface LoadOptions {
  /** By path; every other one is answered `ok`. */
  readonly origin?: Readonly<Record<string, Behaviour>>
  /** More of the configuration: rules first, as a list. */
  readonly rules?: string
  /** A file of certificates that origins inside TLS are believed by. */
  readonly trust?: string
  /** As `prlimit --nofile`. */
  readonly descriptors?: number
}

export async function startLoadBed({
  origin = {},
  rules = '',
  trust,
  descriptors,
}: LoadOptions = {}): Promise<LoadBed> {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-load-'))
  const behaviours = new Map(Object.entries(origin))
  const server = createServer({ maxHeaderSize: MAX_ORIGIN_HEAD }, (incoming, response) => {
    const behaviour = behaviours.get(incoming.url?.split('?')[0] ?? '')
    if (behaviour !== undefined) return behaviour(incoming, response)
    incoming.resume()
    response.end('ok')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const authority = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const configFile = join(folder, 'mcp-egress.yaml')
  writeFileSync(
    configFile,
    `version: 1
listen: { proxy: "127.0.0.1:0", admin: "127.0.0.1:0" }
rules:
  - { id: origin, allow: { hosts: [127.0.0.1], schemes: [http], ports: [${authority.split(':')[1]}] } }
${rules}upstream: { allow: [127.0.0.0/8, "::1/128"]${trust === undefined ? '' : `, trust: [${trust}]`} }
audit: { path: ${folder}/logs/audit.jsonl }
`,
  )
  const { spawner, channel } = probed(descriptors)
  const proxy = await startProxyProcess(spawner, { configFile, trailFile: join(folder, 'logs/audit.jsonl') })
  const portOf = (door: string): number => proxy.ports.get(door) ?? 0
  const got = (port: number, path: string): Promise<number> =>
    new Promise((resolve) => {
      const sent = request({ host: '127.0.0.1', port, path, agent: false }, (answer) => {
        answer.resume()
        answer.once('close', () => resolve(answer.statusCode ?? 0))
      })
      sent.setTimeout(ANSWER_DEADLINE_MS, () => sent.destroy())
      sent.once('error', () => resolve(0))
      if (port === portOf('proxy')) sent.setHeader('Host', authority)
      sent.end()
    })
  const ask = (path: string): Promise<number> => got(portOf('proxy'), `http://${authority}${path}`)
  const bed: LoadBed = {
    proxy,
    authority,
    open: async (from = '127.0.0.1') => {
      const socket = connect({ host: '127.0.0.1', port: portOf('proxy'), localAddress: from })
      socket.on('error', () => undefined)
      await new Promise<void>((resolve) => void socket.once('connect', resolve).once('close', () => resolve()))
      return socket
    },
    request: (path, fields = '', method = 'GET') =>
      `${method} http://${authority}${path} HTTP/1.1\r\nHost: ${authority}\r\n${fields}\r\n`,
    ask,
    servesOthers: async () => {
      let best = Number.POSITIVE_INFINITY
      for (let tried = 0; tried < TRIES && best > SERVED_WITHIN_MS; tried++) {
        const started = performance.now()
        expect(await got(portOf('admin'), '/health'), 'GET /health').toBe(200)
        expect(await ask('/honest'), 'an honest client').toBe(200)
        best = Math.min(best, performance.now() - started)
      }
      expect(best, 'ms until an honest client was served').toBeLessThan(SERVED_WITHIN_MS)
    },
    memory: () => channel('memory'),
    lateness: () => channel('lateness'),
    descriptors: () => readdirSync(`/proc/${proxy.pid}/fd`).length,
    recovers: async (before) => {
      const surplus = async (): Promise<{ sockets: number; bytes: number }> => {
        const { sockets, reachable } = await channel<Memory>('memory')
        return {
          sockets: Math.max(0, sockets - before.sockets - KEPT_SOCKETS),
          bytes: Math.max(0, reachable - before.reachable - KEPT_BYTES),
        }
      }
      await expect.poll(surplus, { timeout: ANSWER_DEADLINE_MS, interval: 200 }).toEqual({ sockets: 0, bytes: 0 })
    },
    accounted: () => accounted(proxy),
    close: async () => {
      await proxy.stop()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      rmSync(folder, { recursive: true, force: true })
    },
  }
  return bed
}

async function accounted({ trailFile }: ProxyProcess): Promise<Record<string, unknown>[]> {
  let records: Record<string, unknown>[] = []
  const uneven = (): string[] => {
    records = verifyTrail(trailFile).records
    return unevenRequests(records)
  }
  await expect.poll(uneven, { timeout: TRAIL_DEADLINE_MS, interval: 300 }).toEqual([])
  return records
}

/** Starts the proxy with the probe in it, under a limit of descriptors if there is one. */
function probed(descriptors: number | undefined): {
  spawner: Spawner
  channel: <T>(about: string) => Promise<T>
} {
  let child: ChildProcess | null = null
  let asked = 0
  const spawner: Spawner = {
    ...thisMachine,
    spawn: (command, args, options = {}) => {
      const line = [command, '--expose-gc', '--import', PROBE, ...args]
      const limited = descriptors === undefined ? line : ['prlimit', `--nofile=${descriptors}`, '--', ...line]
      const [program = '', ...rest] = limited
      child = spawn(program, rest, { env: { ...process.env, ...options.env }, stdio: ['pipe', 'pipe', 'pipe', 'ipc'] })
      return child
    },
  }
  const channel = <T>(about: string): Promise<T> =>
    new Promise((resolve, reject) => {
      const id = asked++
      const onMessage = (message: { id: number; answer: T }): void => {
        if (message.id !== id) return
        clearTimeout(timer)
        child?.off('message', onMessage)
        resolve(message.answer)
      }
      const timer = setTimeout(() => reject(new Error(`the probe says nothing about ${about}`)), ANSWER_DEADLINE_MS)
      child?.on('message', onMessage)
      child?.send({ id, about })
    })
  return { spawner, channel }
}

/** `count` of them at once, no more than `width` in the making. */
export async function times<T>(count: number, make: (index: number) => Promise<T>, width = 64): Promise<T[]> {
  const made: T[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) {
      const index = next++
      made[index] = await make(index)
    }
  }
  await Promise.all(Array.from({ length: width }, worker))
  return made
}

/** Writes what was measured beside the results of a full run. */
export function report(facts: Readonly<Record<string, unknown>>): void {
  if (FULL) process.stderr.write(`${JSON.stringify({ test: expect.getState().currentTestName, ...facts })}\n`)
}

/** Pages that belong to the process alone, in bytes: what an attack on memory makes grow (proc(5), RssAnon). */
export function anonymous(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024
}
