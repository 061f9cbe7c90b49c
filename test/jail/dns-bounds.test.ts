// What one client can take from the name server, and that what is refused for it is counted and written down.

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { NewNames } from '../../src/jail/dns/new-names.ts'
import { ReachedAddresses } from '../../src/jail/dns/reached.ts'
import { type ServeMessage, serveStream } from '../../src/jail/dns/stream.ts'
import { type Surplus, SurplusCounter } from '../../src/jail/dns/surplus.ts'
import { addressesOf, ask, type DnsLab, framed, question, rcodeOf, startDnsLab } from '../support/dns.ts'

describe('the rate of one source', () => {
  let lab: DnsLab
  beforeEach(async () => {
    lab = await startDnsLab({
      policy: { rules: [{ id: 'api', kind: 'allow', match: { hosts: ['api.test', '*.zone.test'] } }] },
      settings: { rate: { requests: 1, per: 'second', burst: 3 } },
    })
  })
  afterEach(() => lab.close())

  const asked = async (name: string, count: number): Promise<string[]> => {
    const answers: string[] = []
    for (let left = count; left > 0; left -= 1) answers.push(rcodeOf(await ask(name, 'A', { port: lab.port })))
    return answers
  }

  it('is a burst and then so many a second; what is over is REFUSED, and has one record with its count', async () => {
    expect(await asked('api.test', 10)).toEqual([
      ...Array<string>(3).fill('NOERROR'),
      ...Array<string>(7).fill('REFUSED'),
    ])
    await vi.waitFor(() => expect(lab.records).toHaveLength(4), 5_000)
    expect(lab.records[3]).toMatchObject({
      client: { name: 'anonymous', source: '127.0.0.1' },
      question: { name: null, type: null },
      decision: 'deny',
      reason: 'rate_limited',
      answer: 'none',
      count: 7,
      security_flags: ['dns_flood'],
    })
    expect(await lab.metrics.text()).toContain(
      'mcp_egress_dns_questions_total{decision="deny",reason="rate_limited",client="anonymous"} 7',
    )
    lab.clock += 1_000
    expect(await asked('api.test', 2)).toEqual(['NOERROR', 'REFUSED'])
  })

  it('is counted for malformed messages and denied names too', async () => {
    expect(await asked('evil.test', 4)).toEqual(['NXDOMAIN', 'NXDOMAIN', 'NXDOMAIN', 'REFUSED'])
  })

  it('what is only counted yet is written at a shutdown', async () => {
    await asked('api.test', 5)
    await lab.close()
    expect(lab.records.map(({ count }) => count)).toEqual([1, 1, 1, 2])
  })

  it('what could not be written is counted on', async () => {
    await asked('api.test', 5)
    lab.trailWorks = false
    await lab.close()
    lab.trailWorks = true
    await lab.close()
    expect(lab.records.map(({ count }) => count)).toEqual([1, 1, 1, 2])
  })
})

it.each([false, true])('at a shutdown, a question under way has its answer (TCP: %s)', async (tcp) => {
  const lab = await startDnsLab({ policy: { rules: [{ id: 'api', kind: 'allow', match: { hosts: ['api.test'] } }] } })
  let open = (): void => undefined
  lab.trailGate = new Promise((resolve) => {
    open = resolve
  })
  const answer = ask('api.test', 'A', { port: lab.port, tcp })
  await vi.waitFor(() => expect(lab.appended).toBe(1), 5_000)
  const closed = lab.close()
  open()
  expect(addressesOf(await answer)).toEqual(['198.18.0.1'])
  await closed
})

it('a trail that stands still holds 1,024 questions at most; the next is told at once', async () => {
  const lab = await startDnsLab({
    policy: { rules: [] },
    settings: { rate: { requests: 1_000_000, per: 'second' } },
  })
  let open = (): void => undefined
  lab.trailGate = new Promise((resolve) => {
    open = resolve
  })
  const socket = connect({ port: lab.port, host: '127.0.0.1' })
  socket.on('error', () => undefined)
  const waiting: Promise<unknown>[] = []
  // A hundred at a time: a datagram over the kernel's buffer would be lost.
  while (lab.appended < 1_024) {
    const before = lab.appended
    const batch = Math.min(100, 1_024 - before)
    for (let index = 0; index < batch; index += 1) waiting.push(ask('evil.test', 'A', { port: lab.port }))
    await vi.waitFor(() => expect(lab.appended).toBe(before + batch), 5_000)
  }
  expect(rcodeOf(await ask('evil.test', 'A', { port: lab.port }))).toBe('SERVFAIL')
  expect(lab.appended).toBe(1_024)
  open()
  await Promise.all(waiting)
  await lab.close()
  expect(lab.records.at(-1)).toMatchObject({ reason: 'overloaded', count: 1 })
  socket.destroy()
}, 30_000)

describe('[E21] new names under a wildcard', () => {
  it('are 60 a minute for each client and rule; known ones are free', () => {
    const names = new NewNames()
    const admitted = Array.from({ length: 100 }, (_value, index) => names.admit('one rule', `n${index}`, index))
    expect(admitted.filter(Boolean)).toHaveLength(60)
    expect(names.admit('one rule', 'n0', 200)).toBe(true)
    expect(names.admit('one rule', 'n99', 200)).toBe(false)
    expect(names.admit('two rule', 'n99', 200)).toBe(true)
    expect(names.admit('one rule', 'n99', 59_999)).toBe(false)
    expect(names.admit('one rule', 'n99', 60_000)).toBe(true)
  })

  it('have room for 4,096 clients and rules; the next is refused until a window is over', () => {
    const names = new NewNames()
    const keys = Array.from({ length: 4_097 }, (_value, index) => names.admit(`key ${index}`, 'a', 0))
    expect(keys.filter(Boolean)).toHaveLength(4_096)
    expect(names.admit('late', 'a', 59_999)).toBe(false)
    expect(names.admit('late', 'a', 60_000)).toBe(true)
  })

  it('past the bound do not exist, which is recorded and flagged; names written out are not counted', async () => {
    const lab = await startDnsLab({
      policy: { rules: [{ id: 'zone', kind: 'allow', match: { hosts: ['*.zone.test', 'api.test'] } }] },
      settings: { rate: { requests: 1_000, per: 'second' } },
    })
    for (let index = 0; index < 60; index += 1) await ask(`n${index}.zone.test`, 'A', { port: lab.port })
    expect(rcodeOf(await ask('n60.zone.test', 'A', { port: lab.port }))).toBe('NXDOMAIN')
    expect(lab.records.at(-1)).toMatchObject({
      decision: 'deny',
      reason: 'rate_limited',
      rule: 'zone',
      security_flags: ['dns_new_names'],
    })
    expect(rcodeOf(await ask('n0.zone.test', 'A', { port: lab.port }))).toBe('NOERROR')
    expect(rcodeOf(await ask('api.test', 'A', { port: lab.port }))).toBe('NOERROR')
    await lab.close()
  })
})

describe('a flood from many sources', () => {
  it('is told apart for 1,024 of them and counted together for the rest, none of it lost', async () => {
    const written: Surplus[] = []
    const counter = new SurplusCounter((surplus) => Promise.resolve(written.push(surplus) > 0))
    for (let round = 0; round < 2; round += 1) {
      for (let index = 0; index < 2_000; index += 1)
        counter.add('anonymous', `10.0.${index >> 8}.${index & 255}`, 'rate_limited')
    }
    await counter.flush()
    expect(written).toHaveLength(1_025)
    expect(written.reduce((sum, { count }) => sum + count, 0)).toBe(4_000)
    expect(written.at(-1)).toEqual({ client: 'anonymous', source: null, reason: 'rate_limited', count: 976 * 2 })
    await counter.flush()
    expect(written).toHaveLength(1_025)
  })
})

describe('the address towards a client', () => {
  it('is remembered for a minute, of 1,024 clients, and null where there is no way', async () => {
    let now = 0
    const reached = new ReachedAddresses(() => now)
    const first = reached.towards('127.0.0.1')
    expect(await first).toBe('127.0.0.1')
    expect(reached.towards('127.0.0.1')).toBe(first)
    now = 60_000
    expect(reached.towards('127.0.0.1')).not.toBe(first)
    expect(await reached.towards('not an address')).toBeNull()
    const kept = reached.towards('127.0.0.1')
    for (let index = 0; index < 1_023; index += 1) await reached.towards(`127.1.${index >> 8}.${index & 255}`)
    const again = reached.towards('127.0.0.1')
    expect(again === kept).toBe(false)
    expect(await again).toBe('127.0.0.1')
  }, 30_000)
})

describe('a TCP connection', () => {
  let server: Server
  let client: Socket
  let served: Promise<void>
  let messages: Buffer[]
  const PATIENCE_MS = 1_000

  beforeEach(async () => {
    messages = []
    server = createServer({ allowHalfOpen: true })
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    const accepted = new Promise<void>((done) => {
      server.once('connection', (socket) => {
        socket.on('error', () => undefined)
        const echo: ServeMessage = (message, send) => {
          messages.push(message)
          return send(message)
        }
        served = serveStream(socket, echo, PATIENCE_MS)
        done()
      })
    })
    client = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' })
    client.on('error', () => undefined)
    await Promise.all([once(client, 'connect'), accepted])
  })
  afterEach(() => {
    client.destroy()
    server.close()
  })

  it('on which nothing is asked ends', async () => {
    await served
    expect(messages).toEqual([])
  })

  it('on which a message comes byte by byte ends all the same, in the time of one message', async () => {
    // 40 s of dripping: whoever counted the time from the last byte would still be waiting.
    const bytes = framed(Buffer.alloc(4_000))
    let sent = 0
    const drip = setInterval(() => {
      if (sent < bytes.length) client.write(bytes.subarray(sent, ++sent))
    }, 10)
    await served
    clearInterval(drip)
    expect(sent).toBeGreaterThan(2)
    expect(sent).toBeLessThan(bytes.length)
    expect(messages).toEqual([])
  })

  it('whose client takes no answers ends', async () => {
    client.write(framed(question('api.test')))
    await once(client, 'data')
    client.pause()
    const many = Buffer.concat(Array.from({ length: 500 }, () => framed(Buffer.alloc(4_000))))
    // Far more than the buffers of two sockets hold: in the end the server can write no more, and then reads no more.
    const flood = (): void => {
      while (!client.destroyed && client.writableLength < 4 * many.length) client.write(many)
    }
    client.on('drain', flood)
    flood()
    await served
    expect(messages.length).toBeGreaterThan(1)
  })

  it('that the client has ended has its answers first', async () => {
    const bytes = framed(question('api.test'))
    client.end(Buffer.concat([bytes, bytes]))
    let got = 0
    client.on('data', (chunk: Buffer) => {
      got += chunk.length
    })
    await once(client, 'close')
    await served
    expect(got).toBe(2 * bytes.length)
  })
})
