// `mcp-egress audit prune`: delete what is old enough, once it is verified and shipped.

import type { Command } from 'commander'
import { pruneTrail, type PruneLimits, type PruneResult } from '../audit/prune.ts'
import { openSigningKey, publicKeysOf, readPublicKeys } from '../audit/signing.ts'
import { MAX_UNCOVERED_RECORDS } from '../audit/verify.ts'
import { parseDuration, parseSize } from '../config/quantity.ts'
import { asciiJson } from './audit-text.ts'
import { readable, reportText } from './audit-verify.ts'
import { EXIT, ExitError } from './exit.ts'
import { configOf } from './loaded.ts'
import { type Output, processOutput } from './output.ts'

interface Flags {
  readonly config?: string
  readonly keep?: string
  readonly keepSize?: string
  readonly keepSegments?: string
  readonly dryRun?: true
  readonly json?: true
}

export function addAuditPrune(parent: Command, output: Output = processOutput()): void {
  parent
    .command('prune')
    .description('delete closed segments, oldest first: only verified ones, that every sink has')
    .option('-c, --config <file>', 'configuration file that names the trail')
    .option('--keep <time>', 'delete what is older, as in 30d or 12h')
    .option('--keep-size <size>', 'delete until the trail is no bigger, as in 10GiB')
    .option('--keep-segments <number>', 'delete until so many closed segments are left')
    .option('--dry-run', 'say what would go, and check it, but delete nothing')
    .option('--json', 'print JSON')
    .action(async (flags: Flags) => prune(flags, output))
}

async function prune(flags: Flags, output: Output): Promise<void> {
  const limits = limitsOf(flags)
  const { audit, caDirectory } = configOf(flags.config)
  const { sign, records } = audit.checkpoints
  const dryRun = flags.dryRun === true
  const result = await readable(async () => {
    // Made here if it must be: a tombstone is worth as much as its signature.
    const signingKey = sign && !dryRun ? openSigningKey(caDirectory) : null
    const keyFiles = publicKeysOf(caDirectory)
    return pruneTrail({
      path: audit.path,
      limits,
      sinks: audit.sinks.map(({ name }) => name),
      keys: keyFiles.length === 0 ? null : readPublicKeys(keyFiles),
      allowUnsigned: !sign,
      maxUncovered: Math.max(MAX_UNCOVERED_RECORDS, 2 * records),
      signingKey,
      now: new Date(),
      dryRun,
    })
  })
  if (result.kind === 'refused') {
    output.out(
      flags.json === true ? `${asciiJson({ pruned: [], report: result.report })}\n` : reportText(result.report, output),
    )
    throw new ExitError(EXIT.no, 'nothing was deleted: what does not verify is evidence')
  }
  const { segments, bytes, left, held } = result
  output.out(
    flags.json === true
      ? `${asciiJson({ pruned: segments, bytes, left, held, dry_run: dryRun })}\n`
      : text(result, dryRun),
  )
  if (held.length > 0) throw new ExitError(EXIT.no, held.join('\n'))
}

function limitsOf({ keep, keepSize, keepSegments }: Flags): PruneLimits {
  if (keep === undefined && keepSize === undefined && keepSegments === undefined)
    throw new ExitError(
      EXIT.usage,
      'nothing says what to keep\n  fix: give --keep 30d, --keep-size 10GiB or --keep-segments 20',
    )
  return {
    age: keep === undefined ? null : (parseDuration(keep) ?? unreadable('--keep', keep, '30d')),
    size: keepSize === undefined ? null : (parseSize(keepSize) ?? unreadable('--keep-size', keepSize, '10GiB')),
    segments: keepSegments === undefined ? null : countOf(keepSegments),
  }
}

function countOf(written: string): number {
  return /^\d{1,9}$/.test(written) ? Number(written) : unreadable('--keep-segments', written, '20')
}

function unreadable(option: string, value: string, example: string): never {
  throw new ExitError(EXIT.usage, `${option} ${value} can not be understood\n  fix: write it as ${option} ${example}`)
}

function text({ segments, bytes, left }: Extract<PruneResult, { kind: 'pruned' }>, dryRun: boolean): string {
  const done = dryRun ? 'would be deleted' : 'deleted'
  const lines = segments.map(({ file, first_seq, last_seq }) => `${file}  seq ${first_seq} to ${last_seq}`)
  return `${[...lines, `${segments.length} segments ${done}, ${bytes} bytes; ${left} closed segments stay`].join('\n')}\n`
}
