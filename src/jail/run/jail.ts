// A jail from outside: its namespaces, the sockets it hands out, the command in it, and how that ended.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { Socket as UdpSocket } from 'node:dgram'
import { Server } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { FromJail, JailedCommand, JailSocket, ToJail } from './message.ts'
import type { MountStep } from './mounts.ts'
import { SYSTEM_PATH, systemTool } from '../system-path.ts'

export type { JailedCommand } from './message.ts'

/** How a command ended: as wait(2) says it. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** What the proxy is to serve; all of it is inside the jail's network. */
export interface JailSockets {
  readonly transparent: readonly Server[]
  readonly dns: readonly { readonly udp: UdpSocket; readonly tcp: Server }[]
}

export interface Jail {
  readonly sockets: JailSockets
  /** Resolves when the command has ended and nothing of the jail is left. Rejects with a JailError where it could not run. */
  run(command: JailedCommand): Promise<Exit>
  signal(signal: NodeJS.Signals): void
  /** Ends everything inside at once. */
  kill(): void
}

/** There is no jail; `message` says why and what to do. */
class JailError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'JailError'
  }
}

const INIT = fileURLToPath(new URL('init.js', import.meta.url))
const BUILD_TIMEOUT_MS = 30_000
const PROBE_TIMEOUT_MS = 10_000

/** A namespace without a name: the kernel takes it down with its last process, rules and wire included, however that ended. */
const NAMESPACES = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc']
/** Without root the same inside a user namespace; the command sees its own uid there. */
const USER_NAMESPACE = ['--user', '--map-current-user', '--keep-caps']

/** Builds a jail, with the mounts of `jailMounts` in it. Rejects with a JailError. */
export async function openJail(mounts: readonly MountStep[]): Promise<Jail> {
  const child = spawn(unshare(), [...namespaceFlags(), ...NAMESPACES, process.execPath, INIT], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
    env: toolEnvironment(),
  })
  const conversation = new Conversation(child)
  try {
    conversation.send({ kind: 'build', mounts })
    const received: { socket: JailSocket; handle: unknown }[] = []
    for (;;) {
      const { message, handle } = await conversation.next(BUILD_TIMEOUT_MS)
      if (message.kind === 'socket') received.push({ socket: message, handle })
      else if (message.kind === 'built') break
      else throw unexpected(message)
    }
    conversation.send({ kind: 'taken' })
    // SECURITY: while the jail's own handles are open, it would take some of the connections, and nobody would judge them.
    const { message } = await conversation.next(BUILD_TIMEOUT_MS)
    if (message.kind !== 'closed') throw unexpected(message)
    return {
      sockets: sorted(received),
      run: (command) => runIn(conversation, command),
      signal: (signal) => conversation.send({ kind: 'signal', signal }),
      kill: () => void child.kill('SIGKILL'),
    }
  } catch (error) {
    child.kill('SIGKILL')
    throw error instanceof JailError ? error : new JailError(String(error))
  }
}

async function runIn(conversation: Conversation, command: JailedCommand): Promise<Exit> {
  conversation.send({ kind: 'start', command })
  const { message } = await conversation.next(null)
  if (message.kind === 'exited') return { code: message.code, signal: message.signal }
  throw unexpected(message)
}

function unexpected(message: FromJail): JailError {
  return new JailError(message.kind === 'failed' ? message.why : `unexpected: ${message.kind}`)
}

function sorted(received: readonly { socket: JailSocket; handle: unknown }[]): JailSockets {
  const of = (use: JailSocket['use'], family: JailSocket['family']): unknown =>
    received.find(({ socket }) => socket.use === use && socket.family === family)?.handle
  const transparent: Server[] = []
  const dns: { udp: UdpSocket; tcp: Server }[] = []
  for (const family of ['v4', 'v6'] as const) {
    const [tcp, udp, server] = [of('dns-tcp', family), of('dns-udp', family), of('transparent', family)]
    if (server instanceof Server) transparent.push(server)
    if (tcp instanceof Server && udp instanceof UdpSocket) dns.push({ udp, tcp })
  }
  if (transparent.length === 0 || dns.length !== transparent.length) throw new JailError('sockets were lost on the way')
  return { transparent, dns }
}

/** Asked of the system, not guessed: capabilities, sysctls, AppArmor and seccomp all have a say. */
function namespaceFlags(): readonly string[] {
  const refusals: string[] = []
  for (const flags of [[], USER_NAMESPACE]) {
    const { error, status, stderr } = spawnSync(unshare(), [...flags, ...NAMESPACES, 'true'], {
      encoding: 'utf8',
      timeout: PROBE_TIMEOUT_MS,
      env: toolEnvironment(),
    })
    if (status === 0) return flags
    refusals.push(stderr.trim() || String(error ?? status))
  }
  throw new JailError(
    `this system lets neither this user nor a user namespace make a network namespace:\n  ${refusals.join('\n  ')}`,
  )
}

function unshare(): string {
  try {
    return systemTool('unshare', 'util-linux')
  } catch (error) {
    throw new JailError(error instanceof Error ? error.message : String(error))
  }
}

/** For our own tools: where they live, and nothing by which the environment of the command could change what they do. */
function toolEnvironment(): Record<string, string> {
  return { PATH: SYSTEM_PATH, LC_ALL: 'C' }
}

type Heard = { readonly message: FromJail; readonly handle: unknown }

/** The messages of the jail in order, whenever they are asked for. */
class Conversation {
  readonly #child: ChildProcess
  readonly #heard: Heard[] = []
  #ended: string | null = null
  #wake: (() => void) | null = null

  constructor(child: ChildProcess) {
    this.#child = child
    child.on('message', (message, handle) => {
      this.#heard.push({ message: message as FromJail, handle })
      this.#wake?.()
    })
    const end = (why: string): void => {
      this.#ended ??= why
      this.#wake?.()
    }
    child.once('error', (error) => end(`unshare: ${error.message}`))
    child.once('close', (code, signal) => end(`the jail ended by itself (${signal ?? `exit code ${code}`})`))
  }

  send(message: ToJail): void {
    if (this.#child.connected) this.#child.send(message, () => undefined)
  }

  /** Rejects with a JailError when the jail has ended, or after `timeoutMs`. */
  async next(timeoutMs: number | null): Promise<Heard> {
    const timer = timeoutMs === null ? undefined : setTimeout(() => this.#child.kill('SIGKILL'), timeoutMs)
    try {
      for (;;) {
        const first = this.#heard.shift()
        if (first !== undefined) return first
        if (this.#ended !== null) throw new JailError(this.#ended)
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    } finally {
      clearTimeout(timer)
    }
  }
}
