// Client handshakes that failed: counted for each host, and recorded with what can be done about them.

import { couldAllow } from '../core/policy.ts'
import type { TlsRejectionCause } from '../core/record.ts'
import { isAboutCertificate, rejectionHint } from '../core/rejection-hint.ts'
import type { Connection } from './connection.ts'
import type { Deps } from './deps.ts'

/** Hosts that are counted; a workload that tries more pushes out the one that was not heard of for the longest time. */
const MAX_COUNTED_HOSTS = 1_024

/** How often clients did not accept our certificate for a host, since the start. */
export class Rejections {
  readonly #byHost = new Map<string, number>()

  /** Counts one more, and answers how many there are now. */
  count(host: string): number {
    const times = (this.#byHost.get(host) ?? 0) + 1
    // A map keeps the order of insertion: the first entry is the oldest.
    this.#byHost.delete(host)
    this.#byHost.set(host, times)
    if (this.#byHost.size > MAX_COUNTED_HOSTS) {
      for (const oldest of this.#byHost.keys()) {
        this.#byHost.delete(oldest)
        break
      }
    }
    return times
  }
}

/** A failed handshake is recorded alone, without a decision (CONTRACT §4): nothing was asked for. */
export function recordRejection(connection: Connection, cause: TlsRejectionCause, deps: Deps): void {
  const { redactor, rejections } = deps
  const { expected } = connection.names
  const host = expected === null ? null : redactor.name(expected.host.text)
  const times = expected !== null && isAboutCertificate(cause) ? rejections.count(expected.host.text) : null
  const client = connection.client?.name ?? 'anonymous'
  deps.metrics.tlsRejected(cause)
  deps.trail
    .append({
      event: 'tls.rejected',
      connection_id: connection.id,
      door: connection.door,
      client: { name: client, source: connection.source },
      sni: connection.sni === null ? null : redactor.name(connection.sni),
      host,
      port: expected?.port ?? null,
      cause,
      rejections: times,
      hint:
        expected === null || host === null || times === null
          ? null
          : rejectionHint({
              cause,
              host,
              times,
              permitted:
                connection.refusal === null &&
                couldAllow(deps.judgement().policy, { client, ...expected, scheme: null }),
              named: connection.sni !== null,
            }),
    })
    .catch(() => undefined)
}
