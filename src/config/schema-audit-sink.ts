// The shape of `audit.sinks`: where records are shipped to besides the file.

import { z } from 'zod'
import { custom, text } from './schema-part.ts'
import { isReference } from './substitute.ts'

export type SinkFormat = 'jsonl' | 'splunk-hec' | 'loki' | 'elastic-bulk'

export interface SyslogAddress {
  readonly transport: 'tcp' | 'tls'
  /** Without the brackets of a literal IPv6 address. */
  readonly host: string
  readonly port: number
}

/** Paths are as written until the configuration is loaded, then absolute. */
interface TlsFiles {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
}

interface HttpTarget extends TlsFiles {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

export type SinkSettings = { readonly name: string } & (
  | { readonly type: 'stdout' }
  | ({ readonly type: 'syslog'; readonly address: SyslogAddress } & TlsFiles)
  | ({ readonly type: 'http'; readonly format: SinkFormat } & HttpTarget)
  | ({ readonly type: 'otlp' } & HttpTarget)
)

const MAX_SINKS = 8

/** It becomes part of a file's name and a label of metrics; a dot would make one sink's file look like another's. */
const name = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, {
  error: ({ input }) => `${JSON.stringify(input)} is not a name of a sink\nuse 1 to 64 of A-Z a-z 0-9 _ -`,
})

const ADDRESS =
  /^(tcp|tls):\/\/(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})))(?::([1-9]\d{0,4}))$/

function parseAddress(value: string): SyslogAddress | null {
  const [, transport, literal, hostName, port] = ADDRESS.exec(value) ?? []
  const host = literal ?? hostName
  if (host === undefined || Number(port) > 65_535) return null
  return { transport: transport === 'tls' ? 'tls' : 'tcp', host, port: Number(port) }
}

const address = text.transform((value, context): SyslogAddress => {
  const parsed = parseAddress(value)
  if (parsed !== null) return parsed
  context.addIssue(
    custom(
      `${JSON.stringify(value)} is not the address of a syslog server`,
      'write for example tls://logs.example:6514',
    ),
  )
  return z.NEVER
})

const url = text.transform((value, context): string => {
  const parsed = URL.canParse(value) ? new URL(value) : null
  if (parsed === null || !['http:', 'https:'].includes(parsed.protocol)) {
    context.addIssue(custom('not a URL of http or https', 'write for example https://logs.example/ingest'))
    return z.NEVER
  }
  if (parsed.username === '' && parsed.password === '') return value
  context.addIssue(custom('credentials stand in the URL', 'send them as headers: { Authorization: "${NAME}" }'))
  return z.NEVER
})

/** They say how the message is framed, which is not for a configuration to say. */
const FRAMING: ReadonlySet<string> = new Set(
  'connection content-length expect host keep-alive te trailer transfer-encoding upgrade'.split(' '),
)

const FIELD_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/

const headers = z
  .record(
    z.string(),
    text.regex(/^[ -~]+$/, { error: 'not a value that a header can have\nwrite it in printable ASCII' }),
  )
  .refine((fields) => Object.keys(fields).every((field) => FIELD_NAME.test(field)), {
    error: 'one of these is not the name of a header field\nwrite names such as Authorization or X-Scope-OrgID',
  })
  .refine((fields) => !Object.keys(fields).some((field) => FRAMING.has(field.toLowerCase())), {
    error: `one of these fields is set by the proxy\nremove ${[...FRAMING].join(', ')}`,
  })

const file = text.exactOptional()
const tls = {
  ca: file.describe('PEM file of the CA to believe, instead of those of the system'),
  cert: file.describe('PEM file of the certificate to present'),
  key: file.describe('PEM file of its key'),
}
const target = { name, url, headers: headers.default({}).describe('Secrets only as ${NAME} or file:PATH'), ...tls }

const sink = z
  .discriminatedUnion('type', [
    z.strictObject({ name, type: z.literal('stdout') }),
    z.strictObject({
      name,
      type: z.literal('syslog'),
      address: address.describe('tls://HOST:6514 or tcp://HOST:514'),
      ...tls,
    }),
    z.strictObject({
      type: z.literal('http'),
      format: z.enum(['jsonl', 'splunk-hec', 'loki', 'elastic-bulk']).default('jsonl'),
      ...target,
    }),
    z.strictObject({ type: z.literal('otlp'), ...target }),
  ])
  .refine((each) => each.type === 'stdout' || (each.cert === undefined) === (each.key === undefined), {
    error: 'a certificate and its key go together\nname both cert and key, or neither',
  })

export const sinksSchema: z.ZodType<SinkSettings[]> = z
  .array(sink)
  .max(MAX_SINKS, { error: `more sinks than there may be\nname at most ${MAX_SINKS}` })
  .refine((sinks) => new Set(sinks.map((each) => each.name)).size === sinks.length, {
    error: 'two sinks have one name\ngive each its own',
  })
  .refine((sinks) => sinks.filter(({ type }) => type === 'stdout').length <= 1, {
    error: 'there is one standard output\nkeep one sink of type stdout',
  })

/** Names of fields whose values are credentials. */
const CREDENTIAL = /auth|token|key|secret|cookie|passw|credential|signature/i

/** Whether a header of a sink, as written, is a secret that stands in the file. A scheme may stand before the reference. */
export function isLiteralSecret(field: string, written: unknown): boolean {
  if (!CREDENTIAL.test(field) || typeof written !== 'string') return false
  const [first = '', ...rest] = written.split(' ')
  const credentials = rest.length > 0 && /^[A-Za-z][A-Za-z0-9-]{0,32}$/.test(first) ? rest.join(' ') : written
  return !isReference(credentials)
}

/** The sinks with absolute paths. */
export function locateSinks(sinks: readonly SinkSettings[], absolute: (path: string) => string): SinkSettings[] {
  return sinks.map((each) => {
    if (each.type === 'stdout') return each
    const files = (['ca', 'cert', 'key'] as const).flatMap((member) => {
      const path = each[member]
      return path === undefined ? [] : [[member, absolute(path)]]
    })
    return { ...each, ...(Object.fromEntries(files) as TlsFiles) }
  })
}

/** The sinks without what may be secret: values of headers, and what stands behind the path of a URL. */
export function publicSinks(sinks: readonly SinkSettings[]): unknown[] {
  return sinks.map((each) => {
    if (each.type === 'stdout' || each.type === 'syslog') return each
    const { origin, pathname } = new URL(each.url)
    return { ...each, url: `${origin}${pathname}`, headers: Object.keys(each.headers).sort() }
  })
}
