// Checks a whole trail: puts its files in order, follows the chain through them, and says what was found.

import { basename } from 'node:path'
import { isSigned, type Tombstone } from './prune-tombstone.ts'
import type { TrailFile } from './read.ts'
import { blocksOf, DamagedArchive, firstRecord } from './verify-blocks.ts'
import { Chain, type ChainRules } from './verify-chain.ts'
import type { VerifyReport } from './verify-report.ts'

export interface VerifyRules extends ChainRules {
  readonly tombstones: readonly Tombstone[]
}

/** How far it has come; called for every block of some megabytes. */
export type OnProgress = (done: { readonly records: number; readonly file: string }) => void

/** Records in a row that may be without a signed checkpoint: ten times what the defaults leave between two. */
export const MAX_UNCOVERED_RECORDS = 10_000

/**
 * `files` in any order. Reads every byte of them, up to the first fault. Rejects with the error of the file system for a file that
 * can not be read. Handles that came with files stay open.
 */
export async function verifyTrail(
  files: readonly TrailFile[],
  rules: VerifyRules,
  onProgress: OnProgress = () => undefined,
): Promise<VerifyReport> {
  const { instance } = rules
  const kept = instance === null ? rules.kept : rules.kept.filter((each) => each.instance === instance)
  const chain = new Chain({ ...rules, kept })
  const ordered = await inOrder(files)
  for (const file of ordered) {
    chain.file(file.path)
    try {
      for await (const block of blocksOf(file)) {
        chain.take(block)
        if (chain.fault !== null) return reportOf(chain, rules, ordered)
        onProgress({ records: chain.records, file: file.path })
      }
    } catch (error) {
      if (!(error instanceof DamagedArchive)) throw error
      chain.damaged(error.message)
      return reportOf(chain, rules, ordered)
    }
  }
  chain.finish()
  return reportOf(chain, rules, ordered)
}

/** By their first records; a file without one comes last, as the active file just begun does. */
async function inOrder(files: readonly TrailFile[]): Promise<TrailFile[]> {
  const found: { file: TrailFile; seq: number }[] = []
  for (const file of files) found.push({ file, seq: await firstSeq(file) })
  return found
    .sort((a, b) => a.seq - b.seq || basename(a.file.path).localeCompare(basename(b.file.path)))
    .map((each) => each.file)
}

async function firstSeq(file: TrailFile): Promise<number> {
  try {
    return (await firstRecord(file))?.seq ?? Number.MAX_SAFE_INTEGER
  } catch (error) {
    if (error instanceof DamagedArchive) return Number.MAX_SAFE_INTEGER
    throw error
  }
}

function reportOf(chain: Chain, rules: VerifyRules, files: readonly TrailFile[]): VerifyReport {
  const { fault, checkpoints, first, attempts } = chain
  const pruned = first !== null && first.seq > 0 ? prunedBefore(chain, rules) : null
  return {
    ok: fault === null,
    fault,
    instance: chain.instance,
    segments: files.length,
    records: chain.records,
    first_seq: first?.seq ?? null,
    last_seq: chain.records === 0 ? null : chain.next - 1,
    first_time: first?.timestamp ?? null,
    last_time: chain.lastTime,
    last_hash: chain.records === 0 ? null : chain.previous,
    checkpoints: { found: checkpoints.found, verified: checkpoints.verified, last_seq: checkpoints.lastSeq },
    uncovered: chain.uncovered,
    kept: { given: rules.kept.length, found: checkpoints.keptFound, before: checkpoints.keptBefore },
    still_open: attempts.stillOpen,
    lost_ends: attempts.lost,
    torn: chain.torn,
    pruned,
    warnings: fault === null ? warningsOf(chain, rules, pruned) : [],
  }
}

function prunedBefore({ first, instance }: Chain, { tombstones, keys }: VerifyRules): VerifyReport['pruned'] {
  const stones = tombstones.filter(
    (each) =>
      each.instance === instance && each.last_seq === (first?.seq ?? 0) - 1 && each.last_hash === first?.prevHash,
  )
  const signed = stones.find((each) => keys !== null && isSigned(each, keys))
  const stone = signed ?? stones[0]
  return stone === undefined ? null : { last_seq: stone.last_seq, signed: signed !== undefined }
}

function warningsOf(chain: Chain, rules: VerifyRules, pruned: VerifyReport['pruned']): string[] {
  const { first, checkpoints, uncovered } = chain
  const begins = `begins at seq ${first?.seq}`
  const warnings: string[] = []
  if (first === null) warnings.push('there are no records')
  else if (first.seq > 0 && pruned === null)
    warnings.push(`${begins}: earlier segments are not here, and no record says that they were pruned`)
  else if (pruned?.signed === false)
    warnings.push(`${begins}: the record that the earlier ones were pruned is not signed by a key given`)
  if (rules.keys === null && checkpoints.found > 0)
    warnings.push('signatures of checkpoints were not checked: give --public-key, the audit.pub of the CA folder')
  if (rules.keys !== null && checkpoints.found > checkpoints.verified)
    warnings.push(`${checkpoints.found - checkpoints.verified} checkpoints are not signed`)
  if (uncovered > 0) {
    const since = checkpoints.lastSeq === null ? '' : ` behind seq ${checkpoints.lastSeq}`
    warnings.push(
      `${uncovered} records${since} are not covered by a checkpoint: whoever can write the file could have replaced them`,
    )
  }
  if (chain.attempts.lost > 0)
    warnings.push(`${chain.attempts.lost} decisions lost their end to an outage of the trail`)
  return warnings
}
