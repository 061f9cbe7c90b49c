// `mcp-egress audit stats`: who asked for what, what was refused and why, what was slow, day by day.

import type { Command } from 'commander'
import { type Batch, firstMember, parseRecord } from '../audit/read.ts'
import { addFilter, type FilterFlags, requestFilter } from './audit-filter.ts'
import { type RequestLines, requestId, requestsInOrder } from './audit-requests.ts'
import { addSource, type SourceFlags, withSource } from './audit-source.ts'
import { type Counts, noCounts, sum, Tally } from './audit-tally.ts'
import { asciiJson, cell, escaped, table, urlOf } from './audit-text.ts'
import type { Output } from './output.ts'

/** Entries of each list. */
const TOP = 10

interface Flags extends SourceFlags, FilterFlags {
  readonly json?: true
}

interface Slow {
  readonly durationMs: number
  readonly decided: string
}

export interface Stats {
  readonly total: Counts
  readonly hosts: Tally
  readonly clients: Tally
  readonly days: Tally
  /** By reason of the decision, denials alone. */
  readonly reasons: Tally
  slowest: Slow[]
}

export function statsCommand(command: Command, output: Output): Command {
  addFilter(addSource(command.description('top hosts, denials, bytes by client, slowest requests, days')))
    .option('--json', 'print JSON')
    .action(async (files: string[], flags: Flags) => {
      await withSource(files, flags, output, async (batches) => {
        const stats = await statsOf(batches, flags)
        output.out(flags.json === true ? `${asciiJson(statsJson(stats))}\n` : statsText(stats))
      })
    })
  return command
}

async function statsOf(batches: AsyncIterable<Batch>, flags: FilterFlags): Promise<Stats> {
  const stats: Stats = {
    total: noCounts(),
    hosts: new Tally(),
    clients: new Tally(),
    days: new Tally(),
    reasons: new Tally(),
    slowest: [],
  }
  for await (const requests of requestsInOrder(batches, requestFilter(flags))) {
    for (const request of requests) count(stats, request)
  }
  stats.slowest = slowestOf(stats.slowest)
  return stats
}

function count(stats: Stats, { decided, completed }: RequestLines): void {
  const denied = decided.includes('"decision":"deny"') && firstMember(decided, 'decision') === 'deny'
  const number = (name: string): number => (completed === null ? 0 : Number(firstMember(completed, name) ?? 0) || 0)
  const counts: Counts = {
    requests: 1,
    denied: denied ? 1 : 0,
    bytesSent: number('bytes_sent'),
    bytesReceived: number('bytes_received'),
  }
  sum(stats.total, counts)
  stats.hosts.add(firstMember(decided, 'host') ?? '', counts)
  stats.clients.add(firstMember(decided, 'name') ?? '', counts)
  stats.days.add((firstMember(decided, 'timestamp') ?? '').slice(0, 10), counts)
  if (denied) stats.reasons.add(firstMember(decided, 'reason') ?? '', counts)
  const durationMs = number('duration_ms')
  const least = stats.slowest[TOP - 1]?.durationMs ?? 0
  if (durationMs <= least) return
  stats.slowest.push({ durationMs, decided })
  stats.slowest = slowestOf(stats.slowest)
}

function slowestOf(slowest: readonly Slow[]): Slow[] {
  return [...slowest].sort((one, other) => other.durationMs - one.durationMs).slice(0, TOP)
}

const ofRequests = ({ requests }: Counts): number => requests
const ofDenials = ({ denied }: Counts): number => denied
const ofBytes = ({ bytesSent, bytesReceived }: Counts): number => bytesSent + bytesReceived

function statsText(stats: Stats): string {
  const { total, hosts, clients, days, reasons } = stats
  const columns = ({ requests, denied, bytesSent, bytesReceived }: Counts): string[] =>
    [requests, denied, bytesSent, bytesReceived].map(String)
  const headings = ['requests', 'denied', 'sent', 'received']
  const part = (title: string, rows: [string, Counts][]): string =>
    rows.length === 0
      ? ''
      : `\n${table(
          [title, ...headings],
          rows.map(([name, each]) => [cell(name), ...columns(each)]),
        )}`
  const denials = (title: string, tally: Tally): string => {
    const rows = tally.top(TOP, ofDenials).map(([name, { denied }]) => [cell(name), String(denied)])
    return rows.length === 0 ? '' : `\n${table([title, 'denied'], rows)}`
  }
  const slow = stats.slowest.map(({ durationMs, decided }) => {
    const record = parseRecord(decided) ?? {}
    return [String(durationMs), cell(record['method']), escaped(urlOf(record)), requestId(decided, 'request.decided')]
  })
  return [
    `${total.requests} requests, ${total.denied} denied, ${total.bytesSent} bytes sent, ${total.bytesReceived} received\n`,
    part('host', hosts.top(TOP, ofRequests)),
    part('client', clients.top(TOP, ofBytes)),
    denials('denied for', reasons),
    denials('denied host', hosts),
    denials('denied client', clients),
    slow.length === 0 ? '' : `\n${table(['slowest ms', 'method', 'url', 'request'], slow)}`,
    part('day', days.byName()),
  ].join('')
}

function statsJson(stats: Stats): Record<string, unknown> {
  const { total, hosts, clients, days, reasons } = stats
  const rows = (key: string, list: [string, Counts][]): unknown[] =>
    list.map(([name, counts]) => ({ [key]: name === '' ? null : name, ...countsJson(counts) }))
  return {
    ...countsJson(total),
    hosts: rows('host', hosts.top(TOP, ofRequests)),
    clients: rows('client', clients.top(TOP, ofBytes)),
    denied_reasons: rows('reason', reasons.top(TOP, ofDenials)),
    denied_hosts: rows('host', hosts.top(TOP, ofDenials)),
    denied_clients: rows('client', clients.top(TOP, ofDenials)),
    slowest: stats.slowest.map(({ durationMs, decided }) => {
      const record = parseRecord(decided) ?? {}
      const request_id = requestId(decided, 'request.decided')
      return { duration_ms: durationMs, request_id, method: record['method'] ?? null, url: urlOf(record) }
    }),
    days: rows('day', days.byName()),
  }
}

function countsJson({ requests, denied, bytesSent, bytesReceived }: Counts): Record<string, number> {
  return { requests, denied, bytes_sent: bytesSent, bytes_received: bytesReceived }
}
