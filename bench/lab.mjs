// The lab: a network namespace with an origin in it, the proxies that are started there, and the load; all of it ends with the lab.
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { cpuSeconds } from './cpu.mjs'
import { compileLoad } from './load/build.mjs'
import { obstacle, openNamespace } from './namespace.mjs'
import { ADDRESS, PORT, prepareOrigin } from './origin.mjs'
import { kill, openProcesses } from './processes.mjs'

const UIDS = { client: 4001, proxy: 4002, origin: 4003 }
/** The one name that is asked for again and again. */
const HOST = 'item.bench.example'
const MORE_HOSTS = ['bench.example', 'sse.bench.example']
const COLD_SUFFIX = '.cold.bench.example'
const COLD_SERIES = 8
const FIRST_PORT = 8_000
const LOAD_DEADLINE_SECONDS = 120
/** The load generator ends itself; the lab waits that much longer before it does. */
const GRACE_SECONDS = 5

const coldNames = (series, count) => Array.from({ length: count }, (_, index) => `s${series}-${index}${COLD_SUFFIX}`)

function hostsFile(coldHosts) {
  const cold = Array.from({ length: COLD_SERIES }, (_, series) => coldNames(series, coldHosts)).flat()
  return `127.0.0.1 localhost\n${[HOST, ...MORE_HOSTS, ...cold].map((name) => `${ADDRESS} ${name}\n`).join('')}`
}

/** The folder and all in it. */
function giveTo(uid, folder) {
  chownSync(folder, uid, uid)
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    chownSync(join(entry.parentPath, entry.name), uid, uid)
  }
}

/** What the load generator says when it could do nothing is in its answer. */
function failure(args, { status, stdout, stderr }) {
  let said = stderr.replace(/^(?:start|stop|ready)$/gm, '').trim()
  try {
    said = JSON.parse(stdout).first_error ?? 'nothing was answered in the time it had'
  } catch {
    if (status === null) said = 'it was ended at its deadline'
  }
  return new Error(`load ${args[0]}: ${said}`)
}

/**
 * Throws where no lab can be made (no root, no nginx, no compiler), with what is missing. One at a time for a process.
 * @param {{ quick: boolean }} options `quick`: fewer names.
 */
export async function openLab({ quick }) {
  const missing = obstacle()
  if (missing !== null) throw new Error(missing)
  const coldHosts = quick ? 60 : 500
  const cpus = { proxy: 0, load: availableParallelism() > 1 ? 1 : 0 }
  const name = `mcp-egress-bench-${process.pid}`
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-bench-'))
  // The users of the lab go through it to their own folders.
  chmodSync(folder, 0o711)
  const processes = openProcesses(name, folder)
  let [namespace, origin, ports, series] = [null, null, FIRST_PORT, 0]

  const remove = () => {
    for (const pid of namespace?.pids() ?? []) kill(pid)
    namespace?.close()
    namespace = null
    rmSync(folder, { recursive: true, force: true })
  }
  const onSignal = (signal) => process.exit(signal === 'SIGINT' ? 130 : 143)
  process.once('exit', remove).once('SIGINT', onSignal).once('SIGTERM', onSignal)

  const lab = {
    quick,
    folder,
    cpus,
    uids: UIDS,
    host: HOST,
    giveTo,
    /** `processes.spawn`; the proxies' CPU and user unless told otherwise. */
    spawn: (command, options = {}) => processes.spawn(command, { cpu: cpus.proxy, uid: UIDS.proxy, ...options }),
    /** `processes.run`; the load's CPU and the client's user unless told otherwise. */
    run: (command, options = {}) => processes.run(command, { cpu: cpus.load, uid: UIDS.client, ...options }),
    /**
     * The load generator (bench/load/load.c says its modes and options). What it counted, and as `cpuSeconds` what the trees of `pids` took
     * in the window that it measured. Throws when it could do nothing.
     * @param {readonly (string | number)[]} args
     * @param {{ pids?: readonly number[], deadline?: number, input?: 'ignore' | 'pipe', onStderr?: (text: string, child: object) => void }} [options]
     */
    async load(args, { pids = [], deadline = LOAD_DEADLINE_SECONDS, onStderr = null, ...options } = {}) {
      const moments = { start: cpuSeconds(pids) }
      const watch = (text, child) => {
        for (const word of text.split('\n')) if (word === 'start' || word === 'stop') moments[word] = cpuSeconds(pids)
        onStderr?.(text, child)
      }
      const command = [origin.loadCommand, ...args.map(String), '--deadline', String(deadline)]
      const given = { ...options, deadline: deadline + GRACE_SECONDS, onStderr: watch }
      const ended = await lab.run(command, given)
      if (ended.status !== 0) throw failure(args, ended)
      return { ...JSON.parse(ended.stdout), cpuSeconds: (moments.stop ?? cpuSeconds(pids)) - moments.start }
    },
    /** One process id or several, with all below them. */
    cpuSeconds: (pids) => cpuSeconds([pids].flat()),
    /** Leads the client's connections to port 443 to this port of loopback; null: to where they are addressed. */
    redirectTo: (port) => namespace.redirect(UIDS.client, port),
    /** A port that nobody else in the lab is given. */
    port: () => ports++,
    /** A new folder of the proxies' user. */
    folderFor(part, uid = UIDS.proxy) {
      const path = join(folder, part)
      mkdirSync(path, { mode: 0o755 })
      chownSync(path, uid, uid)
      return path
    },
    /** Names that nobody asked for yet, each with a certificate of its own; there are eight of these. */
    coldSeries() {
      if (series === COLD_SERIES) throw new Error(`the lab has ${COLD_SERIES} series of names`)
      origin.certify(coldNames(series, coldHosts))
      return { hosts: coldHosts, prefix: `s${series++}-`, suffix: COLD_SUFFIX }
    },
    async close() {
      process.off('SIGINT', onSignal).off('SIGTERM', onSignal).off('exit', remove)
      try {
        await processes.close()
      } finally {
        remove()
      }
    },
  }

  try {
    origin = { loadCommand: compileLoad(folder), ...(await prepareOrigin(join(folder, 'origin'))) }
    giveTo(UIDS.origin, join(folder, 'origin'))
    namespace = openNamespace(name, hostsFile(coldHosts))
    const { pid } = await lab.spawn(origin.command, { cpu: cpus.load, uid: UIDS.origin, ready: [PORT] })
    return Object.assign(lab, { root: origin.root, leaf: origin.leaf, origin: { address: ADDRESS, port: PORT, pid } })
  } catch (error) {
    await lab.close()
    throw error
  }
}
