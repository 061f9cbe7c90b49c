// `mcp-egress proxy`: runs the proxy until it is told to stop.

import { Command } from 'commander'
import { type Config, formatListenAddress } from '../config/load.ts'
import { inheritedSockets } from './activation.ts'
import type { OpenDoors } from './doors.ts'
import { EXIT, ExitError } from './exit.ts'
import { configOf } from './loaded.ts'
import { refuseHazards } from './environment.ts'
import { startProxy, systemGround } from './runtime.ts'

export interface ProxyOptions {
  config?: string
  allow: string[]
  observe: boolean
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
    .action(async (options: ProxyOptions) => {
      refuseHazards(process.env)
      await serve(options)
    })
}

async function serve(options: ProxyOptions): Promise<void> {
  const load = (): Config => configOf(options.config, { allow: options.allow, observe: options.observe })
  const inherited = inheritedSockets(process.env, process.pid)
  const config = load()
  const proxy = await startProxy(config, systemGround(), inherited).catch((error: unknown) => {
    throw new ExitError(EXIT.failure, `mcp-egress: ${error instanceof Error ? error.message : String(error)}`)
  })
  process.on('SIGHUP', () => {
    try {
      proxy.reload(load())
    } catch (error) {
      proxy.rejectReload(error instanceof Error ? error.message : String(error))
    }
  })
  process.on('SIGUSR2', () => proxy.reopenTrail())
  const told = new Promise<void>((resolve) => {
    process.once('SIGTERM', resolve)
    process.once('SIGINT', resolve)
  })
  // Only now: whoever waits for the word may signal at once.
  announce(config, proxy)
  await told
  await proxy.stop()
}

function announce(config: Config, { addresses, unavailable }: OpenDoors): void {
  const say = (line: string): void => void process.stderr.write(`mcp-egress: ${line}\n`)
  for (const { door, address } of addresses) say(`${door} on ${formatListenAddress(address)}`)
  for (const address of unavailable) say(`there is no IPv6 here: ${formatListenAddress(address)} is not listened on`)
  say(`audit trail ${config.audit.path}; CA ${config.caDirectory}/ca.pem`)
  if (config.mode === 'observe') say('OBSERVE MODE: requests that policy refuses are forwarded and only recorded')
  else if (config.rules.length === 0) say('no rules: everything is refused; start with --allow HOST or mcp-egress init')
  say('ready')
}
