import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RequestCompleted, RequestDecided } from '../../src/core/event.ts'
import { headerFields, messageBody } from '../../src/core/record-message.ts'
import { graphqlOperations, mcpMessages } from '../../src/core/record-calls.ts'
import {
  client,
  completed,
  decided,
  MAX_FLAG,
  MAX_FLAGS,
  MAX_OWN,
  MAX_TARGET,
  MAX_TEXT,
} from '../../src/core/record-request.ts'
import { list, number, text } from '../../src/core/record-text.ts'
import { COMPLETED, DECIDED } from '../support/audit-events.ts'

/** The same record from the plain functions, which keep nothing. */
function plainDecided(event: RequestDecided, cut: string[]): string {
  const own = (name: string, value: string | null, limit = MAX_TEXT, owner = name): string =>
    text(name, value, limit, cut, owner)
  const { name, source } = event.client
  const asked =
    own('request_id', event.request_id, MAX_OWN) +
    own('connection_id', event.connection_id, MAX_OWN) +
    own('door', event.door)
  const who = `,"client":{${(own('name', name, MAX_TEXT, 'client') + own('source', source, MAX_OWN, 'client')).slice(1)}}`
  const verdict = `${own('decision', event.decision)},"enforced":${event.enforced}`
  const why = own('rule', event.rule) + own('reason', event.reason) + own('mode', event.mode)
  const where = own('policy', event.policy, MAX_OWN) + own('method', event.method) + own('scheme', event.scheme)
  const target = own('host', event.host) + number('port', event.port) + own('path', event.path, MAX_TARGET)
  const rest = own('query', event.query, MAX_TARGET) + own('protocol', event.protocol) + own('sni', event.sni)
  let names = ''
  for (const [from, heard] of Object.entries(event.names ?? {}) as [string, string][])
    names += own(from, heard, MAX_TEXT, 'names')
  const named = event.names === undefined ? '' : `,"names":{${names.slice(1)}}`
  const end =
    own('original_destination', event.original_destination, MAX_OWN) +
    mcpMessages(event.mcp, cut) +
    graphqlOperations(event.graphql, cut) +
    list('security_flags', event.security_flags, MAX_FLAG, MAX_FLAGS, cut) +
    headerFields('request_headers', event.request_headers, cut)
  return asked + who + verdict + why + where + target + rest + named + end
}

function plainCompleted(event: RequestCompleted, cut: string[]): string {
  const own = (name: string, value: string | null): string => text(name, value, MAX_TEXT, cut)
  const { dns, connect, tls, first_byte } = event.timings
  const timings =
    number('dns', dns) + number('connect', connect) + number('tls', tls) + number('first_byte', first_byte)
  const how =
    text('request_id', event.request_id, MAX_OWN, cut) + own('outcome', event.outcome) + own('reason', event.reason)
  const grpc = event.grpc_status === undefined ? '' : number('grpc_status', event.grpc_status)
  const told = number('status', event.status) + grpc + own('upstream_address', event.upstream_address)
  const counted =
    number('bytes_sent', event.bytes_sent) +
    number('bytes_received', event.bytes_received) +
    number('duration_ms', event.duration_ms)
  const flags = event.security_flags
  const rest =
    (flags === undefined ? '' : list('security_flags', flags, MAX_FLAG, MAX_FLAGS, cut)) +
    headerFields('response_headers', event.response_headers, cut) +
    messageBody('request_body', event.request_body, cut) +
    messageBody('response_body', event.response_body, cut)
  return `${how}${told}${counted},"timings":{${timings.slice(1)}}${rest}`
}

// Few values, so that they repeat and alternate; some are cut.
const value = fc.constantFrom('', 'a', 'b', '"', '\r\n\u2028', 'x'.repeat(MAX_TEXT), '\u009b'.repeat(MAX_TEXT))
const nullable = fc.option(value)
const amount = fc.option(fc.oneof(fc.nat(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.constant(84.125)))
const flags = fc.array(value, { maxLength: 3 })
const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined })
const body = fc.record({
  bytes: fc.nat(),
  sha256: nullable,
  prefix: nullable,
  encoding: fc.constant(null),
  redacted: fc.boolean(),
  truncated: fc.boolean(),
})
const fields = fc.array(fc.tuple(value, value), { maxLength: 2 })

const anyDecided = fc.record({
  event: fc.constant('request.decided'),
  request_id: value,
  connection_id: value,
  door: value,
  client: fc.record({ name: value, source: nullable }),
  decision: value,
  enforced: fc.boolean(),
  rule: nullable,
  reason: nullable,
  mode: value,
  policy: value,
  method: nullable,
  scheme: nullable,
  host: nullable,
  port: amount,
  path: nullable,
  query: nullable,
  protocol: value,
  sni: nullable,
  names: maybe(
    fc.constantFrom({}, { connect: 'a', sni: 'b', host: 'c', url: 'd' }, { sni: '\u009b'.repeat(MAX_TEXT) }),
  ),
  original_destination: nullable,
  mcp: maybe(
    fc.array(fc.record({ method: nullable, tool: nullable, resource: nullable, id: nullable }), { maxLength: 3 }),
  ),
  graphql: maybe(fc.array(fc.record({ operation: value, name: nullable }), { maxLength: 3 })),
  security_flags: flags,
  request_headers: maybe(fields),
}) as unknown as fc.Arbitrary<RequestDecided>

const anyCompleted = fc.record({
  event: fc.constant('request.completed'),
  request_id: value,
  outcome: value,
  reason: nullable,
  status: amount,
  grpc_status: maybe(amount),
  upstream_address: nullable,
  bytes_sent: amount,
  bytes_received: amount,
  duration_ms: amount,
  timings: fc.record({ dns: amount, connect: amount, tls: amount, first_byte: amount }),
  security_flags: maybe(flags),
  response_headers: maybe(fields),
  request_body: maybe(body),
  response_body: maybe(body),
}) as unknown as fc.Arbitrary<RequestCompleted>

describe('the two records of a request', () => {
  it('a decision says what it is about, whatever the records before said [K01]', () => {
    fc.assert(
      fc.property(fc.array(anyDecided, { minLength: 1, maxLength: 4 }), (events) => {
        for (const event of events) {
          const [cut, plainCut]: [string[], string[]] = [[], []]
          expect(decided(event, cut)).toBe(plainDecided(event, plainCut))
          expect(cut).toEqual(plainCut)
        }
      }),
    )
  })

  it('an end says what came of it, whatever the records before said [K01]', () => {
    fc.assert(
      fc.property(fc.array(anyCompleted, { minLength: 1, maxLength: 4 }), (events) => {
        for (const event of events) {
          const [cut, plainCut]: [string[], string[]] = [[], []]
          expect(completed(event, cut)).toBe(plainCompleted(event, plainCut))
          expect(cut).toEqual(plainCut)
        }
      }),
    )
  })

  it('no member is taken for another one that had the same value', () => {
    const same = { ...DECIDED, rule: 'same', host: 'same', sni: 'same', method: 'same', policy: 'same' }
    const line = JSON.parse(`{${decided(same, []).slice(1)}}`) as Record<string, unknown>
    expect(line).toMatchObject({ rule: 'same', host: 'same', sni: 'same', method: 'same', policy: 'same' })
    expect(JSON.parse(`{${completed(COMPLETED, []).slice(1)}}`)).toMatchObject({ outcome: 'completed', reason: null })
  })

  it('a client is an object', () => {
    expect(client({ name: 'anonymous', source: null }, [])).toBe(',"client":{"name":"anonymous","source":null}')
  })
})
