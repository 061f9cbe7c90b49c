// Loads a configuration: reads the file, replaces references, checks everything, and answers with the whole of it or every problem.

import { createHash } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { AddressClass, AddressPolicy } from '../core/address-class.ts'
import type { Identity } from '../core/identity.ts'
import type { Policy } from '../core/policy.ts'
import type { ClientSpec, RuleSpec } from '../core/rule.ts'
import type { Effective, Overrides } from './check.ts'
import { checkFile, literalSecrets } from './check.ts'
import type { Finding, Problem } from './problem.ts'
import { formatPlace } from './problem.ts'
import type { ListenAddress } from './quantity.ts'
import type { PolicyTest } from './schema.ts'
import { type AuditSettings, auditSettings } from './schema-audit.ts'
import { locateSinks, publicSinks } from './schema-audit-sink.ts'
import { type DnsSettings, dnsSettings } from './schema-dns.ts'
import type { Source } from './source.ts'
import { NO_SOURCE, parseSource } from './source.ts'
import { substitute } from './substitute.ts'

export type { Overrides } from './check.ts'
export { formatListenAddress, type ListenAddress } from './quantity.ts'

/** A configuration in force. Paths are absolute. */
export interface Config {
  /** Null: no file, the defaults alone. */
  readonly file: string | null
  /** What relative paths count from. */
  readonly folder: string
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
  readonly policy: Policy
  readonly identity: Identity
  readonly dns: DnsSettings
  /** `trust`: `system`, and absolute paths of PEM files. */
  readonly upstream: { readonly trust: readonly string[]; readonly addresses: AddressPolicy }
  readonly audit: AuditSettings
  readonly admin: { readonly token: string | null }
  readonly shutdownGraceMs: number
  readonly tests: readonly PolicyTest[]
}

/** `lines`: the text of the file, for printing problems; empty where there is none. */
export type Loaded =
  | {
      readonly ok: true
      readonly config: Config
      readonly warnings: readonly Problem[]
      readonly lines: readonly string[]
    }
  | { readonly ok: false; readonly problems: readonly Problem[]; readonly lines: readonly string[] }

const MAX_CONFIG_BYTES = 4 * 2 ** 20
const MAX_SECRET_BYTES = 64 * 2 ** 10
const MIN_TOKEN_LENGTH = 16
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
const NO_OVERRIDES: Overrides = { allow: [], observe: false }

/** The file to use: the one asked for, else `mcp-egress.yaml` in `cwd` if it is there, else none. */
export function findConfig(explicit: string | undefined, cwd: string): string | null {
  if (explicit !== undefined) return resolve(cwd, explicit)
  const found = join(cwd, 'mcp-egress.yaml')
  return existsSync(found) ? found : null
}

/** Null: no file, which is enforce with no rules on the default listeners, paths counting from the working directory. */
export function loadConfig(file: string | null, env: NodeJS.ProcessEnv, overrides: Overrides = NO_OVERRIDES): Loaded {
  const folder = file === null ? process.cwd() : dirname(resolve(file))
  const text = file === null ? '' : readText(resolve(file), MAX_CONFIG_BYTES)
  if (text === null) return unreadable(file ?? '')
  const source = file === null ? NO_SOURCE : parseSource(text)
  const lines = text.split(/\r?\n/)
  if (source.value === undefined) return { ok: false, problems: source.problems, lines }
  const readFile = (path: string): string | null => readText(resolve(folder, path), MAX_SECRET_BYTES)
  const { value, findings } = substitute(source.value, { env, readFile })
  const checked = checkFile(value, overrides)
  const all = [...literalSecrets(source.value), ...findings, ...(checked.ok ? [] : checked.findings)]
  const problems = [...source.problems, ...locateAll(all, source)]
  if (!checked.ok || problems.length > 0) return { ok: false, problems: problems.sort(byPosition), lines }
  const config = assemble(checked.effective, file === null ? null : resolve(file), folder)
  return { ok: true, config, warnings: locateAll(warningsOf(config), source), lines }
}

/** Null: not there, not readable, too big, or not UTF-8. */
function readText(path: string, limit: number): string | null {
  try {
    if (statSync(path).size > limit) return null
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path))
  } catch {
    return null
  }
}

function unreadable(file: string): Loaded {
  const message = existsSync(file) ? 'the file can not be read as UTF-8 text of at most 4 MiB' : 'there is no such file'
  const fix = existsSync(file) ? 'check its permissions and its encoding' : 'mcp-egress init writes a first one'
  return { ok: false, problems: [{ line: null, column: null, at: '', message, fix }], lines: [] }
}

/** The first finding of a place is the cause of what else is found there. */
function locateAll(findings: readonly Finding[], source: Source): Problem[] {
  const seen = new Set<string>()
  return findings.flatMap((finding) => {
    const at = formatPlace(finding.place)
    const isConsequence = seen.has(at) && !at.startsWith('--')
    seen.add(at)
    if (isConsequence) return []
    return [at.startsWith('--') ? NO_SOURCE.locate(finding) : source.locate(finding)]
  })
}

function byPosition(a: Problem, b: Problem): number {
  return (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0)
}

/** The file with every default filled in; paths as written, so that the same file has the same hash on every machine. */
function withDefaults({ file: given, mode, clients, rules }: Effective) {
  return {
    mode,
    clients,
    rules,
    listen: { ...NOWHERE, ...(given.listen ?? DEFAULT_LISTEN) },
    dns: dnsSettings(given.dns ?? {}, given.listen?.gateway !== undefined),
    ca: { directory: 'certs', ...given.ca },
    upstream: { trust: ['system'], deny: DEFAULT_DENY, allow: [], ...given.upstream },
    audit: auditSettings(given.audit ?? {}),
    admin: { token: null, ...given.admin },
    shutdown: { grace: DEFAULT_GRACE_MS, ...given.shutdown },
    tests: given.tests ?? [],
  }
}

function assemble(effective: Effective, file: string | null, folder: string): Config {
  const filled = withDefaults(effective)
  const { listen, upstream, audit } = filled
  const absolute = (path: string): string => resolve(folder, path)
  const listeners = (addresses: readonly ListenAddress[]): ListenAddress[] =>
    addresses.map((address) => (address.kind === 'tcp' ? address : { kind: 'unix', path: absolute(address.path) }))
  return {
    file,
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
    policy: effective.policy,
    identity: effective.identity,
    dns: filled.dns,
    upstream: {
      trust: upstream.trust.map((entry) => (entry === 'system' ? entry : absolute(entry))),
      addresses: { deny: new Set(upstream.deny), allow: upstream.allow },
    },
    audit: { ...audit, path: absolute(audit.path), sinks: locateSinks(audit.sinks, absolute) },
    admin: filled.admin,
    shutdownGraceMs: filled.shutdown.grace,
    tests: filled.tests,
  }
}

/** SECURITY: the hash is published with every record, so a secret must not enter it: a short one could be guessed from it. */
function hashOf(filled: ReturnType<typeof withDefaults>): string {
  const clients = filled.clients.map((client) => (client.token === undefined ? client : { ...client, token: '***' }))
  const admin = { token: filled.admin.token === null ? null : '***' }
  const audit = {
    ...filled.audit,
    redact: { ...filled.audit.redact, values: filled.audit.redact.values.map(() => '***') },
    sinks: publicSinks(filled.audit.sinks),
  }
  return createHash('sha256')
    .update(canonicalJson({ ...filled, clients, admin, audit }))
    .digest('hex')
}

/** JSON with the members of every object in one order, whatever the order in the file. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) => {
    if (typeof item !== 'object' || item === null || Array.isArray(item)) return item
    return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
}

function warningsOf({ upstream, clients, admin }: Config): Finding[] {
  const warnings: Finding[] = []
  for (const [index, path] of upstream.trust.entries()) {
    if (path === 'system' || existsSync(path)) continue
    warnings.push({
      place: ['upstream', 'trust', index],
      message: `there is no file ${path}`,
      fix: 'put it there before starting',
    })
  }
  const tokens: [Finding['place'], string | null | undefined][] = [
    ...clients.map(({ token }, index): [Finding['place'], string | undefined] => [['clients', index, 'token'], token]),
    [['admin', 'token'], admin.token],
  ]
  for (const [place, token] of tokens) {
    if (token === null || token === undefined || token.length >= MIN_TOKEN_LENGTH) continue
    const fix = 'make one with: openssl rand -hex 24'
    warnings.push({ place, message: `a token of under ${MIN_TOKEN_LENGTH} characters can be guessed`, fix })
  }
  return warnings
}
