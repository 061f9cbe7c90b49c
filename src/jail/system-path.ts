// Where the system's own tools are looked for: never where a package could have put one of its own.

import { existsSync } from 'node:fs'
import { join } from 'node:path'

const FOLDERS = ['/usr/sbin', '/usr/bin', '/sbin', '/bin', '/run/current-system/sw/bin']

/**
 * SECURITY: npx puts `node_modules/.bin` first in PATH. A package in there could bring an `iptables` or a `setpriv` of its own,
 * which would run with our rights in place of the real one.
 */
export const SYSTEM_PATH: string = FOLDERS.join(':')

/**
 * The caller's PATH for tools that may be installed anywhere, and the folders where an ordinary user's PATH, and cron's, does not look.
 * SECURITY: without packages' folders, and without relative ones, which are whatever the current folder makes of them.
 */
export function toolPath(environment: NodeJS.ProcessEnv): string {
  const folders = (environment['PATH'] ?? '').split(':')
  const trusted = folders.filter((folder) => folder.startsWith('/') && !folder.includes('/node_modules/'))
  return [...trusted, '/usr/sbin', '/sbin'].join(':')
}

/** The absolute path of a system tool. Throws where it is not installed; `debianPackage` goes into the fix. */
export function systemTool(name: string, debianPackage: string): string {
  const folder = FOLDERS.find((each) => existsSync(join(each, name)))
  if (folder === undefined) throw new Error(`${name} is not installed: apt-get install ${debianPackage}`)
  return join(folder, name)
}
