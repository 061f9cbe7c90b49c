// `mcp-egress proxy`: runs the proxy until it is told to stop.

import { Command } from 'commander'
import { type Config, findConfig, formatListenAddress } from '../config/load.ts'
import { inheritedSockets } from './activation.ts'
import type { OpenDoors } from './doors.ts'
import { EXIT, ExitError } from './exit.ts'
import { refuseExposed } from './exposed-files.ts'
import { configLater } from './loaded.ts'
import { refuseHazards } from './environment.ts'
import { Reloads } from './reloads.ts'
import { type RunningProxy, startProxy, systemGround } from './runtime.ts'
import { watchFiles } from './watched-files.ts'

export interface ProxyOptions {
  config?: string
  allow: string[]
  observe: boolean
  watch: boolean
}

export function proxyCommand(): Command {
  return new Command('proxy')
    .description('run the proxy')
    .option('-c, --config <file>', 'configuration file (default: ./mcp-egress.yaml if it is there)')
    .option(
      '--allow <host>',
      'allow a host, any method and path (repeatable)',
      (host: string, hosts: string[]) => [...hosts, host],
      [],
    )
    .option('--observe', 'forward what policy would refuse, and record it as such', false)
    .option('--watch', 'reload when the configuration, or a file that it names, changes', false)
    .action(async (options: ProxyOptions) => {
      refuseHazards(process.env)
      await serve(options)
    })
}

async function serve(options: ProxyOptions): Promise<void> {
  let loading = Date.now()
  const load = async (): Promise<Config> => {
    loading = Date.now()
    const file = findConfig(options.config, process.cwd())
    // SECURITY: before it is read, for reading it runs the commands that it names (`exec:`).
    if (file !== null) refuseExposed([file])
    const loaded = await configLater(options.config, { allow: options.allow, observe: options.observe })
    refuseExposed(loaded.policyFiles)
    return loaded
  }
  const inherited = inheritedSockets(process.env, process.pid)
  const config = await load().catch(notStarted)
  let current = config
  let running: RunningProxy | null = null
  const reloads = new Reloads(async () => {
    if (running === null) return 'the proxy is starting'
    try {
      const next = await load()
      await running.reload(next)
      current = next
      return null
    } catch (error) {
      const why = messageOf(error)
      running.rejectReload(why)
      return why
    }
  })
  const ground = { ...systemGround(), onReload: () => reloads.ask() }
  const proxy = await startProxy(config, ground, inherited).catch((error: unknown) => {
    throw new ExitError(EXIT.failure, `mcp-egress: ${messageOf(error)}`)
  })
  running = proxy
  process.on('SIGHUP', () => void reloads.ask())
  const watching = options.watch
    ? watchFiles(
        () => current.files,
        // The CA may have been made meanwhile, by us.
        (file) => (current.policyFiles.includes(file) ? loading : Number.POSITIVE_INFINITY),
        () => reloads.ask(),
      )
    : null
  process.on('SIGUSR2', () => proxy.reopenTrail())
  const told = new Promise<void>((resolve) => {
    process.once('SIGTERM', resolve)
    process.once('SIGINT', resolve)
  })
  // Only now: whoever waits for the word may signal at once.
  announce(config, proxy)
  await told
  watching?.stop()
  await proxy.stop()
}

/** At a reload the same is a reason to keep what there is; at the start there is nothing to keep. */
function notStarted(error: unknown): never {
  throw error instanceof ExitError ? error : new ExitError(EXIT.usage, `mcp-egress: ${messageOf(error)}`)
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

function announce(config: Config, { addresses, unavailable }: OpenDoors): void {
  const say = (line: string): void => void process.stderr.write(`mcp-egress: ${line}\n`)
  for (const { door, address } of addresses) say(`${door} on ${formatListenAddress(address)}`)
  for (const address of unavailable) say(`there is no IPv6 here: ${formatListenAddress(address)} is not listened on`)
  say(`audit trail ${config.audit.path}; CA ${config.caDirectory}/ca.pem`)
  if (config.mode === 'observe') say('OBSERVE MODE: requests that policy refuses are forwarded and only recorded')
  else if (config.rules.length === 0) say('no rules: everything is refused; start with --allow HOST or mcp-egress init')
  say('ready')
}
