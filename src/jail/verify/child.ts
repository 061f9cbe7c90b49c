// Runs a job of probes as another user, in a process of its own that gives up everything else first.

import { spawn } from 'node:child_process'
import type { Findings, Job } from './probe.ts'
import { PROBE_MODULE } from './probe-run.ts'

const CHILD_TIMEOUT_MS = 30_000
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024

/** Node.js loads the probes as root, then the process becomes the user: nothing of ours need be readable for the workload. */
const PROGRAM = `
const { runJob } = await import(${JSON.stringify(PROBE_MODULE)})
let text = ''
for await (const part of process.stdin.setEncoding('utf8')) text += part
process.stdout.write(JSON.stringify(await runJob(JSON.parse(text))), () => process.exit())
`

export class ProbeError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'ProbeError'
  }
}

/** Rejects with a ProbeError when the process could not do its work. `stopped` ends it at once. */
export function runJobAs(
  job: Job & { readonly user: NonNullable<Job['user']> },
  stopped: AbortSignal,
): Promise<Findings> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM], {
    // SECURITY: nothing of our environment: NODE_OPTIONS and tokens have no business in a process of the workload's user.
    env: { PATH: process.env['PATH'] ?? '' },
    cwd: '/',
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: CHILD_TIMEOUT_MS,
    killSignal: 'SIGKILL',
    signal: stopped,
  })
  return new Promise((resolve, reject) => {
    let out = ''
    let errors = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text
      if (out.length > MAX_OUTPUT_BYTES) child.kill('SIGKILL')
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(0, MAX_OUTPUT_BYTES)
    })
    child.stdin.on('error', () => undefined)
    child.stdin.end(JSON.stringify(job))
    child.once('error', (error) => reject(new ProbeError(`the probes could not be run: ${error.message}`)))
    child.once('close', (code, signal) => {
      if (code === 0) return resolve(JSON.parse(out) as Findings)
      const why =
        errors
          .trim()
          .split('\n')
          .findLast((line) => /^\S*Error\b/.test(line)) ?? errors.trim()
      return reject(new ProbeError(`the probes as uid ${job.user.uid} ended with ${code ?? signal}: ${why}`))
    })
  })
}
