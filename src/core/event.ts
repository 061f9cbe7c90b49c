// What each event of the audit trail carries (CONTRACT §4), with the names it has on disk.

import type { Reason } from './refusal.ts'

export type Mode = 'enforce' | 'observe'
export type Door = 'connect' | 'absolute' | 'transparent' | 'gateway'
export type Protocol = 'http/1.1' | 'http/1.0' | 'h2' | 'tls' | 'unknown'
export type TunnelKind = 'websocket' | 'passthrough'

export type Outcome =
  | 'completed'
  | 'refused'
  | 'failed'
  | 'client_aborted'
  | 'upstream_aborted'
  | 'revoked'
  | 'interrupted'

/** Why a client's handshake failed. */
export type TlsRejectionCause =
  | 'certificate_rejected'
  | 'no_shared_cipher'
  | 'no_application_protocol'
  | 'protocol_version'
  | 'reset'
  | 'closed'
  | 'closed_without_request'
  | 'handshake_timeout'
  | 'handshake_failed'

/** Who asked: a configured name or `anonymous`, and the peer address, null for a Unix socket. */
export interface RecordedClient {
  readonly name: string
  readonly source: string | null
}

/** Every name the client used for its destination, where they disagree. */
export interface RecordedNames {
  readonly connect?: string
  readonly sni?: string
  readonly host?: string
  readonly url?: string
}

/** Milliseconds, null for a step that did not happen. */
export interface RecordedTimings {
  readonly dns: number | null
  readonly connect: number | null
  readonly tls: number | null
  readonly first_byte: number | null
}

/** A field as it was sent: its name, and its value redacted. */
export type RecordedField = readonly [name: string, value: string]

/**
 * A body as it passed: `sha256` of all its bytes, null where its beginning held a secret, which the hash would confirm to one
 * who guesses it. `prefix` redacted, null where nothing of it can be shown; `truncated`: it is not the whole body.
 */
export interface RecordedBody {
  readonly bytes: number
  readonly sha256: string | null
  readonly prefix: string | null
  readonly encoding: 'text' | 'base64' | null
  readonly redacted: boolean
  readonly truncated: boolean
}

/** One message of MCP. `tool`, `resource`: what is called by it; `id` as JSON. Null: it has none. */
export interface RecordedMcpMessage {
  readonly method: string | null
  readonly tool: string | null
  readonly resource: string | null
  readonly id: string | null
}

/** One operation of GraphQL. */
export interface RecordedGraphqlOperation {
  readonly operation: 'query' | 'mutation' | 'subscription'
  readonly name: string | null
}

/** `policy` is the hash of the configuration in force, in every event that has it. */
export interface Lifecycle {
  readonly version: string
  readonly policy: string
  readonly mode: Mode
}

export interface RequestDecided {
  readonly event: 'request.decided'
  readonly request_id: string
  readonly connection_id: string
  readonly door: Door
  readonly client: RecordedClient
  readonly decision: 'allow' | 'deny'
  readonly enforced: boolean
  readonly rule: string | null
  readonly reason: Reason | null
  readonly mode: Mode
  readonly policy: string
  readonly method: string | null
  readonly scheme: 'http' | 'https' | null
  readonly host: string | null
  readonly port: number | null
  readonly path: string | null
  readonly query: string | null
  readonly protocol: Protocol
  readonly sni: string | null
  readonly names?: RecordedNames | undefined
  readonly original_destination: string | null
  /** Of bodies that were looked at and are messages of MCP, or operations of GraphQL. */
  readonly mcp?: readonly RecordedMcpMessage[] | undefined
  readonly graphql?: readonly RecordedGraphqlOperation[] | undefined
  readonly security_flags: readonly string[]
  readonly request_headers?: readonly RecordedField[] | undefined
}

export interface RequestCompleted {
  readonly event: 'request.completed'
  readonly request_id: string
  readonly outcome: Outcome
  readonly reason: Reason | null
  readonly status: number | null
  /** Of gRPC calls only: what the client was told, null where it was told nothing. */
  readonly grpc_status?: number | null | undefined
  readonly upstream_address: string | null
  /** Null where the proxy died before the end: nobody counted. */
  readonly bytes_sent: number | null
  readonly bytes_received: number | null
  readonly duration_ms: number | null
  readonly timings: RecordedTimings
  readonly security_flags?: readonly string[] | undefined
  readonly response_headers?: readonly RecordedField[] | undefined
  readonly request_body?: RecordedBody | undefined
  readonly response_body?: RecordedBody | undefined
}

export interface RequestMalformed {
  readonly event: 'request.malformed'
  readonly request_id: string
  readonly code: string
  readonly length: number
  readonly fingerprint: string
  readonly request_line: string | null
  readonly headers: readonly { readonly name: string; readonly length: number }[]
}

export interface TlsRejected {
  readonly event: 'tls.rejected'
  readonly connection_id: string
  readonly door: Door
  readonly client: RecordedClient
  readonly sni: string | null
  readonly host: string | null
  readonly port: number | null
  readonly cause: TlsRejectionCause
  /** How often clients did not accept our certificate for the host since the start; null for causes that are about something else. */
  readonly rejections: number | null
  readonly hint: string | null
}

interface Tunnel {
  readonly request_id: string
  readonly kind: TunnelKind
}

/** Bytes are payload bytes to and from upstream; frames are null where the bytes are opaque, all where the proxy died before. */
export interface TunnelClosed extends Tunnel {
  readonly event: 'tunnel.closed'
  readonly bytes_sent: number | null
  readonly bytes_received: number | null
  readonly frames_sent: number | null
  readonly frames_received: number | null
  readonly duration_ms: number | null
}

/** A question to our name server. `name` and `type` are null where none could be read, or where `count` stands for many. */
export interface DnsQuestion {
  readonly event: 'dns.question'
  readonly client: RecordedClient
  readonly question: { readonly name: string | null; readonly type: string | null }
  readonly decision: 'allow' | 'deny'
  readonly enforced: boolean
  readonly rule: string | null
  readonly reason: Reason | null
  readonly mode: Mode
  readonly policy: string
  /** Whose addresses are told: ours, those of the name, this machine's loopback, or none. */
  readonly answer: 'own' | 'resolved' | 'loopback' | 'none'
  /** How many questions the record is about; 0: what came of one that has a record already. */
  readonly count: number
  readonly security_flags: readonly string[]
}

/** Why a new file was begun: a new trail or one whose active file is gone, its size, its age, SIGUSR2, or the end of an outage. */
export type SegmentCause = 'start' | 'size' | 'age' | 'signal' | 'recovery'

/** First record of every file. `previous`: name of the file with the records before; null: there is none, or it is not where it was. */
export interface SegmentOpened {
  readonly event: 'segment.opened'
  readonly previous: string | null
  readonly cause: SegmentCause
}

/** The trail could not be written from `since` on, and can again. `refused`: requests that were turned away for it. */
export interface AuditRestored {
  readonly event: 'audit.restored'
  readonly since: string
  readonly duration_ms: number
  readonly refused: number
  readonly cause: string
}

/** `records`: how many the chain holds before this one. `signature`: Ed25519, base64; null where signing is off. */
export interface Checkpoint {
  readonly event: 'checkpoint'
  readonly records: number
  readonly key_id: string | null
  readonly signature: string | null
}

/** What a caller records; the trail adds the envelope and the chain. */
export type AuditEvent =
  | ({ readonly event: 'proxy.started' } & Lifecycle)
  | ({ readonly event: 'proxy.stopped'; readonly cause: string } & Lifecycle)
  | ({ readonly event: 'config.loaded' } & Lifecycle)
  | ({ readonly event: 'config.rejected'; readonly problems: readonly string[] } & Lifecycle)
  | RequestDecided
  | RequestCompleted
  | RequestMalformed
  | TlsRejected
  | ({ readonly event: 'tunnel.opened' } & Tunnel)
  | TunnelClosed
  | DnsQuestion
  | SegmentOpened
  | AuditRestored
  | Checkpoint
