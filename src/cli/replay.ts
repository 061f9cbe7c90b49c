// `mcp-egress replay`: what a changed policy would have decided otherwise of the requests in a trail.

import { Command } from 'commander'
import { type Batch, parseRecord } from '../audit/read.ts'
import type { Config } from '../config/load.ts'
import { requestsInOrder } from './audit-requests.ts'
import { withSource } from './audit-source.ts'
import { asciiJson, cell, clientName, urlOf } from './audit-text.ts'
import { EXIT, ExitError } from './exit.ts'
import { configOf } from './loaded.ts'
import { type Output, processOutput, verdict } from './output.ts'
import { compare, type Decided } from './replay-compare.ts'

interface Flags {
  readonly config?: string
  readonly json?: true
}

/** Requests of one client to one service by one method, with the same decisions then and now. */
interface Change {
  readonly client: string
  readonly method: string
  readonly service: string
  readonly was: Decided
  readonly now: Decided & { readonly hint: string }
  count: number
  readonly paths: Set<string>
  readonly first: string
  last: string
}

interface Replayed {
  same: number
  readonly changes: Map<string, Change>
  /** How many could not be told, by what is missing. */
  readonly open: Map<string, number>
}

/** Beyond so many kinds of change nobody reads on; the rest is counted. */
const MAX_CHANGES = 1_000
/** Examples of each. */
const MAX_PATHS = 5
const TOO_MANY = `one of more than ${MAX_CHANGES} kinds of change`

export function replayCommand(output: Output = processOutput()): Command {
  return new Command('replay')
    .description('what a changed policy would have decided otherwise (exit 3: it denies what was allowed)')
    .argument('<audit...>', 'segments of a trail, .gz too')
    .option('-c, --config <file>', 'the changed policy (default: ./mcp-egress.yaml if it is there)')
    .option('--json', 'print JSON')
    .action(async (files: string[], flags: Flags) => {
      const config = configOf(flags.config)
      const replayed = await withSource(files, {}, output, (batches) => replay(config, batches))
      output.out(flags.json === true ? `${asciiJson(inJson(replayed))}\n` : report(replayed, output))
      if (newDenials(replayed).length > 0) throw new ExitError(EXIT.no, '')
    })
}

async function replay(config: Config, batches: AsyncIterable<Batch>): Promise<Replayed> {
  const replayed: Replayed = { same: 0, changes: new Map(), open: new Map() }
  for await (const batch of requestsInOrder(batches, { decided: () => true, ended: null, all: true })) {
    for (const { decided, completed } of batch) {
      const record = parseRecord(decided)
      if (record === null) continue
      const status = completed === null ? null : parseRecord(completed)?.['status']
      const compared = compare(config, record, typeof status === 'number' ? status : null)
      if (compared.kind === 'same') replayed.same += 1
      else if (compared.kind === 'open') count(replayed.open, compared.why)
      else noteChange(replayed, record, compared)
    }
  }
  return replayed
}

function noteChange(
  replayed: Replayed,
  record: Readonly<Record<string, unknown>>,
  { was, now }: Pick<Change, 'was' | 'now'>,
): void {
  const [client, method] = [cell(clientName(record)), cell(record['method'])]
  const service = cell(urlOf({ ...record, path: null, query: null }))
  const at = cell(record['timestamp'])
  const key = JSON.stringify([client, method, service, was, now.decision, now.rule, now.reason])
  let change = replayed.changes.get(key)
  if (change === undefined) {
    if (replayed.changes.size >= MAX_CHANGES) return count(replayed.open, TOO_MANY)
    change = { client, method, service, was, now, count: 0, paths: new Set(), first: at, last: at }
    replayed.changes.set(key, change)
  }
  change.count += 1
  change.last = at
  if (change.paths.size < MAX_PATHS) change.paths.add(cell(record['path']))
}

function count(counts: Map<string, number>, what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1)
}

const newDenials = ({ changes }: Replayed): Change[] =>
  [...changes.values()].filter(({ now }) => now.decision === 'deny').sort((a, b) => b.count - a.count)
const newlyAllowed = ({ changes }: Replayed): Change[] =>
  [...changes.values()].filter(({ now }) => now.decision === 'allow').sort((a, b) => b.count - a.count)

function report(replayed: Replayed, output: Output): string {
  const open = [...replayed.open].map(([why, times]) => `${times} (${cell(why)})`)
  return [
    ...newDenials(replayed).flatMap((change) => changeLines(change, output)),
    ...newlyAllowed(replayed).flatMap((change) => changeLines(change, output)),
    `${requests(replayed.same)} decided as before${open.length === 0 ? '' : `; can not be told: ${open.join(', ')}`}`,
    '',
  ].join('\n')
}

function changeLines({ client, method, service, was, now, ...change }: Change, output: Output): string[] {
  const allowed = now.decision === 'allow'
  const by = ({ rule, reason }: Decided): string => cell(reason ?? `by ${rule ?? '-'}`)
  return [
    `${verdict(output, allowed ? 'now allowed' : 'now denied ', allowed)} ${client} ${method} ${service}: ${requests(change.count)}, last ${change.last}`,
    `  was   ${was.decision} ${by(was)}`,
    `  now   ${now.decision} ${by(now)}${now.hint === '' ? '' : `: ${cell(now.hint)}`}`,
    `  path  ${[...change.paths].join('  ')}`,
  ]
}

function inJson(replayed: Replayed): object {
  const plain = ({ paths, ...change }: Change): object => ({ ...change, paths: [...paths] })
  return {
    same: replayed.same,
    denied: newDenials(replayed).map(plain),
    allowed: newlyAllowed(replayed).map(plain),
    open: Object.fromEntries(replayed.open),
  }
}

function requests(number: number): string {
  return `${number} request${number === 1 ? '' : 's'}`
}
