// Child processes of the benchmark: pinned to one CPU where taskset is there, asked by messages, and weighed by /proc.
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'

export const pinned = availableParallelism() > 1 && spawnSync('taskset', ['--version']).status === 0
/** Of utime and stime in /proc/PID/stat; 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = Number(spawnSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }).stdout) || 100
const START_DEADLINE_MS = 20_000

/** Resolves when the child has said its first word, `first`. */
export async function start(script, cpu, args = []) {
  const path = fileURLToPath(new URL(script, import.meta.url))
  const command = pinned ? ['taskset', '-c', String(cpu), process.execPath] : [process.execPath]
  const child = spawn(command[0], [...command.slice(1), path, ...args], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const said = () =>
    new Promise((resolve, reject) => {
      const over = () => reject(new Error(`${script} ended`))
      child.once('exit', over)
      child.once('message', ({ result, error }) => {
        child.off('exit', over)
        if (error === undefined) resolve(result)
        else reject(new Error(`${script}: ${error}`))
      })
    })
  const timer = setTimeout(() => child.kill('SIGKILL'), START_DEADLINE_MS)
  const first = await said()
  clearTimeout(timer)
  return {
    first,
    ask: (message) => {
      const answer = said()
      child.send(message)
      return answer
    },
    cpuSeconds: () => cpuSeconds(child.pid),
    stop: () => child.kill('SIGKILL'),
  }
}

/** User and system time of all threads of a process. */
function cpuSeconds(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // The command name stands in parentheses and may hold anything; utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Half the distance between the extremes, in percent of the median. */
export function spread(values) {
  return ((Math.max(...values) - Math.min(...values)) / 2 / median(values)) * 100
}
