// Plans what a jailed command sees of the file system: not our secrets, no socket of a program outside, and names from us alone.

import { dirname, relative, sep } from 'node:path'

export type MountStep =
  | { readonly kind: 'empty'; readonly target: string; readonly kilobytes: number; readonly mode: string }
  | { readonly kind: 'folder'; readonly path: string; readonly uid: number; readonly gid: number }
  | { readonly kind: 'file'; readonly path: string; readonly content: string }
  | { readonly kind: 'symlink'; readonly path: string; readonly to: string }
  /** `/dev/null` as a source hides what is at `target`. */
  | { readonly kind: 'bind'; readonly source: string; readonly target: string }

/** The file system as it is outside. Paths are absolute and real. */
export interface JailSurroundings {
  readonly hostname: string
  /** Symbolic links at the top of /run: some systems keep their programs behind them. */
  readonly runLinks: readonly { readonly path: string; readonly to: string }[]
  /** Unix sockets that programs outside have bound to a path. */
  readonly unixSockets: readonly string[]
  /** Where /etc/resolv.conf and /etc/hosts really are; null: not there. */
  readonly resolvConf: string | null
  readonly hosts: string | null
  /** XDG_RUNTIME_DIR and its owner, where it is below /run. */
  readonly runtimeDirectory: { readonly path: string; readonly uid: number; readonly gid: number } | null
  /** With keys in it. */
  readonly privateDirectory: string
  /** The audit trail and everything beside it that exists. */
  readonly auditFiles: readonly string[]
  readonly auditDirectory: string
  readonly cwd: string
}

const RUN = '/run'
const OWN = `${RUN}/mcp-egress`
const RUN_KILOBYTES = 16_384
/** Enough for a folder without files. */
const HIDDEN_KILOBYTES = 4
/** Each is one mount; a desktop has some dozens. */
const MAX_SOCKETS = 1_024

/** The steps, in order. Throws when there are more sockets than can be hidden. */
export function jailMounts(around: JailSurroundings): MountStep[] {
  const outside = around.unixSockets.filter((path) => !isBelow(path, RUN))
  if (outside.length > MAX_SOCKETS) throw new Error(`${outside.length} Unix sockets outside ${RUN} can not be hidden`)
  return [
    // SECURITY: a socket of a program outside is a way out: Docker, D-Bus, nscd and systemd-resolved ask the network for whoever asks them.
    { kind: 'empty', target: RUN, kilobytes: RUN_KILOBYTES, mode: '0755' },
    ...around.runLinks.map(({ path, to }): MountStep => ({ kind: 'symlink', path, to })),
    ...runtimeDirectory(around),
    { kind: 'folder', path: OWN, uid: 0, gid: 0 },
    ...named(around.resolvConf, `${OWN}/resolv.conf`, 'nameserver 127.0.0.1\noptions timeout:2 attempts:2\n'),
    // Names that stand in the hosts file outside are still known: our resolver reads that one, for names that a rule allows.
    ...named(around.hosts, `${OWN}/hosts`, hosts(around.hostname)),
    ...outside.map((target): MountStep => ({ kind: 'bind', source: '/dev/null', target })),
    // SECURITY: the command may run as the user who owns these files.
    hidden(around.privateDirectory),
    ...auditMounts(around),
  ]
}

/** Our text in place of a file; a file that is below /run has vanished with it and is written anew. */
function named(place: string | null, own: string, content: string): MountStep[] {
  if (place === null) return []
  if (isBelow(place, RUN)) return [...folders(dirname(place)), { kind: 'file', path: place, content }]
  return [
    { kind: 'file', path: own, content },
    { kind: 'bind', source: own, target: place },
  ]
}

function runtimeDirectory({ runtimeDirectory: place }: JailSurroundings): MountStep[] {
  if (place === null) return []
  return [...folders(dirname(place.path)), { kind: 'folder', path: place.path, uid: place.uid, gid: place.gid }]
}

/** `path` and what is above it, up to /run. */
function folders(path: string): MountStep[] {
  if (!isBelow(path, RUN)) return []
  return [...folders(dirname(path)), { kind: 'folder', path, uid: 0, gid: 0 }]
}

function hosts(hostname: string): string {
  return `127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 ${hostname}\n`
}

/** The whole folder, so that later segments are hidden too; file by file where the command needs the folder itself. */
function auditMounts({ auditDirectory, auditFiles, cwd }: JailSurroundings): MountStep[] {
  if (cwd !== auditDirectory && !isBelow(cwd, auditDirectory)) return [hidden(auditDirectory)]
  return auditFiles.map((target): MountStep => ({ kind: 'bind', source: '/dev/null', target }))
}

function hidden(target: string): MountStep {
  return { kind: 'empty', target, kilobytes: HIDDEN_KILOBYTES, mode: '0555' }
}

function isBelow(path: string, folder: string): boolean {
  const from = relative(folder, path)
  return from !== '' && from !== '..' && !from.startsWith(`..${sep}`)
}
