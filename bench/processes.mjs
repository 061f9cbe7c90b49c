// The processes of the lab: inside its namespace, pinned to a CPU, as a user without rights; what is still there is ended with the lab.
import { spawn as spawnChild } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { listens, processTree } from './cpu.mjs'

const READY_MS = 30_000
const POLL_MS = 20
const ENDING_MS = 3_000
const RUN_SECONDS = 120
/** Of what a process wrote, in the error that it failed. */
const TAIL = 1_000

/** Two Squids would share their memory by its name, and one that is killed leaves it. `ip netns exec` gives each a mount namespace. */
const OWN_MEMORY = ['sh', '-c', 'mount -t tmpfs tmpfs /dev/shm && exec "$@"', 'sh']

/** It may have ended by itself: that is no error. */
export function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone.
  }
}

/**
 * @typedef {{ cpu: number | string, uid: number, env?: Record<string, string>, cwd?: string }} Place `cpu` as taskset writes it.
 * @param {string} namespace
 * @param {string} folder For their logs; their home unless `cwd` says another.
 */
export function openProcesses(namespace, folder) {
  const children = new Map()
  let logs = 0

  /** The pid is that of the command: `ip`, `sh`, `taskset` and `setpriv` become it one after the other. */
  const start = (command, { cpu, uid, env = {}, cwd = folder }, stdio) => {
    const user = ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups']
    const given = { PATH: process.env.PATH, HOME: cwd, LANG: 'C.UTF-8', ...env }
    const framed = ['netns', 'exec', namespace, ...OWN_MEMORY, 'taskset', '-c', String(cpu), ...user, ...command]
    const child = spawnChild('ip', framed, { cwd, env: given, stdio })
    const ended = new Promise((resolve) => child.once('error', resolve).once('exit', resolve))
    children.set(child, ended)
    void ended.then(() => children.delete(child))
    return { child, ended }
  }

  /** SIGTERM, then SIGKILL for the whole tree: a master that is killed leaves its workers. */
  const end = async (child, ended) => {
    const tree = processTree([child.pid])
    child.kill('SIGTERM')
    await Promise.race([ended, delay(ENDING_MS, undefined, { ref: false })])
    for (const pid of tree) kill(pid)
    await ended
  }

  return {
    /**
     * A process that serves until it is stopped. Resolves when it is ready; rejects with the end of its output when it ends before that or
     * takes over 30 s.
     * @param {readonly string[]} command
     * @param {Place & { ready?: readonly number[] | string }} options `ready`: the ports it listens on then, or a text that it has written.
     */
    async spawn(command, { ready = [], ...place }) {
      const log = join(folder, `process-${logs++}.log`)
      const descriptor = openSync(log, 'a')
      const { child, ended } = start(command, place, ['ignore', descriptor, descriptor])
      closeSync(descriptor)
      const output = () => readFileSync(log, 'utf8')
      const isReady = () =>
        typeof ready === 'string' ? output().includes(ready) : ready.every((port) => listens(child.pid, port))
      const isOver = () => !children.has(child)
      const until = Date.now() + READY_MS
      do await delay(POLL_MS)
      while (!isOver() && !isReady() && Date.now() < until)
      if (isOver() || !isReady()) {
        const why = isOver() ? 'ended' : `was not ready in ${READY_MS / 1e3} s`
        await end(child, ended)
        throw new Error(`${command.slice(0, 2).join(' ')} ${why}: ${output().trim().slice(-TAIL)}`)
      }
      return { pid: child.pid, ended, output, stop: () => end(child, ended) }
    },

    /**
     * A command that ends by itself, or is ended at its deadline (then `status` is null).
     * @param {readonly string[]} command
     * @param {Place & { deadline?: number, input?: 'ignore' | 'pipe', onStderr?: (text: string, child: object) => void }} options
     */
    async run(command, { deadline = RUN_SECONDS, input = 'ignore', onStderr = null, ...place }) {
      const { child } = start(command, place, [input, 'pipe', 'pipe'])
      const timer = setTimeout(() => child.kill('SIGKILL'), deadline * 1_000)
      let [stdout, stderr] = ['', '']
      child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text))
      child.stderr.setEncoding('utf8').on('data', (text) => {
        stderr += text
        onStderr?.(text, child)
      })
      await new Promise((resolve) => child.once('close', resolve))
      clearTimeout(timer)
      return { status: child.exitCode, stdout, stderr: stderr.trim() }
    },

    close: () => Promise.all([...children].map(([child, ended]) => end(child, ended))),
  }
}
