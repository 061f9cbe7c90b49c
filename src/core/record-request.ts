// The two records that every request has, its decision and its end: what they say again and again is kept as it was written.

import type { RecordedClient, RecordedNames, RequestCompleted, RequestDecided } from './event.ts'
import { graphqlOperations, mcpMessages } from './record-calls.ts'
import { headerFields, messageBody } from './record-message.ts'
import { list, numeral, RepeatedText, text, TextMember } from './record-text.ts'

// Characters of the encoded value; what is over is cut and named in `truncated`.
export const MAX_TARGET = 16_384
export const MAX_TEXT = 1_024
/** Of what is ours, and of addresses: none of it has half as many. */
export const MAX_OWN = 128
export const MAX_FLAG = 128
export const MAX_FLAGS = 32

const member = (name: string, limit: number): TextMember => new TextMember(`,"${name}":`, limit, name)
const REQUEST_ID = member('request_id', MAX_OWN)
const CONNECTION_ID = member('connection_id', MAX_OWN)
const PATH = member('path', MAX_TARGET)
const QUERY = member('query', MAX_TARGET)

const repeated = (name: string, limit: number = MAX_TEXT): RepeatedText => new RepeatedText(member(name, limit))
const DOOR = repeated('door')
const CLIENT_NAME = new RepeatedText(new TextMember(',"client":{"name":', MAX_TEXT, 'client'))
const CLIENT_SOURCE = new RepeatedText(new TextMember(',"source":', MAX_OWN, 'client'))
const DECISION = repeated('decision')
const RULE = repeated('rule')
const DECISION_REASON = repeated('reason')
const MODE = repeated('mode')
const POLICY = repeated('policy', MAX_OWN)
const METHOD = repeated('method')
const SCHEME = repeated('scheme')
const HOST = repeated('host')
const PROTOCOL = repeated('protocol')
const SNI = repeated('sni')
const ORIGINAL_DESTINATION = repeated('original_destination', MAX_OWN)
const OUTCOME = repeated('outcome')
const END_REASON = repeated('reason')
const UPSTREAM_ADDRESS = repeated('upstream_address')

export function decided(event: RequestDecided, cut: string[]): string {
  return (
    REQUEST_ID.write(event.request_id, cut) +
    CONNECTION_ID.write(event.connection_id, cut) +
    DOOR.write(event.door, cut) +
    client(event.client, cut) +
    DECISION.write(event.decision, cut) +
    `,"enforced":${event.enforced}` +
    RULE.write(event.rule, cut) +
    DECISION_REASON.write(event.reason, cut) +
    MODE.write(event.mode, cut) +
    POLICY.write(event.policy, cut) +
    METHOD.write(event.method, cut) +
    SCHEME.write(event.scheme, cut) +
    HOST.write(event.host, cut) +
    `,"port":${numeral('port', event.port)}` +
    PATH.write(event.path, cut) +
    QUERY.write(event.query, cut) +
    PROTOCOL.write(event.protocol, cut) +
    SNI.write(event.sni, cut) +
    (event.names === undefined ? '' : names(event.names, cut)) +
    ORIGINAL_DESTINATION.write(event.original_destination, cut) +
    mcpMessages(event.mcp, cut) +
    graphqlOperations(event.graphql, cut) +
    list('security_flags', event.security_flags, MAX_FLAG, MAX_FLAGS, cut) +
    headerFields('request_headers', event.request_headers, cut)
  )
}

export function completed(event: RequestCompleted, cut: string[]): string {
  const { dns, connect, tls, first_byte } = event.timings
  const flags = event.security_flags
  return (
    REQUEST_ID.write(event.request_id, cut) +
    OUTCOME.write(event.outcome, cut) +
    END_REASON.write(event.reason, cut) +
    `,"status":${numeral('status', event.status)}` +
    (event.grpc_status === undefined ? '' : `,"grpc_status":${numeral('grpc_status', event.grpc_status)}`) +
    UPSTREAM_ADDRESS.write(event.upstream_address, cut) +
    `,"bytes_sent":${numeral('bytes_sent', event.bytes_sent)}` +
    `,"bytes_received":${numeral('bytes_received', event.bytes_received)}` +
    `,"duration_ms":${numeral('duration_ms', event.duration_ms)}` +
    `,"timings":{"dns":${numeral('dns', dns)},"connect":${numeral('connect', connect)},"tls":${numeral('tls', tls)}` +
    `,"first_byte":${numeral('first_byte', first_byte)}}` +
    (flags === undefined ? '' : list('security_flags', flags, MAX_FLAG, MAX_FLAGS, cut)) +
    headerFields('response_headers', event.response_headers, cut) +
    messageBody('request_body', event.request_body, cut) +
    messageBody('response_body', event.response_body, cut)
  )
}

export function client(value: RecordedClient, cut: string[]): string {
  return `${CLIENT_NAME.write(value.name, cut)}${CLIENT_SOURCE.write(value.source, cut)}}`
}

function names(value: RecordedNames, cut: string[]): string {
  let members = ''
  if (value.connect !== undefined) members += text('connect', value.connect, MAX_TEXT, cut, 'names')
  if (value.sni !== undefined) members += text('sni', value.sni, MAX_TEXT, cut, 'names')
  if (value.host !== undefined) members += text('host', value.host, MAX_TEXT, cut, 'names')
  if (value.url !== undefined) members += text('url', value.url, MAX_TEXT, cut, 'names')
  return `,"names":{${members.slice(1)}}`
}
