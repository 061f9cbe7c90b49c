// Where the system's own tools are looked for: never where the caller's PATH says.

import { existsSync } from 'node:fs'
import { join } from 'node:path'

const FOLDERS = ['/usr/sbin', '/usr/bin', '/sbin', '/bin', '/run/current-system/sw/bin']

/**
 * SECURITY: npx puts `node_modules/.bin` first in PATH. A package in there could bring an `iptables` or a `setpriv` of its own,
 * which would run with our rights in place of the real one.
 */
export const SYSTEM_PATH: string = FOLDERS.join(':')

/** The absolute path of a system tool. Throws where it is not installed; `debianPackage` goes into the fix. */
export function systemTool(name: string, debianPackage: string): string {
  const folder = FOLDERS.find((each) => existsSync(join(each, name)))
  if (folder === undefined) throw new Error(`${name} is not installed: apt-get install ${debianPackage}`)
  return join(folder, name)
}
