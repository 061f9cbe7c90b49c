// Builds a running proxy from a configuration: the real clock, resolver, files and sockets are made here.

import type { Socket as UdpSocket } from 'node:dgram'
import type { Server } from 'node:net'
import { join } from 'node:path'
import { pino } from 'pino'
import { AdminServer } from '../admin/admin.ts'
import { newId } from '../audit/id.ts'
import { createMetrics } from '../audit/metrics.ts'
import { openRedaction } from '../audit/redaction.ts'
import { openSigningKey } from '../audit/signing.ts'
import type { Sinks } from '../audit/sinks.ts'
import { openTrail } from '../audit/trail.ts'
import type { Config } from '../config/load.ts'
import type { Lifecycle } from '../core/record.ts'
import type { Secrets } from '../core/redact.ts'
import { createLimiter } from '../limits/limiter.ts'
import { NameServer } from '../jail/dns/server.ts'
import type { Deps, Judgement } from '../proxy/deps.ts'
import { DEADLINES, type Deadlines } from '../proxy/deadlines.ts'
import { connectionBound, descriptorLimit } from '../proxy/descriptors.ts'
import { originalDestination } from '../proxy/original-destination.ts'
import { Live } from '../proxy/live.ts'
import { type ListenerDoor, type ListeningSocket, Listeners } from '../proxy/listener.ts'
import { PEEK_DEADLINES, type PeekDeadlines } from '../proxy/peek.ts'
import { Rejections } from '../proxy/rejections.ts'
import { type Resolver, systemResolver } from '../proxy/resolver.ts'
import { Upstream } from '../proxy/upstream.ts'
import { openAuthority } from '../tls/authority.ts'
import { LeafCache } from '../tls/leaf-cache.ts'
import { upstreamSecureContext } from '../tls/trust.ts'
import type { InheritedSocket } from './activation.ts'
import { checkpointSinkOf } from './checkpoint-sink.ts'
import { decisionPrinter } from './decision-printer.ts'
import { openDoors, type OpenDoors } from './doors.ts'
import { SelfCheck } from './self.ts'
import { sinksOf } from './sinks.ts'
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
  /** Begins a new file of the trail, behind a tool that has renamed the active one or instead of it. */
  reopenTrail(): void
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
    onDecision: decisionPrinter(process.stderr, process.env),
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
  const redactor = openRedaction(join(config.caDirectory, 'private'), secretsOf(config))
  const leaves = new LeafCache(authority, { now })
  const metrics = createMetrics({ version: VERSION, clients: config.clients.map((client) => client.name) })
  let judgement = judgementOf(config)
  const live = new Live(() => judgement)
  let sinks: Sinks | null = null
  const keptCheckpoints = checkpointSinkOf(config, authority.certificatePem, log)
  const trail = await openTrail({
    path: config.audit.path,
    durability: config.audit.durability,
    rotate: config.audit.rotate,
    compress: config.audit.compress,
    checkpoints: {
      ...config.audit.checkpoints,
      signer: config.audit.checkpoints.sign ? openSigningKey(config.caDirectory) : null,
      onCheckpoint: (line) => keptCheckpoints?.offer(line),
    },
    now: () => new Date(),
    onFailure: (error) => {
      log.error({ err: error }, 'the audit trail can not be written: nothing is forwarded')
      live.interrupt('audit_unavailable')
    },
    onRestored: () => log.warn('the audit trail can be written again'),
    onWritten: (records) => {
      metrics.recorded(records)
      sinks?.wake()
    },
    onNotice: (text) => log.warn(text),
  })
  const sinkGround = { trail, resolver: ground.resolver, ownCertificatePem: authority.certificatePem, log }
  sinks = await sinksOf(config, sinkGround).catch(async (error: unknown) => {
    await trail.close()
    throw error
  })
  let dns = config.dns
  const lifecycle = (): Lifecycle => ({ version: VERSION, policy: judgement.policyHash, mode: judgement.mode })
  let draining = false
  let rejected: string | null = null
  const self = new SelfCheck(now)
  const isSelf = (address: string, port: number): boolean => self.isSelf(address, port)
  const bound = connectionBound(descriptorLimit())
  const upstream = new Upstream(
    {
      resolver: ground.resolver,
      addresses: () => judgement.addresses,
      isSelf,
      secureContext: () => secureContext,
    },
    bound,
  )
  const deps: Deps = {
    judgement: () => judgement,
    trail,
    redactor,
    metrics,
    limiter: createLimiter(),
    live,
    leaves,
    rejections: new Rejections(),
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
  const onFault = (error: unknown): void => log.error({ err: error }, 'a connection failed unexpectedly')
  const listeners = new Listeners(deps, onFault, bound)
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
    warnings: () => sinks?.warnings() ?? [],
    metrics: () => {
      metrics.sinks(sinks?.states() ?? [])
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
    // Last: what was written up to here can still go out, and a receiver that hangs holds up nothing but the end.
    await Promise.all([keptCheckpoints?.close(), sinks?.stop()])
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
  sinks.start()
  return {
    ...doors,
    adopt: async (door, listening) => {
      await listeners.adopt(door, listening)
    },
    adoptDns: (udp, tcp) => nameServer.adopt(udp, tcp),
    reload: (next) => {
      judgement = judgementOf(next)
      redactor.update(secretsOf(next))
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
    reopenTrail: () => trail.rotate('signal'),
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
    bodyPrefix: config.audit.bodyPrefix,
  }
}

/** The tokens of clients and of the admin listener are secrets wherever they turn up. */
function secretsOf({ audit, clients, admin }: Config): Secrets {
  const tokens = [...clients.map(({ token }) => token), admin.token]
  return { ...audit.redact, values: [...audit.redact.values, ...tokens.filter((token) => typeof token === 'string')] }
}
