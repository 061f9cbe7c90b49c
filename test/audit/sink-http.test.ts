// The HTTP sink against a receiver with TLS of its own that fails in every way a receiver can.

import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttps } from 'node:https'
import type { AddressInfo, Server, Socket } from 'node:net'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { HttpFormat } from '../../src/audit/sink-formats.ts'
import { httpDestination, retryAfter } from '../../src/audit/sink-http.ts'
import { type Delivery, type Destination, parseShipped, type ShippedRecord } from '../../src/audit/sink-record.ts'
import { reach } from '../../src/audit/sink-tls.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'
import { INSTANCE, type SinkTrail, sinkTrail } from './support/sink-trail.ts'

type Handler = (response: ServerResponse, request: IncomingMessage) => void

interface Got {
  readonly headers: IncomingMessage['headers']
  readonly url: string
  readonly body: string
}

let root: TestRoot
let trail: SinkTrail
beforeAll(() => {
  root = createTestRoot()
  trail = sinkTrail()
})
afterAll(() => {
  root.close()
  trail.close()
})
const closing: (() => unknown)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

const records = (count: number, fields?: string): ShippedRecord[] =>
  trail.write(count, fields).map((line) => parseShipped(line) as ShippedRecord)
const NEVER = new AbortController().signal
const ok: Handler = (response) => response.end('{}')

async function receiver(handler: Handler, secure = true): Promise<{ port: number; got: Got[] }> {
  const got: Got[] = []
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      got.push({ headers: request.headers, url: request.url ?? '', body: Buffer.concat(parts).toString() })
      handler(response, request)
    })
  }
  const server: Server = secure ? createHttps({ ...root.issue('siem.example') }, onRequest) : createHttp(onRequest)
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, got }
}

interface Options {
  readonly format?: HttpFormat
  readonly host?: string
  readonly headers?: Record<string, string>
  readonly trusted?: boolean
  readonly scheme?: 'http' | 'https'
}

function destination(port: number, options: Options = {}): Destination {
  const { format = 'jsonl', host = 'siem.example', headers = {}, trusted = true, scheme = 'https' } = options
  const resolve = async (): Promise<string[]> => ['127.0.0.1']
  const reached = reach(trusted ? { ca: root.file } : {}, () => [], resolve)
  const made = httpDestination({ url: `${scheme}://${host}:${port}/in?x=1`, headers, format }, reached)
  closing.push(() => made.close())
  return made
}

describe('the HTTP sink', () => {
  it('posts the lines as they are, with what names the batch', async () => {
    const { port, got } = await receiver(ok)
    const batch = records(3)
    const to = destination(port, { headers: { Authorization: 'Splunk abc' } })
    expect(await to.deliver(batch, NEVER)).toEqual({ kind: 'accepted' })
    expect(got).toMatchObject([
      {
        url: '/in?x=1',
        body: batch.map(({ text }) => `${text}\n`).join(''),
        headers: {
          'content-type': 'application/x-ndjson',
          authorization: 'Splunk abc',
          'idempotency-key': `${INSTANCE}-${batch[0]?.seq}-${batch[2]?.seq}`,
        },
      },
    ])
  })

  it('keeps its connection from batch to batch', async () => {
    const ports = new Set<number | undefined>()
    const { port } = await receiver((response, request) => {
      ports.add(request.socket.remotePort)
      response.end()
    })
    const to = destination(port)
    for (let count = 0; count < 3; count++) await to.deliver(records(1), NEVER)
    expect(ports.size).toBe(1)
  })

  it.each<[number, Record<string, string>, Partial<Delivery>]>([
    [500, {}, { kind: 'failed', why: 'HTTP 500 no', afterMs: null }],
    [503, { 'Retry-After': '7' }, { kind: 'failed', afterMs: 7_000 }],
    [429, { 'Retry-After': '2' }, { kind: 'failed', afterMs: 2_000 }],
    [401, {}, { kind: 'failed' }],
    [403, {}, { kind: 'failed' }],
    [404, {}, { kind: 'failed' }],
    [301, { Location: 'https://elsewhere.example/' }, { kind: 'failed' }],
    [413, {}, { kind: 'refused', why: 'HTTP 413 no' }],
    [400, {}, { kind: 'refused' }],
    [422, {}, { kind: 'refused' }],
    [204, {}, { kind: 'accepted' }],
  ])('takes %i for what it says', async (status, headers, delivery) => {
    const { port, got } = await receiver((response) =>
      response.writeHead(status, headers).end(status === 204 ? '' : 'no'),
    )
    expect(await destination(port).deliver(records(1), NEVER)).toMatchObject(delivery)
    expect(got).toHaveLength(1)
  })

  it('takes what a receiver says for text, not for orders to a terminal', async () => {
    const { port } = await receiver((response) => response.writeHead(500).end('\u001b[2J\u009b\u202e\n gone'))
    expect(await destination(port).deliver(records(1), NEVER)).toMatchObject({ why: 'HTTP 500 [2J gone' })
  })

  it.each<[string, Handler]>([
    ['says nothing', () => undefined],
    ['stops in the middle of its answer', (response) => response.writeHead(200).write('{')],
  ])('gives up a receiver that %s when it is told to', async (_name, handler) => {
    const { port } = await receiver(handler)
    expect(await destination(port).deliver(records(1), AbortSignal.timeout(150))).toEqual({
      kind: 'failed',
      why: 'no answer in time',
      afterMs: null,
    })
  })

  it.each<[string, Handler]>([
    ['resets', (_response, request) => request.socket.destroy()],
    [
      'cuts its answer off',
      (response, request) => {
        response.writeHead(200, { 'Content-Length': '100' }).write('{')
        setImmediate(() => request.socket.destroy())
      },
    ],
    ['says more than anybody reads', (response) => response.writeHead(200).end('x'.repeat(5_000_000))],
  ])('has not delivered to a receiver that %s', async (_name, handler) => {
    const { port } = await receiver(handler)
    expect(await destination(port).deliver(records(1), NEVER)).toMatchObject({ kind: 'failed' })
  })

  it('delivers to one that returns', async () => {
    let broken = true
    const { port, got } = await receiver((response, request) => (broken ? request.socket.destroy() : response.end()))
    const to = destination(port)
    const batch = records(2)
    expect(await to.deliver(batch, NEVER)).toMatchObject({ kind: 'failed' })
    broken = false
    expect(await to.deliver(batch, NEVER)).toEqual({ kind: 'accepted' })
    expect(got[1]?.body).toBe(got[0]?.body)
    expect(got[1]?.headers['idempotency-key']).toBe(got[0]?.headers['idempotency-key'])
  })

  it.each<[string, Options, RegExp]>([
    ['of another name', { host: 'other.example' }, /does not match|altnames/],
    ['of a CA that is not believed', { trusted: false }, /certificate/],
  ])('sends nothing to a receiver %s, whatever the environment says', async (_name, options, why) => {
    const { port, got } = await receiver(ok)
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    try {
      const delivery = await destination(port, options).deliver(records(1), NEVER)
      expect(delivery).toMatchObject({ kind: 'failed', why: expect.stringMatching(why) })
    } finally {
      delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
    }
    expect(got).toEqual([])
  })

  it('goes through no proxy of the environment', async () => {
    const { port, got } = await receiver(ok, false)
    process.env['HTTP_PROXY'] = 'http://127.0.0.1:1'
    process.env['http_proxy'] = 'http://127.0.0.1:1'
    process.env['NODE_USE_ENV_PROXY'] = '1'
    try {
      expect(await destination(port, { scheme: 'http' }).deliver(records(1), NEVER)).toEqual({ kind: 'accepted' })
    } finally {
      for (const name of ['HTTP_PROXY', 'http_proxy', 'NODE_USE_ENV_PROXY']) delete process.env[name]
    }
    expect(got).toHaveLength(1)
  })
})

describe('what a receiver gets', () => {
  const decided = '"event":"request.decided","decision":"deny","path":"/a\\"b"'

  it('splunk-hec: one event a record, with its time and number', async () => {
    const { port, got } = await receiver(ok)
    const batch = records(2, decided)
    await destination(port, { format: 'splunk-hec' }).deliver(batch, NEVER)
    const events = (got[0]?.body ?? '').split('\n').map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(events).toEqual(
      batch.map((record) => ({
        time: Date.parse(record.timestamp) / 1_000,
        source: 'mcp-egress',
        sourcetype: 'mcp-egress:audit',
        fields: { instance: INSTANCE, seq: String(record.seq) },
        event: JSON.parse(record.text),
      })),
    )
  })

  it('loki: one stream, the line, and a time that is the same whenever it is sent', async () => {
    const { port, got } = await receiver((response) => response.writeHead(204).end())
    const batch = records(2, decided)
    const to = destination(port, { format: 'loki' })
    await to.deliver(batch, NEVER)
    await to.deliver(batch.slice(1), NEVER)
    const pushed = got.map(({ body }) => JSON.parse(body) as { streams: { stream: unknown; values: string[][] }[] })
    expect(pushed[0]?.streams).toEqual([
      {
        stream: { service_name: 'mcp-egress', instance: INSTANCE },
        values: batch.map((record) => [
          `${Date.parse(record.timestamp)}${String(record.seq).padStart(6, '0')}`,
          record.text,
        ]),
      },
    ])
    expect(pushed[1]?.streams[0]?.values[0]).toEqual(pushed[0]?.streams[0]?.values[1])
  })

  it('elastic-bulk: create under an identifier of its own, and the record to verify', async () => {
    const batch = records(2, decided)
    const { port, got } = await receiver((response) =>
      response.end(JSON.stringify({ errors: false, items: batch.map(() => ({ create: { status: 201 } })) })),
    )
    expect(await destination(port, { format: 'elastic-bulk' }).deliver(batch, NEVER)).toEqual({ kind: 'accepted' })
    const lines = (got[0]?.body ?? '').split('\n')
    expect(lines.at(-1)).toBe('')
    expect(JSON.parse(lines[0] ?? '')).toEqual({ create: { _id: `${INSTANCE}-${batch[0]?.seq}` } })
    const [first] = batch
    expect(lines[1]?.replace(`"@timestamp":"${first?.timestamp}",`, '')).toBe(first?.text)
    expect(JSON.parse(lines[3] ?? '')).toMatchObject({ '@timestamp': batch[1]?.timestamp, seq: batch[1]?.seq })
  })

  it.each<[string, readonly unknown[], Partial<Delivery>]>([
    ['sent before', [201, 409], { kind: 'accepted' }],
    ['too much for now', [201, 429], { kind: 'failed' }],
    ['a shard that is away', [503, 201], { kind: 'failed' }],
    ['no right to write', [403, 403], { kind: 'failed' }],
    ['one that does not fit', [201, 400], { kind: 'partly', refused: new Map([[1, '400 {"type":"mapping"}']]) }],
    ['none that fits', [400, 400], { kind: 'refused' }],
    ['fewer answers than records', [201], { kind: 'failed' }],
    ['an answer without a status', [201, undefined], { kind: 'failed' }],
  ])('elastic-bulk: %s', async (_name, statuses, delivery) => {
    const items = statuses.map((status) => ({
      create: { status, ...(status === 400 ? { error: { type: 'mapping' } } : {}) },
    }))
    const { port } = await receiver((response) => response.end(JSON.stringify({ errors: true, items })))
    expect(await destination(port, { format: 'elastic-bulk' }).deliver(records(2), NEVER)).toMatchObject(delivery)
  })

  it.each(['', 'null', '{"items":7}', '<html>'])('elastic-bulk: %j is no answer', async (answer) => {
    const { port } = await receiver((response) => response.end(answer))
    expect(await destination(port, { format: 'elastic-bulk' }).deliver(records(1), NEVER)).toMatchObject({
      kind: 'failed',
    })
  })
})

describe('retryAfter', () => {
  const now = Date.parse('2026-11-20T10:00:00Z')
  it.each([
    ['0', 0],
    ['120', 120_000],
    ['Fri, 20 Nov 2026 10:00:30 GMT', 30_000],
    ['Fri, 20 Nov 2026 09:00:00 GMT', 0],
    ['soon', null],
    [undefined, null],
    [['1', '2'], null],
  ])('%j', (field, milliseconds) => expect(retryAfter(field, now)).toBe(milliseconds))
})

describe('reach', () => {
  it.each([
    ['ca', 'absent.pem', /absent\.pem: can not be read \(ENOENT\)\. Fix:/],
    ['ca', 'empty.pem', /empty\.pem: no PEM certificate in it\. Fix:/],
    ['key', 'absent.pem', /can not be read/],
  ])('names the file: %s %s', (member, name, message) => {
    writeFileSync(join(trail.folder, 'empty.pem'), '')
    const files = { [member]: join(trail.folder, name) }
    expect(() =>
      reach(
        files,
        () => [],
        async () => [],
      ),
    ).toThrow(message)
  })

  it('answers a lookup in both shapes, and says when there is no address', async () => {
    const { lookup } = reach(
      {},
      () => [],
      async (name) => (name === 'none' ? [] : ['192.0.2.1', '2001:db8::1']),
    )
    const ask = (name: string, all: boolean): Promise<unknown> =>
      new Promise((resolve) =>
        lookup(name, { all }, (error, ...found) =>
          resolve(error?.message ?? found.filter((part) => part !== undefined)),
        ),
      )
    expect(await ask('a', true)).toEqual([
      [
        { address: '192.0.2.1', family: 4 },
        { address: '2001:db8::1', family: 6 },
      ],
    ])
    expect(await ask('a', false)).toEqual(['192.0.2.1', 4])
    expect(await ask('none', false)).toBe('none has no address')
  })
})
