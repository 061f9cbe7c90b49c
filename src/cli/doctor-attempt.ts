// Runs one program once, within a bound of time and of output.

import { spawn } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'

export type Ended =
  | { readonly kind: 'ended'; readonly code: number | null; readonly output: string }
  | { readonly kind: 'timed-out'; readonly output: string }
  | { readonly kind: 'not-started'; readonly output: string }

const MAX_OUTPUT_BYTES = 16_384

export interface RunOptions {
  readonly environment: NodeJS.ProcessEnv
  readonly directory: string
  readonly input: string
  readonly timeoutMs: number
}

/** Without a shell. `output` is what it wrote to both streams, its beginning when it wrote more than 16 KiB. */
export function runBounded(program: string, args: readonly string[], options: RunOptions): Promise<Ended> {
  return new Promise((resolve) => {
    const parts: Buffer[] = []
    let bytes = 0
    let timedOut = false
    const child = spawn(program, args, {
      cwd: options.directory,
      env: options.environment,
      stdio: ['pipe', 'pipe', 'pipe'],
      // A session of its own: its children end with it, and none of them asks for a password on the terminal.
      detached: true,
    })
    const kill = (): void => killGroup(child.pid)
    // Whoever stops this process stops what it started.
    process.once('exit', kill)
    const output = (): string => Buffer.concat(parts).toString('utf8')
    const keep = (part: Buffer): void => {
      if (bytes < MAX_OUTPUT_BYTES) parts.push(part.subarray(0, MAX_OUTPUT_BYTES - bytes))
      bytes += part.length
    }
    const timer = setTimeout(() => {
      timedOut = true
      kill()
      // One that left the group may hold the pipes open: what it still says is not waited for.
      child.stdout.destroy()
      child.stderr.destroy()
    }, options.timeoutMs)
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    // A program that reads nothing closes it first.
    child.stdin.on('error', () => undefined)
    child.stdin.end(options.input)
    const settle = (ended: Ended): void => {
      clearTimeout(timer)
      process.off('exit', kill)
      resolve(ended)
    }
    child.on('error', (error) => settle({ kind: 'not-started', output: error.message }))
    child.on('close', (code) => {
      settle(timedOut ? { kind: 'timed-out', output: output() } : { kind: 'ended', code, output: output() })
    })
  })
}

function killGroup(leader: number | undefined): void {
  if (leader === undefined) return
  try {
    process.kill(-leader, 'SIGKILL')
  } catch {
    // It has ended.
  }
}

/** The first of `programs` that PATH has, as an absolute path; null: none. */
export function findProgram(programs: readonly string[], environment: NodeJS.ProcessEnv): string | null {
  const folders = (environment['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '')
  const paths = programs.flatMap((program) => folders.map((folder) => join(folder, program)))
  return paths.find((path) => isExecutable(path)) ?? null
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}
