// The uid of a user who is named on the command line.

import { spawnSync } from 'node:child_process'
import { SYSTEM_PATH } from '../jail/system-path.ts'
import { EXIT, ExitError } from './exit.ts'

/** From digits or, through the system's own user database, from a name. Throws an ExitError (1) for a user who is not there. */
export function userId(text: string): number {
  if (/^\d{1,10}$/.test(text)) return Number(text)
  if (/^[A-Za-z_][A-Za-z0-9_.-]*\$?$/.test(text)) {
    const { status, stdout } = spawnSync('id', ['-u', text], { encoding: 'utf8', env: { PATH: SYSTEM_PATH } })
    if (status === 0) return Number(stdout.trim())
  }
  throw new ExitError(EXIT.usage, `there is no user "${text}" here: give a uid, or make the user first`)
}
