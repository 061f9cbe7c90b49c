// `mcp-egress audit verify`: is the trail what was written, and who vouches for it.

import { readFileSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import type { Command } from 'commander'
import { readTombstones, type Tombstone, tombstonePath } from '../audit/prune-tombstone.ts'
import { closeFiles, type TrailFile, trailFiles } from '../audit/read.ts'
import { publicKeysOf, readPublicKeys } from '../audit/signing.ts'
import { MAX_UNCOVERED_RECORDS, verifyTrail, type VerifyRules } from '../audit/verify.ts'
import { keptCheckpoints } from '../audit/verify-checkpoints.ts'
import type { VerifyReport } from '../audit/verify-report.ts'
import { asciiJson } from './audit-text.ts'
import { EXIT, ExitError } from './exit.ts'
import { configOf } from './loaded.ts'
import { type Output, processOutput, verdict } from './output.ts'

interface Flags {
  readonly config?: string
  readonly publicKey?: readonly string[]
  readonly instance?: string
  readonly fromCheckpoint?: readonly string[]
  readonly complete?: true
  readonly allowUnsigned?: true
  readonly json?: true
}

/** The trail to check, and whose word counts. */
interface Subject {
  readonly files: readonly TrailFile[]
  readonly tombstones: readonly Tombstone[]
  readonly keyFiles: readonly string[] | null
  /** Checkpoints are signed, as far as the configuration says. */
  readonly signed: boolean
  readonly maxUncovered: number
}

const PROGRESS_MS = 500
/** A name of a closed segment, as opposed to the active file. */
const CLOSED_SEGMENT = /\.\d{12,16}\.[^.]+$|\.gz$/

export function addAuditVerify(parent: Command, output: Output = processOutput()): void {
  parent
    .command('verify')
    .description('check every record, the chain they make, and the signatures of its checkpoints')
    .argument('[files...]', 'segments in any order, plain or .gz; an active file brings its closed segments with it')
    .option('-c, --config <file>', 'check the trail of this configuration, with the keys of its CA folder')
    .option('--public-key <file>', 'a key that signed checkpoints, audit.pub; again for each', collect)
    .option('--instance <id>', 'the trail must be this one')
    .option('--from-checkpoint <file>', 'checkpoints that were kept elsewhere; each must be in the trail', collect)
    .option('--complete', 'the trail must begin with its first record')
    .option('--allow-unsigned', 'do not require signed checkpoints')
    .option('--json', 'print JSON')
    .action(async (files: readonly string[], flags: Flags) => verify(files, flags, output))
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value]
}

async function verify(paths: readonly string[], flags: Flags, output: Output): Promise<void> {
  if (flags.instance !== undefined && !/^[0-9A-HJKMNP-TV-Z]{26}$/.test(flags.instance))
    throw new ExitError(
      EXIT.usage,
      `--instance ${flags.instance}: not an instance\n  fix: give the 26 characters of its records`,
    )
  const subject = await readable(() => subjectOf(paths, flags))
  try {
    const report = await readable(() => verifyTrail(subject.files, rulesOf(subject, flags), progress()))
    clearProgress()
    output.out(flags.json === true ? `${asciiJson(report)}\n` : reportText(report, output))
    if (!report.ok) throw new ExitError(EXIT.no, '')
  } finally {
    await closeFiles(subject.files)
  }
}

/** Without files: the trail of the configuration. */
async function subjectOf(paths: readonly string[], flags: Flags): Promise<Subject> {
  if (paths.length > 0 && flags.config !== undefined)
    throw new ExitError(EXIT.usage, 'both files and --config are given\n  fix: leave one out')
  if (paths.length > 0) {
    const actives = paths.filter((path) => !CLOSED_SEGMENT.test(basename(path)))
    const files = await withSegments(
      paths.filter((path) => !actives.includes(path)),
      actives,
    )
    const keyFiles = flags.publicKey ?? null
    return {
      files,
      tombstones: actives.flatMap(tombstonesOf),
      keyFiles,
      signed: true,
      maxUncovered: MAX_UNCOVERED_RECORDS,
    }
  }
  const { audit, caDirectory } = configOf(flags.config)
  const { sign, records } = audit.checkpoints
  const found = publicKeysOf(caDirectory)
  const keyFiles = flags.publicKey ?? (found.length > 0 ? found : null)
  if (keyFiles === null && sign && flags.allowUnsigned !== true)
    throw new Error(`no public key in ${caDirectory}: give it with --public-key, or --allow-unsigned to do without`)
  return {
    files: await trailFiles(audit.path),
    tombstones: tombstonesOf(audit.path),
    keyFiles,
    signed: sign,
    maxUncovered: Math.max(MAX_UNCOVERED_RECORDS, 2 * records),
  }
}

function tombstonesOf(active: string): Tombstone[] {
  return readTombstones(tombstonePath(active))
}

/** Each file once; of one that is there plain and compressed, the plain one. */
async function withSegments(closed: readonly string[], actives: readonly string[]): Promise<TrailFile[]> {
  const files: TrailFile[] = closed.map((path) => ({ path, compressed: path.endsWith('.gz') }))
  for (const active of actives) files.push(...(await trailFiles(active)))
  const once = new Map<string, TrailFile>()
  for (const file of files) {
    const twin = files.some(({ path, compressed }) => file.compressed && !compressed && file.path === `${path}.gz`)
    if (twin || once.has(resolve(file.path))) await closeFiles([file])
    else once.set(resolve(file.path), file)
  }
  return [...once.values()]
}

function rulesOf(subject: Subject, flags: Flags): VerifyRules {
  return {
    instance: flags.instance ?? null,
    complete: flags.complete === true,
    keys: subject.keyFiles === null ? null : readPublicKeys(subject.keyFiles),
    allowUnsigned: flags.allowUnsigned === true || !subject.signed,
    maxUncovered: subject.maxUncovered,
    kept: (flags.fromCheckpoint ?? []).flatMap((file) => keptCheckpoints(readFileSync(file, 'latin1'), file)),
    tombstones: subject.tombstones,
  }
}

/** What can not be read is a failure of the verb, not a fault of the trail. */
export async function readable<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    if (error instanceof ExitError || !(error instanceof Error)) throw error
    throw new ExitError(EXIT.failure, error.message)
  }
}

function progress(): (done: { readonly records: number; readonly file: string }) => void {
  let told = performance.now()
  return ({ records, file }) => {
    if (!process.stderr.isTTY || performance.now() - told < PROGRESS_MS) return
    told = performance.now()
    process.stderr.write(`\r\u001b[K${records.toLocaleString('en')} records, ${basename(file)}`)
  }
}

function clearProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K')
}

export function reportText(report: VerifyReport, output: Output): string {
  const { fault, checkpoints, kept } = report
  const lines: string[] = []
  if (fault !== null) {
    const number = fault.seq === null ? '' : ` at seq ${fault.seq}`
    lines.push(`${verdict(output, 'BROKEN', false)}${number}: ${fault.reason}`, `  ${fault.message}`)
    lines.push(`  ${fault.file}, line ${fault.line}, byte ${fault.offset}`)
    lines.push(`  ${counted(report.records, 'record')} before it ${report.records === 1 ? 'is' : 'are'} good`)
    return `${lines.join('\n')}\n`
  }
  lines.push(
    `${verdict(output, 'OK', true)}: ${counted(report.records, 'record')} in ${counted(report.segments, 'file')}`,
  )
  if (report.records > 0) {
    lines.push(`  trail        ${report.instance}, seq ${report.first_seq} to ${report.last_seq}`)
    lines.push(`  time         ${report.first_time} to ${report.last_time}`)
  }
  lines.push(`  checkpoints  ${checkpoints.found}, signatures verified ${checkpoints.verified}`)
  if (kept.given > 0)
    lines.push(`  kept         ${kept.given} given, ${kept.found} found, ${kept.before} from before the beginning`)
  if (report.pruned !== null) lines.push(`  pruned       up to seq ${report.pruned.last_seq}`)
  if (report.still_open > 0) lines.push(`  still open   ${counted(report.still_open, 'request')}`)
  if (report.torn > 0) lines.push(`  broken off   ${counted(report.torn, 'line')}, by a crash`)
  return `${[...lines, ...report.warnings.map((warning) => `  note: ${warning}`)].join('\n')}\n`
}

function counted(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
