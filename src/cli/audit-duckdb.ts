// DuckDB over a trail: loaded only when it is asked for, and shut in with the files of the trail.

import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type * as DuckDb from '@duckdb/node-api'
import { parseRecord, readFiles, type TrailFile } from '../audit/read.ts'
import { COLUMNS } from './audit-columns.ts'
import { asciiJson, cell, escaped, strictJson, table } from './audit-text.ts'
import { EXIT, ExitError } from './exit.ts'
import type { Output } from './output.ts'

export type LoadDuckDb = () => Promise<typeof DuckDb>

/** Rows of a table; JSON Lines have no such bound. */
const MAX_TABLE_ROWS = 10_000
/** Longer than any line that is a record, so that others fail by themselves. */
const MAX_LINE_BYTES = 1_048_576

/** Every member that a record may have; what is not here is not in the views. */
const RECORD_COLUMNS: Readonly<Record<string, string>> = {
  schema: 'VARCHAR',
  instance: 'VARCHAR',
  seq: 'BIGINT',
  timestamp: 'TIMESTAMP',
  event: 'VARCHAR',
  request_id: 'VARCHAR',
  connection_id: 'VARCHAR',
  door: 'VARCHAR',
  client: 'STRUCT(name VARCHAR, source VARCHAR)',
  decision: 'VARCHAR',
  enforced: 'BOOLEAN',
  rule: 'VARCHAR',
  reason: 'VARCHAR',
  mode: 'VARCHAR',
  policy: 'VARCHAR',
  method: 'VARCHAR',
  scheme: 'VARCHAR',
  host: 'VARCHAR',
  port: 'INTEGER',
  path: 'VARCHAR',
  query: 'VARCHAR',
  protocol: 'VARCHAR',
  sni: 'VARCHAR',
  names: 'STRUCT("connect" VARCHAR, sni VARCHAR, host VARCHAR, url VARCHAR)',
  original_destination: 'VARCHAR',
  mcp: 'STRUCT("method" VARCHAR, tool VARCHAR, resource VARCHAR, id VARCHAR)[]',
  graphql: 'STRUCT(operation VARCHAR, name VARCHAR)[]',
  security_flags: 'VARCHAR[]',
  outcome: 'VARCHAR',
  status: 'INTEGER',
  grpc_status: 'INTEGER',
  upstream_address: 'VARCHAR',
  bytes_sent: 'BIGINT',
  bytes_received: 'BIGINT',
  duration_ms: 'DOUBLE',
  timings: 'STRUCT(dns DOUBLE, "connect" DOUBLE, tls DOUBLE, first_byte DOUBLE)',
  code: 'VARCHAR',
  length: 'BIGINT',
  fingerprint: 'VARCHAR',
  request_line: 'VARCHAR',
  headers: 'JSON',
  request_headers: 'JSON',
  response_headers: 'JSON',
  request_body: 'JSON',
  response_body: 'JSON',
  cause: 'VARCHAR',
  kind: 'VARCHAR',
  frames_sent: 'BIGINT',
  frames_received: 'BIGINT',
  question: 'STRUCT(name VARCHAR, "type" VARCHAR)',
  answer: 'VARCHAR',
  count: 'BIGINT',
  records: 'BIGINT',
  key_id: 'VARCHAR',
  signature: 'VARCHAR',
  version: 'VARCHAR',
  problems: 'VARCHAR[]',
  previous: 'VARCHAR',
  since: 'VARCHAR',
  refused: 'BIGINT',
  truncated: 'VARCHAR[]',
  prev_hash: 'VARCHAR',
  hash: 'VARCHAR',
}

const VIEWS: Readonly<Record<string, string>> = {
  decisions: `select * from records where event = 'request.decided'`,
  ends: `select * from records where event = 'request.completed'`,
  requests: `select ${COLUMNS.map(({ name, sql }) => `${sql} as "${name}"`).join(', ')}
    from decisions d left join ends e on e.request_id = d.request_id and e.instance = d.instance`,
  questions: `select timestamp, client.name as client, client.source as source, question.name as name, question.type as type,
    decision, enforced, rule, reason, answer, count, security_flags, instance, seq from records where event = 'dns.question'`,
}

/** Throws an ExitError that says how to install it. */
export async function loadDuckDb(): Promise<typeof DuckDb> {
  try {
    return await import('@duckdb/node-api')
  } catch (error) {
    throw new ExitError(
      EXIT.failure,
      `this needs DuckDB, which can not be loaded: ${(error as Error).message.split('\n', 1)[0] ?? ''}\n  fix: npm install @duckdb/node-api`,
    )
  }
}

/** Prints the answer: a table, or one JSON object a row. */
export async function answerSql(
  files: readonly TrailFile[],
  sql: string,
  json: boolean,
  output: Output,
  load: LoadDuckDb,
): Promise<void> {
  const duckdb = await load()
  await withDatabase(duckdb, async (connection, folder) => {
    await shutIn(connection, files, folder)
    const statement = await selectOnly(duckdb, connection, sql)
    const result = await asked(() => statement.stream())
    await (json ? printRows(duckdb, result, output) : printTable(result, output))
  })
}

/** An empty database of its own in memory; what does not fit is spilled into a private folder that goes with it. */
export async function withDatabase<T>(
  duckdb: typeof DuckDb,
  use: (connection: DuckDb.DuckDBConnection, folder: string) => Promise<T>,
): Promise<T> {
  const spill = await mkdtemp(join(tmpdir(), 'mcp-egress-audit-'))
  try {
    const instance = await duckdb.DuckDBInstance.create(':memory:', { temp_directory: spill })
    const connection = await instance.connect()
    try {
      return await use(connection, spill)
    } finally {
      connection.closeSync()
      instance.closeSync()
    }
  } finally {
    await rm(spill, { recursive: true, force: true })
  }
}

/** The views, and then no way to any other file, to the network, or back. */
async function shutIn(connection: DuckDb.DuckDBConnection, files: readonly TrailFile[], folder: string): Promise<void> {
  const paths = files.map(({ path }) => path)
  const odd = paths.find((path) => /[*?[\]{}]/.test(path))
  if (odd !== undefined)
    throw new ExitError(
      EXIT.usage,
      `--sql can not read ${escaped(odd)}: its name would be a pattern\n  fix: copy it to a plain name`,
    )
  const unread = await connection.runAndReadAll(`select distinct filename from ${source(paths)} where hash is null`)
  const doubtful = unread.getRowsJson().map(([path]) => path)
  const mendable = files.filter(({ path }) => doubtful.includes(path))
  if (mendable.length > 0) paths.push(await mended(mendable, join(folder, 'mended.jsonl')))
  await connection.run(
    `create view records as select * exclude (filename) from ${source(paths)} where schema = 'mcp-egress.audit/1' and hash is not null`,
  )
  for (const [name, body] of Object.entries(VIEWS)) await connection.run(`create view ${name} as ${body}`)
  // SECURITY: a query that was copied from somewhere must not read other files, send anything, or load code.
  await connection.run(`set allowed_paths = [${paths.map(quoted).join(', ')}]`)
  await connection.run('set enable_external_access = false')
  await connection.run('set lock_configuration = true')
}

function source(paths: readonly string[]): string {
  const columns = Object.entries(RECORD_COLUMNS).map(([name, type]) => `"${name}": ${quoted(type)}`)
  return `read_json([${paths.map(quoted).join(', ')}], format = 'newline_delimited', columns = {${columns.join(', ')}},
    filename = true, ignore_errors = true, maximum_object_size = ${MAX_LINE_BYTES})`
}

/**
 * SECURITY: DuckDB passes over a record with half a surrogate pair, which JSON can spell and Unicode has not; nobody may hide a request
 * that way. Such records are written again, in `path`, with U+FFFD in its place.
 */
async function mended(files: readonly TrailFile[], path: string): Promise<string> {
  const again = files.map(({ path: own, compressed }) => ({ path: own, compressed }))
  const out = await open(path, 'wx', 0o600)
  try {
    for await (const { lines } of readFiles(again, { torn: 0, foreign: 0 })) {
      const odd = lines.filter((line) => line.includes('\\ud')).flatMap((line) => parseRecord(line) ?? [])
      const texts = odd
        .filter((record) => asciiJson(record) !== strictJson(record))
        .map((record) => `${strictJson(record)}\n`)
      if (texts.length > 0) await out.writeFile(texts.join(''))
    }
  } finally {
    await out.close()
  }
  return path
}

// SECURITY: the files of the trail are open to the database, for COPY ... TO as well, so only what can not write is run.
async function selectOnly(
  duckdb: typeof DuckDb,
  connection: DuckDb.DuckDBConnection,
  sql: string,
): Promise<DuckDb.DuckDBPreparedStatement> {
  const statements = await asked(() => connection.extractStatements(sql))
  if (statements.count !== 1) throw new ExitError(EXIT.usage, '--sql takes one statement\n  fix: write one SELECT')
  const statement = await asked(() => statements.prepare(0))
  if (statement.statementType === duckdb.StatementType.SELECT) return statement
  throw new ExitError(EXIT.usage, '--sql only reads\n  fix: write a SELECT')
}

async function asked<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    const views = `views: records, ${Object.keys(VIEWS).join(', ')}`
    // The message quotes the query, which may have been copied from a record.
    const lines = (error as Error).message.split('\n').map((line) => line.replaceAll(/[^\x20-\x7e]/g, '?'))
    throw new ExitError(EXIT.usage, `${lines.join('\n')}\n  ${views}`)
  }
}

async function printRows(duckdb: typeof DuckDb, result: DuckDb.DuckDBResult, output: Output): Promise<void> {
  const { BIGINT, UBIGINT, HUGEINT } = duckdb.DuckDBTypeId
  const ids: readonly DuckDb.DuckDBTypeId[] = [BIGINT, UBIGINT, HUGEINT]
  const large = result.deduplicatedColumnNames().filter((_, at) => ids.includes(result.columnTypeId(at)))
  const rows = result.yieldRowObjectJson()
  while (true) {
    const next = await asked(() => rows.next())
    if (next.done === true) return
    if (next.value.length > 0) output.out(`${next.value.map((row) => asciiJson(withNumbers(row, large))).join('\n')}\n`)
  }
}

/** DuckDB gives 64 bits as text; what a number can hold exactly is one. */
function withNumbers(row: Record<string, DuckDb.Json>, large: readonly string[]): Record<string, DuckDb.Json> {
  const changed = large.map((name): [string, DuckDb.Json] => {
    const value = row[name] ?? null
    return [name, typeof value === 'string' && Number.isSafeInteger(Number(value)) ? Number(value) : value]
  })
  return { ...row, ...Object.fromEntries(changed) }
}

async function printTable(result: DuckDb.DuckDBResult, output: Output): Promise<void> {
  const rows: string[][] = []
  const batches = result.yieldRowsJson()
  while (rows.length <= MAX_TABLE_ROWS) {
    const next = await asked(() => batches.next())
    if (next.done === true) break
    rows.push(...next.value.map((row) => row.map(cell)))
  }
  output.out(table(result.columnNames().map(cell), rows.slice(0, MAX_TABLE_ROWS)))
  if (rows.length > MAX_TABLE_ROWS)
    output.err(`only the first ${MAX_TABLE_ROWS} rows: add a limit, or --json for all\n`)
}

export function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
