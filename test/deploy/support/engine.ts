// A Docker Engine and Compose for tests: the one that answers, or one started by the script that is at hand for it.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { ROOT } from './root.ts'

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv
  readonly timeoutMs?: number
  /** A code other than 0 is an answer, not an error. */
  readonly mayFail?: boolean
}

const COMMAND_TIMEOUT_MS = 120_000
/** A first start may have to install the engine and to make its base image. */
const START_TIMEOUT_MS = 600_000

/** Prints `DOCKER_HOST=…` when told `start`. */
const SCRIPT = process.env['MCP_EGRESS_DOCKER_ENGINE'] ?? `${ROOT}/../shared/tools/docker-engine`

const found = findEngine()

/** Whether containers can be run and composed here; if not, why is printed once: a skipped suite is never silent. */
export const dockerTestsPossible: boolean = found.obstacle === null
if (found.obstacle !== null) process.stderr.write(`docker tests are SKIPPED: ${found.obstacle}\n`)

export function docker(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return run(['docker', ...args], options)
}

/**
 * A command that makes or removes images, one at a time over all workers.
 * The classic builder goes on from a cached layer by name; a removal beside it takes the layer away before it has a child.
 */
export function dockerAlone(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return run(['flock', '--close', `${tmpdir()}/mcp-egress-docker-images.lock`, 'docker', ...args], options)
}

export function compose(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return run([...found.compose, ...args], options)
}

/** A child that stays; the caller ends it. */
export function dockerChild(args: readonly string[]): ChildProcess {
  return spawn('docker', args, { env: environment({}), stdio: ['pipe', 'pipe', 'ignore'] })
}

function run(words: readonly string[], options: RunOptions): Promise<Finished> {
  const [command = '', ...args] = words
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: environment(options.env ?? {}),
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: options.timeoutMs ?? COMMAND_TIMEOUT_MS,
      killSignal: 'SIGKILL',
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0 || options.mayFail === true) resolve({ code, stdout, stderr })
      else reject(new Error(`${words.join(' ')}: exit code ${code}\n${stdout.slice(-2000)}${stderr.slice(-4000)}`))
    })
  })
}

function environment(more: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const host = found.host === null ? {} : { DOCKER_HOST: found.host }
  return { ...process.env, ...host, ...more }
}

function findEngine(): { host: string | null; compose: readonly string[]; obstacle: string | null } {
  const none = { host: null, compose: [] }
  if (process.platform !== 'linux') return { ...none, obstacle: 'they look at bridges, so they need Linux' }
  const host = answers(null) ? null : startedByScript()
  if (host === undefined) return { ...none, obstacle: `no Docker Engine answers, and there is no script ${SCRIPT}` }
  const known = [['docker', 'compose'], ['docker-compose']].find(([command = '', ...args]) =>
    succeeds(command, [...args, 'version'], {}),
  )
  if (known === undefined) return { ...none, obstacle: 'neither docker compose nor docker-compose is installed' }
  return { host, compose: known, obstacle: null }
}

function startedByScript(): string | undefined {
  if (!existsSync(SCRIPT)) return undefined
  // Two workers may come here at once; the engine starts once.
  const { stdout } = spawnSync('flock', ['--close', `${tmpdir()}/mcp-egress-docker-engine.lock`, SCRIPT, 'start'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    timeout: START_TIMEOUT_MS,
  })
  const host = /^DOCKER_HOST=(\S+)$/m.exec(stdout ?? '')?.[1]
  return host !== undefined && answers(host) ? host : undefined
}

function answers(host: string | null): boolean {
  return succeeds('docker', ['version'], host === null ? {} : { DOCKER_HOST: host })
}

function succeeds(command: string, args: readonly string[], env: NodeJS.ProcessEnv): boolean {
  return spawnSync(command, args, { env: { ...process.env, ...env }, timeout: 30_000 }).status === 0
}
