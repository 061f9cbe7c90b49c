// A configuration with every default filled in, its paths made absolute, and its hash.

import { createHash } from 'node:crypto'
import { dirname, join, resolve } from 'node:path'
import type { AddressClass, AddressPolicy } from '../core/address-class.ts'
import type { Identity } from '../core/identity.ts'
import type { InjectionSpec } from '../core/injection.ts'
import type { Policy } from '../core/policy.ts'
import type { ClientSpec, RuleSpec } from '../core/rule.ts'
import type { SecretSpec } from '../core/secret.ts'
import type { Effective } from './check.ts'
import type { Origin } from './openapi.ts'
import type { JwtSettings } from './proofs.ts'
import type { ListenAddress } from './quantity.ts'
import type { PolicyTest } from './schema.ts'
import { type AuditSettings, auditSettings } from './schema-audit.ts'
import { locateSinks, publicSinks } from './schema-audit-sink.ts'
import { type DnsSettings, dnsSettings } from './schema-dns.ts'

/** A configuration in force. Paths are absolute. */
export interface Config {
  /** Null: no file, the defaults alone. */
  readonly file: string | null
  /** Every file that the configuration was read from or names, itself first: what a change of is a change of it. */
  readonly files: readonly string[]
  /** Those of `files` that the policy was read from: not the CA and the roots, which say nothing of what may leave. */
  readonly policyFiles: readonly string[]
  /** What relative paths count from. */
  readonly folder: string
  /** Environment variables that hold what no workload may: the values of `inject`, the admin token. */
  readonly withheld: readonly string[]
  /** SHA-256 in lower-case hex of the effective configuration as canonical JSON; secrets do not enter it. */
  readonly hash: string
  readonly mode: 'enforce' | 'observe'
  readonly listen: {
    readonly proxy: readonly ListenAddress[]
    readonly transparent: readonly ListenAddress[]
    readonly gateway: readonly ListenAddress[]
    readonly dns: readonly ListenAddress[]
    readonly admin: readonly ListenAddress[]
  }
  readonly caDirectory: string
  readonly clients: readonly ClientSpec[]
  readonly rules: readonly RuleSpec[]
  /** Of each rule that comes from the file, in the order of `rules`. */
  readonly origins: readonly Origin[]
  readonly policy: Policy
  /** Without what verifies signed tokens, which `jwt` is for. */
  readonly identity: Identity
  /** Null: no signed token proves anybody. */
  readonly jwt: JwtSettings | null
  /** Their values too. */
  readonly secrets: readonly SecretSpec[]
  readonly injections: readonly InjectionSpec[]
  readonly dns: DnsSettings
  /** `trust`: `system`, and absolute paths of PEM files. */
  readonly upstream: { readonly trust: readonly string[]; readonly addresses: AddressPolicy }
  readonly audit: AuditSettings
  /** The file of what rules have learned of bodies; without a word of it, beside the trail. */
  readonly shapesPath: string
  readonly admin: { readonly token: string | null }
  readonly shutdownGraceMs: number
  readonly tests: readonly PolicyTest[]
}

const DEFAULT_GRACE_MS = 8_000
const DEFAULT_DENY: readonly AddressClass[] = ['metadata', 'loopback', 'link-local', 'private']
const NOWHERE: Config['listen'] = { proxy: [], transparent: [], gateway: [], dns: [], admin: [] }
const DEFAULT_LISTEN: Config['listen'] = {
  ...NOWHERE,
  proxy: [{ kind: 'tcp', host: '127.0.0.1', port: 3128 }],
  transparent: [
    { kind: 'tcp', host: '127.0.0.1', port: 15_001 },
    { kind: 'tcp', host: '::1', port: 15_001 },
  ],
  admin: [{ kind: 'tcp', host: '127.0.0.1', port: 9901 }],
}
/** The file with every default filled in; paths as written, so that the same file has the same hash on every machine. */
function withDefaults({ file: given, mode, clients, rules }: Effective) {
  return {
    mode,
    clients,
    identity: given.identity ?? {},
    rules,
    listen: { ...NOWHERE, ...(given.listen ?? DEFAULT_LISTEN) },
    secrets: given.secrets ?? [],
    inject: given.inject ?? [],
    dns: dnsSettings(given.dns ?? {}, given.listen?.gateway !== undefined),
    ca: { directory: 'certs', ...given.ca },
    upstream: { trust: ['system'], deny: DEFAULT_DENY, allow: [], ...given.upstream },
    audit: auditSettings(given.audit ?? {}),
    shapes: { path: null, ...given.shapes },
    admin: { token: null, ...given.admin },
    shutdown: { grace: DEFAULT_GRACE_MS, ...given.shutdown },
    tests: given.tests ?? [],
  }
}

/** `folder`: what relative paths count from. `read`: the files that were read on the way. */
export function assemble(
  effective: Effective,
  file: string | null,
  folder: string,
  read: readonly string[],
): Omit<Config, 'withheld'> {
  const filled = withDefaults(effective)
  const { listen, upstream, audit } = filled
  const absolute = (path: string): string => resolve(folder, path)
  const listeners = (addresses: readonly ListenAddress[]): ListenAddress[] =>
    addresses.map((address) => (address.kind === 'tcp' ? address : { kind: 'unix', path: absolute(address.path) }))
  const trust = upstream.trust.map((entry) => (entry === 'system' ? entry : absolute(entry)))
  return {
    file,
    policyFiles: read,
    files: [...read, absolute(join(filled.ca.directory, 'ca.pem')), ...trust.filter((entry) => entry !== 'system')],
    folder,
    hash: hashOf(filled),
    mode: filled.mode,
    listen: {
      proxy: listeners(listen.proxy),
      transparent: listeners(listen.transparent),
      gateway: listeners(listen.gateway),
      dns: listeners(listen.dns),
      admin: listeners(listen.admin),
    },
    caDirectory: absolute(filled.ca.directory),
    clients: filled.clients,
    rules: filled.rules,
    origins: effective.origins,
    policy: effective.policy,
    identity: effective.identity,
    jwt: effective.jwt,
    secrets: filled.secrets,
    injections: filled.inject,
    dns: filled.dns,
    upstream: {
      trust,
      addresses: { deny: new Set(upstream.deny), allow: upstream.allow },
    },
    audit: { ...audit, path: absolute(audit.path), sinks: locateSinks(audit.sinks, absolute) },
    shapesPath: absolute(filled.shapes.path ?? join(dirname(audit.path), 'shapes.json')),
    admin: filled.admin,
    shutdownGraceMs: filled.shutdown.grace,
    tests: filled.tests,
  }
}

/** SECURITY: the hash is published with every record, so a secret must not enter it: a short one could be guessed from it. */
function hashOf(filled: ReturnType<typeof withDefaults>): string {
  const clients = filled.clients.map(({ token, tokenDigest, ...client }) =>
    token === undefined && tokenDigest === undefined ? client : { ...client, token: '***' },
  )
  const admin = { token: filled.admin.token === null ? null : '***' }
  const secrets = filled.secrets.map((secret) => (secret.value === null ? secret : { ...secret, value: '***' }))
  const inject = filled.inject.map((injection) => ({ ...injection, value: '***' }))
  const audit = {
    ...filled.audit,
    redact: { ...filled.audit.redact, values: filled.audit.redact.values.map(() => '***') },
    sinks: publicSinks(filled.audit.sinks),
  }
  return createHash('sha256')
    .update(canonicalJson({ ...filled, clients, admin, secrets, inject, audit }))
    .digest('hex')
}

/** JSON with the members of every object in one order, whatever the order in the file. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) => {
    if (typeof item !== 'object' || item === null || Array.isArray(item)) return item
    return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
}
