// What processes cost: the CPU time of whole process trees, read from /proc.
import { readdirSync, readFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'

const TICKS_PER_SECOND = Number(spawnSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }).stdout) || 100

/** Null when the process or thread ended in between: that is no error here. */
function read(path) {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return null
  }
}

/** The fields of /proc/PID/stat from the third on. The second, the name, stands in parentheses and may hold anything. */
function stat(pid) {
  const text = read(`/proc/${pid}/stat`)
  return text === null ? null : text.slice(text.lastIndexOf(')') + 2).split(' ')
}

function threads(pid) {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

/**
 * The given processes and everything below them that is alive.
 * @param {readonly number[]} roots
 * @returns {number[]}
 */
export function processTree(roots) {
  const found = [...roots]
  for (const pid of found) {
    for (const thread of threads(pid)) {
      const children = read(`/proc/${pid}/task/${thread}/children`) ?? ''
      for (const child of children.split(' ')) if (child !== '') found.push(Number(child))
    }
  }
  return found
}

/**
 * User and system time of the trees since they began, children that ended included. Threads are read in nanoseconds (schedstat), which
 * leaves out threads that ended; utime + stime has those, in steps of 10 ms downwards. Neither is ever too much, so the larger is right.
 * @param {readonly number[]} roots
 */
export function cpuSeconds(roots) {
  let seconds = 0
  for (const pid of processTree(roots)) {
    const fields = stat(pid)
    if (fields === null) continue
    const [utime, stime, cutime, cstime] = fields.slice(11, 15).map((ticks) => Number(ticks) / TICKS_PER_SECOND)
    let alive = 0
    for (const thread of threads(pid))
      alive += Number((read(`/proc/${pid}/task/${thread}/schedstat`) ?? '0').split(' ')[0])
    seconds += Math.max(alive / 1e9, utime + stime) + cutime + cstime
  }
  return seconds
}

/** Whether the network namespace of the process has a TCP listener on the port. */
export function listens(pid, port) {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  return ['tcp', 'tcp6'].some((table) =>
    (read(`/proc/${pid}/net/${table}`) ?? '').split('\n').some((line) => {
      const [, local, , state] = line.trim().split(/\s+/)
      return state === '0A' && local.endsWith(suffix)
    }),
  )
}
