// The name server as its clients see it, and as the trail tells it.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect, createServer, type Server } from 'node:net'
import { decode } from 'dns-packet'
import * as fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { RuleSpec } from '../../src/core/rule.ts'
import {
  addressesOf,
  ask,
  askRaw,
  type DnsLab,
  type DnsLabOptions,
  framed,
  question,
  rcodeOf,
  startDnsLab,
} from '../support/dns.ts'

const RULES: readonly RuleSpec[] = [
  { id: 'api', kind: 'allow', match: { hosts: ['api.test'], methods: ['GET'] } },
  { id: 'zone', kind: 'allow', match: { hosts: ['**.zone.test'] } },
  { id: 'mine', kind: 'allow', clients: ['local'], match: { hosts: ['mine.test'] } },
  { id: 'others', kind: 'allow', clients: ['elsewhere'], match: { hosts: ['others.test'] } },
  { id: 'never', kind: 'deny', match: { hosts: ['never.zone.test'] } },
]
const CLIENTS = [
  { name: 'local', source: ['127.0.0.0/8', '::1'] },
  { name: 'elsewhere', source: ['192.0.2.0/24'] },
]

let lab: DnsLab
afterEach(() => lab.close())

async function start(options: Partial<DnsLabOptions> = {}): Promise<DnsLab> {
  lab = await startDnsLab({ ...options, policy: { rules: RULES, clients: CLIENTS, ...options.policy } })
  return lab
}

/** A record as far as it differs from the common one. */
const recorded = (): unknown[] =>
  lab.records.map(({ question: { name, type }, decision, reason, rule, answer }) => [
    name,
    type,
    decision,
    reason,
    rule,
    answer,
  ])

describe.each([false, true])('over TCP: %s', (tcp) => {
  const asked = async (name: string, type = 'A'): Promise<[string, unknown[]]> => {
    const packet = await ask(name, type, { port: lab.port, tcp })
    return [rcodeOf(packet), addressesOf(packet)]
  }

  it('a name that a rule could allow has addresses of ours, and no other name server is asked', async () => {
    await start()
    expect(await asked('API.test')).toEqual(['NOERROR', ['198.18.0.1']])
    expect(await asked('a.zone.test', 'AAAA')).toEqual(['NOERROR', ['2001:2::1']])
    expect(recorded()).toEqual([
      ['API.test', 'A', 'allow', null, 'api', 'own'],
      ['a.zone.test', 'AAAA', 'allow', null, 'zone', 'own'],
    ])
    expect(lab.records[0]).toMatchObject({ client: { name: 'local', source: '127.0.0.1' }, enforced: true, count: 1 })
    expect(lab.resolved).toEqual([])
    expect(lab.decisions).toEqual([])
  })

  it('any other does not exist', async () => {
    await start()
    expect(await asked('evil.test')).toEqual(['NXDOMAIN', []])
    expect(await asked('evil.test', 'TXT')).toEqual(['NXDOMAIN', []])
    expect(await asked('never.zone.test')).toEqual(['NXDOMAIN', []])
    expect(await asked('others.test')).toEqual(['NXDOMAIN', []])
    expect(await asked('127.0.0.1')).toEqual(['NXDOMAIN', []])
    expect(recorded()).toEqual([
      ['evil.test', 'A', 'deny', 'no_matching_rule', null, 'none'],
      ['evil.test', 'TXT', 'deny', 'no_matching_rule', null, 'none'],
      ['never.zone.test', 'A', 'deny', 'denied_by_rule', 'never', 'none'],
      ['others.test', 'A', 'deny', 'no_matching_rule', null, 'none'],
      ['127.0.0.1', 'A', 'deny', 'host_not_canonical', null, 'none'],
    ])
    expect(lab.decisions[0]).toMatchObject({ decision: 'deny', method: 'DNS', url: 'evil.test', client: 'local' })
  })

  it.each(['TXT', 'CNAME', 'MX', 'NULL', 'SRV', 'NS', 'SOA', 'HTTPS', 'SVCB', 'ANY', 'AXFR'])(
    'a %s record does not exist, also of an allowed name',
    async (type) => {
      await start()
      const code = { HTTPS: 65, SVCB: 64 }[type]
      const bytes = question('api.test', code === undefined ? type : 'A')
      if (code !== undefined) bytes.writeUInt16BE(code, bytes.length - 4)
      const packet = decode(await askRaw(bytes, { port: lab.port, tcp }))
      expect([rcodeOf(packet), packet.answers]).toEqual(['NOERROR', []])
      expect(recorded()).toEqual([['api.test', type, 'allow', null, 'api', 'none']])
    },
  )

  it('localhost is this machine', async () => {
    await start()
    expect(await asked('localhost')).toEqual(['NOERROR', ['127.0.0.1']])
    expect(await asked('a.localhost', 'AAAA')).toEqual(['NOERROR', ['::1']])
    expect(recorded()).toEqual([
      ['localhost', 'A', 'allow', null, null, 'loopback'],
      ['a.localhost', 'AAAA', 'allow', null, null, 'loopback'],
    ])
  })

  it.each([
    ['of another class', 'REFUSED', 'no_matching_rule', (bytes: Buffer) => bytes.writeUInt16BE(3, bytes.length - 2)],
    ['that is two', 'FORMERR', 'malformed', (bytes: Buffer) => bytes.writeUInt16BE(2, 4)],
    ['that is an update', 'NOTIMP', 'malformed', (bytes: Buffer) => bytes.writeUInt16BE(5 << 11, 2)],
  ])('a question %s is %s, and has its record', async (_what, rcode, reason, edit) => {
    await start()
    const bytes = question('api.test')
    edit(bytes)
    expect(rcodeOf(decode(await askRaw(bytes, { port: lab.port, tcp })))).toBe(rcode)
    expect(lab.records).toMatchObject([{ decision: 'deny', reason, answer: 'none', enforced: true }])
  })

  it('[G3] without a trail there is no answer but SERVFAIL', async () => {
    await start({ names: { 'api.test': { kind: 'addresses', addresses: ['93.184.216.34'] } } })
    lab.trailWorks = false
    expect(await asked('api.test')).toEqual(['SERVFAIL', []])
    expect(await asked('evil.test')).toEqual(['SERVFAIL', []])
    lab.settings = { ...lab.settings, answers: 'resolved' }
    expect(await asked('api.test')).toEqual(['SERVFAIL', []])
    expect(lab.resolved).toEqual([])
    expect(await lab.metrics.text()).toContain('mcp_egress_audit_failures_total 3')
    lab.trailWorks = true
    expect(await asked('api.test')).toEqual(['NOERROR', ['93.184.216.34']])
  })

  it('[G1] the answer waits for the record', async () => {
    await start({ settings: { rate: { requests: 1, per: 'hour' } } })
    let open = (): void => undefined
    lab.trailGate = new Promise((resolve) => {
      open = resolve
    })
    let came = false
    const answer = asked('api.test').then((got) => {
      came = true
      return got
    })
    await vi.waitFor(() => expect(lab.appended).toBe(1), 5_000)
    // Refused without a record of its own: an answer to the first that did not wait would have come before it.
    expect(await asked('api.test')).toEqual(['REFUSED', []])
    expect(came).toBe(false)
    open()
    expect((await answer)[0]).toBe('NOERROR')
  })
})

describe('observe mode', () => {
  it('answers what policy refuses, and records the refusal as not enforced', async () => {
    await start({ policy: { mode: 'observe' } })
    expect(addressesOf(await ask('evil.test', 'A', { port: lab.port }))).toEqual(['198.18.0.1'])
    expect(lab.records).toMatchObject([
      { decision: 'deny', enforced: false, reason: 'no_matching_rule', mode: 'observe', answer: 'own' },
    ])
    expect(rcodeOf(await ask('4.3.2.1', 'A', { port: lab.port }))).toBe('NXDOMAIN')
    expect(lab.records[1]).toMatchObject({ decision: 'deny', enforced: true, reason: 'host_not_canonical' })
  })
})

describe('answers: resolved', () => {
  const settings = { answers: 'resolved' } as const
  const start4 = (...addresses: string[]): Promise<DnsLab> =>
    start({ settings, names: { 'api.test': { kind: 'addresses', addresses } } })

  it('asks after the record, and only for names that a rule could allow', async () => {
    await start4('93.184.216.34', '2606:2800:220:1::1')
    expect(addressesOf(await ask('Api.test', 'A', { port: lab.port }))).toEqual(['93.184.216.34'])
    expect(addressesOf(await ask('api.test', 'AAAA', { port: lab.port }))).toEqual(['2606:2800:220:1::1'])
    expect(rcodeOf(await ask('evil.test', 'A', { port: lab.port }))).toBe('NXDOMAIN')
    expect(addressesOf(await ask('api.test', 'TXT', { port: lab.port }))).toEqual([])
    expect(lab.resolved).toEqual([
      { name: 'api.test', records: 1 },
      { name: 'api.test', records: 2 },
    ])
    expect(lab.records.map(({ answer }) => answer)).toEqual(['resolved', 'resolved', 'none', 'none'])
  })

  it.each(['169.254.169.254', '127.0.0.1', '10.0.0.1', '::1', 'fd00:ec2::254'])(
    '[E07] one forbidden address (%s) refuses all, and has its record',
    async (forbidden) => {
      await start4('93.184.216.34', forbidden)
      const packet = await ask('api.test', 'A', { port: lab.port })
      expect([rcodeOf(packet), packet.answers]).toEqual(['NOERROR', []])
      expect(lab.records).toMatchObject([
        { decision: 'allow', count: 1 },
        { decision: 'deny', reason: 'address_denied', answer: 'none', count: 0 },
      ])
    },
  )

  it.each([
    ['ENOTFOUND', 'NXDOMAIN', 1],
    ['ENODATA', 'NOERROR', 1],
    ['ETIMEOUT', 'SERVFAIL', 2],
  ])('%s is %s', async (detail, rcode, records) => {
    await start({ settings, names: { 'api.test': { kind: 'failed', detail } } })
    expect(rcodeOf(await ask('api.test', 'A', { port: lab.port }))).toBe(rcode)
    expect(lab.records).toHaveLength(records)
  })

  it('a long list is cut to what fits', async () => {
    await start4(...Array.from({ length: 64 }, (_value, index) => `93.184.216.${index}`))
    expect(addressesOf(await ask('api.test', 'A', { port: lab.port }))).toHaveLength(8)
  })
})

describe('the address at which the client reached us', () => {
  const settings = { addresses: 'reached' } as const

  it.each([
    ['127.0.0.1', '127.0.0.1', false],
    ['127.0.0.1', '127.0.0.1', true],
    ['0.0.0.0', '127.0.0.1', false],
    ['0.0.0.0', '127.0.0.1', true],
    ['::', '127.0.0.1', false],
    ['::', '127.0.0.1', true],
  ])('bound to %s and asked at %s (TCP: %s)', async (host, at, tcp) => {
    await start({ settings, host })
    expect(addressesOf(await ask('api.test', 'A', { port: lab.port, host: at, tcp }))).toEqual([at])
    // The client came by IPv4: what it would reach by IPv6 is not known.
    expect(addressesOf(await ask('api.test', 'AAAA', { port: lab.port, host: at, tcp }))).toEqual([])
    expect(lab.records.map(({ answer }) => answer)).toEqual(['own', 'none'])
    expect(lab.records[0]?.client).toEqual({ name: 'local', source: '127.0.0.1' })
  })

  it('is that of IPv6 for who comes by IPv6', async () => {
    await start({ settings, host: '::1' })
    expect(addressesOf(await ask('api.test', 'AAAA', { port: lab.port, host: '::1' }))).toEqual(['::1'])
    expect(addressesOf(await ask('api.test', 'A', { port: lab.port, host: '::1' }))).toEqual([])
  })
})

describe('sockets made elsewhere', () => {
  it('are served and closed', async () => {
    await start()
    const udp = createSocket('udp4')
    await new Promise<void>((done) => udp.bind(0, '127.0.0.1', done))
    const tcp: Server = createServer({ allowHalfOpen: true })
    await new Promise<void>((done) => tcp.listen(0, '127.0.0.1', done))
    lab.server.adopt(udp, tcp)
    const { port } = tcp.address() as { port: number }
    expect(addressesOf(await ask('api.test', 'A', { port: udp.address().port }))).toEqual(['198.18.0.1'])
    expect(addressesOf(await ask('api.test', 'A', { port, tcp: true }))).toEqual(['198.18.0.1'])
    const closed = Promise.all([once(udp, 'close'), once(tcp, 'close')])
    await lab.server.close()
    await closed
  })

  it('a port that is taken is said to be', async () => {
    await start()
    await expect(lab.server.listen({ host: '127.0.0.1', port: lab.port })).rejects.toThrow('EADDRINUSE')
  })

  it('a port that is taken for UDP alone leaves no TCP listener behind', async () => {
    await start()
    const udp = createSocket('udp4')
    await new Promise<void>((done) => udp.bind(0, '127.0.0.1', done))
    const { port } = udp.address()
    await expect(lab.server.listen({ host: '127.0.0.1', port })).rejects.toThrow('EADDRINUSE')
    const refused = connect({ port, host: '127.0.0.1' })
    const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException]
    expect(error.code).toBe('ECONNREFUSED')
    udp.close()
  })
})

describe('over TCP', () => {
  const answersOf = async (bytes: readonly Buffer[], count: number): Promise<string[]> => {
    const socket = connect({ port: lab.port, host: '127.0.0.1', noDelay: true })
    let held = Buffer.alloc(0)
    const answers: string[] = []
    const done = new Promise<void>((resolve, reject) => {
      socket.on('error', reject)
      socket.on('close', () => resolve())
      socket.on('data', (chunk: Buffer) => {
        held = Buffer.concat([held, chunk])
        while (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) {
          answers.push(rcodeOf(decode(held.subarray(2, 2 + held.readUInt16BE(0)))))
          held = held.subarray(2 + held.readUInt16BE(0))
        }
        if (answers.length >= count) resolve()
      })
    })
    for (const part of bytes) await new Promise<void>((written) => socket.write(part, () => written()))
    await done
    socket.destroy()
    return answers
  }

  it('many questions in one segment are answered in order (RFC 7766 §6.2.1.1)', async () => {
    await start()
    const names = ['api.test', 'evil.test', 'a.zone.test', 'evil.test']
    const all = Buffer.concat(names.map((name) => framed(question(name))))
    expect(await answersOf([all], 4)).toEqual(['NOERROR', 'NXDOMAIN', 'NOERROR', 'NXDOMAIN'])
  })

  it('a question may come byte by byte', async () => {
    await start()
    const bytes = [...framed(question('api.test'))].map((byte) => Buffer.from([byte]))
    expect(await answersOf(bytes, 1)).toEqual(['NOERROR'])
  })

  it('a message over 4,096 bytes ends the connection, and an answer gets none', async () => {
    await start()
    const started = performance.now()
    expect(await answersOf([Buffer.from([0x10, 0x01]), Buffer.alloc(16)], 1)).toEqual([])
    // At once, and not when the patience of 10 s is over.
    expect(performance.now() - started).toBeLessThan(8_000)
    const answer = question('api.test')
    answer.writeUInt16BE(0x8180, 2)
    expect(await answersOf([framed(answer), framed(question('api.test'))], 1)).toEqual(['NOERROR'])
    expect(lab.records).toHaveLength(1)
  })

  it('one source has at most 32 connections', async () => {
    await start()
    const open = Array.from({ length: 32 }, () => connect({ port: lab.port, host: '127.0.0.1' }))
    await Promise.all(open.map((socket) => once(socket, 'connect')))
    // Answered, so every connection before it was accepted too.
    const answered = Promise.all(open.slice(-1).map((socket) => once(socket, 'data')))
    for (const socket of open.slice(-1)) socket.write(framed(question('api.test')))
    await answered
    await expect(ask('api.test', 'A', { port: lab.port, tcp: true })).rejects.toThrow(/ended|ECONNRESET|EPIPE/)
    expect(await lab.metrics.text()).toContain('mcp_egress_connections_refused_total 1')
    open.pop()?.destroy()
    await vi.waitFor(() => ask('api.test', 'A', { port: lab.port, tcp: true }), 5_000)
    for (const socket of open) socket.destroy()
  })
})

describe('any bytes', () => {
  it('never crash the server and never have an address of a denied name', async () => {
    await start()
    const allowed = new Set(['api.test', 'mine.test', 'localhost'])
    const names = fc.oneof(
      fc.constantFrom('api.test', 'api.test.evil.test', 'mine.test', 'others.test', 'never.zone.test', 'localhost'),
      fc.domain(),
    )
    const message = fc.oneof(
      fc.uint8Array({ minLength: 12, maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
      fc.tuple(names, fc.nat(255), fc.nat(60), fc.boolean()).map(([name, byte, at, edit]) => {
        const bytes = question(name, 'A', true)
        if (edit && at < bytes.length) bytes.writeUInt8(byte, at)
        return bytes
      }),
    )
    lab.settings = { ...lab.settings, rate: { requests: 1_000_000, per: 'second' } }
    await fc.assert(
      fc.asyncProperty(message, async (bytes) => {
        // An answer is what is not answered: the server's next answer would be taken for one to it.
        fc.pre((bytes.readUInt16BE(2) & 0x8000) === 0)
        const packet = decode(await askRaw(bytes, { port: lab.port }))
        expect(packet.id).toBe(bytes.readUInt16BE(0))
        const name = packet.questions?.[0]?.name.toLowerCase() ?? ''
        const mayBe =
          allowed.has(name) || name.endsWith('.zone.test') || name.endsWith('.localhost') || name === 'zone.test'
        expect(mayBe ? [] : packet.answers).toEqual([])
      }),
      { numRuns: 300 },
    )
    expect(lab.faults).toEqual([])
    expect(addressesOf(await ask('api.test', 'A', { port: lab.port }))).toEqual(['198.18.0.1'])
  }, 60_000)
})
