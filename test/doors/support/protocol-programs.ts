// Programs that others wrote, at either end of the proxy: clients that speak HTTP/2, and origins that speak one version or both.

import { type ChildProcess, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Spawner } from '../../e2e/support/spawner.ts'
import type { ExecOptions, Finished } from '../../support/netns.ts'
import type { TestRoot } from '../../support/origins.ts'

const SUPPORT = fileURLToPath(new URL('./', import.meta.url))
const PYTHON = '/usr/bin/python3'
const NGINX = '/usr/sbin/nginx'
const RUN_TIMEOUT_MS = 60_000
const START_DEADLINE_MS = 10_000

/** Clients that make some requests at once on one connection and print what they got as JSON. */
const SCRIPTS = {
  'node:http2': [process.execPath, `${SUPPORT}protocol-node-client.mjs`],
  httpx: [PYTHON, `${SUPPORT}protocol_httpx.py`],
  'python h2': [PYTHON, `${SUPPORT}protocol_h2.py`],
} as const

export type ScriptedClient = keyof typeof SCRIPTS
export type Program = ScriptedClient | 'curl' | 'h2load' | 'nghttp' | 'nginx'

export interface Got {
  /** As the client calls it: `h2` or `HTTP/2`. */
  readonly version: string
  readonly answers: readonly { readonly status: number; readonly body: string }[]
}

const looked = new Map<Program, boolean>()

/** Whether the program is not here or can not do HTTP/2; said once on stderr, so that a skipped test is never silent. */
export function missing(program: Program): boolean {
  const before = looked.get(program)
  if (before !== undefined) return before
  const why = OBSTACLES[program]()
  looked.set(program, why !== null)
  if (why !== null) process.stderr.write(`tests of HTTP/2 with ${program} are SKIPPED: ${why}\n`)
  return why !== null
}

const OBSTACLES: Readonly<Record<Program, () => string | null>> = {
  'node:http2': () => null,
  httpx: () => pythonLacks('httpx, h2'),
  'python h2': () => pythonLacks('h2.connection'),
  curl: () => (said('curl', '--version').includes('HTTP2') ? null : 'no curl with HTTP/2'),
  h2load: () => (said('h2load', '--version') === '' ? 'nghttp2-client is not installed' : null),
  nghttp: () => (said('nghttp', '--version') === '' ? 'nghttp2-client is not installed' : null),
  nginx: () => (said(NGINX, '-V').includes('http_v2_module') ? null : 'no nginx with HTTP/2'),
}

/** Nothing where it can not be started. */
function said(command: string, option: string): string {
  const { stdout, stderr } = spawnSync(command, [option], { encoding: 'utf8' })
  return `${stdout ?? ''}${stderr ?? ''}`
}

function pythonLacks(modules: string): string | null {
  if (!existsSync(PYTHON)) return `${PYTHON} is not installed`
  return spawnSync(PYTHON, ['-c', `import ${modules}`]).status === 0 ? null : `${PYTHON} has no ${modules}`
}

/** `count` requests at once; `options.env` says what is trusted and which proxy is used. */
export async function askAtOnce(
  spawner: Spawner,
  client: ScriptedClient,
  url: string,
  count: number,
  options: ExecOptions,
): Promise<Got> {
  const [command, script] = SCRIPTS[client]
  const { stdout } = await run(spawner, command, [script, url, String(count)], options)
  return JSON.parse(stdout) as Got
}

/** Rejects unless it ends well. */
export async function run(
  spawner: Spawner,
  command: string,
  args: readonly string[],
  options: ExecOptions,
): Promise<Finished> {
  const finished = await spawner.exec(command, args, { timeoutMs: RUN_TIMEOUT_MS, ...options })
  if (finished.code !== 0) throw new Error(`${command}: ${finished.code} ${finished.stderr} ${finished.stdout}`)
  return finished
}

export interface Listen {
  readonly host: string
  readonly port: number
}

export interface OriginProgram {
  /** The versions of the requests for the path, `1.1` or `2.0`, in order. */
  versions(path: string): string[]
  stop(): Promise<void>
}

/** nginx with a canned answer: HTTP/2 for those who offer it. */
export async function startNginx(spawner: Spawner, root: TestRoot, name: string, at: Listen): Promise<OriginProgram> {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-nginx-'))
  const { key, cert } = root.issue(name)
  writeFileSync(join(folder, 'key.pem'), key)
  writeFileSync(join(folder, 'cert.pem'), cert)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  writeFileSync(
    join(folder, 'nginx.conf'),
    `daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log;
events { worker_connections 256; }
http {
  ${temporary.map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(' ')}
  log_format version '$server_protocol $request_uri';
  access_log ${folder}/access.log version;
  server {
    listen ${at.host}:${at.port} ssl http2;
    ssl_certificate ${folder}/cert.pem; ssl_certificate_key ${folder}/key.pem;
    location / { return 200 "from nginx\\n"; }
  }
}
`,
  )
  // It tells its pid when it listens.
  const started = appeared(folder, 'pid')
  const child = spawner.spawn(NGINX, ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log')])
  await started
  return {
    versions: (path) =>
      readFileSync(join(folder, 'access.log'), 'utf8')
        .split('\n')
        .filter((line) => line.endsWith(` ${path}`))
        .map((line) => line.slice('HTTP/'.length, line.indexOf(' '))),
    stop: async () => {
      await ended(child)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Node's own, which refuses whoever does not offer HTTP/2. */
export async function startHttp2Origin(
  spawner: Spawner,
  root: TestRoot,
  name: string,
  at: Listen,
): Promise<OriginProgram> {
  const child = spawner.spawn(process.execPath, [`${SUPPORT}protocol-h2-origin.mjs`])
  child.stdin?.end(JSON.stringify({ ...at, ...root.issue(name) }))
  child.stderr?.pipe(process.stderr)
  if (child.stdout === null) throw new Error('the origin has no stdout')
  const heard: { event: string; url?: string; version?: string }[] = []
  const lines = createInterface({ input: child.stdout }).on('line', (line) => heard.push(JSON.parse(line) as never))
  await once(lines, 'line')
  return {
    versions: (path) => heard.filter(({ url }) => url === path).map(({ version = '' }) => version),
    stop: () => ended(child),
  }
}

function appeared(folder: string, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const watcher = watch(folder, (_event, changed) => {
      if (changed !== name) return
      clearTimeout(timer)
      watcher.close()
      resolve()
    })
    const timer = setTimeout(() => {
      watcher.close()
      reject(new Error(`no ${name} in ${folder}`))
    }, START_DEADLINE_MS)
  })
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const closed = once(child, 'close')
  child.kill('SIGKILL')
  await closed
}
