// The shape of a configuration file: which members there are, and what kind of value each takes.

import { z } from 'zod'
import { addressBytes } from '../core/address.ts'
import type { AddressClass, Cidr } from '../core/address-class.ts'
import { classifyAddress, parseCidr } from '../core/address-class.ts'
import type { InjectionSpec } from '../core/injection.ts'
import type { Reason } from '../core/refusal.ts'
import { REFUSALS } from '../core/refusal.ts'
import type { ClientSpec } from '../core/rule.ts'
import type { SecretSpec } from '../core/secret.ts'
import type { ListenAddress } from './quantity.ts'
import { parseDuration, parseListenAddress } from './quantity.ts'
import { type AuditSection, auditSchema } from './schema-audit.ts'
import { type DnsSection, dnsSchema } from './schema-dns.ts'
import { type IdentitySection, identitySchema } from './schema-identity.ts'
import { injectSchema } from './schema-inject.ts'
import type { WrittenRule } from './schema-openapi.ts'
import { custom, list, name, oneOrList, text } from './schema-part.ts'
import { ruleSchema } from './schema-rule.ts'
import { secretsSchema } from './schema-secrets.ts'

/** One entry of `tests:`. */
export interface PolicyTest {
  /** A client's name, or the source address that a request comes from; omitted: `anonymous`. */
  readonly client?: string | { readonly name?: string; readonly source?: string }
  /** `METHOD URL`. */
  readonly request: string
  readonly expect: 'allow' | 'deny'
  readonly rule?: string
  readonly reason?: Reason
}

/** A configuration file after parsing, before anything is looked up or compiled. Paths are as written. */
export interface ConfigFile {
  readonly version: 1
  readonly mode?: 'enforce' | 'observe'
  readonly listen?: {
    readonly proxy?: readonly ListenAddress[]
    readonly transparent?: readonly ListenAddress[]
    readonly gateway?: readonly ListenAddress[]
    readonly dns?: readonly ListenAddress[]
    readonly admin?: readonly ListenAddress[]
  }
  readonly ca?: { readonly directory: string }
  readonly clients?: readonly ClientSpec[]
  readonly identity?: IdentitySection
  readonly rules?: readonly WrittenRule[]
  readonly secrets?: readonly SecretSpec[]
  readonly inject?: readonly InjectionSpec[]
  readonly dns?: DnsSection
  readonly upstream?: {
    readonly trust?: readonly string[]
    readonly deny?: readonly AddressClass[]
    readonly allow?: readonly Cidr[]
  }
  readonly audit?: AuditSection
  readonly shapes?: { readonly path: string }
  readonly admin?: { readonly token: string }
  readonly shutdown?: { readonly grace: number }
  readonly tests?: readonly PolicyTest[]
}

const address = (unix: boolean): z.ZodType<ListenAddress, string> =>
  text.transform((value, context) => {
    const parsed = parseListenAddress(value)
    if (parsed !== null && (unix || parsed.kind === 'tcp')) return parsed
    const example = unix ? '127.0.0.1:3128, [::1]:3128 or unix:/run/mcp-egress.sock' : '127.0.0.1:15001 or [::1]:15001'
    context.addIssue(custom(`${JSON.stringify(value)} is not an address to listen on`, `write for example ${example}`))
    return z.NEVER
  })

/** A member that is known and refused: silence would make it look as if it worked. */
const unserved = (message: string): z.ZodExactOptional<z.ZodNever> =>
  z
    .never({ error: () => `${message}\ndelete the line` })
    .exactOptional()
    .meta({ deprecated: true, description: message })

const listen = z
  .strictObject({
    proxy: oneOrList(address(true))
      .exactOptional()
      .describe('For HTTP_PROXY and HTTPS_PROXY: CONNECT and absolute-form'),
    transparent: oneOrList(address(false)).exactOptional().describe('Target of REDIRECT: TLS and plain HTTP, any port'),
    gateway: oneOrList(address(false)).exactOptional().describe('Direct hits of clients whose DNS points here'),
    admin: oneOrList(address(true)).exactOptional().describe('Health, metrics, console'),
    dns: oneOrList(address(false)).exactOptional().describe('Name server, UDP and TCP: names that a rule could allow'),
  })
  .refine((doors) => ['proxy', 'transparent', 'gateway'].some((door) => Object.hasOwn(doors, door)), {
    error:
      'no door for requests\nname at least one of proxy, transparent, gateway; or remove listen to get the default',
    when: ({ value }) => typeof value === 'object' && value !== null,
  })

const client = z.strictObject({
  name,
  source: list(text).exactOptional().describe('Addresses or CIDRs'),
  token: text.exactOptional().describe('Proxy credentials: ${NAME} or file:PATH'),
})

const CLASSES = ['metadata', 'loopback', 'link-local', 'private'] as const

const cidr = text.transform((value, context): Cidr => {
  const parsed = parseCidr(value)
  const single = parsed !== null && parsed.prefix === parsed.base.length * 8
  if (single && classifyAddress(value.split('/')[0] ?? '') === 'metadata') {
    context.addIssue(custom(`${value} is a metadata service`, 'remove it; metadata addresses can not be allowed'))
  }
  if (parsed !== null) return parsed
  context.addIssue(custom(`${JSON.stringify(value)} is not a block of addresses`, 'write for example 10.20.0.0/16'))
  return z.NEVER
})

const upstream = z.strictObject({
  trust: list(text).exactOptional().describe('`system` and files of PEM certificates'),
  deny: list(z.enum(CLASSES))
    .refine((classes) => classes.includes('metadata'), {
      error: 'metadata can not be taken off\nadd metadata to the list',
    })
    .exactOptional(),
  allow: list(cidr).exactOptional().describe('Carved out of the denied classes; never metadata'),
  proxy: unserved('upstream.proxy is reserved for chaining, which this version does not do'),
})

const source = text.refine((value) => addressBytes(value) !== null, {
  error: ({ input }) => `${JSON.stringify(input)} is not an address\nwrite for example 172.30.0.5`,
})

const asked = z
  .strictObject({ name: text.exactOptional(), source: source.exactOptional() })
  .refine((given) => (given.name === undefined) !== (given.source === undefined), {
    error: 'a client is asked for by name or by source\nname exactly one of the two',
  })

const test = z
  .strictObject({
    client: z
      .union([text, asked], { error: 'not a client\nwrite its name, or { source: 172.30.0.5 }' })
      .exactOptional(),
    request: z.string().regex(/^[!-~]+ [^ ]+$/, { error: 'not a request\nwrite "METHOD URL"' }),
    expect: z.enum(['allow', 'deny']),
    rule: text.exactOptional(),
    reason: z.enum(Object.keys(REFUSALS) as [Reason, ...Reason[]]).exactOptional(),
  })
  .refine(({ expect, reason }) => expect === 'deny' || reason === undefined, {
    error: 'an allowed request has no reason\nremove reason, or expect deny',
  })

/** Longer than any orchestrator waits before it kills. */
const MAX_GRACE_MS = 600_000

const grace = text.transform((value, context): number => {
  const milliseconds = parseDuration(value)
  if (milliseconds !== null && milliseconds <= MAX_GRACE_MS) return milliseconds
  context.addIssue(custom(`${JSON.stringify(value)} is not a duration up to 10m`, 'write for example 8s or 500ms'))
  return z.NEVER
})

/** The whole file. What needs more than one member to judge (references, uniqueness, policy) is judged in load.ts. */
export const configSchema: z.ZodType<ConfigFile> = z
  .strictObject({
    version: z.literal(1),
    mode: z.enum(['enforce', 'observe']).exactOptional(),
    listen: listen.exactOptional(),
    ca: z.strictObject({ directory: text }).exactOptional(),
    clients: z.array(client).exactOptional(),
    identity: identitySchema.exactOptional().describe('What proves who asks, beside clients'),
    rules: z.array(ruleSchema).exactOptional(),
    secrets: secretsSchema.exactOptional().describe('What may not leave, and where it may go'),
    inject: injectSchema.exactOptional().describe('Placeholders, and the secrets that are put in their place'),
    dns: dnsSchema.exactOptional(),
    upstream: upstream.exactOptional(),
    audit: auditSchema.exactOptional(),
    shapes: z
      .strictObject({ path: text.describe('What rules with a shape have learned; the proxy writes it') })
      .exactOptional(),
    admin: z.strictObject({ token: text.describe('${NAME} or file:PATH') }).exactOptional(),
    shutdown: z.strictObject({ grace: grace.describe('How long requests in flight may take to end') }).exactOptional(),
    tests: z.array(test).exactOptional(),
  })
  .meta({ title: 'mcp-egress configuration', description: 'One file, strict: unknown members are errors' })
