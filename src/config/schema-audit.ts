// The shape of the section `audit`: where the trail lies, when its file is closed for a new one, and what is signed.

import { z } from 'zod'
import { parseDuration, parseSize } from './quantity.ts'
import { custom, text } from './schema-part.ts'
import { type SinkSettings, sinksSchema } from './schema-audit-sink.ts'
import { redactSchema, type RedactSettings, redactSettings } from './schema-redact.ts'

/** The section as it is written; sizes in bytes, durations in milliseconds. */
export interface AuditSection {
  readonly path?: string
  readonly durability?: 'os' | 'sync'
  readonly rotate?: { readonly size?: number; readonly age?: number }
  readonly compress?: boolean
  readonly redact?: Partial<RedactSettings>
  readonly body_prefix?: number
  readonly sinks?: readonly SinkSettings[]
  readonly checkpoints?: {
    readonly every?: number
    readonly records?: number
    readonly sign?: boolean
    readonly sink?: string
  }
}

/** The section in force. `path` is absolute once the configuration is loaded. */
export interface AuditSettings {
  readonly path: string
  readonly durability: 'os' | 'sync'
  readonly rotate: { readonly size: number; readonly age: number }
  readonly compress: boolean
  readonly redact: RedactSettings
  readonly bodyPrefix: number
  readonly sinks: readonly SinkSettings[]
  /** `sink`: `stdout` or an https URL; null: checkpoints are in the trail alone. */
  readonly checkpoints: {
    readonly every: number
    readonly records: number
    readonly sign: boolean
    readonly sink: string | null
  }
}

const MIB = 2 ** 20
/** Room for a group of the longest records; smaller segments would be closed after nearly every write. */
const MIN_SEGMENT_BYTES: number = MIB
const MIN_SEGMENT_AGE_MS = 60_000
const DEFAULT_SEGMENT_BYTES: number = 256 * MIB
const DEFAULT_SEGMENT_AGE_MS: number = 24 * 3_600_000
const DEFAULT_CHECKPOINT_MS = 60_000
const DEFAULT_CHECKPOINT_RECORDS = 1_000
/** A record has room for two of them. */
const MAX_BODY_PREFIX = 16_384
const DEFAULT_BODY_PREFIX = 1_024

const size = z.union([z.string(), z.int().min(0)]).transform((value, context): number => {
  const bytes = typeof value === 'number' ? value : parseSize(value)
  if (bytes !== null && bytes >= MIN_SEGMENT_BYTES) return bytes
  context.addIssue(custom(`${JSON.stringify(value)} is not a size from 1MiB on`, 'write for example 256MiB'))
  return z.NEVER
})

const duration = (least: number, example: string): z.ZodType<number, string> =>
  text.transform((value, context): number => {
    const milliseconds = parseDuration(value)
    if (milliseconds !== null && milliseconds >= least) return milliseconds
    const from = `${least / 1_000}s`
    context.addIssue(
      custom(`${JSON.stringify(value)} is not a duration from ${from} on`, `write for example ${example}`),
    )
    return z.NEVER
  })

const bodyPrefix = z.union([z.string(), z.int().min(0)]).transform((value, context): number => {
  const bytes = typeof value === 'number' ? value : parseSize(value)
  if (bytes !== null && bytes <= MAX_BODY_PREFIX) return bytes
  context.addIssue(custom(`${JSON.stringify(value)} is not a size up to 16KiB`, 'write for example 1KiB'))
  return z.NEVER
})

const rotate = z.strictObject({
  size: size.exactOptional().describe('A new file once the active one is this big'),
  age: duration(MIN_SEGMENT_AGE_MS, '24h').exactOptional().describe('A new file once the active one is this old'),
})

const checkpointSink = text
  .refine((value) => value === 'stdout' || /^https:\/\/[^\s/]+/.test(value), {
    error: ({ input }) => `${JSON.stringify(input)} is nowhere to keep checkpoints\nwrite stdout, or an https:// URL`,
  })
  .describe('Where each checkpoint goes besides the trail: stdout, or an https URL that takes a POST each')

const checkpoints = z.strictObject({
  every: duration(1_000, '60s').exactOptional().describe('A checkpoint at least this often, also when idle'),
  records: z.int().min(10).exactOptional().describe('A checkpoint at least every so many records'),
  sign: z.boolean().exactOptional().describe('Ed25519, with the key beside the one of the CA'),
  sink: checkpointSink.exactOptional(),
})

export const auditSchema: z.ZodType<AuditSection> = z.strictObject({
  path: text.exactOptional().describe('The active file'),
  durability: z.enum(['os', 'sync']).exactOptional().describe('os: survives the process; sync: survives power loss'),
  rotate: rotate.exactOptional(),
  redact: redactSchema.exactOptional().describe('Secrets besides those that are known'),
  body_prefix: bodyPrefix.exactOptional().describe('Of each body that a rule has recorded, up to 16KiB'),
  compress: z.boolean().exactOptional().describe('Closed files become .gz'),
  checkpoints: checkpoints.exactOptional(),
  sinks: sinksSchema.exactOptional().describe('Where records are shipped to besides the file'),
})

export function auditSettings(section: AuditSection): AuditSettings {
  const { path = 'logs/audit.jsonl', durability = 'os', rotate: closing, compress = true, checkpoints: given } = section
  return {
    path,
    durability,
    redact: redactSettings(section.redact ?? {}),
    bodyPrefix: section.body_prefix ?? DEFAULT_BODY_PREFIX,
    rotate: { size: DEFAULT_SEGMENT_BYTES, age: DEFAULT_SEGMENT_AGE_MS, ...closing },
    compress,
    sinks: section.sinks ?? [],
    checkpoints: {
      every: DEFAULT_CHECKPOINT_MS,
      records: DEFAULT_CHECKPOINT_RECORDS,
      sign: true,
      sink: null,
      ...given,
    },
  }
}
