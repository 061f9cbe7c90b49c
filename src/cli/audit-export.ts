// `mcp-egress audit export`: the requests that match, in the formats of other tools.

import { chmod, type FileHandle, mkdtemp, open, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { type Batch, parseRecord, type TrailRecord } from '../audit/read.ts'
import { COLUMNS } from './audit-columns.ts'
import { CSV_HEAD, csvRow } from './audit-csv.ts'
import { type LoadDuckDb, loadDuckDb, quoted, withDatabase } from './audit-duckdb.ts'
import { addFilter, type FilterFlags, requestFilter } from './audit-filter.ts'
import { HAR_HEAD, HAR_TAIL, harEntry } from './audit-har.ts'
import { ocsfEvent } from './audit-ocsf.ts'
import { requestsInOrder } from './audit-requests.ts'
import { addSource, type SourceFlags, withSource } from './audit-source.ts'
import { strictJson } from './audit-text.ts'
import { EXIT, ExitError } from './exit.ts'
import type { Output } from './output.ts'

const PROGRESS_INTERVAL_MS = 1_000

interface Flags extends SourceFlags, FilterFlags {
  readonly format: 'parquet' | 'csv' | 'har' | 'ocsf'
  readonly output?: string
}

interface Format {
  readonly head: string
  readonly row: (decided: TrailRecord, completed: TrailRecord | null) => string
  readonly between: string
  readonly tail: string
}

/** Of Parquet: the rows that DuckDB makes the file of. */
const ROWS: Format = {
  head: '',
  row: (decided, completed) =>
    `${strictJson(Object.fromEntries(COLUMNS.map(({ name, value }) => [name, value(decided, completed) ?? null])))}\n`,
  between: '',
  tail: '',
}

const FORMATS: Readonly<Record<Flags['format'], Format>> = {
  parquet: ROWS,
  csv: { head: CSV_HEAD, row: csvRow, between: '', tail: '' },
  har: { head: HAR_HEAD, row: (...lines) => strictJson(harEntry(...lines)), between: ',\n', tail: HAR_TAIL },
  ocsf: { head: '', row: (...lines) => `${strictJson(ocsfEvent(...lines))}\n`, between: '', tail: '' },
}

/** `progress`: whether somebody sees stderr. */
export function exportCommand(
  command: Command,
  output: Output,
  load: LoadDuckDb = loadDuckDb,
  progress: boolean = process.stderr.isTTY,
): Command {
  addFilter(addSource(command.description('the requests that match, for other tools')))
    .addOption(
      new Option(
        '--format <format>',
        'ocsf: JSON Lines of HTTP Activity; har: HTTP Archive 1.2; parquet needs @duckdb/node-api',
      )
        .choices(Object.keys(FORMATS))
        .makeOptionMandatory(),
    )
    .option('-o, --output <file>', 'a new file, 0600 (default: standard output)')
    .action(async (files: string[], flags: Flags) => {
      if (flags.format === 'parquet' && flags.output === undefined)
        throw new ExitError(EXIT.usage, 'Parquet is written to a file\n  fix: -o requests.parquet')
      const tell = progress ? progressOn(output) : () => undefined
      await withSource(files, flags, output, async (batches) => {
        const texts = exported(batches, flags, tell)
        if (flags.output === undefined) for await (const text of texts) output.out(text)
        else
          await writeNew(resolve(flags.output), (path) =>
            flags.format === 'parquet' ? parquet(texts, path, load) : write(texts, path),
          )
      })
    })
  return command
}

async function* exported(
  batches: AsyncIterable<Batch>,
  flags: Flags,
  tell: (requests: number) => void,
): AsyncGenerator<string> {
  const { head, row, between, tail } = FORMATS[flags.format]
  if (head !== '') yield head
  let done = 0
  for await (const requests of requestsInOrder(batches, requestFilter(flags))) {
    const rows = requests.flatMap(({ decided, completed }) => {
      const record = parseRecord(decided)
      return record === null ? [] : [row(record, completed === null ? null : parseRecord(completed))]
    })
    if (rows.length === 0) continue
    yield `${done === 0 ? '' : between}${rows.join(between)}`
    done += rows.length
    tell(done)
  }
  if (tail !== '') yield tail
}

/** The name is given to the file once it is whole; what stands there already stays. */
async function writeNew(path: string, make: (partial: string) => Promise<void>): Promise<void> {
  if (
    await stat(path).then(
      () => true,
      () => false,
    )
  )
    throw new ExitError(EXIT.usage, `${path} is there already\n  fix: remove it, or name another file`)
  let folder: string
  try {
    // SECURITY: private, on the same file system: nobody can put a link in place of what is written.
    folder = await mkdtemp(join(dirname(path), '.mcp-egress-export-'))
  } catch (error) {
    throw new ExitError(EXIT.usage, `${path} can not be written: ${(error as Error).message}`)
  }
  try {
    const partial = join(folder, 'export')
    await make(partial)
    await chmod(partial, 0o600)
    await rename(partial, path)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function write(texts: AsyncIterable<string>, path: string): Promise<void> {
  const file: FileHandle = await open(path, 'wx', 0o600)
  try {
    for await (const text of texts) await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function parquet(texts: AsyncIterable<string>, path: string, load: LoadDuckDb): Promise<void> {
  const duckdb = await load()
  const rows = `${path}.jsonl`
  await write(texts, rows)
  await withDatabase(duckdb, async (connection) => {
    const columns = COLUMNS.map(({ name, type }) => `"${name}": ${quoted(type)}`).join(', ')
    const source = `read_json(${quoted(rows)}, format = 'newline_delimited', columns = {${columns}})`
    await connection.run(`copy (select * from ${source}) to ${quoted(path)} (format parquet, compression zstd)`)
  })
}

function progressOn(output: Output): (requests: number) => void {
  let told = performance.now()
  return (requests) => {
    if (performance.now() - told < PROGRESS_INTERVAL_MS) return
    told = performance.now()
    output.err(`${requests} requests\n`)
  }
}
