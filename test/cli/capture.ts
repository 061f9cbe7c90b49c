// Runs a verb in this process and collects what it writes and how it ends.

import type { Command } from 'commander'
import { ExitError } from '../../src/cli/exit.ts'
import type { Output } from '../../src/cli/output.ts'

export interface Ended {
  readonly out: string
  readonly err: string
  /** As main.ts would end the process. */
  readonly code: number
  readonly message: string
}

export async function run(verb: (output: Output) => Command, args: readonly string[], colour = false): Promise<Ended> {
  const out: string[] = []
  const err: string[] = []
  const command = verb({ out: (text) => void out.push(text), err: (text) => void err.push(text), colour })
  const end = (code: number, message: string): Ended => ({ out: out.join(''), err: err.join(''), code, message })
  try {
    await command.exitOverride().parseAsync(args, { from: 'user' })
    return end(0, '')
  } catch (error) {
    if (error instanceof ExitError) return end(error.code, error.message)
    throw error
  }
}
