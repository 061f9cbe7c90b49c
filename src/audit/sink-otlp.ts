// The sink to an OpenTelemetry collector: OTLP over HTTP by the official exporter, which is loaded only for it.

import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { LogAttributes } from '@opentelemetry/api-logs'
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs'
import { type Delivery, type Destination, failed, recordId, type Severity, type ShippedRecord } from './sink-record.ts'
import type { Reach } from './sink-tls.ts'

export interface OtlpReceiver {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly version: string
}

const MAX_RECORDS = 200
/** The exporter tries again by itself for this long; then we do, and keep the account. */
const EXPORT_TIMEOUT_MS = 5_000
const PACKAGES = ['api', 'api-logs', 'exporter-logs-otlp-http', 'resources', 'sdk-logs'].map(
  (name) => `@opentelemetry/${name}`,
)
/** Names of the severities of OpenTelemetry. */
type SeverityText = 'ERROR' | 'WARN' | 'INFO'
const SEVERITY: Readonly<Record<Severity, SeverityText>> = { error: 'ERROR', warning: 'WARN', info: 'INFO' }
const SUCCESS = 0
/** About what is in the batch, as for any HTTP receiver. */
const REFUSALS: ReadonlySet<number | undefined> = new Set([400, 413, 422])

/** Rejects with an Error that says what to install where the packages are missing. */
export async function otlpDestination({ url, headers, version }: OtlpReceiver, reach: Reach): Promise<Destination> {
  const { diag, DiagLogLevel, LoggerProvider, SeverityNumber, OTLPLogExporter, resourceFromAttributes } = await load()
  const open = (): { exporter: InstanceType<typeof OTLPLogExporter>; retire: () => void } => {
    const agent = url.startsWith('https:')
      ? new HttpsAgent({ ...reach.tls, lookup: reach.lookup, keepAlive: true, maxSockets: 1 })
      : new HttpAgent({ lookup: reach.lookup, keepAlive: true, maxSockets: 1 })
    const exporter = new OTLPLogExporter({
      url,
      headers: { ...headers },
      timeoutMillis: EXPORT_TIMEOUT_MS,
      concurrencyLimit: 1,
      httpAgentOptions: () => agent,
    })
    // An export can not be called off: what is under way loses its connection, and its next try finds none.
    const retire = (): void => {
      agent.createConnection = () => {
        throw new Error('called off')
      }
      agent.destroy()
    }
    return { exporter, retire }
  }
  let current = open()
  // A collector may take a batch and say that it dropped some of it. The exporter tells that to its log alone.
  let dropped: string | null = null
  const note = (message: string, ...rest: unknown[]): void => {
    if (message.includes('Partial Success')) dropped = String(rest.at(-1))
  }
  const silent = (): void => undefined
  diag.setLogger(
    { error: silent, warn: note, info: silent, debug: silent, verbose: silent },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  )
  let emitted: ReadableLogRecord[] = []
  const processor = {
    onEmit: (record: ReadableLogRecord): void => void emitted.push(record),
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  }
  const resource = resourceFromAttributes({ 'service.name': 'mcp-egress', 'service.version': version })
  const logger = new LoggerProvider({ resource, processors: [processor] }).getLogger('mcp-egress.audit', version)
  return {
    maxRecords: MAX_RECORDS,
    deliver: (batch, signal) => {
      if (signal.aborted) return Promise.resolve(failed('stopped'))
      emitted = []
      for (const record of batch) {
        const fields = logRecord(record)
        logger.emit({ ...fields, severityNumber: SeverityNumber[fields.severityText] })
      }
      const records = emitted
      dropped = null
      return new Promise((resolve) => {
        const abort = (): void => {
          current.retire()
          current = open()
          resolve(failed('no answer in time'))
        }
        signal.addEventListener('abort', abort, { once: true })
        current.exporter.export(records, ({ code, error }) => {
          signal.removeEventListener('abort', abort)
          resolve(judge(code.valueOf() === SUCCESS, error, dropped))
        })
      })
    },
    close: () => current.retire(),
  }
}

async function load() {
  try {
    const [
      { diag, DiagLogLevel },
      { SeverityNumber },
      { LoggerProvider },
      { OTLPLogExporter },
      { resourceFromAttributes },
    ] = await Promise.all([
      import('@opentelemetry/api'),
      import('@opentelemetry/api-logs'),
      import('@opentelemetry/sdk-logs'),
      import('@opentelemetry/exporter-logs-otlp-http'),
      import('@opentelemetry/resources'),
    ])
    return { diag, DiagLogLevel, LoggerProvider, SeverityNumber, OTLPLogExporter, resourceFromAttributes }
  } catch (cause) {
    throw new Error(`it needs packages that are not installed. Fix: npm install ${PACKAGES.join(' ')}`, { cause })
  }
}

function judge(success: boolean, error: Error | undefined, dropped: string | null): Delivery {
  if (success) {
    const count = dropped === null ? 0 : rejectedCount(dropped)
    return count === 0
      ? { kind: 'accepted' }
      : { kind: 'refused', why: `the collector dropped ${count} records: ${dropped}` }
  }
  const status = (error as { code?: unknown } | undefined)?.code
  const why = `${typeof status === 'number' ? `HTTP ${status} ` : ''}${error?.message ?? 'the export failed'}`
  return typeof status === 'number' && REFUSALS.has(status) ? { kind: 'refused', why } : failed(why)
}

/** A text without a count is a warning, and nothing was dropped (OTLP, "Partial Success"). */
function rejectedCount(partial: string): number {
  return Number(/"rejectedLogRecords":"?(\d{1,9})/.exec(partial)?.[1] ?? 0)
}

/** Members with a name in the semantic conventions of OpenTelemetry. */
const CONVENTIONS: Readonly<Record<string, string>> = {
  method: 'http.request.method',
  scheme: 'url.scheme',
  path: 'url.path',
  query: 'url.query',
  host: 'server.address',
  port: 'server.port',
  sni: 'tls.client.server_name',
  'client.source': 'client.address',
  status: 'http.response.status_code',
  bytes_sent: 'http.request.body.size',
  bytes_received: 'http.response.body.size',
  reason: 'error.type',
  'question.name': 'dns.question.name',
}
/** In the record's envelope, and told by the log record itself. */
const TOLD: ReadonlySet<string> = new Set(['schema', 'timestamp', 'event', 'prev_hash'])

interface LogFields {
  readonly timestamp: Date
  readonly severityText: SeverityText
  readonly eventName: string
  readonly body: string
  readonly attributes: LogAttributes
}

/** The line is the body; its members are attributes, null ones left out, those without a convention below `mcp_egress.`. */
export function logRecord(record: ShippedRecord): LogFields {
  const members = JSON.parse(record.text) as Record<string, unknown>
  const attributes: LogAttributes = { 'log.record.uid': recordId(record) }
  flatten('', members, attributes)
  const full = fullUrl(members)
  if (full !== null) attributes['url.full'] = full
  return {
    timestamp: new Date(record.timestamp),
    severityText: SEVERITY[record.severity],
    eventName: `mcp_egress.${record.event}`,
    body: record.text,
    attributes,
  }
}

function flatten(prefix: string, members: Readonly<Record<string, unknown>>, into: LogAttributes): void {
  for (const [key, value] of Object.entries(members)) {
    const name = `${prefix}${key}`
    if (value === null || TOLD.has(name)) continue
    const attribute = CONVENTIONS[name] ?? `mcp_egress.${name}`
    if (Array.isArray(value))
      into[attribute] = value.map((item) => (typeof item === 'string' ? item : JSON.stringify(item)))
    else if (typeof value === 'object') flatten(`${name}.`, value as Record<string, unknown>, into)
    else if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
      into[attribute] = value
  }
}

function fullUrl({ scheme, host, port, path, query }: Readonly<Record<string, unknown>>): string | null {
  if (typeof scheme !== 'string' || typeof host !== 'string' || typeof path !== 'string') return null
  const isDefault = port === (scheme === 'https' ? 443 : 80)
  return `${scheme}://${host}${isDefault || typeof port !== 'number' ? '' : `:${port}`}${path}${typeof query === 'string' ? `?${query}` : ''}`
}
