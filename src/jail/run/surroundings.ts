// Reads what a jail has to hide: sockets of programs outside, the places of resolv.conf and hosts, our own files.

import { lstatSync, readdirSync, readFileSync, readlinkSync, realpathSync, statSync } from 'node:fs'
import { hostname } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { JailSurroundings } from './mounts.ts'

/** Everything is there already: the folders and the trail are made before the jail is. */
export function surroundings(own: {
  readonly privateDirectory: string
  readonly auditPath: string
  readonly cwd: string
  readonly environment: NodeJS.ProcessEnv
}): JailSurroundings {
  const auditDirectory = realpathSync(dirname(own.auditPath))
  const trail = basename(own.auditPath)
  return {
    hostname: hostname().replaceAll(/[^A-Za-z0-9.-]/g, '') || 'jail',
    runLinks: links('/run'),
    unixSockets: [...new Set(socketTables().flatMap(boundSockets).flatMap(reachableSocket))],
    resolvConf: realPlace('/etc/resolv.conf'),
    hosts: realPlace('/etc/hosts'),
    runtimeDirectory: runtimeDirectory(own.environment['XDG_RUNTIME_DIR']),
    privateDirectory: realpathSync(own.privateDirectory),
    auditFiles: readdirSync(auditDirectory)
      .filter((name) => name.startsWith(trail))
      .map((name) => join(auditDirectory, name)),
    auditDirectory,
    cwd: realpathSync(own.cwd),
  }
}

/** A table for each network namespace that we may look into: a path leads to its socket from all of them. */
function socketTables(): string[] {
  const tables = new Map<string, string>()
  for (const pid of ['self', ...readdirSync('/proc').filter((name) => /^\d+$/.test(name))]) {
    try {
      const namespace = readlinkSync(`/proc/${pid}/ns/net`)
      if (!tables.has(namespace)) tables.set(namespace, readFileSync(`/proc/${pid}/net/unix`, 'utf8'))
    } catch {
      // Ended meanwhile, or another user's.
    }
  }
  return [...tables.values()]
}

/** The paths in /proc/net/unix: the eighth column, of sockets that are bound to one; `@` marks an abstract name, which a namespace holds. */
export function boundSockets(table: string): string[] {
  const paths = table.split('\n').flatMap((line) => /^\S+: (?:\S+ +){5}\S+ +(\/.*)$/.exec(line)?.[1] ?? [])
  return [...new Set(paths)]
}

/** A path in the table may be of another mount namespace, and go through links: /var/run is one to /run. */
function reachableSocket(path: string): string[] {
  try {
    const real = realpathSync(path)
    return lstatSync(real).isSocket() ? [real] : []
  } catch {
    return []
  }
}

function links(folder: string): { path: string; to: string }[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isSymbolicLink())
    .map(({ name }) => ({ path: join(folder, name), to: readlinkSync(join(folder, name)) }))
}

function realPlace(path: string): string | null {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return null
  try {
    return realpathSync(path)
  } catch {
    // A link to nothing: nobody reads it, and nothing can be mounted there.
    return null
  }
}

function runtimeDirectory(path: string | undefined): JailSurroundings['runtimeDirectory'] {
  if (path === undefined || !path.startsWith('/run/')) return null
  const found = statSync(path, { throwIfNoEntry: false })
  return found?.isDirectory() === true ? { path: realpathSync(path), uid: found.uid, gid: found.gid } : null
}
