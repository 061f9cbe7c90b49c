// The one line of ASCII that an event becomes in the audit trail (CONTRACT §4): key order, escapes, limits.

import type { AuditEvent, DnsQuestion, Lifecycle, RequestMalformed } from './event.ts'
import { client, completed, decided, MAX_FLAG, MAX_FLAGS, MAX_TARGET, MAX_TEXT } from './record-request.ts'
import { list, number, text } from './record-text.ts'

export type * from './event.ts'

export const AUDIT_SCHEMA = 'mcp-egress.audit/1'

/** One line with its newline, in bytes. The limits below add up to less, so no record has to be measured. */
export const MAX_RECORD_BYTES = 65_536

// Characters of the encoded value; what is over is cut and named in `truncated`.
const MAX_PROBLEM = 512
const MAX_HEADER_NAME = 256
const MAX_ITEMS = 64

/** What the trail adds in front. `timestamp`: RFC 3339, milliseconds, UTC. */
export interface Envelope {
  readonly schema: typeof AUDIT_SCHEMA
  readonly instance: string
  readonly seq: number
  readonly timestamp: string
}

/** `body` is the line up to, not including, `,"hash":`; these are the bytes that are hashed. */
export function encodeRecord(envelope: Envelope, event: AuditEvent, prevHash: string): { readonly body: string } {
  return { body: encodeBody(envelope, encodeFields(event), prevHash) }
}

/** What an event says, before its place in a chain is known. */
export function encodeFields(event: AuditEvent): string {
  const cut: string[] = []
  const fields = encodeEvent(event, cut)
  const truncated = cut.length === 0 ? '' : list('truncated', [...new Set(cut)], MAX_FLAG, MAX_ITEMS, [])
  return `"event":"${event.event}"${fields}${truncated}`
}

/** `fields` of `encodeFields` in their place: the bytes that are hashed. */
export function encodeBody({ schema, instance, seq, timestamp }: Envelope, fields: string, prevHash: string): string {
  return `{"schema":"${schema}","instance":"${instance}","seq":${seq},"timestamp":"${timestamp}",${fields},"prev_hash":"${prevHash}"`
}

// Built as a string, field by field: half the cost of JSON.stringify, which also leaves C1, U+2028 and DEL as they are.
function encodeEvent(event: AuditEvent, cut: string[]): string {
  switch (event.event) {
    case 'proxy.started':
    case 'config.loaded':
      return lifecycle(event, cut)
    case 'proxy.stopped':
      return lifecycle(event, cut) + text('cause', event.cause, MAX_TEXT, cut)
    case 'config.rejected':
      return lifecycle(event, cut) + list('problems', event.problems, MAX_PROBLEM, MAX_ITEMS, cut)
    case 'request.decided':
      return decided(event, cut)
    case 'request.completed':
      return completed(event, cut)
    case 'request.malformed':
      return malformed(event, cut)
    case 'tls.rejected':
      return (
        text('connection_id', event.connection_id, MAX_TEXT, cut) +
        text('door', event.door, MAX_TEXT, cut) +
        client(event.client, cut) +
        text('sni', event.sni, MAX_TEXT, cut) +
        text('host', event.host, MAX_TEXT, cut) +
        number('port', event.port) +
        text('cause', event.cause, MAX_TEXT, cut) +
        number('rejections', event.rejections) +
        text('hint', event.hint, MAX_TEXT, cut)
      )
    case 'tunnel.opened':
      return text('request_id', event.request_id, MAX_TEXT, cut) + text('kind', event.kind, MAX_TEXT, cut)
    case 'tunnel.closed':
      return (
        text('request_id', event.request_id, MAX_TEXT, cut) +
        text('kind', event.kind, MAX_TEXT, cut) +
        number('bytes_sent', event.bytes_sent) +
        number('bytes_received', event.bytes_received) +
        number('frames_sent', event.frames_sent) +
        number('frames_received', event.frames_received) +
        number('duration_ms', event.duration_ms)
      )
    case 'dns.question':
      return question(event, cut)
    case 'segment.opened':
      return text('previous', event.previous, MAX_TEXT, cut) + text('cause', event.cause, MAX_TEXT, cut)
    case 'audit.restored':
      return (
        text('since', event.since, MAX_TEXT, cut) +
        number('duration_ms', event.duration_ms) +
        number('refused', event.refused) +
        text('cause', event.cause, MAX_TEXT, cut)
      )
    case 'checkpoint':
      break
  }
  return (
    number('records', event.records) +
    text('key_id', event.key_id, MAX_TEXT, cut) +
    text('signature', event.signature, MAX_TEXT, cut)
  )
}

function lifecycle(event: Lifecycle, cut: string[]): string {
  return (
    text('version', event.version, MAX_TEXT, cut) +
    text('policy', event.policy, MAX_TEXT, cut) +
    text('mode', event.mode, MAX_TEXT, cut)
  )
}

function malformed(event: RequestMalformed, cut: string[]): string {
  const headers = event.headers.slice(0, MAX_ITEMS).map(({ name, length }) => {
    return `{${(text('name', name, MAX_HEADER_NAME, cut, 'headers') + number('length', length)).slice(1)}}`
  })
  if (event.headers.length > MAX_ITEMS) cut.push('headers')
  return (
    text('request_id', event.request_id, MAX_TEXT, cut) +
    text('code', event.code, MAX_TEXT, cut) +
    number('length', event.length) +
    text('fingerprint', event.fingerprint, MAX_TEXT, cut) +
    text('request_line', event.request_line, MAX_TARGET, cut) +
    `,"headers":[${headers.join(',')}]`
  )
}

function question(event: DnsQuestion, cut: string[]): string {
  const { name, type } = event.question
  const asked = text('name', name, MAX_TEXT, cut, 'question') + text('type', type, MAX_TEXT, cut, 'question')
  return (
    client(event.client, cut) +
    `,"question":{${asked.slice(1)}}` +
    text('decision', event.decision, MAX_TEXT, cut) +
    `,"enforced":${event.enforced}` +
    text('rule', event.rule, MAX_TEXT, cut) +
    text('reason', event.reason, MAX_TEXT, cut) +
    text('mode', event.mode, MAX_TEXT, cut) +
    text('policy', event.policy, MAX_TEXT, cut) +
    text('answer', event.answer, MAX_TEXT, cut) +
    number('count', event.count) +
    list('security_flags', event.security_flags, MAX_FLAG, MAX_FLAGS, cut)
  )
}
