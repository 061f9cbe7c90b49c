// All sinks of a trail: opened before anything listens, started after, and asked how far each has come.

import { type Cursor, cursorPath, readCursor } from './sink-cursor.ts'
import { httpDestination } from './sink-http.ts'
import { otlpDestination } from './sink-otlp.ts'
import type { HttpFormat } from './sink-formats.ts'
import type { Destination } from './sink-record.ts'
import { createGate, TrailSource } from './sink-source.ts'
import { stdoutDestination } from './sink-stdout.ts'
import { syslogDestination } from './sink-syslog.ts'
import { type Reach, reach, type ResolveName, type TlsFiles } from './sink-tls.ts'
import { PACE, type Pace, Sink, type SinkLog, type SinkReport } from './sink.ts'

export type SinkSettings = { readonly name: string } & (
  | { readonly type: 'stdout' }
  | ({
      readonly type: 'syslog'
      readonly address: { readonly transport: 'tcp' | 'tls'; readonly host: string; readonly port: number }
    } & TlsFiles)
  | ({
      readonly type: 'http'
      readonly url: string
      readonly headers: Readonly<Record<string, string>>
      readonly format: HttpFormat
    } & TlsFiles)
  | ({ readonly type: 'otlp'; readonly url: string; readonly headers: Readonly<Record<string, string>> } & TlsFiles)
)

/** Time given to the sinks at the end to ship what is left. */
const FLUSH_MS = 2_000
/** Behind by so many records, or with something to ship and without success for so long: worth a warning. */
export const BEHIND_RECORDS = 100_000
export const BEHIND_MS = 60_000

export interface SinkState extends SinkReport {
  /** Records in the trail that are not with the receiver. */
  readonly lag: number
}

export interface Sinks {
  start(): void
  /** More was written to the trail. */
  wake(): void
  states(): readonly SinkState[]
  /** A sentence for each sink that is behind. */
  warnings(): readonly string[]
  /** Call once the trail is closed. Resolves within `FLUSH_MS`; what is not shipped by then is shipped after the next start. */
  stop(): Promise<void>
}

export interface SinksOptions {
  /** The active file. */
  readonly path: string
  readonly instance: string
  /** Number of the last record in the trail; -1: none. */
  readonly lastSeq: () => number
  readonly version: string
  readonly resolve: ResolveName
  /** Roots of the system, less our own CA; asked for when a receiver has no `ca` of its own. */
  readonly roots: () => readonly string[]
  readonly log: SinkLog
  readonly pace?: Pace
  readonly now: () => number
  readonly random: () => number
  readonly stdout?: number
}

/** Rejects with an Error that names the sink and the fix: a file that can not be read, a package that is missing. */
export async function openSinks(settings: readonly SinkSettings[], options: SinksOptions): Promise<Sinks> {
  const { now, lastSeq } = options
  const gate = createGate()
  const opened = await Promise.all(
    settings.map((each) =>
      openSink(each, options, gate).catch((error: unknown) => {
        throw new Error(`audit sink ${each.name}: ${(error as Error).message}`, { cause: error })
      }),
    ),
  )
  const states = (): SinkState[] =>
    opened.map(({ report }) => ({ ...report, lag: Math.max(0, lastSeq() - (report.seq ?? -1)) }))
  return {
    start: () => {
      for (const sink of opened) sink.start()
    },
    wake: () => {
      for (const sink of opened) sink.wake()
    },
    states,
    warnings: () =>
      states().flatMap(({ name, lag, stalledSince }) => {
        const stalled = lag > 0 && stalledSince !== null && now() - stalledSince > BEHIND_MS
        return lag > BEHIND_RECORDS || stalled ? [`audit sink ${name} is ${lag} records behind`] : []
      }),
    stop: async () => {
      const deadline = AbortSignal.timeout(FLUSH_MS)
      await Promise.all(opened.map((sink) => sink.stop(deadline)))
    },
  }
}

async function openSink(
  settings: SinkSettings,
  options: SinksOptions,
  gate: ReturnType<typeof createGate>,
): Promise<Sink> {
  const { path, instance, log, pace = PACE, now, random } = options
  const { name } = settings
  const cursorFile = cursorPath(path, name)
  const destination = await openDestination(settings, options)
  const after = startAfter(readCursor(cursorFile), instance, (message, detail) =>
    log('warn', message, { sink: name, ...detail }),
  )
  const source = new TrailSource({ path, instance, after, gate })
  return new Sink({ name, path, instance, cursorFile, after, source, destination, gate, pace, now, random, log })
}

async function openDestination(settings: SinkSettings, options: SinksOptions): Promise<Destination> {
  if (settings.type === 'stdout') return stdoutDestination(options.stdout)
  const secure = settings.type === 'syslog' ? settings.address.transport === 'tls' : settings.url.startsWith('https:')
  const reached: Reach = reach(settings, secure ? options.roots : () => [], options.resolve)
  if (settings.type === 'syslog') return syslogDestination(settings.address, reached)
  if (settings.type === 'http') return httpDestination(settings, reached)
  return otlpDestination({ ...settings, version: options.version }, reached)
}

/** Null: begin with the oldest record there is. */
function startAfter(
  cursor: Cursor | 'damaged' | null,
  instance: string,
  say: (message: string, detail: Readonly<Record<string, unknown>>) => void,
): number | null {
  if (cursor === null) return null
  if (cursor === 'damaged') {
    say('the cursor says nothing: beginning with the oldest record there is', {})
    return null
  }
  if (cursor.instance === instance) return cursor.seq
  say('the trail is a new one: what the old one had left is not shipped', {
    instance: cursor.instance,
    shipped: cursor.seq,
  })
  return null
}
