// Which records and requests a verb of `audit` is about: the options, and what a line must hold for each.

import { type Command, InvalidArgumentError, Option } from 'commander'
import { type LineHead, parseRecord, type TrailRecord } from '../audit/read.ts'
import { parseDuration } from '../config/quantity.ts'
import { compilePathGlob, compileValueGlob, matchPathGlob, matchValueGlob } from '../core/glob.ts'
import { type HostPattern, overlaps, parseHostPattern } from '../core/host-pattern.ts'
import { clientName, escaped, member } from './audit-text.ts'
import { EXIT, ExitError } from './exit.ts'

/** `since`, `until`: as the trail writes times. */
export interface PeriodFlags {
  readonly since?: string
  readonly until?: string
}

export interface FilterFlags extends PeriodFlags {
  readonly client?: string
  readonly host?: string
  readonly decision?: string
  readonly reason?: string
  readonly rule?: string
  readonly requestId?: string
  readonly status?: string
  readonly method?: string
  readonly path?: string
  readonly mcpTool?: string
}

/** What is asked about a request. A question to its end can be answered only once that is known. */
export interface RequestFilter {
  /** Whether the line of its decision may belong to the answer. */
  decided(line: string, head: LineHead): boolean
  /** Null: the end does not matter. `completed` null: it has none yet. */
  readonly ended: ((decided: string, completed: string | null) => boolean) | null
  /** No request is left out. */
  readonly all: boolean
}

function addPeriod(command: Command): Command {
  return command
    .option('--since <time>', 'from then on: 30m, 2h, 7d ago, or RFC 3339 as in 2026-11-20T08:00:00Z', moment)
    .option('--until <time>', 'up to then', moment)
}

export function addFilter(command: Command): Command {
  return addPeriod(command)
    .option('--client <name>', 'of this client')
    .option('--host <pattern>', 'to this host: api.example.com, *.example.com or **.example.com as in rules')
    .addOption(new Option('--decision <decision>', 'decided so').choices(['allow', 'deny']))
    .option('--reason <reason>', 'refused or ended for this reason')
    .option('--rule <id>', 'decided by this rule')
    .option('--request-id <id>', 'this one')
    .option('--status <status>', 'answered so: 403, or 4xx', statusOption)
    .option('--method <method>', 'with this method')
    .option('--path <glob>', 'with this path: /repos/** as in rules')
    .option('--mcp-tool <glob>', 'with a message of MCP that calls this tool: get_* as in rules')
}

function moment(text: string): string {
  const ago = parseDuration(text)
  const time = ago === null ? (/^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN) : Date.now() - ago
  if (Number.isNaN(time)) throw new InvalidArgumentError('write for example 2h, 7d or 2026-11-20T08:00:00Z.')
  return new Date(time).toISOString()
}

function statusOption(text: string): string {
  if (/^[1-5](?:\d\d|xx)$/.test(text)) return text
  throw new InvalidArgumentError('write for example 403 or 4xx.')
}

/** Whether a record is in the period. */
function inPeriod(flags: PeriodFlags): (timestamp: string) => boolean {
  const { since = '', until = '9999' } = flags
  return (timestamp) => timestamp >= since && timestamp <= until
}

/** `needle`: what the line of each such record holds; it spares the others from being parsed. */
interface Criterion {
  readonly needle: string
  readonly of: 'decision' | 'end' | 'either'
  readonly holds: (record: TrailRecord) => boolean
}

export function requestFilter(flags: FilterFlags): RequestFilter {
  const criteria = criteriaOf(flags)
  const decision = criteria.filter(({ of }) => of === 'decision')
  const late = criteria.filter(({ of }) => of !== 'decision')
  const period = inPeriod(flags)
  return {
    decided: (line, head) => period(head.timestamp) && holdsAll(line, decision),
    ended:
      late.length === 0
        ? null
        : (decided, completed) =>
            late.every((each) => {
              const lines = each.of === 'end' ? [completed] : [decided, completed]
              return lines.some((line) => line !== null && holdsAll(line, [each]))
            }),
    all: criteria.length === 0 && flags.since === undefined && flags.until === undefined,
  }
}

/** For records of an event by themselves: everything asked must hold of the record. */
export function recordFilter(flags: FilterFlags): (line: string, head: LineHead) => boolean {
  const criteria = criteriaOf(flags)
  const period = inPeriod(flags)
  return (line, head) => period(head.timestamp) && holdsAll(line, criteria)
}

function holdsAll(line: string, criteria: readonly Criterion[]): boolean {
  if (criteria.length === 0) return true
  if (!criteria.every(({ needle }) => line.includes(needle))) return false
  const record = parseRecord(line)
  return record !== null && criteria.every(({ holds }) => holds(record))
}

function criteriaOf(flags: FilterFlags): Criterion[] {
  const { client, host, status, path, mcpTool } = flags
  const criteria: Criterion[] = []
  const equal = (name: string, value: string | undefined, of: Criterion['of'] = 'decision'): void => {
    if (value !== undefined)
      criteria.push({ needle: recorded(name, value), of, holds: (record) => record[name] === value })
  }
  equal('request_id', flags.requestId)
  equal('decision', flags.decision)
  equal('rule', flags.rule)
  equal('method', flags.method)
  equal('reason', flags.reason, 'either')
  if (client !== undefined)
    criteria.push({
      needle: recorded('name', client),
      of: 'decision',
      holds: (record) => clientName(record) === client,
    })
  if (host !== undefined) criteria.push(hostCriterion(host))
  if (path !== undefined) {
    const glob = compilePathGlob(path)
    const holds = (record: TrailRecord): boolean =>
      typeof record['path'] === 'string' && matchPathGlob(glob, record['path'])
    criteria.push({ needle: '"path":"', of: 'decision', holds })
  }
  if (mcpTool !== undefined) criteria.push(toolCriterion(mcpTool))
  if (status !== undefined) {
    const leading = status.replace('xx', '')
    const holds = (record: TrailRecord): boolean => String(record['status']).startsWith(leading)
    criteria.push({ needle: `"status":${leading}`, of: 'end', holds })
  }
  return criteria
}

function toolCriterion(text: string): Criterion {
  const glob = compileValueGlob(text)
  const calls = (message: unknown): boolean => {
    const tool = typeof message === 'object' && message !== null && 'tool' in message ? message.tool : null
    return typeof tool === 'string' && matchValueGlob(glob, tool)
  }
  const holds = ({ mcp }: TrailRecord): boolean => Array.isArray(mcp) && mcp.some(calls)
  return { needle: '"mcp":[', of: 'decision', holds }
}

function hostCriterion(text: string): Criterion {
  const pattern = hostPattern(text)
  const needle = pattern.kind === 'exact' ? pattern.text : pattern.kind === 'any' ? '' : pattern.base
  return {
    needle: escaped(needle).replaceAll('"', '\\"'),
    of: 'decision',
    holds: (record) => {
      const host = record['host'] ?? member(record, 'question', 'name')
      return typeof host === 'string' && overlaps(pattern, { kind: 'exact', text: host })
    },
  }
}

function hostPattern(text: string): HostPattern {
  const parsed = parseHostPattern(text, false)
  if (parsed.kind === 'ok') return parsed.pattern
  // Of what was refused there may be records under a name that no rule could have.
  if (!text.includes('*')) return { kind: 'exact', text }
  throw new ExitError(EXIT.usage, `--host: ${parsed.why}\n  fix: ${parsed.fix}`)
}

/** A member as a line of the trail has it. */
function recorded(name: string, value: string): string {
  return `"${name}":"${escaped(value).replaceAll('"', '\\"')}"`
}
