// The shape of the section `dns`: what the name server answers, with which addresses, and how often anybody may ask.

import { z } from 'zod'
import { addressBytes } from '../core/address.ts'
import type { RateSpec } from '../core/rule.ts'
import { custom, list, text } from './schema-part.ts'

/** As many as one answer holds. */
const MAX_OWN_ADDRESSES = 8

/** The section as it is written, with `rate` as a bucket. */
export interface DnsSection {
  readonly answers?: 'own' | 'resolved'
  readonly addresses?: readonly string[]
  readonly rate?: RateSpec
}

/** The section in force. `reached`: the address at which the client reached the name server. */
export interface DnsSettings {
  readonly answers: 'own' | 'resolved'
  readonly addresses: readonly string[] | 'reached'
  readonly rate: RateSpec
}

/** Benchmarking addresses (RFC 2544, RFC 5180): nobody has them, and what is sent there arrives only where it is redirected. */
const UNROUTED: readonly string[] = ['198.18.0.1', '2001:2::1']
const DEFAULT_RATE: RateSpec = { requests: 50, per: 'second', burst: 200 }

const literal = text.transform((value, context): string => {
  if (addressBytes(value) !== null) return value
  context.addIssue(custom(`${JSON.stringify(value)} is not an address`, 'write for example 198.18.0.1 or 2001:2::1'))
  return z.NEVER
})

const rate = z
  .strictObject({
    questions: z.int().min(1),
    per: z.enum(['second', 'minute', 'hour']),
    burst: z.int().min(1).exactOptional(),
  })
  .transform(({ questions, ...rest }): RateSpec => ({ requests: questions, ...rest }))

export const dnsSchema: z.ZodType<DnsSection> = z
  .strictObject({
    answers: z
      .enum(['own', 'resolved'])
      .exactOptional()
      .describe('own: addresses of ours; resolved: those of the name'),
    addresses: list(literal)
      .max(MAX_OWN_ADDRESSES, { error: `more addresses than an answer holds\nname at most ${MAX_OWN_ADDRESSES}` })
      .exactOptional()
      .describe('What own answers'),
    rate: rate.exactOptional().describe('One bucket per source address'),
  })
  .refine(({ answers, addresses }) => answers !== 'resolved' || addresses === undefined, {
    error: 'resolved answers the addresses of the name, not these\nremove addresses, or write answers: own',
    path: ['addresses'],
  })

/** `behindGateway`: clients that are told our address can talk to it, so it is the address to tell. */
export function dnsSettings(section: DnsSection, behindGateway: boolean): DnsSettings {
  const { answers = 'own', addresses = behindGateway ? 'reached' : UNROUTED, rate: given = DEFAULT_RATE } = section
  return { answers, addresses, rate: given }
}
