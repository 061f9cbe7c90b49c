// How an end-to-end test starts programs: on this machine as it is, or, through a `Namespace`, in a network of their own.

import { type ChildProcess, spawn as spawnChild } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ExecOptions, Finished, Namespace } from '../../support/netns.ts'

export type Spawner = Pick<Namespace, 'exec' | 'spawn'>

export const REPOSITORY: string = fileURLToPath(new URL('../../../', import.meta.url))
export const COMMAND: string = `${REPOSITORY}dist/cli/main.js`
export const SUPPORT: string = fileURLToPath(new URL('./', import.meta.url))

/** What the environment of whoever runs the tests must not decide: how clients find a proxy and what they trust. */
export const NEUTRAL: NodeJS.ProcessEnv = {
  ...Object.fromEntries(
    ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY'].flatMap((name) => [
      [name, ''],
      [name.toLowerCase(), ''],
    ]),
  ),
  NODE_OPTIONS: '',
  NODE_EXTRA_CA_CERTS: '',
  HOME: '/nonexistent',
}

const EXEC_TIMEOUT_MS = 60_000

function spawn(command: string, args: readonly string[], options: ExecOptions = {}): ChildProcess {
  const { env, cwd } = options
  return spawnChild(command, args, {
    env: { ...process.env, ...env },
    stdio: 'pipe',
    ...(cwd === undefined ? {} : { cwd }),
  })
}

function exec(command: string, args: readonly string[], options: ExecOptions = {}): Promise<Finished> {
  const child = spawn(command, args, options)
  return new Promise((resolve, reject) => {
    let stdout = ''
    let stderr = ''
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? EXEC_TIMEOUT_MS)
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(options.input ?? '')
    child.once('error', reject)
    child.once('close', (code) => {
      clearTimeout(timer)
      resolve({ code, stdout, stderr })
    })
  })
}

export const thisMachine: Spawner = { exec, spawn }
