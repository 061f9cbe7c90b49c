// Messages of MCP that no rule is about: told of in the record, and in nothing else treated differently.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isRecordedMcp } from '../../src/proxy/mcp-recognition.ts'
import type { IncomingRequest } from '../../src/proxy/message.ts'
import { type Bed, startBed } from '../doors/support/bed.ts'
import { gate } from '../doors/support/gate.ts'
import { ok } from '../support/scripted-origin.ts'

const CALL = '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"execute"}}'
const JSON_TYPE = 'Content-Type: application/json\r\n'
const SIGNS = `${JSON_TYPE}Accept: application/json, text/event-stream\r\n`
const CHUNKED = 'Transfer-Encoding: chunked\r\n'
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`

describe('what looks like a message of MCP', () => {
  const reader = { read: () => ({ kind: 'end', trailers: [] }) as const }
  const incoming = (method: string, headers: readonly string[]): IncomingRequest =>
    ({ head: { method, target: '/mcp', version: '1.1', headers } }) as unknown as IncomingRequest
  const type = ['Content-Type', 'application/json; charset=utf-8']

  it.each([
    ['both answers', 'POST', [...type, 'Accept', 'application/json, text/event-stream;q=0.9'], null, true],
    ['both in two fields', 'POST', [...type, 'Accept', 'Application/JSON', 'accept', 'text/event-stream'], 10, true],
    ['a session', 'POST', [...type, 'mcp-session-id', 'x'], 1_048_576, true],
    ['a version', 'POST', [...type, 'MCP-Protocol-Version', '2026-07-28'], null, true],
    ['a method', 'POST', [...type, 'Mcp-Method', 'tools/call'], null, true],
    ['one answer', 'POST', [...type, 'Accept', 'application/json'], null, false],
    ['any answer', 'POST', [...type, 'Accept', '*/*'], null, false],
    ['another type', 'POST', ['Content-Type', 'text/plain', 'mcp-session-id', 'x'], null, false],
    ['two types', 'POST', [...type, ...type, 'mcp-session-id', 'x'], null, false],
    ['no type', 'POST', ['mcp-session-id', 'x'], null, false],
    ['another method of HTTP', 'PUT', [...type, 'mcp-session-id', 'x'], null, false],
    ['more than is looked at', 'POST', [...type, 'mcp-session-id', 'x'], 1_048_577, false],
  ])('%s', (_, method, headers, length, recorded) => {
    expect(isRecordedMcp(incoming(method, headers), { reader, length })).toBe(recorded)
  })

  it('a request without a body is none', () => {
    expect(isRecordedMcp(incoming('POST', [...type, 'mcp-session-id', 'x']), null)).toBe(false)
  })
})

describe.each(['enforce', 'observe'] as const)('on its way, mode %s', (mode) => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed({ door: 'connect', tls: true }, { mode })
  })
  afterAll(() => bed.close())

  it('an upload in chunks that shows no sign of MCP arrives as it is sent', async () => {
    const arrived = gate()
    bed.origin.on('/plain', async (wire) => {
      await wire.until('the first chunk', () => wire.text.includes('first'))
      arrived.open()
      await wire.until('the last chunk', () => wire.text.includes('0\r\n\r\n'))
      wire.write(ok('done'))
    })
    const wire = await bed.open()
    wire.write(bed.request('/plain', { method: 'POST', fields: `${JSON_TYPE}${CHUNKED}`, body: chunk('first') }))
    await arrived.opened
    wire.write('0\r\n\r\n')
    expect((await wire.message()).status).toBe(200)
    expect(await bed.decided('/plain')).not.toHaveProperty('mcp')
    wire.socket.destroy()
  })

  it('a message is told of before anything of it leaves, and leaves as it was sent', async () => {
    let received = ''
    bed.origin.on('/mcp', async (wire, asked) => {
      expect(bed.lab.recordsOf('request.decided').some((record) => record['path'] === '/mcp')).toBe(true)
      received = (await asked.body()).body
      wire.write(ok('done'))
    })
    const wire = await bed.open()
    wire.write(bed.request('/mcp', { method: 'POST', fields: `${SIGNS}${CHUNKED}`, body: chunk(CALL.slice(0, 9)) }))
    wire.write(`${chunk(CALL.slice(9))}0\r\n\r\n`)
    expect((await wire.message()).status).toBe(200)
    expect(received).toBe(CALL)
    expect(await bed.decided('/mcp')).toMatchObject({
      decision: 'allow',
      rule: 'free',
      security_flags: [],
      mcp: [{ method: 'tools/call', tool: 'execute', resource: null, id: '7' }],
    })
    wire.socket.destroy()
  })

  it('one that breaks off is no denial: it ends as any request that breaks off', async () => {
    const wire = await bed.open()
    wire.write(bed.request('/broken', { method: 'POST', fields: `${SIGNS}Content-Length: 1000\r\n`, body: CALL }))
    wire.socket.destroy()
    const { decided, completed } = await bed.attempt('/broken')
    expect(decided).toMatchObject({ decision: 'allow', rule: 'free', reason: null })
    expect(decided).not.toHaveProperty('mcp')
    expect(completed).toMatchObject({ outcome: 'client_aborted' })
  })

  it('one that is longer than is looked at goes out whole, and is not told of', async () => {
    const long = CALL.replace('execute', 'x'.repeat(1_200_000))
    let received = 0
    bed.origin.on('/long', async (wire, asked) => {
      received = (await asked.body()).body.length
      wire.write(ok('done'))
    })
    const answer = await bed.ask('/long', {
      method: 'POST',
      fields: `${SIGNS}${CHUNKED}`,
      body: `${chunk(long)}0\r\n\r\n`,
    })
    expect((answer as { status: number }).status).toBe(200)
    expect(received).toBe(long.length)
    expect(await bed.decided('/long')).not.toHaveProperty('mcp')
  })
})

it('what is denied for its head is answered before its body is there', async () => {
  const bed = await startBed({ door: 'connect', tls: true })
  try {
    const wire = await bed.open()
    const fields = `${SIGNS}Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 1000\r\n`
    wire.write(bed.request('/denied', { method: 'POST', fields }))
    expect((await wire.message()).status).toBe(403)
    expect(await bed.decided('/denied')).toMatchObject({ decision: 'deny', reason: 'upgrade_denied' })
    wire.socket.destroy()
  } finally {
    await bed.close()
  }
})

it('what is observed is told of too: learning needs it', async () => {
  const rules = '  - { id: other, allow: { hosts: [other.allowed.test] } }\n'
  const bed = await startBed({ door: 'connect', tls: true }, { mode: 'observe', rules })
  try {
    const fields = `${SIGNS}Content-Length: ${CALL.length}\r\n`
    const answer = await bed.ask('/observed', { method: 'POST', fields, body: CALL })
    expect((answer as { status: number }).status).toBe(200)
    expect(await bed.decided('/observed')).toMatchObject({
      decision: 'deny',
      enforced: false,
      reason: 'no_matching_rule',
      mcp: [{ tool: 'execute' }],
    })
  } finally {
    await bed.close()
  }
})
