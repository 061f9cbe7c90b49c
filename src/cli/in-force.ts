// What a reload replaces, made whole before any of it is in force: what decides, the CA, whom upstream connections trust.

import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import type { SecureContext } from 'node:tls'
import type { Config } from '../config/load.ts'
import { compileInjections } from '../core/injection.ts'
import type { Secrets } from '../core/redact.ts'
import { compileSecrets } from '../core/secret.ts'
import type { Judgement } from '../proxy/deps.ts'
import { type Authority, openAuthority } from '../tls/authority.ts'
import { authorityPaths } from '../tls/authority-files.ts'
import { upstreamContext, upstreamTrust } from '../tls/trust.ts'
import type { SignedTokens } from './jwt.ts'
import { failedTests } from './policy-tests.ts'

export interface InForce {
  readonly config: Config
  readonly judgement: Judgement
  readonly authority: Authority
  readonly trust: Trust
}

interface Trust {
  /** SHA-256 of the roots. */
  readonly digest: string
  readonly secureContext: SecureContext
}

/** Throws what is wrong with the CA or the trust files. */
export function inForce(config: Config, previous: InForce | null, now: Date, signed: SignedTokens): InForce {
  const authority = openAuthority(config.caDirectory, now)
  return { config, judgement: judgementOf(config, signed), authority, trust: trustOf(config, authority, previous) }
}

/** The same, of a configuration that comes after another: its own tests must pass first. Throws as well what one of them says. */
export function nextInForce(config: Config, previous: InForce, now: Date, signed: SignedTokens): InForce {
  const { ca } = authorityPaths(config.caDirectory)
  // A CA that is gone is a mistake, or a file that is just being replaced: a new one in its place would be trusted by nobody.
  if (config.caDirectory === previous.config.caDirectory && !existsSync(ca))
    throw new Error(`${ca} is not there any more`)
  const [failed, ...more] = failedTests(config)
  if (failed !== undefined) {
    const others = more.length === 0 ? '' : `, and ${more.length} more`
    throw new Error(`its own tests fail: ${failed}${others}\n  fix: mcp-egress test prints all of them`)
  }
  return inForce(config, previous, now, signed)
}

/** The sections that are read at the start only, as far as they differ. */
export function needsRestart({ audit: was }: Config, { audit: next }: Config): readonly string[] {
  const parts = ['path', 'durability', 'rotate', 'compress', 'checkpoints', 'sinks'] as const
  return parts.filter((part) => JSON.stringify(was[part]) !== JSON.stringify(next[part])).map((part) => `audit.${part}`)
}

/** A context takes megabytes outside the heap and milliseconds: the one that there is serves as long as its roots do. */
function trustOf({ upstream }: Config, { certificatePem }: Authority, previous: InForce | null): Trust {
  const roots = upstreamTrust(upstream.trust, certificatePem)
  const digest = createHash('sha256').update(roots.ca.join('\n')).digest('hex')
  return previous?.trust.digest === digest ? previous.trust : { digest, secureContext: upstreamContext(roots) }
}

function judgementOf(config: Config, signed: SignedTokens): Judgement {
  return {
    policy: config.policy,
    policyHash: config.hash,
    mode: config.mode,
    identity: signed.identityOf(config),
    addresses: config.upstream.addresses,
    secrets: compileSecrets(config.secrets),
    injections: compileInjections(config.injections),
    bodyPrefix: config.audit.bodyPrefix,
  }
}

/** The tokens of clients and of the admin listener, what may not leave and what is put in are secrets wherever they turn up. */
export function secretsOf({ audit, clients, admin, secrets, injections }: Config): Secrets {
  const values = [...secrets, ...injections].map(({ value }) => value)
  const known = [...clients.map(({ token }) => token), admin.token, ...values]
  return { ...audit.redact, values: [...audit.redact.values, ...known.filter((value) => typeof value === 'string')] }
}
