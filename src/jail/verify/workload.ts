// What the workload's processes may do that no packet shows: capabilities, users, and sockets of those who act for others.

import { spawnSync } from 'node:child_process'
import { SYSTEM_PATH } from '../system-path.ts'
import type { Job, Privileges, UnixSocket } from './probe.ts'
import { CAPABILITIES, seesEveryProcess } from './probe-kernel.ts'
import { closed, unknown, type Verdict, type VerifyMode } from './verdict.ts'

/** Capabilities that matter even where the rules are in another network namespace. */
const BEYOND_THE_NAMESPACE = new Set(['SYS_ADMIN', 'SYS_MODULE', 'BPF'])
const MAX_NAMED = 3

const CONTAINER_ENGINE = 'starts containers that no rule holds'
const RESOLVES = 'resolves names for whoever asks, as another user'
const SERVICES = 'leads to services that act with rights of their own'

/** Who listens there, and what it does for a client. */
const SOCKETS: ReadonlyMap<string, string> = new Map([
  ['/var/run/docker.sock', CONTAINER_ENGINE],
  ['/run/containerd/containerd.sock', CONTAINER_ENGINE],
  ['/run/podman/podman.sock', CONTAINER_ENGINE],
  ['/run/crio/crio.sock', CONTAINER_ENGINE],
  ['/run/lxd/unix.socket', CONTAINER_ENGINE],
  ['/run/systemd/private', 'starts services as root'],
  ['/run/systemd/resolve/io.systemd.Resolve', RESOLVES],
  ['/run/nscd/socket', RESOLVES],
  ['/run/avahi-daemon/socket', RESOLVES],
  ['/run/dbus/system_bus_socket', SERVICES],
])
/** Below /run/user/UID. */
const USER_SOCKETS: ReadonlyMap<string, string> = new Map([
  ['docker.sock', CONTAINER_ENGINE],
  ['podman/podman.sock', CONTAINER_ENGINE],
  ['systemd/private', 'starts services of this user, without our limits'],
  ['bus', SERVICES],
])

export function socketPaths(uid: number): string[] {
  return [...SOCKETS.keys(), ...[...USER_SOCKETS.keys()].map((name) => `/run/user/${uid}/${name}`)]
}

export function judgeSocket({ path, reached }: UnixSocket): Verdict {
  if (!reached) return closed('absent', 'not there, or closed to it')
  const means = SOCKETS.get(path) ?? USER_SOCKETS.get(path.split('/').slice(4).join('/')) ?? SERVICES
  const fix = `keep it out of the workload's sight: InaccessiblePaths=${path} in its unit, or no such mount in its container`
  // What a bus leads to depends on policies of others, which are not ours to read.
  if (means === SERVICES) return unknown(`reachable, and ${means}`, fix)
  return { verdict: 'open', evidence: `reachable, and ${means}`, fix }
}

/** `found`: the workload's processes; none of them holds anything then. */
export function judgeCapabilities(found: readonly Privileges[], mode: VerifyMode): Verdict {
  const [first] = found
  if (first === undefined) return nobody()
  const dangerous = found.flatMap(({ who, capabilities }) => {
    const held = capabilities.filter((name) => mode === 'output' || BEYOND_THE_NAMESPACE.has(name))
    return held.length === 0 ? [] : [{ who, held }]
  })
  const others = dangerous.length > MAX_NAMED ? ` and ${dangerous.length - MAX_NAMED} more` : ''
  if (dangerous.length === 0) return closed('not-offered', `none that leads around the rules: ${names(found)}`)
  const said = dangerous
    .slice(0, MAX_NAMED)
    .map(({ who, held }) => `${who} ${held.map((name) => `CAP_${name} ${CAPABILITIES.get(name)?.means}`).join(', ')}`)
  return {
    verdict: 'open',
    evidence: `${said.join('; ')}${others}`,
    fix: 'start the workload without capabilities: --cap-drop ALL, CapabilityBoundingSet=, or setpriv --bounding-set=-all --inh-caps=-all',
  }
}

export function judgeNewPrivileges(found: readonly Privileges[]): Verdict {
  const [first] = found
  if (first === undefined) return nobody()
  const missing = found.filter(({ noNewPrivileges }) => !noNewPrivileges)
  if (missing.length === 0) return closed('not-offered', `no_new_privs is set: ${names(found)}`)
  return unknown(
    `${names(missing)}: a setuid program would give it another user`,
    'set no_new_privs: --security-opt no-new-privileges, NoNewPrivileges=yes, or setpriv --no-new-privs',
  )
}

/** Nobody holds a right that no process has; but only the first PID namespace shows them all. */
function nobody(): Verdict {
  if (seesEveryProcess()) return closed('absent', 'nothing runs as this user now: verify again beside the workload')
  return unknown('no process of this user is visible from here', 'run verify in the container of the workload itself')
}

/** `proxy`: every uid that the proxy is known by. */
export function judgeUser(uid: number, proxy: ReadonlySet<number>): Verdict {
  if (proxy.has(uid)) {
    return {
      verdict: 'open',
      evidence: `uid ${uid} is the user of the proxy, whom the rules let out`,
      fix: 'run the workload as a user of its own',
    }
  }
  if (proxy.size === 0) {
    return unknown('the user of the proxy is not known', 'name it with --proxy-uid, or start the proxy')
  }
  return closed('absent', `uid ${uid}; the proxy is uid ${[...proxy].join(', ')}`)
}

/** The user with the groups it logs in with: that of docker, for one, makes a difference. */
export function userOf(uid: number): NonNullable<Job['user']> {
  const group = ids(['-g', String(uid)])[0]
  return { uid, gid: group ?? uid, groups: group === undefined ? [] : ids(['-G', String(uid)]) }
}

function ids(args: readonly string[]): number[] {
  const { status, stdout } = spawnSync('id', args, { encoding: 'utf8', env: { PATH: SYSTEM_PATH } })
  return status === 0 ? stdout.trim().split(/\s+/).map(Number) : []
}

function names(found: readonly Privileges[]): string {
  const said = found.slice(0, MAX_NAMED).map(({ who }) => who)
  return found.length > MAX_NAMED ? `${said.join(', ')} and ${found.length - MAX_NAMED} more` : said.join(', ')
}
