// `audit show` tells the whole story of one request, `audit stats` that of all.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Tally } from '../../src/cli/audit-tally.ts'
import { EXIT } from '../../src/cli/exit.ts'
import { audit, Fixture, HOSTILE, UNSAFE } from './audit-fixture.ts'
import { type Ended, run } from './capture.ts'

const fixture = new Fixture()
const CONNECTION = '01JD8Y6Z3M7Q2W4E6R8T0Y1V4C'
const OTHER_CLIENT = { name: 'postmark-mcp', source: '172.30.0.6' }
let tunnel: string
let broken: string
let before: string
let after: string

beforeAll(async () => {
  await fixture.open()
  const question = (client: { name: string; source: string }, name: string): Promise<void> =>
    fixture.write({
      event: 'dns.question',
      client,
      question: { name, type: 'A' },
      decision: 'allow',
      enforced: true,
      rule: 'chat',
      reason: null,
      mode: 'enforce',
      policy: 'a'.repeat(64),
      answer: 'own',
      count: 1,
      security_flags: [],
    })
  await question({ name: 'github-mcp', source: '172.30.0.5' }, 'long.ago.example')
  fixture.clock += 60_000
  await question({ name: 'github-mcp', source: '172.30.0.5' }, 'ws.example.com')
  await question(OTHER_CLIENT, 'not.mine.example')
  before = await fixture.request({ decided: { connection_id: CONNECTION, path: '/before' } })
  await fixture.request({ decided: { path: '/elsewhere' } })
  tunnel = await fixture.request({
    decided: {
      connection_id: CONNECTION,
      host: 'ws.example.com',
      path: '/socket',
      names: { connect: 'ws.example.com:443', sni: 'b.example' },
      security_flags: ['connect_sni_mismatch'],
    },
    completed: null,
  })
  await fixture.write({ event: 'tunnel.opened', request_id: tunnel, kind: 'websocket' })
  await fixture.rotate()
  await fixture.write(
    {
      event: 'tunnel.closed',
      request_id: tunnel,
      kind: 'websocket',
      bytes_sent: 10,
      bytes_received: 20,
      frames_sent: 1,
      frames_received: 2,
      duration_ms: 5_000,
    },
    {
      event: 'request.completed',
      request_id: tunnel,
      outcome: 'completed',
      reason: null,
      status: 101,
      upstream_address: '192.0.2.1:443',
      bytes_sent: 10,
      bytes_received: 20,
      duration_ms: 5_001,
      timings: { dns: 1, connect: 2, tls: 3, first_byte: 4 },
    },
  )
  after = await fixture.request({ decided: { connection_id: CONNECTION, path: '/after' } })
  broken = await fixture.denied({
    client: OTHER_CLIENT,
    host: null,
    path: HOSTILE,
    reason: 'malformed',
    method: HOSTILE,
  })
  await fixture.write({
    event: 'request.malformed',
    request_id: broken,
    code: 'HPE_INVALID_HEADER_TOKEN',
    length: 812,
    fingerprint: 'hmac:0123456789abcdef',
    request_line: HOSTILE,
    headers: [{ name: HOSTILE, length: 14 }],
  })
  await fixture.trail.close()
})
afterAll(() => fixture.remove())

const show = (...args: string[]): Promise<Ended> => {
  const [id = '', ...options] = args
  return run(audit, ['show', id, ...options, ...files()])
}
const files = (): string[] => [`${fixture.folder}/audit.000000000000.jsonl`, fixture.path]

describe('show', () => {
  it('tells decision, end, tunnel, names, questions, the connection and the place in the chain', async () => {
    const { out, code } = await show(tunnel)
    expect(code).toBe(0)
    const rows = out.split('\n').map((line) => line.trim())
    expect(rows[0]).toBe('GET https://ws.example.com/socket?state=open&per_page=100')
    for (const row of [
      /^decision +allow$/,
      /^rule +github-read$/,
      /^client +github-mcp from 172\.30\.0\.5 by door transparent$/,
      /^names +\{"connect":"ws\.example\.com:443","sni":"b\.example"\}$/,
      /^flags +connect_sni_mismatch$/,
      /^end +completed, status 101$/,
      /^upstream +192\.0\.2\.1:443$/,
      /^bytes +10 sent, 20 received$/,
      /^ms +5001 \(dns 1, connect 2, tls 3, first byte 4\)$/,
      /^tunnel\.opened +kind websocket$/,
      /^tunnel\.closed +kind websocket, bytes_sent 10, bytes_received 20, frames_sent 1, frames_received 2, duration_ms 5000$/,
      /^record +audit\.000000000000\.jsonl seq \d+ +request\.decided +\S+ +[0-9a-f]{64}$/,
      /^record +audit\.jsonl seq \d+ +request\.completed +\S+ +[0-9a-f]{64}$/,
      /^asked +\S+ ws\.example\.com A allow -, answer own$/,
      new RegExp(`^before +.*/before\\S* +${before}$`),
      new RegExp(`^after +.*/after\\S* +${after}$`),
    ]) {
      expect(rows).toContainEqual(expect.stringMatching(row))
    }
    for (const absent of ['long.ago', 'not.mine', 'elsewhere']) expect(out).not.toContain(absent)
  })

  it('shows what was malformed, and nothing of it as it is [K25]', async () => {
    const { out } = await show(broken)
    expect(out).not.toMatch(UNSAFE)
    expect(out).toContain('code "HPE_INVALID_HEADER_TOKEN"'.replaceAll('"', ''))
    expect(out).toContain('length 812')
    const { out: json } = await show(broken, '--json')
    expect(json).not.toMatch(UNSAFE)
    expect(JSON.parse(json)).toMatchObject({
      records: [
        { segment: 'audit.jsonl', record: { event: 'request.decided', path: HOSTILE } },
        { record: { event: 'request.completed' } },
        { record: { event: 'request.malformed', request_line: HOSTILE } },
      ],
    })
  })

  it.each([
    [7, /^end +refused denied_by_rule, status 200, gRPC status 7 PERMISSION_DENIED$/m],
    [99, /^end +refused denied_by_rule, status 200, gRPC status 99$/m],
    [null, /^end +refused denied_by_rule, status 200, gRPC status -$/m],
  ])('names the status of a gRPC call: %s', async (grpc, row) => {
    const calls = new Fixture()
    try {
      await calls.open()
      const id = await calls.request({
        completed: { outcome: 'refused', reason: 'denied_by_rule', status: 200, grpc_status: grpc },
      })
      await calls.trail.close()
      const { out } = await run(audit, ['show', id, calls.path])
      expect(out.replaceAll(/^ +/gm, '')).toMatch(row)
    } finally {
      await calls.remove()
    }
  })

  it('says no to what is not there', async () => {
    expect(await show('01JD8Y6Z3M7Q2W4E6R8T0Y1VZZ')).toMatchObject({ code: EXIT.no, out: '' })
    const { message } = await show('\u001b[2J')
    expect(message).toBe('no request \\u001b[2J in the trail')
  })
})

describe('stats', () => {
  it('counts over all segments', async () => {
    const { out } = await run(audit, ['stats', ...files(), '--json'])
    expect(JSON.parse(out)).toEqual({
      requests: 5,
      denied: 1,
      bytes_sent: 10,
      bytes_received: 31_337 * 3 + 20,
      hosts: [
        { host: 'api.github.com', requests: 3, denied: 0, bytes_sent: 0, bytes_received: 31_337 * 3 },
        { host: 'ws.example.com', requests: 1, denied: 0, bytes_sent: 10, bytes_received: 20 },
        { host: null, requests: 1, denied: 1, bytes_sent: 0, bytes_received: 0 },
      ],
      clients: [{ client: 'github-mcp', requests: 4, denied: 0, bytes_sent: 10, bytes_received: 31_337 * 3 + 20 }],
      denied_reasons: [{ reason: 'malformed', requests: 1, denied: 1, bytes_sent: 0, bytes_received: 0 }],
      denied_hosts: [{ host: null, requests: 1, denied: 1, bytes_sent: 0, bytes_received: 0 }],
      denied_clients: [{ client: 'postmark-mcp', requests: 1, denied: 1, bytes_sent: 0, bytes_received: 0 }],
      slowest: expect.arrayContaining([
        {
          duration_ms: 5_001,
          request_id: tunnel,
          method: 'GET',
          url: 'https://ws.example.com/socket?state=open&per_page=100',
        },
      ]) as unknown,
      days: [{ day: '2026-11-20', requests: 5, denied: 1, bytes_sent: 10, bytes_received: 31_337 * 3 + 20 }],
    })
  })

  it('is read by people', async () => {
    const { out } = await run(audit, ['stats', ...files()])
    expect(out).not.toMatch(UNSAFE)
    expect(out.split('\n').slice(0, 6)).toEqual([
      '5 requests, 1 denied, 10 bytes sent, 94031 received',
      '',
      'host            requests  denied  sent  received',
      'api.github.com         3       0     0     94011',
      'ws.example.com         1       0    10        20',
      '-                      1       1     0         0',
    ])
    expect(out).toMatch(/\ndenied for  denied\nmalformed +1\n/)
  })

  it('keeps the frequent names when a client invents others by the million', () => {
    const tally = new Tally()
    const one = { requests: 1, denied: 0, bytesSent: 0, bytesReceived: 2 }
    for (let at = 0; at < 250_000; at++) {
      tally.add(`${at}.invented.example`, one)
      if (at % 10 === 0) tally.add('api.github.com', one)
    }
    expect(tally.top(1, ({ requests }) => requests)).toEqual([
      ['api.github.com', { requests: 25_000, denied: 0, bytesSent: 0, bytesReceived: 50_000 }],
    ])
    expect(tally.byName().length).toBeLessThan(100_001)
    const kept = tally.byName().reduce((total, [, { requests }]) => total + requests, 0)
    expect(kept + tally.others.requests).toBe(275_000)
  })
})
