// The sinks of a configuration, on the ground of this process: its resolver, its trust, its log.

import type { Logger } from 'pino'
import { openSinks, type Sinks } from '../audit/sinks.ts'
import type { FileTrail } from '../audit/trail.ts'
import type { Config } from '../config/load.ts'
import type { Resolver } from '../proxy/resolver.ts'
import { upstreamTrust } from '../tls/trust.ts'
import { VERSION } from './version.ts'

/** Rejects with an Error that names the sink and the fix. */
export function sinksOf(
  { audit }: Config,
  ground: {
    readonly trail: FileTrail
    readonly resolver: Resolver
    /** The certificate of our CA, which no receiver may show. */
    readonly ownCertificatePem: string
    readonly log: Logger
  },
): Promise<Sinks> {
  const { trail, resolver, ownCertificatePem, log } = ground
  let roots: readonly string[] | null = null
  return openSinks(audit.sinks, {
    path: audit.path,
    instance: trail.instance,
    lastSeq: () => trail.lastSeq(),
    version: VERSION,
    resolve: async (name) => {
      const resolution = await resolver.resolve(name)
      if (resolution.kind === 'failed') throw new Error(`${name}: ${resolution.detail}`)
      return resolution.addresses
    },
    roots: () => (roots ??= upstreamTrust(['system'], ownCertificatePem).ca),
    log: (level, message, detail) => log[level](detail, `audit sink: ${message}`),
    now: Date.now,
    random: Math.random,
  })
}
