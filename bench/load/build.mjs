// Compiles the load generator of the benchmark.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const SOURCE = fileURLToPath(new URL('./load.c', import.meta.url))
const FLAGS = ['-std=c11', '-O2', '-Wall', '-Wextra', '-Werror']
const MISSING = "the load generator needs gcc and OpenSSL's headers: apt-get install gcc libc6-dev libssl-dev"
const COMPILE_MS = 60_000

/**
 * Writes the program `load` into a folder that exists.
 * @param {string} folder
 * @returns {string} its path
 * @throws {Error} with the command that installs what is missing, or with what the compiler said
 */
export function compileLoad(folder) {
  const path = join(folder, 'load')
  const args = [...FLAGS, '-o', path, SOURCE, '-lssl', '-lcrypto']
  const { error, status, stderr } = spawnSync('gcc', args, { encoding: 'utf8', timeout: COMPILE_MS })
  if (error?.code === 'ENOENT') throw new Error(MISSING)
  if (error !== undefined) throw error
  if (status === 0) return path
  if (/\.h: No such file|cannot find -l/.test(stderr)) throw new Error(MISSING)
  throw new Error(`gcc could not compile ${SOURCE}:\n${stderr}`)
}
