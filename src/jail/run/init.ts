// The first process of a jail: builds it from inside, hands its sockets to the proxy outside, and runs the one command.

import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { applyRules } from '../rules/firewall.ts'
import { type Family, planRules } from '../rules/plan.ts'
import type { FromJail, JailedCommand, JailSocket, ToJail } from './message.ts'
import type { MountStep } from './mounts.ts'
import { buildJailNetwork } from './network.ts'
import { socketFilter } from './seccomp.ts'
import { loadSyscalls, type Syscalls } from './syscalls.ts'
import { systemTool } from '../system-path.ts'

// SECURITY: the command may send this process SIGUSR1, which would open Node's inspector to it, and with it our capabilities.
process.on('SIGUSR1', () => undefined)

const TRANSPARENT_PORT = 15_001
const DNS_PORT = 53
const LOOPBACK = { v4: '127.0.0.1', v6: '::1' } as const

/** Not in every kernel (CONFIG_PROC_CHILDREN). */
const CHILDREN = '/proc/self/task/1/children'

type Handle = Server | UdpSocket

const handles: Handle[] = []
let child: ChildProcess | null = null

process.on('disconnect', () => process.exit(1))
process.on('message', (message: ToJail) => {
  obey(message).catch((error: unknown) => {
    tell({ kind: 'failed', why: error instanceof Error ? error.message : String(error) })
  })
})

async function obey(message: ToJail): Promise<void> {
  switch (message.kind) {
    case 'build':
      return build(message.mounts)
    case 'taken':
      await Promise.all(handles.map((handle) => new Promise<void>((resolve) => handle.close(() => resolve()))))
      return tell({ kind: 'closed' })
    case 'start':
      return start(message.command)
    case 'signal':
      child?.kill(message.signal)
      return
  }
}

async function build(mounts: readonly MountStep[]): Promise<void> {
  const families: Family[] = existsSync('/proc/self/net/if_inet6') ? ['v4', 'v6'] : ['v4']
  buildJailNetwork(families.includes('v6'))
  // SECURITY: first the sockets, then the rules that lead to them, then the command: there is no moment without one of them.
  for (const family of families) await openSockets(family)
  redirect(families)
  const syscalls = loadSyscalls()
  for (const step of mounts) mount(step, syscalls)
  // SECURITY: a connection that somebody left open for us to inherit would be one of the command's. Node sees to low numbers only.
  for (const fd of readdirSync('/proc/self/fd')) if (Number(fd) > 2) syscalls.closeOnExec(Number(fd))
  const filter = socketFilter(process.arch)
  if (filter === null) throw new Error(`no system-call filter is known for ${process.arch}`)
  syscalls.filterSystemCalls(filter)
  if (existsSync(CHILDREN)) process.on('SIGCHLD', () => reapOrphans(syscalls))
  tell({ kind: 'built' })
}

async function openSockets(family: Family): Promise<void> {
  const host = LOOPBACK[family]
  for (const [use, port] of [
    ['transparent', TRANSPARENT_PORT],
    ['dns-tcp', DNS_PORT],
  ] as const) {
    const server = createServer()
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port, backlog: 1_024, ipv6Only: family === 'v6' }, resolve)
    })
    await send({ kind: 'socket', use, family }, server)
  }
  const udp = createSocket({ type: family === 'v4' ? 'udp4' : 'udp6', ipv6Only: family === 'v6' })
  await new Promise<void>((resolve, reject) => {
    udp.once('error', reject)
    udp.bind(DNS_PORT, host, resolve)
  })
  await send({ kind: 'socket', use: 'dns-udp', family }, udp)
}

function redirect(families: readonly Family[]): void {
  const listeners = families.map((family) => ({
    kind: 'tcp' as const,
    host: LOOPBACK[family],
    port: TRANSPARENT_PORT,
  }))
  const plan = planRules({ mode: 'jail', listeners, dnsPort: DNS_PORT }, families)
  if (!plan.ok) throw new Error(plan.problems.join('; '))
  applyRules(plan.sets)
}

function mount(step: MountStep, syscalls: Syscalls): void {
  switch (step.kind) {
    case 'empty':
      return syscalls.mountEmpty(step.target, step.kilobytes, step.mode)
    case 'bind':
      // What is gone since it was listed needs no hiding.
      return existsSync(step.target) ? syscalls.bind(step.source, step.target) : undefined
    case 'file':
      return writeFileSync(step.path, step.content, { mode: 0o644 })
    case 'symlink':
      return symlinkSync(step.to, step.path)
    case 'folder':
      if (existsSync(step.path)) return
      mkdirSync(step.path, { mode: 0o755 })
      if (step.uid !== 0 && process.getuid?.() === 0) chownSync(step.path, step.uid, step.gid)
  }
}

/** The command keeps our stdin, stdout and stderr, its user, and nothing that could undo the jail. */
function start({ command, args, env, user }: JailedCommand): void {
  const identity =
    user === null
      ? []
      : [`--reuid=${user.uid}`, `--regid=${user.gid}`, user.name === null ? '--clear-groups' : '--init-groups']
  // SECURITY: without capabilities and without a way to get any, the rules, the mounts and this process are out of reach.
  const stripped = ['--no-new-privs', '--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all']
  const setpriv = systemTool('setpriv', 'util-linux')
  child = spawn(setpriv, [...identity, ...stripped, '--', command, ...args], { stdio: 'inherit', env: { ...env } })
  child.once('error', (error) => tell({ kind: 'failed', why: `setpriv: ${error.message}` }))
  child.once('exit', (code, signal) => {
    process.send?.({ kind: 'exited', code, signal } satisfies FromJail, () => process.exit(0))
  })
}

/** Whose parent has ended becomes a child of the first process; unreaped they would use up the process ids. Node waits for its own alone. */
function reapOrphans(syscalls: Syscalls): void {
  const children = readFileSync(CHILDREN, 'latin1').trim().split(' ')
  for (const pid of children) if (pid !== '' && Number(pid) !== child?.pid) syscalls.reap(Number(pid))
}

function tell(message: FromJail): void {
  process.send?.(message)
}

function send(message: JailSocket, handle: Handle): Promise<void> {
  handles.push(handle)
  return new Promise((resolve, reject) => {
    process.send?.(message, handle, {}, (error) => (error === null ? resolve() : reject(error)))
  })
}
