// Counts instructions: runs a script under callgrind and says how many each of its phases took.
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** os.uptime() calls it and nothing else in Node does: exported in every build, so that its name is known where symbols are stripped. */
const MARK = 'uv_uptime'
/**
 * No optimising compiler, whose moment would decide how much of a run is counted before and after it, and neither compilation nor
 * collection on threads that take their time: two runs of the same code differ by a hundredth of a percent without sockets, and by one
 * to three percent with them.
 */
const NODE_FLAGS = ['--single-threaded', '--no-opt', '--no-maglev', '--hash-seed=1', '--random-seed=1']
const SAID = 2_000

/** Null if instructions can be counted here, else what is missing. */
export function obstacle() {
  const { status } = spawnSync('valgrind', ['--version'])
  return status === 0 ? null : 'valgrind is missing: apt-get install -y valgrind'
}

/**
 * Starts `script`, whose calls of os.uptime() end its phases. `ended` resolves to the instructions of each phase in order, those of all
 * threads together and none of the kernel; it rejects when the script fails or takes over `seconds`.
 * @param {string} script
 * @param {{ args?: readonly string[], seconds: number }} options
 */
export function countPhases(script, { args = [], seconds }) {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-guard-'))
  const valgrind = ['--tool=callgrind', `--dump-before=${MARK}`, '--callgrind-out-file=phase', '--dump-line=no', '-q']
  const child = spawn('valgrind', [...valgrind, process.execPath, ...NODE_FLAGS, script, ...args], {
    cwd: folder,
    // What is settled from outside would change the counts.
    env: { PATH: process.env.PATH, HOME: folder, LANG: 'C.UTF-8', UV_THREADPOOL_SIZE: '1' },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1_000)
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text) => (said = (said + text).slice(-SAID)))
  let enough = false
  // Not `close`: Node does not emit it for a child whose channel was closed from here.
  const over = new Promise((resolve) => child.once('error', resolve).once('exit', resolve))
  // Whoever gives up in between leaves nothing running and nothing behind.
  const clear = () => {
    child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }
  process.once('exit', clear)
  const ended = over.then((status) => {
    clearTimeout(timer)
    process.off('exit', clear)
    try {
      if (status !== 0 && !enough) throw new Error(`${script} under callgrind ended with ${status}: ${said}`)
      return readPhases(folder)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
  // Every phase that is over is on disk.
  const stop = () => {
    enough = true
    child.kill('SIGKILL')
  }
  return { child, ended, stop }
}

/** callgrind writes `phase.1`, `phase.2`… at the marks, and `phase` for what comes behind the last of them. */
function readPhases(folder) {
  const numbers = readdirSync(folder).map((name) => /^phase\.(\d+)$/.exec(name)?.[1])
  return numbers
    .filter((number) => number !== undefined)
    .map(Number)
    .sort((a, b) => a - b)
    .map((number) => instructionsIn(readFileSync(join(folder, `phase.${number}`), 'latin1')))
}

/** Throws on text that is no profile of callgrind's. */
function instructionsIn(profile) {
  const count = /^(?:summary|totals): (\d+)/m.exec(profile)?.[1]
  if (count === undefined) throw new Error('a profile of callgrind without a total')
  return Number(count)
}
