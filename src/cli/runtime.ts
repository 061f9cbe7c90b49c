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
import { createLimiter } from '../limits/limiter.ts'
import { NameServer } from '../jail/dns/server.ts'
import type { Deps } from '../proxy/deps.ts'
import { DEADLINES, type Deadlines } from '../proxy/deadlines.ts'
import { connectionBound, descriptorLimit } from '../proxy/descriptors.ts'
import { originalDestination } from '../proxy/original-destination.ts'
import { Live } from '../proxy/live.ts'
import { type ListenerDoor, type ListeningSocket, Listeners } from '../proxy/listener.ts'
import { PEEK_DEADLINES, type PeekDeadlines } from '../proxy/peek.ts'
import { Rejections } from '../proxy/rejections.ts'
import { type Resolver, systemResolver } from '../proxy/resolver.ts'
import { Upstream } from '../proxy/upstream.ts'
import { LeafCache } from '../tls/leaf-cache.ts'
import type { InheritedSocket } from './activation.ts'
import { checkpointSinkOf } from './checkpoint-sink.ts'
import { decisionPrinter } from './decision-printer.ts'
import { Doors, type OpenDoors } from './doors.ts'
import { type InForce, inForce, needsRestart, nextInForce, secretsOf } from './in-force.ts'
import { SignedTokens } from './jwt.ts'
import { SelfCheck } from './self.ts'
import { openShapes, rereadShapes, shapeWarnings } from './shapes.ts'
import { sinksOf } from './sinks.ts'
import { VERSION } from './version.ts'

export interface RunningProxy extends OpenDoors {
  /** Serves a socket that was made elsewhere, in another network namespace for one; it is the proxy's from now on. */
  adopt(door: ListenerDoor, listening: ListeningSocket): Promise<void>
  /** The same for questions of names. */
  adoptDns(udp: UdpSocket, tcp: Server): void
  /**
   * All of `config` is in force for the next request, and what is open and permitted no more ends; what is said of the trail needs a
   * restart. Rejects with what is wrong, and nothing has changed then.
   */
  reload(config: Config): Promise<void>
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
  /** The operator asks for a reload over the admin listener: null once it is in force, else why it is not. */
  readonly onReload: () => Promise<string | null>
}

export function systemGround(): Ground {
  return {
    resolver: systemResolver(Date.now),
    originalDestination,
    deadlines: DEADLINES,
    peekDeadlines: PEEK_DEADLINES,
    onDecision: decisionPrinter(process.stderr, process.env),
    onReload: () => Promise.resolve('this proxy has no file to read again'),
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
  const signed = new SignedTokens({
    resolver: ground.resolver,
    addresses: () => current.judgement.addresses,
    secureContext: () => current.trust.secureContext,
    now,
    onFailure: (why) => log.warn(why),
  })
  let current = inForce(config, null, new Date(), signed)
  const { authority } = current
  const redactor = openRedaction(join(config.caDirectory, 'private'), secretsOf(config))
  const shapes = openShapes(config, redactor, log)
  const leaves = new LeafCache(authority, { now })
  const metrics = createMetrics({ version: VERSION, clients: config.clients.map((client) => client.name) })
  const live = new Live(() => current.judgement)
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
  const lifecycle = (): Lifecycle => {
    const { policyHash, mode } = current.judgement
    return { version: VERSION, policy: policyHash, mode }
  }
  let draining = false
  let rejected: string | null = null
  let deferred: readonly string[] = []
  const self = new SelfCheck(now)
  const isSelf = (address: string, port: number): boolean => self.isSelf(address, port)
  const bound = connectionBound(descriptorLimit())
  const upstream = new Upstream(
    {
      resolver: ground.resolver,
      addresses: () => current.judgement.addresses,
      isSelf,
      secureContext: () => current.trust.secureContext,
    },
    bound,
  )
  const deps: Deps = {
    judgement: () => current.judgement,
    trail,
    redactor,
    metrics,
    limiter: createLimiter(),
    shapes,
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
    settings: () => current.config.dns,
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
      ...(signed.missing === null ? [] : [signed.missing]),
    ],
    warnings: () => [
      ...(sinks?.warnings() ?? []),
      ...shapeWarnings(shapes),
      ...deferred.map((part) => `${part} changes with a restart`),
    ],
    metrics: () => {
      metrics.sinks(sinks?.states() ?? [])
      metrics.leafCache({ ...leaves.stats, size: leaves.size })
      return metrics.text()
    },
    metricsContentType: metrics.contentType,
    token: () => current.config.admin.token,
    reload: ground.onReload,
  })
  const doors = new Doors({ listeners, nameServer, admin, onPorts: (ports) => self.listensOn(ports) })
  const close = async (): Promise<void> => {
    draining = true
    await Promise.all([listeners.drain(current.config.shutdownGraceMs), nameServer.close()])
    upstream.close()
    admin.close()
    signed.close()
    await shapes.close()
    await trail.append({ event: 'proxy.stopped', cause: 'stopped', ...lifecycle() }).catch(() => undefined)
    await trail.close()
    // Last: what was written up to here can still go out, and a receiver that hangs holds up nothing but the end.
    await Promise.all([keptCheckpoints?.close(), sinks?.stop()])
  }
  try {
    await trail.append({ event: 'proxy.started', ...lifecycle() })
    await trail.append({ event: 'config.loaded', ...lifecycle() })
    await signed.inForce(config)
    await doors.adopt(inherited)
    const opening = await doors.change(config.listen)
    opening.commit()
  } catch (error) {
    await close()
    throw error
  }
  sinks.start()
  const install = (next: InForce, reshape: () => void): void => {
    const replaced = current
    current = next
    reshape()
    if (next.authority.fingerprint256 !== replaced.authority.fingerprint256) leaves.replaceAuthority(next.authority)
    redactor.update(secretsOf(next.config))
    rejected = null
    deferred = needsRestart(config, next.config)
    for (const part of deferred) log.warn(`${part} has changed: it stays as it was until a restart`)
    void signed.inForce(next.config)
    metrics.setClients(next.config.clients.map((client) => client.name))
    trail.append({ event: 'config.loaded', ...lifecycle() }).catch(() => undefined)
    live.rejudge()
    upstream.closeIdle()
  }
  return {
    get addresses() {
      return doors.state.addresses
    },
    get unavailable() {
      return doors.state.unavailable
    },
    adopt: async (door, listening) => {
      await listeners.adopt(door, listening)
    },
    adoptDns: (udp, tcp) => nameServer.adopt(udp, tcp),
    reload: async (wanted) => {
      const next = nextInForce(wanted, current, new Date(), signed)
      const reshape = rereadShapes(shapes, wanted)
      // Who is still served at a shutdown is judged by what is in force; nobody new comes in.
      if (draining) return install(next, reshape)
      const changing = doors.change(wanted.listen)
      // Without a new listener all of it is in force when the call returns.
      const change = changing instanceof Promise ? await changing : changing
      install(next, reshape)
      if (draining) change.abandon()
      else change.commit()
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
