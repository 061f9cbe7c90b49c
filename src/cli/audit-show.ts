// `mcp-egress audit show`: everything the trail has about one request, on one screen.

import { basename } from 'node:path'
import type { Command } from 'commander'
import { GRPC_STATUS_NAMES } from '../core/grpc.ts'
import { type Batch, lineHead, parseRecord, type TrailRecord } from '../audit/read.ts'
import { requestId } from './audit-requests.ts'
import { type SourceFlags, withSource } from './audit-source.ts'
import { asciiJson, cell, clientName, escaped, member, requestLine, urlOf, verdictOf } from './audit-text.ts'
import { EXIT, ExitError } from './exit.ts'
import type { Output } from './output.ts'

/** Requests of the same connection that are shown, before and after. */
const MAX_NEIGHBOURS = 5
/** Questions to the name server that are shown. */
const MAX_QUESTIONS = 5
const QUESTIONS_BEFORE_MS = 30_000
/** Records of one request; a request has five at most, a hostile file may have any number. */
const MAX_RECORDS = 64

interface Flags extends SourceFlags {
  readonly json?: true
}

interface Placed {
  readonly segment: string
  readonly record: TrailRecord
}

interface Story {
  readonly records: readonly Placed[]
  readonly before: readonly TrailRecord[]
  readonly after: readonly TrailRecord[]
  readonly questions: readonly TrailRecord[]
}

export function showCommand(command: Command, output: Output): Command {
  command
    .description('the whole story of one request (exit 3: it is not in the trail)')
    .argument('<request-id>', 'as in X-Request-ID of an answer of ours')
    .argument('[files...]', 'segments to read as they are, .gz too (default: the whole trail of the configuration)')
    .option(
      '-c, --config <file>',
      'configuration file (default: ./mcp-egress.yaml if it is there, else logs/audit.jsonl)',
    )
    .option('--json', 'print JSON')
    .action(async (id: string, files: string[], flags: Flags) => {
      const story = await storyOf(id, files, flags, output)
      if (story === null) throw new ExitError(EXIT.no, `no request ${escaped(id)} in the trail`)
      output.out(flags.json === true ? `${asciiJson(storyJson(story))}\n` : storyText(story, output))
    })
  return command
}

async function storyOf(id: string, files: readonly string[], flags: Flags, output: Output): Promise<Story | null> {
  const records = await withSource(files, flags, output, (batches) => recordsOf(id, batches))
  const decided = records.find(({ record }) => record['event'] === 'request.decided')?.record
  if (decided === undefined) return records.length === 0 ? null : { records, before: [], after: [], questions: [] }
  // What is passed over was said the first time.
  const silent = { ...output, err: () => undefined }
  return { records, ...(await withSource(files, flags, silent, (batches) => aroundOf(decided, batches))) }
}

async function recordsOf(id: string, batches: AsyncIterable<Batch>): Promise<Placed[]> {
  const found: Placed[] = []
  for await (const { path, lines } of batches) {
    for (const line of lines) {
      if (!line.includes(id)) continue
      const record = parseRecord(line)
      if (record?.['request_id'] === id && found.length < MAX_RECORDS) found.push({ segment: basename(path), record })
    }
  }
  return found
}

/** What else the connection carried, and what its client had asked the name server shortly before. */
async function aroundOf(decided: TrailRecord, batches: AsyncIterable<Batch>): Promise<Omit<Story, 'records'>> {
  const connection = typeof decided['connection_id'] === 'string' ? decided['connection_id'] : '-'
  const earliest = new Date(Date.parse(String(decided['timestamp'])) - QUESTIONS_BEFORE_MS || 0).toISOString()
  const source = member(decided, 'client', 'source')
  const after: TrailRecord[] = []
  let before: TrailRecord[] = []
  let questions: TrailRecord[] = []
  let passed = false
  for await (const { lines } of batches) {
    for (const line of lines) {
      const head = lineHead(line)
      if (head?.event === 'dns.question' && !passed && head.timestamp >= earliest) {
        const record = parseRecord(line)
        const same =
          record !== null && clientName(record) === clientName(decided) && member(record, 'client', 'source') === source
        if (same) questions = [...questions, record].slice(-MAX_QUESTIONS)
      }
      if (head?.event !== 'request.decided') continue
      if (requestId(line, head.event) === decided['request_id']) passed = true
      else if (line.includes(connection)) {
        const record = parseRecord(line)
        if (record?.['connection_id'] !== connection) continue
        if (!passed) before = [...before, record].slice(-MAX_NEIGHBOURS)
        else if (after.length < MAX_NEIGHBOURS) after.push(record)
      }
    }
  }
  return { before, after, questions }
}

function storyJson({ records, before, after, questions }: Story): Record<string, unknown> {
  return {
    records: records.map(({ segment, record }) => ({ segment, record })),
    connection: { before, after },
    questions,
  }
}

function storyText({ records, before, after, questions }: Story, output: Output): string {
  const of = (event: string): TrailRecord | undefined => records.find(({ record }) => record['event'] === event)?.record
  const decided = of('request.decided')
  const completed = of('request.completed')
  const rows: [string, string][] = []
  if (decided !== undefined) rows.push(...decisionRows(decided), ...endRows(completed))
  for (const { record } of records) rows.push(...otherRows(record))
  for (const { segment, record } of records) {
    const { event, seq, timestamp, hash } = record
    rows.push(['record', `${escaped(segment)} seq ${cell(seq)}  ${cell(event)}  ${cell(timestamp)}  ${cell(hash)}`])
  }
  for (const each of questions) rows.push(['asked', questionText(each)])
  const neighbour = (each: TrailRecord): string =>
    `${requestLine(each, null, { ...output, colour: false }).replace(/ open$/, '')}  ${cell(each['request_id'])}`
  for (const each of before) rows.push(['before', neighbour(each)])
  for (const each of after) rows.push(['after', neighbour(each)])
  const title =
    decided === undefined
      ? 'its decision is not in these files'
      : `${cell(decided['method'])} ${escaped(urlOf(decided))}`
  const width = Math.max(...rows.map(([label]) => label.length))
  return `${[title, ...rows.map(([label, text]) => `  ${label.padEnd(width)}  ${text}`)].join('\n')}\n`
}

function decisionRows(decided: TrailRecord): [string, string][] {
  const {
    timestamp,
    door,
    rule,
    reason,
    protocol,
    sni,
    original_destination: original,
    security_flags: flags,
  } = decided
  const rows: [string, string][] = [
    ['time', cell(timestamp)],
    ['client', `${cell(clientName(decided))} from ${cell(member(decided, 'client', 'source'))} by door ${cell(door)}`],
    ['decision', [verdictOf(decided), ...(reason === null ? [] : [cell(reason)])].join(' ')],
    ['rule', cell(rule)],
    ['policy', `${cell(decided['policy'])} (${cell(decided['mode'])})`],
    ['protocol', `${cell(protocol)}, SNI ${cell(sni)}, dialled ${cell(original)}`],
  ]
  if (decided['names'] !== undefined) rows.push(['names', cell(decided['names'])])
  rows.push(...callRows('mcp', decided), ...callRows('graphql', decided))
  if (Array.isArray(flags) && flags.length > 0) rows.push(['flags', flags.map(cell).join(' ')])
  rows.push(...contentRows('request', decided))
  if (decided['truncated'] !== undefined) rows.push(['cut', cell(decided['truncated'])])
  return rows
}

function endRows(completed: TrailRecord | undefined): [string, string][] {
  if (completed === undefined) return [['end', 'none in these files: it is open, or the proxy died']]
  const { outcome, reason, status, grpc_status: grpc, security_flags: flags } = completed
  const step = (name: string): string => `${name.replace('_', ' ')} ${cell(member(completed, 'timings', name))}`
  const rows: [string, string][] = [
    ['end', `${cell(outcome)}${reason === null ? '' : ` ${cell(reason)}`}, status ${cell(status)}${grpcText(grpc)}`],
    ['upstream', cell(completed['upstream_address'])],
    ['bytes', `${cell(completed['bytes_sent'])} sent, ${cell(completed['bytes_received'])} received`],
    ['ms', `${cell(completed['duration_ms'])} (${['dns', 'connect', 'tls', 'first_byte'].map(step).join(', ')})`],
  ]
  if (Array.isArray(flags) && flags.length > 0) rows.push(['flags', flags.map(cell).join(' ')])
  return [...rows, ...contentRows('request', completed), ...contentRows('response', completed)]
}

/** Nothing where it was no gRPC call. */
function grpcText(status: unknown): string {
  if (status === undefined) return ''
  const name = typeof status === 'number' ? GRPC_STATUS_NAMES[status] : undefined
  return `, gRPC status ${cell(status)}${name === undefined ? '' : ` ${name}`}`
}

/** Messages of MCP, operations of GraphQL: a row each, without what they do not have. */
function callRows(name: 'mcp' | 'graphql', { [name]: calls }: TrailRecord): [string, string][] {
  if (!Array.isArray(calls)) return []
  return calls.map((call: unknown) => {
    const members = typeof call === 'object' && call !== null ? Object.entries(call) : []
    return [name, cell(Object.fromEntries(members.filter(([, value]) => value !== null)))]
  })
}

/** Headers and body, where a rule has them recorded. */
function contentRows(side: 'request' | 'response', record: TrailRecord): [string, string][] {
  const headers = record[`${side}_headers`]
  const fields = Array.isArray(headers) ? headers.filter(Array.isArray) : []
  const rows = fields.map(([name, value]: unknown[]): [string, string] => [
    `${side} header`,
    `${cell(name)}: ${cell(value)}`,
  ])
  const body = record[`${side}_body`]
  return body === undefined ? rows : [...rows, [`${side} body`, cell(body)]]
}

/** What tunnels, malformed requests and later kinds of record add. */
function otherRows(record: TrailRecord): [string, string][] {
  const {
    schema: _,
    instance: _i,
    seq: _s,
    timestamp: _t,
    event,
    request_id: _r,
    prev_hash: _p,
    hash: _h,
    ...own
  } = record
  if (event === 'request.decided' || event === 'request.completed') return []
  const members = Object.entries(own).map(([name, value]) => `${escaped(name)} ${cell(value)}`)
  return [[cell(event).replace(/^request\./, ''), members.join(', ')]]
}

function questionText(record: TrailRecord): string {
  const asked = `${cell(member(record, 'question', 'name'))} ${cell(member(record, 'question', 'type'))}`
  return `${cell(record['timestamp'])} ${asked} ${verdictOf(record)} ${cell(record['reason'])}, answer ${cell(record['answer'])}`
}
