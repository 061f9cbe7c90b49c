// `mcp-egress audit tail`: the last requests, and then each new one as it ends.

import { type Command, InvalidArgumentError } from 'commander'
import {
  type Batch,
  closeFiles,
  lineHead,
  parseRecord,
  readTrailFile,
  type Skipped,
  type TrailFile,
  trailFiles,
} from '../audit/read.ts'
import { addFilter, type FilterFlags, recordFilter, requestFilter, type RequestFilter } from './audit-filter.ts'
import { follow, type Position } from './audit-follow.ts'
import { requestText } from './audit-query.ts'
import { newestRequests, requestId } from './audit-requests.ts'
import { configuredTrail, noteSkipped, openSource, type SourceFlags } from './audit-source.ts'
import { endLine, eventLine, requestLine } from './audit-text.ts'
import { EXIT, ExitError } from './exit.ts'
import type { Output } from './output.ts'

/** A request that is open for so long is shown before its end. */
const OPEN_SHOWN_MS = 2_000
/** Requests whose end is waited for; over it, the oldest is shown as open. */
const MAX_OPEN = 20_000
const MAX_LAST = 100_000
const DEFAULT_LAST = 10

/** Shown between the requests unless something particular is asked for. */
const NOTABLE: ReadonlySet<string> = new Set([
  'proxy.started',
  'proxy.stopped',
  'config.loaded',
  'config.rejected',
  'tls.rejected',
  'audit.restored',
])

interface Flags extends SourceFlags, FilterFlags {
  readonly lines: number
  readonly event?: string
  readonly json?: true
}

/** `stop`: ends it, with 0; SIGINT and SIGTERM if omitted. */
export function tailCommand(command: Command, output: Output, stop: () => AbortSignal = untilSignal): Command {
  addFilter(command.description('the last requests, then each as it ends, until SIGINT'))
    .argument('[file]', 'active file of a trail (default: that of the configuration)')
    .option(
      '-c, --config <file>',
      'configuration file (default: ./mcp-egress.yaml if it is there, else logs/audit.jsonl)',
    )
    .option('-n, --lines <number>', 'so many of the last requests first', lastOption, DEFAULT_LAST)
    .option('--event <event>', 'records of this event in place of requests')
    .option('--json', 'the records as they are')
    .action(async (file: string | undefined, flags: Flags) => {
      if (file !== undefined && flags.config !== undefined)
        throw new ExitError(EXIT.usage, 'both a file and --config are given\n  fix: leave one out')
      await tail(file ?? configuredTrail(flags), flags, output, stop())
    })
  return command
}

function lastOption(text: string): number {
  if (/^\d{1,6}$/.test(text) && Number(text) <= MAX_LAST) return Number(text)
  throw new InvalidArgumentError(`write a number up to ${MAX_LAST}.`)
}

function untilSignal(): AbortSignal {
  const over = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => over.abort())
  return over.signal
}

async function tail(active: string, flags: Flags, output: Output, stop: AbortSignal): Promise<void> {
  const skipped: Skipped = { torn: 0, foreign: 0 }
  const files = await openTail(active, flags)
  const handle = files.at(-1)?.handle
  let position: Position = { instance: '', seq: -1, inode: (await handle?.stat())?.ino ?? -1, offset: 0 }
  const view = new View(flags, output)
  async function* read(file: TrailFile, count: Skipped): AsyncGenerator<Batch> {
    for await (const batch of readTrailFile(file, count)) {
      const head = lineHead(batch.lines.at(-1) ?? '')
      if (file.handle !== undefined && head !== null)
        position = { ...position, instance: head.instance, seq: head.seq, offset: batch.end }
      if (flags.event !== undefined) view.remember(batch.lines)
      yield batch
    }
  }
  try {
    // The active file is read to its end in any case: it says where to go on.
    const last = await newestRequests(
      files.slice(flags.event === undefined ? 0 : -1),
      Math.max(flags.lines, 1),
      requestFilter(flags),
      skipped,
      read,
    )
    view.begin(last.slice(0, flags.lines).reverse())
  } finally {
    await closeFiles(files)
  }
  noteSkipped(skipped, output)
  const later: Skipped = { torn: 0, foreign: 0 }
  for await (const lines of follow(active, position, later, stop)) view.show(lines)
  view.end()
  noteSkipped(later, output)
}

async function openTail(active: string, flags: Flags): Promise<TrailFile[]> {
  return trailFiles(active).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && flags.config === undefined)
      return openSource([active], {})
    throw new ExitError(EXIT.usage, (error as Error).message)
  })
}

interface Open {
  readonly decided: string
  readonly since: number
  shown: boolean
}

/** Turns lines of the trail into what is shown. */
class View {
  readonly #flags: Flags
  readonly #output: Output
  readonly #filter: RequestFilter
  readonly #matches: ReturnType<typeof recordFilter>
  readonly #open = new Map<string, Open>()
  #last: string[] = []

  constructor(flags: Flags, output: Output) {
    this.#flags = flags
    this.#output = output
    this.#filter = requestFilter(flags)
    this.#matches = recordFilter(flags)
  }

  /** Records of the event that is asked for. */
  remember(lines: readonly string[]): void {
    const { event, lines: count } = this.#flags
    for (const line of lines) {
      const head = lineHead(line)
      if (head?.event === event && head !== null && this.#matches(line, head)) this.#last.push(line)
    }
    if (this.#last.length > 2 * MAX_LAST) this.#last = this.#last.slice(-count)
  }

  begin(last: Awaited<ReturnType<typeof newestRequests>>): void {
    const { event, lines, json } = this.#flags
    if (event !== undefined) {
      for (const line of lines === 0 ? [] : this.#last.slice(-lines)) this.#print(line)
      this.#last = []
      return
    }
    for (const request of last) {
      if (request.completed === null) this.#remember(request.decided)
      if (json === true) for (const line of [request.decided, request.completed]) if (line !== null) this.#print(line)
      if (json !== true && request.completed !== null)
        for (const text of requestText(request, false, this.#output)) this.#output.out(`${text}\n`)
    }
  }

  show(lines: readonly string[]): void {
    for (const line of lines) this.#showLine(line)
    const now = performance.now()
    for (const [id, open] of this.#open) {
      const over = this.#open.size > MAX_OPEN
      if (!over && now - open.since < OPEN_SHOWN_MS) break
      if (!open.shown) this.#showOpen(open)
      if (over) this.#open.delete(id)
    }
  }

  end(): void {
    for (const open of this.#open.values()) if (!open.shown) this.#showOpen(open)
  }

  #showLine(line: string): void {
    const head = lineHead(line)
    if (head === null) return
    const { event, json } = this.#flags
    if (event !== undefined) {
      if (head.event === event && this.#matches(line, head)) this.#print(line)
    } else if (head.event === 'request.decided') {
      if (!this.#filter.decided(line, head)) return
      this.#remember(line)
      if (json === true && this.#filter.ended === null) this.#print(line)
    } else if (head.event === 'request.completed') this.#showEnd(requestId(line, head.event), line)
    else if (this.#filter.all && (json === true || NOTABLE.has(head.event))) this.#print(line)
  }

  #showEnd(id: string, completed: string): void {
    const open = this.#open.get(id)
    if (open === undefined || !this.#open.delete(id)) return
    if (this.#filter.ended?.(open.decided, completed) === false) return
    if (this.#flags.json === true) {
      if (this.#filter.ended !== null) this.#print(open.decided)
      return this.#print(completed)
    }
    const [decision, end] = [parseRecord(open.decided), parseRecord(completed)]
    if (decision === null || end === null) return
    this.#output.out(`${open.shown ? endLine(decision, end) : requestLine(decision, end, this.#output)}\n`)
  }

  #showOpen(open: Open): void {
    open.shown = true
    if (this.#flags.json === true || this.#filter.ended !== null) return
    const decision = parseRecord(open.decided)
    if (decision !== null) this.#output.out(`${requestLine(decision, null, this.#output)}\n`)
  }

  #remember(decided: string): void {
    this.#open.set(requestId(decided, 'request.decided'), { decided, since: performance.now(), shown: false })
  }

  #print(line: string): void {
    const record = parseRecord(line)
    if (record !== null) this.#output.out(`${this.#flags.json === true ? line : eventLine(record, this.#output)}\n`)
  }
}
