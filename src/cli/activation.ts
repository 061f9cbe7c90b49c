// The sockets that a service manager opened for us: LISTEN_FDS and its companions, as sd_listen_fds(3) describes them.

import type { ListenerDoor } from '../proxy/listener.ts'
import { EXIT, ExitError } from './exit.ts'

/** A socket that is open in this process already. One door may have several. */
export interface InheritedSocket {
  readonly door: ListenerDoor
  readonly fd: number
}

const DOORS: readonly ListenerDoor[] = ['proxy', 'transparent', 'tproxy', 'gateway']
/** SD_LISTEN_FDS_START: after stdin, stdout and stderr. */
const FIRST_FD = 3
/** Four doors, some addresses each; a number beyond it is a mistake. */
const MAX_SOCKETS = 64

/**
 * The sockets that were handed to process `pid`, in order; none without LISTEN_PID, or with that of another process, whose
 * children inherit the variables but not the sockets. The variables are deleted from `env`. Throws an ExitError (1) for sockets
 * that are ours and can not be told apart.
 */
export function inheritedSockets(env: NodeJS.ProcessEnv, pid: number): InheritedSocket[] {
  const take = (name: string): string | undefined => {
    const value = env[name]
    delete env[name]
    return value
  }
  const forPid = take('LISTEN_PID')
  const count = take('LISTEN_FDS')
  const names = take('LISTEN_FDNAMES')
  // Newer systemd names the process by its pidfd too; the pid is enough for a process that has just started.
  take('LISTEN_PIDFDID')
  if (forPid === undefined || count === undefined || forPid !== String(pid)) return []
  const sockets = /^[1-9]\d{0,3}$/.test(count) ? Number(count) : 0
  if (sockets === 0 || sockets > MAX_SOCKETS) {
    throw wrong(
      `LISTEN_FDS=${count} is not a number of sockets from 1 to ${MAX_SOCKETS}`,
      'start it from a .socket unit',
    )
  }
  const given = names === undefined ? [] : names.split(':')
  if (given.length !== sockets) {
    throw wrong(
      `LISTEN_FDS=${count} but LISTEN_FDNAMES has ${given.length} names`,
      `name every socket: FileDescriptorName= in a .socket unit, --fdname= of systemd-socket-activate`,
    )
  }
  return given.map((name, index) => ({ door: doorNamed(name, FIRST_FD + index), fd: FIRST_FD + index }))
}

function doorNamed(name: string, fd: number): ListenerDoor {
  const door = DOORS.find((known) => known === name)
  if (door !== undefined) return door
  // SECURITY: a socket is never guessed to be some door: what is meant for TPROXY would be an open proxy at another.
  throw wrong(
    `inherited socket ${fd} is called ${JSON.stringify(name)}, which is no door`,
    `FileDescriptorName= must be one of ${DOORS.join(', ')}, and Accept=no`,
  )
}

function wrong(what: string, fix: string): ExitError {
  return new ExitError(EXIT.usage, `mcp-egress: ${what}\n  fix: ${fix}`)
}
