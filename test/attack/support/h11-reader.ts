// What Python's h11 makes of a stream of requests: a second reading that shares no code with Node's.

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { available } from '../../tls/fixture.ts'
import type { Sent } from './smuggling.ts'

const PYTHON = '/usr/bin/python3'
const SCRIPT = fileURLToPath(new URL('h11_reader.py', import.meta.url))

export interface H11Reading {
  /** Those that are whole. */
  readonly requests: readonly Sent[]
  /** Why there is no further one: `unfinished`, or what is wrong with it; null where the bytes end with a request. */
  readonly error: string | null
}

export interface H11Reader {
  readonly read: (bytes: Buffer) => Promise<H11Reading>
  readonly close: () => Promise<void>
}

/** Says so loudly where it is missing. */
export function h11Available(): boolean {
  return available(PYTHON, ['-c', 'import h11'])
}

export function startH11(): H11Reader {
  const child: ChildProcess = spawn(PYTHON, [SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] })
  const { stdin, stdout } = child
  if (stdin === null || stdout === null) throw new Error('no pipes')
  const waiting: ((line: string) => void)[] = []
  createInterface({ input: stdout }).on('line', (line) => waiting.shift()?.(line))
  const exited = new Promise<void>((resolve) => void child.once('exit', () => resolve()))
  return {
    read: async (bytes) => {
      const line = await Promise.race([
        new Promise<string>((resolve) => {
          waiting.push(resolve)
          stdin.write(`${bytes.toString('base64')}\n`)
        }),
        exited.then(() => Promise.reject(new Error('h11 has ended'))),
      ])
      return JSON.parse(line) as H11Reading
    },
    close: async () => {
      stdin.end()
      await exited
    },
  }
}
