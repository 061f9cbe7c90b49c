// What a configuration means for `run`: no listeners but the jail's own, and one client, which is the command.

import { join } from 'node:path'
import type { Config } from '../config/load.ts'
import { dnsSettings } from '../config/schema-dns.ts'
import { compileIdentity } from '../core/identity.ts'
import { EXIT, ExitError } from './exit.ts'

/** How many runs may share a folder at a time. */
const MAX_TRAILS = 64

/**
 * The configuration with nothing to listen on. With `client`, whoever comes from `sources` is that client; the sources and tokens
 * of all others have no meaning in a jail. Throws an ExitError (1) for a client that the file does not name.
 */
export function runConfig(config: Config, client: string | undefined, sources: readonly string[]): Config {
  const listen = { proxy: [], transparent: [], gateway: [], admin: [], dns: [] }
  // The file's own addresses are of other networks: a jail has those that nobody routes.
  const dns = dnsSettings({ answers: config.dns.answers, rate: config.dns.rate }, false)
  // Standard output is the command's, which may speak a protocol there.
  const audit = { ...config.audit, sinks: config.audit.sinks.filter(({ type }) => type !== 'stdout') }
  if (client === undefined) return { ...config, listen, dns, audit }
  if (!config.clients.some(({ name }) => name === client)) {
    const known = config.clients.map(({ name }) => name).join(', ') || 'none'
    throw new ExitError(
      EXIT.usage,
      `--client ${client}: there is no such client in the configuration (there is: ${known})`,
    )
  }
  const clients = [{ name: client, source: [...sources] }]
  return { ...config, listen, dns, audit, identity: compileIdentity(clients), jwt: null }
}

/** Where the trail may go: the configured path alone, or for the default one a path for each run that is under way at the same time. */
export function trailPaths(config: Config): string[] {
  const { path } = config.audit
  if (path !== join(config.folder, 'logs/audit.jsonl')) return [path]
  const numbered = Array.from({ length: MAX_TRAILS - 1 }, (_, index) => path.replace(/\.jsonl$/, `-${index + 2}.jsonl`))
  return [path, ...numbered]
}
