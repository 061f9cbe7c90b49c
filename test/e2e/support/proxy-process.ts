// Starts the built command as a proxy in a process of its own and reads its trail.

import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import type { AuditRecord } from '../../support/lab.ts'
import type { ExecOptions } from '../../support/netns.ts'
import { COMMAND, NEUTRAL, type Spawner } from './spawner.ts'

export interface ProxyProcess {
  readonly pid: number
  /** Ports by door, as announced; the first of each. */
  readonly ports: ReadonlyMap<string, number>
  readonly trailFile: string
  /** The trail as it is on disk now, whole lines only. */
  records(): AuditRecord[]
  /** Polls the trail until it holds what is wanted; rejects after 10 s. */
  waitFor(what: string, wanted: (records: AuditRecord[]) => boolean): Promise<AuditRecord[]>
  signal(name: 'SIGHUP'): void
  /** SIGTERM; resolves to the exit code. */
  stop(): Promise<number | null>
}

export interface ProxyOptions extends Pick<ExecOptions, 'uid'> {
  readonly configFile: string
  readonly trailFile: string
  /** More of the command line. */
  readonly args?: readonly string[]
}

const START_DEADLINE_MS = 15_000
const TRAIL_DEADLINE_MS = 10_000
/** A kibibyte line of /proc/PID/status. */
const KIB = 1_024

export async function startProxyProcess(spawner: Spawner, options: ProxyOptions): Promise<ProxyProcess> {
  const args = [COMMAND, 'proxy', '-c', options.configFile, ...(options.args ?? [])]
  const child = spawner.spawn(process.execPath, args, {
    env: NEUTRAL,
    ...(options.uid === undefined ? {} : { uid: options.uid }),
  })
  child.stdin?.end()
  const ports = new Map<string, number>()
  await new Promise<void>((resolve, reject) => {
    let said = ''
    const timer = setTimeout(() => reject(new Error(`the proxy is not ready: ${said}`)), START_DEADLINE_MS)
    child.once('close', (code) => reject(new Error(`the proxy ended with ${code}: ${said}`)))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text
      if (!said.includes('mcp-egress: ready\n')) return
      clearTimeout(timer)
      for (const [, door = '', port] of said.matchAll(/^mcp-egress: (\w+) on \S*?:(\d+)$/gm)) {
        if (!ports.has(door)) ports.set(door, Number(port))
      }
      resolve()
    })
  })
  const records = (): AuditRecord[] => readTrail(options.trailFile)
  return {
    pid: child.pid ?? 0,
    ports,
    trailFile: options.trailFile,
    records,
    waitFor: async (what, wanted) => {
      const deadline = performance.now() + TRAIL_DEADLINE_MS
      for (;;) {
        const found = records()
        if (wanted(found)) return found
        if (performance.now() > deadline)
          throw new Error(`the trail has no ${what}; its end: ${JSON.stringify(found.slice(-3))}`)
        await new Promise((resolve) => setImmediate(resolve))
      }
    },
    signal: (name) => child.kill(name),
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
      const closed = once(child, 'close') as Promise<[number | null]>
      child.kill('SIGTERM')
      return (await closed)[0]
    },
  }
}

export function readTrail(file: string, bytes?: number): AuditRecord[] {
  const text = wholeFile(file).subarray(0, bytes).toString('latin1')
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as AuditRecord)
}

/** Memory of a process in bytes: resident now, and the most it ever was since `forgetPeak`. */
export function memoryOf(pid: number): { resident: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  const line = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * KIB
  return { resident: line('VmRSS'), peak: line('VmHWM') }
}

/** The kernel keeps the peak itself, so that no sample is missed (proc(5), clear_refs). */
export function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
}

/** Nothing while it is not there: before the start, and while another one is put in its place. */
function wholeFile(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0)
    throw error
  }
}
