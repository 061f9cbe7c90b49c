// Builds a running proxy from a configuration: the real clock, resolver, files and sockets are made here.

import type { Socket as UdpSocket } from 'node:dgram'
import type { Server } from 'node:net'
import { join } from 'node:path'
import { pino } from 'pino'
import { AdminServer } from '../admin/admin.ts'
import { newId } from '../audit/id.ts'
import { createMetrics } from '../audit/metrics.ts'
import { openRedactionKey } from '../audit/secret.ts'
import { openTrail } from '../audit/trail.ts'
import type { Config } from '../config/load.ts'
import type { Lifecycle } from '../core/record.ts'
import { createRedactor } from '../core/redact.ts'
import { createLimiter } from '../limits/limiter.ts'
import { NameServer } from '../jail/dns/server.ts'
import type { Deps, Judgement } from '../proxy/deps.ts'
import { DEADLINES, type Deadlines } from '../proxy/deadlines.ts'
import { originalDestination } from '../proxy/original-destination.ts'
import { Live } from '../proxy/live.ts'
import { type ListenerDoor, type ListeningSocket, Listeners } from '../proxy/listener.ts'
import { PEEK_DEADLINES, type PeekDeadlines } from '../proxy/peek.ts'
import { type Resolver, systemResolver } from '../proxy/resolver.ts'
import { Upstream } from '../proxy/upstream.ts'
import { openAuthority } from '../tls/authority.ts'
import { LeafCache } from '../tls/leaf-cache.ts'
import { upstreamSecureContext } from '../tls/trust.ts'
import type { InheritedSocket } from './activation.ts'
import { decisionPrinter } from './decision-printer.ts'
import { openDoors, type OpenDoors } from './doors.ts'
import { SelfCheck } from './self.ts'
import { VERSION } from './version.ts'

export interface RunningProxy extends OpenDoors {
  /** Serves a socket that was made elsewhere, in another network namespace for one; it is the proxy's from now on. */
  adopt(door: ListenerDoor, listening: ListeningSocket): Promise<void>
  /** The same for questions of names. */
  adoptDns(udp: UdpSocket, tcp: Server): void
  /**
   * Policy, clients and mode change for the next request, and what is open and permitted no more ends; listeners, CA and trail
   * need a restart.
   */
  reload(config: Config): void
  rejectReload(why: string): void
  /** Drains within the grace of the configuration, writes every end record and the stop, and closes the trail. */
  stop(): Promise<void>
}

/** What the proxy stands on; tests put another ground under it. */
export interface Ground {
  readonly resolver: Resolver
  readonly originalDestination: Deps['originalDestination']
  readonly deadlines: Deadlines
  readonly peekDeadlines: PeekDeadlines
  readonly onDecision: Deps['onDecision']
}

export function systemGround(): Ground {
  return {
    resolver: systemResolver(Date.now),
    originalDestination,
    deadlines: DEADLINES,
    peekDeadlines: PEEK_DEADLINES,
    onDecision: decisionPrinter(process.stderr, process.env) ?? (() => undefined),
  }
}

/**
 * `inherited` sockets take the place of the configured addresses of their doors. Rejects when a listener, the CA, the trust files
 * or the trail can not be had; nothing is left open then.
 */
export async function startProxy(
  config: Config,
  ground: Ground = systemGround(),
  inherited: readonly InheritedSocket[] = [],
): Promise<RunningProxy> {
  const log = pino({ name: 'mcp-egress', level: process.env['MCP_EGRESS_LOG_LEVEL'] ?? 'warn' }, pino.destination(2))
  const now = (): number => Date.now()
  const authority = openAuthority(config.caDirectory, new Date())
  const secureContext = upstreamSecureContext(config.upstream.trust, authority.certificatePem)
  const redactor = createRedactor(openRedactionKey(join(config.caDirectory, 'private', 'redaction.key')))
  const leaves = new LeafCache(authority, { now })
  const metrics = createMetrics({ version: VERSION, clients: config.clients.map((client) => client.name) })
  const trail = await openTrail({
    path: config.audit.path,
    durability: config.audit.durability,
    now: () => new Date(),
    onFailure: (error) => log.error({ err: error }, 'the audit trail can not be written: nothing is forwarded'),
    onWritten: (records) => metrics.recorded(records),
  })
  let judgement = judgementOf(config)
  let dns = config.dns
  const lifecycle = (): Lifecycle => ({ version: VERSION, policy: judgement.policyHash, mode: judgement.mode })
  let draining = false
  let rejected: string | null = null
  const self = new SelfCheck(now)
  const isSelf = (address: string, port: number): boolean => self.isSelf(address, port)
  const upstream = new Upstream({
    resolver: ground.resolver,
    addresses: () => judgement.addresses,
    isSelf,
    secureContext: () => secureContext,
  })
  const live = new Live(() => judgement)
  const deps: Deps = {
    judgement: () => judgement,
    trail,
    redactor,
    metrics,
    limiter: createLimiter(),
    live,
    leaves,
    upstream,
    isSelf,
    now,
    newId: () => newId(now()),
    deadlines: ground.deadlines,
    peekDeadlines: ground.peekDeadlines,
    originalDestination: ground.originalDestination,
    draining: () => draining,
    onDecision: ground.onDecision,
  }
  const listeners = new Listeners(deps, (error) => log.error({ err: error }, 'a connection failed unexpectedly'))
  const nameServer = new NameServer({
    ...deps,
    settings: () => dns,
    resolver: ground.resolver,
    clock: () => performance.now(),
    onFault: (error) => log.error({ err: error }, 'the name server failed unexpectedly'),
  })
  const admin = new AdminServer({
    version: VERSION,
    uptimeSeconds: () => process.uptime(),
    missing: () => [
      ...(trail.available() ? [] : ['audit trail']),
      ...(draining ? ['shutting down'] : []),
      ...(rejected === null ? [] : [`configuration: ${rejected}`]),
    ],
    metrics: () => {
      metrics.leafCache({ ...leaves.stats, size: leaves.size })
      return metrics.text()
    },
    metricsContentType: metrics.contentType,
    token: config.admin.token,
  })
  const close = async (): Promise<void> => {
    draining = true
    await Promise.all([listeners.drain(config.shutdownGraceMs), nameServer.close()])
    upstream.close()
    admin.close()
    await trail.append({ event: 'proxy.stopped', cause: 'stopped', ...lifecycle() }).catch(() => undefined)
    await trail.close()
  }
  let doors: OpenDoors
  try {
    await trail.append({ event: 'proxy.started', ...lifecycle() })
    await trail.append({ event: 'config.loaded', ...lifecycle() })
    doors = await openDoors(config.listen, inherited, {
      listeners,
      nameServer,
      admin,
      onPort: (port) => self.add(port),
    })
  } catch (error) {
    await close()
    throw error
  }
  return {
    ...doors,
    adopt: async (door, listening) => {
      await listeners.adopt(door, listening)
    },
    adoptDns: (udp, tcp) => nameServer.adopt(udp, tcp),
    reload: (next) => {
      judgement = judgementOf(next)
      dns = next.dns
      rejected = null
      metrics.setClients(next.clients.map((client) => client.name))
      trail.append({ event: 'config.loaded', ...lifecycle() }).catch(() => undefined)
      live.rejudge()
      upstream.closeIdle()
    },
    rejectReload: (why) => {
      rejected = 'the last reload was rejected'
      log.error({ why }, 'the configuration was not reloaded: the old one stays in force')
      trail.append({ event: 'config.rejected', problems: [redactor.text(why)], ...lifecycle() }).catch(() => undefined)
    },
    stop: close,
  }
}

function judgementOf(config: Config): Judgement {
  return {
    policy: config.policy,
    policyHash: config.hash,
    mode: config.mode,
    identity: config.identity,
    addresses: config.upstream.addresses,
  }
}
