// Network namespaces for tests: a network of its own, with rules of its own, that is gone when the test is.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

export interface Finished {
  /** null when a signal, our time limit among them, ended it. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface ExecOptions {
  /** Runs as this uid and gid, without supplementary groups; root otherwise. */
  readonly uid?: number
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  readonly input?: string
  readonly timeoutMs?: number
}

/** One network namespace. */
export interface Namespace {
  /** As `ip netns` knows it. */
  readonly name: string
  exec(command: string, args: readonly string[], options?: ExecOptions): Promise<Finished>
  /** A child that lives until it ends, or until `close`. */
  spawn(command: string, args: readonly string[], options?: ExecOptions): ChildProcess
}

export interface Network extends Namespace {
  /** The second namespace, behind the first as its gateway; null unless asked for. */
  readonly client: Namespace | null
  /** Ends what still runs inside and removes everything; safe to call twice. */
  close(): Promise<void>
}

export interface NetworkOptions {
  /** Put on lo with a host prefix, so that connecting there works and a leak arrives where the test can see it. */
  readonly addresses?: readonly string[]
  /** A second namespace on a veth pair that has the first as its gateway. Addresses: see `GATEWAY` and `CLIENT`. */
  readonly client?: boolean
}

/** Interfaces and addresses of the layout with a client; documentation ranges (RFC 5737, RFC 3849). */
export const GATEWAY = { interface: 'to-client', v4: '192.0.2.1', v6: '2001:db8:1::1' } as const
export const CLIENT = { interface: 'to-gateway', v4: '192.0.2.2', v6: '2001:db8:1::2' } as const

const EXEC_TIMEOUT_MS = 15_000
const TOOLS = ['ip', 'iptables', 'ip6tables', 'iptables-restore', 'setpriv']
const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`

const obstacle = findObstacle()

/** Whether this machine lets a test make a namespace; if not, why is printed once: a skipped suite is never silent. */
export const networkTestsPossible: boolean = obstacle === null
if (obstacle !== null) process.stderr.write(`network tests are SKIPPED: ${obstacle}\n`)

let made = 0

export async function createNetwork(name: string, options: NetworkOptions = {}): Promise<Network> {
  made += 1
  // Kernel limit for namespace names is generous, but they share a folder with everybody's.
  const id = `${name}-${process.pid}-${made}`.replaceAll(/[^A-Za-z0-9-]/g, '-')
  const children = new Set<ChildProcess>()
  const names = options.client === true ? [id, `${id}-client`] : [id]

  const close = async (): Promise<void> => {
    await Promise.all([...children].map((child) => ended(child)))
    for (const one of names) if (existsSync(`/run/netns/${one}`)) await ip(['netns', 'del', one])
  }

  try {
    for (const one of names) {
      await ip(['netns', 'add', one])
      await ip(['-n', one, 'link', 'set', 'lo', 'up'])
    }
    for (const address of options.addresses ?? []) await ip(['-n', id, 'addr', 'add', address, 'dev', 'lo'])
    if (options.client === true) await connect(id, `${id}-client`)
  } catch (error) {
    await close()
    throw error
  }
  const client = options.client === true ? namespace(`${id}-client`, children) : null
  return { ...namespace(id, children), client, close }
}

async function connect(gateway: string, client: string): Promise<void> {
  const peer = ['peer', 'name', CLIENT.interface, 'netns', client]
  await ip(['-n', gateway, 'link', 'add', GATEWAY.interface, 'type', 'veth', ...peer])
  for (const [one, end, other] of [
    [gateway, GATEWAY, null],
    [client, CLIENT, GATEWAY],
  ] as const) {
    await ip(['-n', one, 'addr', 'add', `${end.v4}/24`, 'dev', end.interface])
    // Without nodad an IPv6 address can not be used for its first second or so.
    await ip(['-n', one, 'addr', 'add', `${end.v6}/64`, 'dev', end.interface, 'nodad'])
    await ip(['-n', one, 'link', 'set', end.interface, 'up'])
    if (other === null) continue
    await ip(['-n', one, 'route', 'add', 'default', 'via', other.v4])
    await ip(['-n', one, '-6', 'route', 'add', 'default', 'via', other.v6])
  }
}

function namespace(name: string, children: Set<ChildProcess>): Namespace {
  const start = (command: string, args: readonly string[], options: ExecOptions): ChildProcess => {
    const child = spawn('ip', ['netns', 'exec', name, ...as(options.uid), command, ...args], {
      env: { ...process.env, ...options.env, PATH },
      stdio: 'pipe',
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    })
    children.add(child)
    child.once('close', () => children.delete(child))
    return child
  }
  return {
    name,
    spawn: (command, args, options = {}) => start(command, args, options),
    exec: (command, args, options = {}) => finished(start(command, args, options), options),
  }
}

function as(uid: number | undefined): string[] {
  return uid === undefined ? [] : ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--']
}

async function ip(args: readonly string[]): Promise<void> {
  const { code, stderr } = await finished(spawn('ip', args, { env: { ...process.env, PATH }, stdio: 'pipe' }), {})
  if (code !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr.trim()}`)
}

function finished(child: ChildProcess, options: ExecOptions): Promise<Finished> {
  return new Promise((resolve, reject) => {
    let stdout = ''
    let stderr = ''
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? EXEC_TIMEOUT_MS)
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.stdin?.on('error', () => {})
    child.stdin?.end(options.input ?? '')
    child.once('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    child.once('close', (code) => {
      clearTimeout(timer)
      resolve({ code, stdout, stderr })
    })
  })
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('close', () => resolve())
    child.kill('SIGKILL')
  })
}

function findObstacle(): string | null {
  if (process.getuid?.() !== 0) return 'they need root'
  const folders = PATH.split(':')
  const missing = TOOLS.filter((tool) => !folders.some((folder) => existsSync(`${folder}/${tool}`)))
  if (missing.length > 0) return `not installed: ${missing.join(', ')}`
  const trial = spawnSync('unshare', ['--net', 'true'], { encoding: 'utf8' })
  return trial.status === 0 ? null : `no network namespace can be made: ${trial.stderr.trim()}`
}
