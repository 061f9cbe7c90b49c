// Which files a verb of `audit` reads: those named, else the trail of the configuration.

import { open } from 'node:fs/promises'
import type { Command } from 'commander'
import {
  closeFiles,
  readFiles,
  type Batch,
  type Skipped,
  type TrailFile,
  trailFiles,
  Unreadable,
} from '../audit/read.ts'
import { EXIT, ExitError } from './exit.ts'
import { configOf } from './loaded.ts'
import type { Output } from './output.ts'

export interface SourceFlags {
  readonly config?: string
}

export function addSource(command: Command): Command {
  return command
    .argument('[files...]', 'segments to read as they are, .gz too (default: the whole trail of the configuration)')
    .option(
      '-c, --config <file>',
      'configuration file (default: ./mcp-egress.yaml if it is there, else logs/audit.jsonl)',
    )
}

/** The active file of the configured trail. */
export function configuredTrail(flags: SourceFlags): string {
  try {
    return configOf(flags.config).audit.path
  } catch (error) {
    if (!(error instanceof ExitError)) throw error
    throw new ExitError(error.code, `${error.message}\n  or name the files, as in logs/audit.jsonl`)
  }
}

/** What to read, oldest first. Pass it to `closeFiles` in the end. */
export async function openSource(files: readonly string[], flags: SourceFlags): Promise<TrailFile[]> {
  if (files.length > 0 && flags.config !== undefined)
    throw new ExitError(EXIT.usage, 'both files and --config are given\n  fix: leave one out')
  if (files.length === 0) return openTrailAt(configuredTrail(flags))
  // While a segment is being compressed it is there twice.
  const once = files.filter((path) => !(path.endsWith('.gz') && files.includes(path.slice(0, -'.gz'.length))))
  const opened: TrailFile[] = []
  try {
    for (const path of once) opened.push(await openNamed(path))
    return opened
  } catch (error) {
    await closeFiles(opened)
    throw error
  }
}

async function openNamed(path: string): Promise<TrailFile> {
  try {
    return { path, compressed: path.endsWith('.gz'), handle: await open(path, 'r') }
  } catch (error) {
    throw new ExitError(EXIT.usage, `${path} can not be read: ${(error as Error).message}`)
  }
}

async function openTrailAt(active: string): Promise<TrailFile[]> {
  try {
    return await trailFiles(active)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw new ExitError(EXIT.failure, (error as Error).message)
    throw new ExitError(
      EXIT.usage,
      `there is no audit trail at ${active}\n  fix: name its files, or its configuration with -c`,
    )
  }
}

const NO_TRAIL =
  'there is no record of an audit trail in it\n  fix: name the files of a trail, audit.path and its segments'

async function* counted(batches: AsyncIterable<Batch>, given: { records: number }): AsyncIterable<Batch> {
  for await (const batch of batches) {
    given.records += batch.lines.length
    yield batch
  }
}

/** Gives the records of the source to `use` and says on stderr what was passed over. */
export async function withSource<T>(
  files: readonly string[],
  flags: SourceFlags,
  output: Output,
  use: (batches: AsyncIterable<Batch>, opened: readonly TrailFile[], skipped: Skipped) => Promise<T>,
): Promise<T> {
  const opened = await openSource(files, flags)
  const skipped: Skipped = { torn: 0, foreign: 0 }
  const given = { records: 0 }
  try {
    const result = await use(counted(readFiles(opened, skipped), given), opened, skipped)
    // A wrong path would read like a trail in which nothing happened.
    if (given.records === 0 && skipped.foreign > 0) throw new ExitError(EXIT.usage, NO_TRAIL)
    return result
  } catch (error) {
    throw error instanceof Unreadable ? new ExitError(EXIT.failure, error.message) : error
  } finally {
    await closeFiles(opened)
    noteSkipped(skipped, output)
  }
}

export function noteSkipped({ torn, foreign }: Skipped, output: Output): void {
  if (torn > 0) output.err(`${count(torn, 'torn line')} skipped: never acknowledged, nothing left on its account\n`)
  if (foreign > 0) output.err(`${count(foreign, 'line')} skipped that ${foreign === 1 ? 'is' : 'are'} no record\n`)
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
