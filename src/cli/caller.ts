// Who called: the user behind sudo, as whom a command is run.

import { spawnSync } from 'node:child_process'
import { SYSTEM_PATH } from '../jail/system-path.ts'

export interface Caller {
  readonly uid: number
  readonly gid: number
  /** Null: the system's user database does not know them. */
  readonly name: string | null
  readonly home: string | null
}

const TIMEOUT_MS = 5_000

/** Null: this process is the caller's own. */
export function callerBehindSudo(environment: NodeJS.ProcessEnv): Caller | null {
  if (process.getuid?.() !== 0) return null
  const [uid, gid] = [number(environment['SUDO_UID']), number(environment['SUDO_GID'])]
  if (uid === null || gid === null || uid === 0) return null
  const { status, stdout } = spawnSync('getent', ['passwd', String(uid)], {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    env: { PATH: SYSTEM_PATH },
  })
  const [name = null, , , , , home = null] = status === 0 ? stdout.trim().split(':') : []
  return { uid, gid, name, home }
}

function number(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : null
}
