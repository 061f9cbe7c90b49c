// What a gRPC client reads of a refusal, and what is recorded of it.

import { status } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { exchangeOn, httpsVia, reasonOf } from '../support/clients.ts'
import { CAP_BYTES, type GrpcBed, HOST, startGrpcBed, UNKNOWN } from './support/grpc-bed.ts'
import { type Caller, messages } from './support/grpc-caller.ts'

describe.each(['connect', 'transparent'] as const)('a refused call by door %s', (door) => {
  let bed: GrpcBed
  let caller: Caller
  beforeAll(async () => {
    bed = await startGrpcBed(door)
    caller = bed.caller()
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  it('[C25] by the path of the method', async () => {
    const refused = await caller.unary('/test.Forbidden/Method', 'x')
    const { decided, completed } = await bed.attempt('/test.Forbidden/Method')
    expect(refused.code).toBe(status.PERMISSION_DENIED)
    expect(refused.details).toBe('mcp-egress: no_matching_rule: add /test.Forbidden/Method to the paths of rule calls')
    expect(refused.trailing.get('x-request-id')).toEqual([decided.request_id])
    expect(refused.trailing.get('proxy-status')).toEqual([
      'mcp-egress; error=http_request_denied; details="no_matching_rule"',
    ])
    expect(decided).toMatchObject({ decision: 'deny', reason: 'no_matching_rule' })
    expect(completed).toMatchObject({
      outcome: 'refused',
      reason: 'no_matching_rule',
      status: 200,
      grpc_status: 7,
      upstream_address: null,
    })
  })

  it.each(['clientStream', 'serverStream', 'bidi'] as const)('a call of kind %s', async (kind) => {
    const path = `/test.Forbidden/${kind}`
    const { call, ended } = caller[kind](path)
    if ('resume' in call) call.resume()
    if ('write' in call) call.write('in vain')
    expect(await ended).toMatchObject({ code: status.PERMISSION_DENIED })
    expect((await bed.attempt(path)).completed).toMatchObject({ outcome: 'refused', bytes_sent: 0, grpc_status: 7 })
  })

  it('a path that is not canonical', async () => {
    expect(await caller.unary('/test.Allowed//Unary', 'x')).toMatchObject({ code: status.INTERNAL })
    const { completed } = await bed.attempt('/test.Allowed//Unary')
    expect(completed).toMatchObject({ reason: 'path_not_canonical', status: 200, grpc_status: 13 })
  })

  it('a rule with conditions on a body, which no message of gRPC can meet', async () => {
    const refused = await caller.unary('/test.Inspected/Method', '{}')
    expect(refused).toMatchObject({ code: status.PERMISSION_DENIED })
    expect(refused.details).toMatch(/^mcp-egress: body_rule: /)
    const { completed } = await bed.attempt('/test.Inspected/Method')
    expect(completed).toMatchObject({ reason: 'body_rule', status: 200, grpc_status: 7, bytes_sent: 0 })
  })

  it('a rate that is used up says when to come again', async () => {
    bed.serve('/test.Rated/Method', { unary: (_call, answer) => answer(null, '') })
    expect(await caller.unary('/test.Rated/Method', 'x')).toMatchObject({ code: status.OK })
    const refused = await caller.unary('/test.Rated/Method', 'x')
    expect(refused).toMatchObject({ code: status.RESOURCE_EXHAUSTED })
    expect(refused.details).toMatch(/^mcp-egress: rate_limited: /)
    const number = (name: string): number => Number(refused.trailing.get(name)[0])
    expect(number('x-ratelimit-limit')).toBe(1)
    expect(number('x-ratelimit-remaining')).toBe(0)
    expect(number('grpc-retry-pushback-ms')).toBeGreaterThan(3_500_000)
    expect(number('retry-after')).toBe(Math.ceil(number('grpc-retry-pushback-ms') / 1_000))
    await bed.lab.waitFor('request.completed', bed.lab.recordsOf('request.decided').length)
    const statuses = bed.lab.recordsOf('request.completed').filter(({ reason }) => reason === 'rate_limited')
    expect(statuses).toMatchObject([{ outcome: 'refused', status: 200, grpc_status: 8 }])
  })

  it('a message that is over the limit before anything was answered', async () => {
    bed.serve('/test.Capped/Upload', { clientStream: (call) => call.resume() })
    const { call, ended } = caller.clientStream('/test.Capped/Upload')
    for (let sent = 0; sent <= CAP_BYTES; sent += 300) call.write('x'.repeat(300))
    const refused = await ended
    expect(refused).toMatchObject({ code: status.RESOURCE_EXHAUSTED })
    expect(refused.details).toBe(`mcp-egress: request_too_large: the body is over ${CAP_BYTES} bytes`)
    const { decided, completed } = await bed.attempt('/test.Capped/Upload')
    expect(decided).toMatchObject({ decision: 'allow' })
    expect(completed).toMatchObject({ outcome: 'refused', reason: 'request_too_large', status: 200, grpc_status: 8 })
    expect(completed['bytes_sent']).toBeLessThanOrEqual(CAP_BYTES)
  })

  it('a message that is over the limit behind the head of the answer breaks the stream off', async () => {
    bed.serve('/test.Capped/Chat', { bidi: (call) => void call.resume().write('hello') })
    const { call, ended } = caller.bidi('/test.Capped/Chat')
    await messages(call, 1)
    call.write('x'.repeat(2 * CAP_BYTES))
    expect((await ended).code).toBe(status.INTERNAL)
    const { completed } = await bed.attempt('/test.Capped/Chat')
    expect(completed).toMatchObject({
      outcome: 'refused',
      reason: 'request_too_large',
      status: 200,
      grpc_status: null,
    })
  })

  it('so does an answer that is over the limit', async () => {
    bed.serve('/test.Capped/Answer', { unary: (_call, answer) => answer(null, 'x'.repeat(2 * CAP_BYTES)) })
    expect((await caller.unary('/test.Capped/Answer', 'x')).code).toBe(status.INTERNAL)
    const { completed } = await bed.attempt('/test.Capped/Answer')
    expect(completed).toMatchObject({ outcome: 'refused', reason: 'response_too_large', grpc_status: null })
  })

  it('a name that has no address', async () => {
    const ended = await bed.caller(UNKNOWN).unary('/test.Allowed/NoName', 'x')
    expect(ended).toMatchObject({ code: status.UNAVAILABLE })
    expect(ended.details).toMatch(/^mcp-egress: dns_failed: /)
    const { completed } = await bed.attempt('/test.Allowed/NoName')
    expect(completed).toMatchObject({ outcome: 'failed', reason: 'dns_failed', status: 200, grpc_status: 14 })
  })
})

it('over HTTP/1.1 a request that calls itself gRPC is refused like any other', async () => {
  const bed = await startGrpcBed('connect')
  const authority = `${HOST}:${bed.port}`
  const socket = await httpsVia(bed.lab, authority, { alpn: ['http/1.1'] })
  const answer = await exchangeOn(
    socket,
    `POST /test.Forbidden/Old HTTP/1.1\r\nHost: ${authority}\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n`,
  )
  socket.destroy()
  expect([answer.status, reasonOf(answer)]).toEqual([403, 'no_matching_rule'])
  expect((await bed.attempt('/test.Forbidden/Old')).completed).not.toHaveProperty('grpc_status')
  await assertAccounted(bed.lab)
  await bed.close()
})
