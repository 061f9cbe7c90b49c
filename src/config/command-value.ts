// The value that a command prints, for secrets that live in a store of their own: `exec:/usr/bin/pass show mcp/github`.

import { execFile, execFileSync } from 'node:child_process'

/** `why`: what went wrong, without anything that the command has printed. */
export type CommandOutput =
  | { readonly kind: 'ok'; readonly text: string }
  | { readonly kind: 'bad'; readonly why: string }

const COMMAND_TIMEOUT_MS = 5_000
const MAX_OUTPUT_BYTES = 64 * 2 ** 10

/** Runs it in `folder` and waits for its end. SECURITY: no shell: words are split at spaces and nothing in them is expanded. */
export function runCommand(command: string, folder: string): CommandOutput {
  const { program, args, why } = parts(command)
  if (why !== null) return { kind: 'bad', why }
  try {
    return {
      kind: 'ok',
      text: execFileSync(program, args, { ...options(folder), stdio: ['ignore', 'pipe', 'ignore'] }),
    }
  } catch (error) {
    return { kind: 'bad', why: failure(error) }
  }
}

/** The same, while other things go on. */
export function startCommand(command: string, folder: string): Promise<CommandOutput> {
  const { program, args, why } = parts(command)
  if (why !== null) return Promise.resolve({ kind: 'bad', why })
  return new Promise((resolve) => {
    const child = execFile(program, args, options(folder), (error, text) => {
      resolve(error === null ? { kind: 'ok', text } : { kind: 'bad', why: failure(error) })
    })
    child.stdin?.end()
  })
}

const options = (folder: string) =>
  ({
    cwd: folder,
    timeout: COMMAND_TIMEOUT_MS,
    killSignal: 'SIGKILL',
    maxBuffer: MAX_OUTPUT_BYTES,
    encoding: 'utf8',
  }) as const

function parts(command: string): { program: string; args: readonly string[]; why: string | null } {
  const [program = '', ...args] = command.trim().split(/ +/)
  return { program, args, why: program.startsWith('/') ? null : 'a command begins with the absolute path of a program' }
}

function failure(error: unknown): string {
  const { code, status, signal } = error as { code?: unknown; status?: unknown; signal?: unknown }
  if (code === 'ENOENT') return 'there is no such program'
  if (code === 'EACCES') return 'the program may not be run'
  if (code === 'ENOBUFS' || code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER')
    return `it printed over ${MAX_OUTPUT_BYTES} bytes`
  if (code === 'ETIMEDOUT' || signal === 'SIGKILL') return `it did not end within ${COMMAND_TIMEOUT_MS / 1_000} s`
  return `it ended with ${String(typeof status === 'number' ? status : code)}`
}
