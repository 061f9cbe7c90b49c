// A name server under test with a trail in memory, and a client that asks it over UDP and TCP.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import { type DecodedPacket, decode, encode, type OptAnswer, type Packet, type RecordType } from 'dns-packet'
import { createMetrics } from '../../src/audit/metrics.ts'
import { type Trail, TrailUnavailable } from '../../src/audit/trail.ts'
import { type DnsSettings, dnsSettings } from '../../src/config/schema-dns.ts'
import { compileIdentity } from '../../src/core/identity.ts'
import { compilePolicy } from '../../src/core/policy.ts'
import type { AuditEvent, DnsQuestion } from '../../src/core/record.ts'
import { createRedactor } from '../../src/core/redact.ts'
import type { PolicySpec } from '../../src/core/rule.ts'
import { NameServer } from '../../src/jail/dns/server.ts'
import type { NameServerDeps } from '../../src/jail/dns/deps.ts'
import type { DecisionLine } from '../../src/proxy/decision-line.ts'
import type { Resolution } from '../../src/proxy/resolver.ts'

const ASK_DEADLINE_MS = 5_000

export interface Asking {
  readonly port: number
  readonly host?: string
  readonly tcp?: boolean
}

/** The bytes of a question with recursion desired; `edns` adds an OPT record. */
export function question(name: string, type: string = 'A', edns = false, more: Partial<Packet> = {}): Buffer {
  const opt: OptAnswer = {
    type: 'OPT',
    name: '.',
    udpPayloadSize: 1232,
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  }
  return encode({
    type: 'query',
    id: 0x1234,
    flags: 0x0100,
    questions: [{ name, type: type as RecordType }],
    ...(edns ? { additionals: [opt] } : {}),
    ...more,
  })
}

/** The answer to `message`; rejects when none comes in 5 s. */
export function askRaw(message: Buffer, { port, host = '127.0.0.1', tcp = false }: Asking): Promise<Buffer> {
  return tcp ? askTcp(message, port, host) : askUdp(message, port, host)
}

export async function ask(name: string, type: string, asking: Asking): Promise<DecodedPacket> {
  return decode(await askRaw(question(name, type), asking))
}

/** `NOERROR`, `NXDOMAIN` and so on: dns-packet has it, its types do not. */
export function rcodeOf(packet: DecodedPacket): string {
  return (packet as unknown as { rcode: string }).rcode
}

export function addressesOf(packet: DecodedPacket): unknown[] {
  return (packet.answers ?? []).map((record) => ('data' in record ? record.data : null))
}

async function askUdp(message: Buffer, port: number, host: string): Promise<Buffer> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4')
  try {
    socket.send(message, port, host)
    const [answer] = (await once(socket, 'message', { signal: AbortSignal.timeout(ASK_DEADLINE_MS) })) as [Buffer]
    return answer
  } finally {
    socket.close()
  }
}

async function askTcp(message: Buffer, port: number, host: string): Promise<Buffer> {
  const socket = connect({ port, host })
  try {
    socket.end(framed(message))
    socket.setTimeout(ASK_DEADLINE_MS, () => socket.destroy(new Error('no answer in time')))
    let held = Buffer.alloc(0)
    for await (const chunk of socket as AsyncIterable<Buffer>) held = Buffer.concat([held, chunk])
    if (held.length < 2) throw new Error('the connection ended without an answer')
    return held.subarray(2)
  } finally {
    socket.destroy()
  }
}

export function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(message.length, 0)
  return Buffer.concat([length, message])
}

export interface DnsLab {
  readonly server: NameServer
  readonly port: number
  /** In order; what was not written is not here. */
  readonly records: DnsQuestion[]
  /** Names that the resolver was asked for, each with the number of records that were written by then. */
  readonly resolved: { readonly name: string; readonly records: number }[]
  readonly decisions: DecisionLine[]
  readonly faults: unknown[]
  readonly metrics: ReturnType<typeof createMetrics>
  /** Milliseconds of the server's clock. */
  clock: number
  settings: DnsSettings
  trailWorks: boolean
  /** Records that were begun, written or not. */
  appended: number
  /** While set, records are written only when it resolves. */
  trailGate: Promise<void> | null
  close(): Promise<void>
}

export interface DnsLabOptions {
  readonly policy: Partial<PolicySpec>
  readonly settings?: Partial<DnsSettings>
  readonly names?: Readonly<Record<string, Resolution>>
  readonly host?: string
}

const SERVFAIL: Resolution = { kind: 'failed', detail: 'ESERVFAIL' }

export async function startDnsLab(options: DnsLabOptions): Promise<DnsLab> {
  const spec: PolicySpec = { mode: 'enforce', clients: [], rules: [], ...options.policy }
  const compiled = compilePolicy(spec)
  if (compiled.kind === 'bad') throw new Error(JSON.stringify(compiled.problems))
  const metrics = createMetrics({ clients: spec.clients.map(({ name }) => name) })
  const trail: Trail = {
    instance: 'test',
    append: async (event: AuditEvent) => {
      lab.appended += 1
      await lab.trailGate
      if (!lab.trailWorks) throw new TrailUnavailable('the disk is full')
      if (event.event === 'dns.question') lab.records.push(event)
    },
    available: () => lab.trailWorks,
    close: () => Promise.resolve(),
  }
  const deps: NameServerDeps = {
    judgement: () => ({
      policy: compiled.policy,
      policyHash: 'a'.repeat(64),
      secrets: null,
      injections: null,
      bodyPrefix: 0,
      mode: spec.mode,
      identity: compileIdentity(spec.clients),
      addresses: { deny: new Set(['metadata', 'loopback', 'link-local', 'private']), allow: [] },
    }),
    trail,
    redactor: createRedactor(Buffer.alloc(32)),
    metrics,
    settings: () => lab.settings,
    resolver: {
      resolve: (name) => {
        lab.resolved.push({ name, records: lab.records.length })
        return Promise.resolve(options.names?.[name] ?? SERVFAIL)
      },
    },
    clock: () => lab.clock,
    onDecision: (line) => lab.decisions.push(line),
    onFault: (error) => lab.faults.push(error),
  }
  const server = new NameServer(deps)
  const state = {
    records: [],
    resolved: [],
    decisions: [],
    faults: [],
    clock: 0,
    settings: { ...dnsSettings({}, false), ...options.settings },
    trailWorks: true,
    appended: 0,
    trailGate: null,
  }
  const lab: DnsLab = Object.assign(state, { server, port: 0, metrics, close: () => server.close() })
  const { address } = await server.listen({ host: options.host ?? '127.0.0.1', port: 0 })
  return Object.assign(lab, { port: address.port })
}
