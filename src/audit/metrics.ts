// What is counted, in Prometheus text. Every label has a closed set of values: nothing a client writes becomes one.

import { Counter, exponentialBuckets, Gauge, Registry } from 'prom-client'
import type { Door, TlsRejectionCause } from '../core/record.ts'
import type { Reason } from '../core/refusal.ts'
import { DecisionCounter, Histogram } from './tally.ts'

export type ListenerDoor = 'proxy' | 'transparent' | 'gateway'

export interface Metrics {
  /** The names that may stand in the `client` label; all others count as `anonymous`. */
  setClients(names: readonly string[]): void
  decided(request: {
    readonly decision: 'allow' | 'deny'
    readonly reason: Reason | null
    readonly client: string
  }): void
  /** `count` questions to the name server. */
  questioned(asked: {
    readonly decision: 'allow' | 'deny'
    readonly reason: Reason | null
    readonly client: string
    readonly count: number
  }): void
  completed(request: { readonly durationMs: number; readonly bytesSent: number; readonly bytesReceived: number }): void
  /** A changed policy ended a request or tunnel under way. */
  revoked(): void
  connectionOpened(door: ListenerDoor): void
  connectionClosed(door: ListenerDoor): void
  /** Over the limit of connections. */
  connectionRefused(): void
  /** Closed without having said anything that is an attempt. */
  connectionSilent(door: Door): void
  tlsRejected(cause: TlsRejectionCause): void
  /** Totals of the cache since it was made. */
  leafCache(totals: { readonly hits: number; readonly misses: number; readonly size?: number }): void
  /** So many records more are in the trail. */
  recorded(count: number): void
  /** A request was refused because it could not be recorded. */
  unrecorded(): void
  /** Where each sink of the trail stands; totals since the start. `lastSuccess`: milliseconds since the epoch. */
  sinks(states: readonly SinkTotals[]): void
  text(): Promise<string>
  readonly contentType: string
}

export interface SinkTotals {
  readonly name: string
  readonly lag: number
  readonly lastSuccess: number | null
  readonly errors: number
  readonly rejected: number
  readonly missed: number
}

export interface MetricsOptions {
  readonly version?: string
  readonly clients?: readonly string[]
}

const ANONYMOUS = 'anonymous'
const DURATION_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
/** 256 B to 512 MiB. */
const BYTES = exponentialBuckets(256, 8, 8)

export function createMetrics(options: MetricsOptions = {}): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const counter = <T extends string>(name: string, help: string, ...labelNames: T[]): Counter<T> =>
    new Counter({ name: `mcp_egress_${name}`, help, labelNames, registers })
  const gauge = <T extends string>(name: string, help: string, ...labelNames: T[]): Gauge<T> =>
    new Gauge({ name: `mcp_egress_${name}`, help, labelNames, registers })
  const histogram = (name: string, help: string, buckets: number[]): Histogram =>
    new Histogram(`mcp_egress_${name}`, help, buckets, registry)

  const requests = new DecisionCounter('mcp_egress_requests_total', 'Decisions taken.', registry)
  const questions = counter('dns_questions_total', 'Questions to the name server.', 'decision', 'reason', 'client')
  const duration = histogram(
    'request_duration_seconds',
    'From the request head to the end of the answer.',
    DURATION_SECONDS,
  )
  const requestBytes = histogram('request_bytes', 'Body bytes sent to upstream.', BYTES)
  const responseBytes = histogram('response_bytes', 'Body bytes received from upstream.', BYTES)
  const revoked = counter('revoked_total', 'Requests and tunnels under way that a changed policy ended.')
  const connections = gauge('connections', 'Open client connections.', 'door')
  const connectionsRefused = counter('connections_refused_total', 'Client connections over the limit.')
  const connectionsSilent = counter(
    'connections_silent_total',
    'Client connections that ended without a request.',
    'door',
  )
  const tlsRejected = counter('tls_rejected_total', 'Client handshakes that failed.', 'cause')
  const leafHits = counter('leaf_cache_hits', 'Leaf certificates taken from the cache.')
  const leafMisses = counter('leaf_cache_misses', 'Leaf certificates made.')
  const leafSize = gauge('leaf_cache_size', 'Leaf certificates held.')
  const records = counter('audit_records_total', 'Records in the audit trail since the start.')
  const failures = counter('audit_failures_total', 'Requests refused because they could not be recorded.')
  const sinkLag = gauge('sink_lag_records', 'Records in the trail that the sink has not shipped.', 'sink')
  const sinkSuccess = gauge(
    'sink_last_success_timestamp',
    'When the sink last shipped, in seconds of Unix time.',
    'sink',
  )
  const sinkErrors = counter('sink_errors_total', 'Tries to ship that failed or were refused.', 'sink')
  const sinkRejected = counter('sink_rejected_total', 'Records set aside because the receiver refused them.', 'sink')
  const sinkMissed = counter('sink_missed_total', 'Records that were in no file any more when their turn came.', 'sink')
  const build = gauge('build_info', 'Always 1; the labels say what runs.', 'version', 'node_version')
  build.set({ version: options.version ?? 'unknown', node_version: process.versions.node }, 1)

  let clients = new Set(options.clients)
  return {
    setClients: (names) => {
      clients = new Set(names)
    },
    decided: ({ decision, reason, client }) =>
      requests.inc(decision, reason ?? 'none', clients.has(client) ? client : ANONYMOUS),
    questioned: ({ decision, reason, client, count }) =>
      questions.inc({ decision, reason: reason ?? 'none', client: clients.has(client) ? client : ANONYMOUS }, count),
    completed: ({ durationMs, bytesSent, bytesReceived }) => {
      duration.observe(durationMs / 1_000)
      requestBytes.observe(bytesSent)
      responseBytes.observe(bytesReceived)
    },
    revoked: () => revoked.inc(),
    connectionOpened: (door) => connections.inc({ door }),
    connectionClosed: (door) => connections.dec({ door }),
    connectionRefused: () => connectionsRefused.inc(),
    connectionSilent: (door) => connectionsSilent.inc({ door }),
    tlsRejected: (cause) => tlsRejected.inc({ cause }),
    leafCache: ({ hits, misses, size }) => {
      leafHits.reset()
      leafHits.inc(hits)
      leafMisses.reset()
      leafMisses.inc(misses)
      if (size !== undefined) leafSize.set(size)
    },
    recorded: (count) => records.inc(count),
    unrecorded: () => failures.inc(),
    sinks: (states) => {
      for (const totals of [sinkErrors, sinkRejected, sinkMissed]) totals.reset()
      for (const { name: sink, lag, lastSuccess, errors, rejected, missed } of states) {
        sinkLag.set({ sink }, lag)
        if (lastSuccess !== null) sinkSuccess.set({ sink }, lastSuccess / 1_000)
        sinkErrors.inc({ sink }, errors)
        sinkRejected.inc({ sink }, rejected)
        sinkMissed.inc({ sink }, missed)
      }
    },
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
