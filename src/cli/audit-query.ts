// `mcp-egress audit query`: the requests or records that were asked for, or the answer to a question in SQL.

import { type Command, InvalidArgumentError, Option } from 'commander'
import { type Batch, lineHead, parseRecord, type Skipped, type TrailFile } from '../audit/read.ts'
import { answerSql, type LoadDuckDb, loadDuckDb } from './audit-duckdb.ts'
import { addFilter, type FilterFlags, recordFilter, requestFilter } from './audit-filter.ts'
import { newestRequests, type RequestLines, requestsInOrder } from './audit-requests.ts'
import { addSource, type SourceFlags, withSource } from './audit-source.ts'
import { eventLine, requestLine } from './audit-text.ts'
import { EXIT, ExitError } from './exit.ts'
import type { Output } from './output.ts'

/** With --newest all of them are held. */
const MAX_NEWEST = 100_000
const DEFAULT_NEWEST = 100

interface Flags extends SourceFlags, FilterFlags {
  readonly event?: string
  readonly limit?: number
  readonly newest?: true
  readonly sql?: string
  readonly json?: true
}

export function queryCommand(command: Command, output: Output, load: LoadDuckDb = loadDuckDb): Command {
  addFilter(addSource(command.description('the requests that match, a line each, oldest first')))
    .option('--event <event>', 'records of this event in place of requests, as in tls.rejected or dns.question')
    .option('--limit <number>', 'at most so many', limitOption)
    .option('--newest', `the newest first (default limit: ${DEFAULT_NEWEST})`)
    .addOption(
      new Option(
        '--sql <query>',
        'a SELECT over records, decisions, ends, requests, questions (needs @duckdb/node-api)',
      ),
    )
    .option('--json', 'JSON Lines: {"decided":RECORD,"completed":RECORD}; with --event the record; with --sql the row')
    .action(async (files: string[], flags: Flags) => {
      if (flags.sql !== undefined) return answerInSql(files, flags, flags.sql, output, load)
      await withSource(files, flags, output, async (batches, opened, skipped) => {
        if (flags.newest === true) return printNewest(opened, flags, skipped, output)
        const limit = flags.limit ?? Number.POSITIVE_INFINITY
        if (flags.event !== undefined) return printSome(recordTexts(batches, flags, flags.event, output), limit, output)
        return printSome(requestTexts(batches, flags, output), limit, output)
      })
    })
  return command
}

function limitOption(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('write a number from 1 on.')
}

async function answerInSql(
  files: readonly string[],
  flags: Flags,
  sql: string,
  output: Output,
  load: LoadDuckDb,
): Promise<void> {
  const { sql: _, json, config: _config, ...others } = flags
  const [other] = Object.keys(others)
  if (other !== undefined)
    throw new ExitError(
      EXIT.usage,
      `--sql and --${dashed(other)} do not go together\n  fix: write it into the query, as in where or limit`,
    )
  await withSource(files, flags, output, (_batches, opened) => answerSql(opened, sql, json === true, output, load))
}

function dashed(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

async function printSome(texts: AsyncIterable<readonly string[]>, limit: number, output: Output): Promise<void> {
  let left = limit
  for await (const batch of texts) {
    const some = batch.slice(0, left)
    if (some.length > 0) output.out(`${some.join('\n')}\n`)
    left -= some.length
    if (left <= 0) return
  }
}

async function* requestTexts(batches: AsyncIterable<Batch>, flags: Flags, output: Output): AsyncGenerator<string[]> {
  for await (const requests of requestsInOrder(batches, requestFilter(flags)))
    yield requests.flatMap((request) => requestText(request, flags.json === true, output))
}

async function* recordTexts(
  batches: AsyncIterable<Batch>,
  flags: Flags,
  event: string,
  output: Output,
): AsyncGenerator<string[]> {
  const matches = recordFilter(flags)
  for await (const { lines } of batches) {
    yield lines.flatMap((line) => {
      const head = lineHead(line)
      return head !== null && head.event === event && matches(line, head)
        ? recordText(line, flags.json === true, output)
        : []
    })
  }
}

async function printNewest(files: readonly TrailFile[], flags: Flags, skipped: Skipped, output: Output): Promise<void> {
  const limit = flags.limit ?? DEFAULT_NEWEST
  if (flags.event !== undefined)
    throw new ExitError(EXIT.usage, '--newest is for requests, --event for records\n  fix: leave one out')
  if (limit > MAX_NEWEST)
    throw new ExitError(EXIT.usage, `--newest takes at most ${MAX_NEWEST}\n  fix: a smaller --limit, or oldest first`)
  const requests = await newestRequests(files, limit, requestFilter(flags), skipped)
  for (const request of requests)
    for (const text of requestText(request, flags.json === true, output)) output.out(`${text}\n`)
}

/** None for a line that is no JSON, which nobody who writes trails has written. */
export function requestText({ decided, completed }: RequestLines, json: boolean, output: Output): string[] {
  const decision = parseRecord(decided)
  const end = completed === null ? null : parseRecord(completed)
  if (decision === null) return []
  // The lines as they are: their hashes can be checked.
  if (json) return [`{"decided":${decided},"completed":${end === null ? 'null' : completed}}`]
  return [requestLine(decision, end, output)]
}

function recordText(line: string, json: boolean, output: Output): string[] {
  const record = parseRecord(line)
  if (record === null) return []
  return [json ? line : eventLine(record, output)]
}
