// `mcp-egress run`: one command, in a jail whose only way out is a proxy of its own.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { delimiter, join } from 'node:path'
import { Command } from 'commander'
import { LockHeld } from '../audit/lock.ts'
import { type Config, formatListenAddress } from '../config/load.ts'
import { type Exit, openJail } from '../jail/run/jail.ts'
import { jailMounts } from '../jail/run/mounts.ts'
import { JAIL_ADDRESSES } from '../jail/run/network.ts'
import { surroundings } from '../jail/run/surroundings.ts'
import { authorityPaths } from '../tls/authority-files.ts'
import { type Caller, callerBehindSudo } from './caller.ts'
import { refuseHazards } from './environment.ts'
import { ExitError } from './exit.ts'
import { forwardSignals } from './forward-signals.ts'
import { configOf } from './loaded.ts'
import { runConfig, trailPaths } from './run-config.ts'
import { type RunningProxy, startProxy } from './runtime.ts'
import { trustingEnvironment } from './trusting-environment.ts'

interface RunOptions {
  readonly config?: string
  readonly allow: string[]
  readonly observe: boolean
  readonly client?: string
  readonly jail: boolean
}

interface Started {
  readonly proxy: RunningProxy
  readonly config: Config
}

/** As a shell and Docker have them; 125 is for what `run` itself could not do, so that it is never the command's own code. */
const SHELL = { ownFailure: 125, notExecutable: 126, notFound: 127, signalBase: 128 } as const
const LOOPBACK_SOURCES = ['127.0.0.1', '::1']
const ANY_PORT = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const
/** Proxies of the world outside, which the command can not reach and must not ask for. */
const PROXY_VARIABLES = ['http_proxy', 'https_proxy', 'all_proxy', 'no_proxy'].flatMap((name) => [
  name,
  name.toUpperCase(),
])
const NOT_STOPPED =
  'the command is only asked to use the proxy. What ignores HTTPS_PROXY, speaks UDP, DNS or another port, or means harm, goes past it unseen'
const WITHOUT_JAIL = `without a jail: mcp-egress run --no-jail -- COMMAND; then ${NOT_STOPPED}. Or run it in a container: docs/docker.md`

export function runCommand(): Command {
  return new Command('run')
    .description('run one command with all its traffic forced through a proxy of its own')
    .argument('<command...>', 'the command and its arguments, after --')
    .option('-c, --config <file>', 'configuration file (default: ./mcp-egress.yaml if it is there)')
    .option(
      '--allow <host>',
      'allow a host, any method and path (repeatable)',
      (host: string, hosts: string[]) => [...hosts, host],
      [],
    )
    .option('--observe', 'forward what policy would refuse, and record it as such', false)
    .option('--client <name>', 'which client of the configuration the command is (default: anonymous)')
    .option('--no-jail', 'only ask the command to use the proxy, by its variables: nothing holds one that does not')
    .passThroughOptions()
    .action(async (words: string[], options: RunOptions) => {
      const [command = '', ...args] = words
      process.exitCode = await run(command, args, options).catch((error: unknown) => {
        const message = error instanceof Error ? error.message : String(error)
        throw new ExitError(SHELL.ownFailure, message.startsWith('mcp-egress') ? message : `mcp-egress run: ${message}`)
      })
    })
}

/** Resolves to the exit code of the command as a shell says it. */
async function run(command: string, args: readonly string[], options: RunOptions): Promise<number> {
  refuseHazards(process.env)
  if (!isThere(command)) {
    say(`${command}: command not found`)
    return SHELL.notFound
  }
  const loaded = configOf(options.config, { allow: options.allow, observe: options.observe })
  const config = runConfig(loaded, options.client, [...Object.values(JAIL_ADDRESSES), ...LOOPBACK_SOURCES])
  const listen = options.jail ? config.listen : { ...config.listen, proxy: [ANY_PORT] }
  const started = await startOnFreeTrail({ ...config, listen })
  try {
    announce(started.config)
    const exit = await (options.jail ? inJail(command, args, started) : outside(command, args, started))
    return exit.signal === null ? (exit.code ?? SHELL.ownFailure) : SHELL.signalBase + constants.signals[exit.signal]
  } finally {
    await started.proxy.stop()
  }
}

/** As a shell looks for it: a folder of PATH that can not be entered does not have it. */
function isThere(command: string): boolean {
  if (command.includes('/')) return existsSync(command)
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, command)))
}

/** On the first trail that no other run is writing. */
async function startOnFreeTrail(config: Config): Promise<Started> {
  let held: unknown = null
  for (const path of trailPaths(config)) {
    const own = { ...config, audit: { ...config.audit, path } }
    try {
      return { proxy: await startProxy(own), config: own }
    } catch (error) {
      if (!(error instanceof Error && error.cause instanceof LockHeld)) throw error
      held = error
    }
  }
  throw held
}

/** To somebody at a terminal; an MCP client reads stderr too and has no use for it. */
function announce(config: Config): void {
  if (config.mode === 'observe') say('OBSERVE MODE: requests that policy refuses are forwarded and only recorded')
  if (!process.stderr.isTTY) return
  if (config.rules.length === 0 && config.mode === 'enforce') say('no rules: everything is refused; add --allow HOST')
  say(`audit trail ${config.audit.path}`)
}

async function inJail(command: string, args: readonly string[], { proxy, config }: Started): Promise<Exit> {
  if (process.platform !== 'linux') throw new Error(`a jail needs Linux\n  ${WITHOUT_JAIL}`)
  const paths = authorityPaths(config.caDirectory)
  const trusting = trustingEnvironment(paths)
  const around = surroundings({
    privateDirectory: paths.privateDirectory,
    auditPath: config.audit.path,
    cwd: process.cwd(),
    environment: process.env,
  })
  const jail = await openJail(jailMounts(around)).catch((error: unknown) => {
    throw new Error(`${error instanceof Error ? error.message : String(error)}\n  ${WITHOUT_JAIL}`, { cause: error })
  })
  const stop = forwardSignals((signal) => jail.signal(signal))
  try {
    for (const server of jail.sockets.transparent) await proxy.adopt('transparent', server)
    for (const { udp, tcp } of jail.sockets.dns) proxy.adoptDns(udp, tcp)
    const user = callerBehindSudo(process.env)
    return await jail.run({ command, args, env: environmentFor(config, user, trusting), user })
  } finally {
    stop()
    jail.kill()
  }
}

/** With the variables alone: nothing but the command's own good will leads it to the proxy. */
async function outside(command: string, args: readonly string[], { proxy, config }: Started): Promise<Exit> {
  const address = proxy.addresses.find(({ door }) => door === 'proxy')?.address
  if (address === undefined) throw new Error('the proxy has no listener')
  const trusting = trustingEnvironment(authorityPaths(config.caDirectory), `http://${formatListenAddress(address)}`)
  const user = callerBehindSudo(process.env)
  say(`NO JAIL: ${NOT_STOPPED}`)
  const as = user === null ? {} : { uid: user.uid, gid: user.gid }
  const child = spawn(command, args, { stdio: 'inherit', env: environmentFor(config, user, trusting), ...as })
  const stop = forwardSignals((signal) => child.kill(signal))
  try {
    return await new Promise<Exit>((resolve, reject) => {
      child.once('exit', (code, signal) => resolve({ code, signal }))
      child.once('error', (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EACCES') return reject(error)
        say(`${command}: permission denied`)
        resolve({ code: SHELL.notExecutable, signal: null })
      })
    })
  } finally {
    stop()
  }
}

/**
 * The caller's own, with the trust in our CA, and as the user it is for. SECURITY: without our settings and without what they keep from
 * the command: a secret that is put in for it would be in its hands otherwise.
 */
function environmentFor(
  { withheld }: Config,
  user: Caller | null,
  trusting: Record<string, string>,
): Record<string, string> {
  const ours = (name: string): boolean => PROXY_VARIABLES.includes(name) || withheld.includes(name)
  const outer = Object.entries(process.env).flatMap(([name, value]): [string, string][] =>
    value === undefined || ours(name) || name.startsWith('MCP_EGRESS_') ? [] : [[name, value]],
  )
  return { ...Object.fromEntries(outer), ...(user === null ? {} : belongings(user)), ...trusting }
}

function belongings({ name, home }: Caller): Record<string, string> {
  return { ...(home === null ? {} : { HOME: home }), ...(name === null ? {} : { USER: name, LOGNAME: name }) }
}

function say(text: string): void {
  process.stderr.write(`mcp-egress: ${text}\n`)
}
