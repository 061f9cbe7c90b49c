// Starts origin.mjs with certificates of a test root and keeps what it says.

import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { TestRoot } from '../../support/origins.ts'
import { type Spawner, SUPPORT } from './spawner.ts'

export interface CannedAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface OriginEvent {
  readonly event: 'listening' | 'connection' | 'request' | 'received' | 'stalled' | 'stream-end'
  /** Address the connection came from. */
  readonly peer?: string
  readonly name?: string
  readonly method?: string
  readonly url?: string
  readonly headers?: readonly string[]
  readonly bytes?: number
  readonly sha256?: string
  readonly ports?: readonly number[]
  /** How long the trail was at that moment. */
  readonly trailBytes?: number
}

export interface OriginProcess {
  readonly ports: readonly number[]
  /** Everything it said, in order. */
  readonly events: readonly OriginEvent[]
  /** The next event that satisfies `wanted`, past ones included; rejects after `withinMs`. */
  event(wanted: (event: OriginEvent) => boolean, withinMs?: number): Promise<OriginEvent>
  stop(): Promise<void>
}

export interface OriginOptions {
  readonly listen: readonly { readonly host: string; readonly port: number }[]
  readonly names: readonly string[]
  /** By `NAME /path`. */
  readonly answers?: Readonly<Record<string, CannedAnswer>>
  readonly trail?: string
}

const EVENT_DEADLINE_MS = 10_000

export async function startOriginProcess(
  spawner: Spawner,
  root: TestRoot,
  options: OriginOptions,
): Promise<OriginProcess> {
  const child = spawner.spawn(process.execPath, [`${SUPPORT}origin.mjs`])
  const names = Object.fromEntries(options.names.map((name) => [name, root.issue(name)]))
  child.stdin?.end(
    JSON.stringify({ listen: options.listen, names, answers: options.answers ?? {}, trail: options.trail ?? null }),
  )
  child.stderr?.pipe(process.stderr)
  const events: OriginEvent[] = []
  const watchers = new Set<() => void>()
  if (child.stdout === null) throw new Error('the origin has no stdout')
  createInterface({ input: child.stdout }).on('line', (line) => {
    events.push(JSON.parse(line) as OriginEvent)
    for (const watch of watchers) watch()
  })
  const event: OriginProcess['event'] = (wanted, withinMs = EVENT_DEADLINE_MS) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        watchers.delete(watch)
        reject(new Error(`the origin said nothing of that kind; it said ${JSON.stringify(events).slice(-500)}`))
      }, withinMs)
      const watch = (): void => {
        const found = events.find(wanted)
        if (found === undefined) return
        clearTimeout(timer)
        watchers.delete(watch)
        resolve(found)
      }
      watchers.add(watch)
      watch()
    })
  const { ports = [] } = await event((said) => said.event === 'listening')
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const closed = once(child, 'close')
    child.kill('SIGKILL')
    await closed
  }
  return { ports, events, event, stop }
}
