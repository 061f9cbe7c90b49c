// openssl s_client as a client of the proxy, for what no TLS library for Node.js sends.

import { execFile } from 'node:child_process'
import { ALLOWED, type DoorName, type Standard } from './standard.ts'

const TIMEOUT_MS = 5_000

/** What the program printed: its report of the session with `report`, then what was answered to `bytes`. */
export function askWithOpenssl(
  standard: Standard,
  options: {
    readonly door: DoorName
    readonly name?: string
    readonly more?: readonly string[]
    readonly report?: boolean
  },
  bytes: string,
): Promise<string> {
  const { lab, origin } = standard
  const { door, name = ALLOWED, more = [], report = false } = options
  const way =
    door === 'connect'
      ? ['-proxy', `127.0.0.1:${lab.proxyPort}`, '-connect', `${name}:${origin.port}`]
      : ['-connect', `127.0.0.1:${lab.transparentPort}`]
  const args = ['s_client', ...(report ? [] : ['-quiet']), '-ign_eof', ...way, '-servername', name, ...more]
  return new Promise((resolve, reject) => {
    const child = execFile('openssl', args, { timeout: TIMEOUT_MS }, (error, stdout) => {
      if (error === null) resolve(stdout)
      else reject(error)
    })
    child.stdin?.write(bytes)
  })
}
