// OTLP by the official exporter: what a collector gets, and when a batch counts as delivered.

import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttps } from 'node:https'
import type { AddressInfo, Server, Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { logRecord, otlpDestination } from '../../src/audit/sink-otlp.ts'
import { type Delivery, type Destination, parseShipped, type ShippedRecord } from '../../src/audit/sink-record.ts'
import { reach } from '../../src/audit/sink-tls.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'
import { INSTANCE, type SinkTrail, sinkTrail } from './support/sink-trail.ts'

interface Attribute {
  readonly key: string
  readonly value: Readonly<Record<string, unknown>>
}

interface Log {
  readonly timeUnixNano: string
  readonly severityNumber: number
  readonly severityText: string
  readonly eventName: string
  readonly body: { readonly stringValue: string }
  readonly attributes: readonly Attribute[]
}

interface Pushed {
  readonly resourceLogs: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] }
    readonly scopeLogs: readonly { readonly logRecords: readonly Log[] }[]
  }[]
}

type Handler = (response: ServerResponse, request: IncomingMessage) => void

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

const NEVER = new AbortController().signal
const records = (count: number, fields?: string): ShippedRecord[] =>
  trail.write(count, fields).map((line) => parseShipped(line) as ShippedRecord)

async function collector(
  handler: Handler,
  secure = false,
): Promise<{ port: number; got: Pushed[]; headers: IncomingMessage['headers'][] }> {
  const got: Pushed[] = []
  const headers: IncomingMessage['headers'][] = []
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      headers.push(request.headers)
      got.push(JSON.parse(Buffer.concat(parts).toString()) as Pushed)
      handler(response, request)
    })
  }
  const server: Server = secure ? createHttps({ ...root.issue('collector.example') }, onRequest) : createHttp(onRequest)
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, got, headers }
}

async function destination(url: string): Promise<Destination> {
  const reached = reach(
    { ca: root.file },
    () => [],
    async () => ['127.0.0.1'],
  )
  const made = await otlpDestination({ url, headers: { 'X-Tenant': 'acme' }, version: '1.2.3' }, reached)
  closing.push(() => made.close())
  return made
}

const logsOf = (pushed: readonly Pushed[]): Log[] =>
  pushed.flatMap(({ resourceLogs }) =>
    resourceLogs.flatMap(({ scopeLogs }) => scopeLogs.flatMap((scope) => scope.logRecords)),
  )

const ok: Handler = (response) => response.writeHead(200, { 'Content-Type': 'application/json' }).end('{}')

describe('the OTLP sink', () => {
  it.each([[false], [true]])('sends the line, its severity and its members (TLS: %s)', async (secure) => {
    const { port, got, headers } = await collector(ok, secure)
    const to = await destination(`${secure ? 'https' : 'http'}://collector.example:${port}/v1/logs`)
    const batch = [
      ...records(
        1,
        '"event":"request.decided","decision":"deny","client":{"name":"a","source":"192.0.2.1"},"rule":null',
      ),
      ...records(1, '"event":"request.completed","outcome":"failed","status":502'),
      ...records(1, '"event":"checkpoint","records":2'),
    ]
    expect(await to.deliver(batch, NEVER)).toEqual({ kind: 'accepted' })
    const logs = logsOf(got)
    expect(logs.map(({ body }) => body.stringValue)).toEqual(batch.map(({ text }) => text))
    expect(logs.map(({ severityText, severityNumber }) => [severityText, severityNumber])).toEqual([
      ['WARN', 13],
      ['ERROR', 17],
      ['INFO', 9],
    ])
    expect(logs.map(({ timeUnixNano }) => timeUnixNano)).toEqual(
      batch.map(({ timestamp }) => `${Date.parse(timestamp)}000000`),
    )
    expect(logs[0]?.eventName).toBe('mcp_egress.request.decided')
    expect(logs[0]?.attributes).toContainEqual({ key: 'client.address', value: { stringValue: '192.0.2.1' } })
    expect(logs[0]?.attributes).toContainEqual({
      key: 'log.record.uid',
      value: { stringValue: `${INSTANCE}-${batch[0]?.seq}` },
    })
    expect(got[0]?.resourceLogs[0]?.resource.attributes).toContainEqual({
      key: 'service.name',
      value: { stringValue: 'mcp-egress' },
    })
    expect(headers[0]).toMatchObject({ 'x-tenant': 'acme', 'content-type': 'application/json' })
  })

  it.each<[string, Handler, Partial<Delivery>]>([
    ['refuses the batch', (response) => response.writeHead(400).end('bad'), { kind: 'refused' }],
    ['is handed too much', (response) => response.writeHead(413).end(), { kind: 'refused' }],
    ['does not know us', (response) => response.writeHead(401).end(), { kind: 'failed' }],
    ['has a fault', (response) => response.writeHead(500).end(), { kind: 'failed' }],
    [
      'says later, and later is past the time of one try',
      (response) => response.writeHead(503, { 'Retry-After': '600' }).end(),
      { kind: 'failed' },
    ],
    [
      'drops some of it',
      (response) =>
        response
          .writeHead(200, { 'Content-Type': 'application/json' })
          .end('{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}}'),
      { kind: 'refused', why: expect.stringContaining('dropped 2 records') as unknown as string },
    ],
    [
      'has something to remark',
      (response) =>
        response
          .writeHead(200, { 'Content-Type': 'application/json' })
          .end('{"partialSuccess":{"rejectedLogRecords":"0","errorMessage":"use gzip"}}'),
      { kind: 'accepted' },
    ],
  ])('a collector that %s', async (_name, handler, delivery) => {
    const { port } = await collector(handler)
    const to = await destination(`http://127.0.0.1:${port}/v1/logs`)
    expect(await to.deliver(records(2), NEVER)).toMatchObject(delivery)
  })

  it('gives up a collector that hangs when it is told to, and delivers to it when it is back', async () => {
    let hangs = true
    const { port, got } = await collector((response, request) => (hangs ? undefined : ok(response, request)))
    const to = await destination(`http://127.0.0.1:${port}/v1/logs`)
    const batch = records(2)
    expect(await to.deliver(batch, AbortSignal.timeout(100))).toMatchObject({ kind: 'failed' })
    hangs = false
    expect(await to.deliver(batch, NEVER)).toEqual({ kind: 'accepted' })
    expect(logsOf(got.slice(-1)).map(({ body }) => body.stringValue)).toEqual(batch.map(({ text }) => text))
  })

  it('sends nothing to a collector whose certificate is for another name', async () => {
    const { port, got } = await collector(ok, true)
    const to = await destination(`https://other.example:${port}/v1/logs`)
    expect(await to.deliver(records(1), NEVER)).toMatchObject({ kind: 'failed' })
    expect(got).toEqual([])
  })
})

describe('without its packages', () => {
  it('says what to install', async () => {
    vi.doMock('@opentelemetry/sdk-logs', () => {
      throw new Error('Cannot find package')
    })
    closing.push(() => vi.doUnmock('@opentelemetry/sdk-logs'))
    await expect(destination('http://127.0.0.1:1/v1/logs')).rejects.toThrow(
      'it needs packages that are not installed. Fix: npm install @opentelemetry/api @opentelemetry/api-logs ' +
        '@opentelemetry/exporter-logs-otlp-http @opentelemetry/resources @opentelemetry/sdk-logs',
    )
  })
})

describe('logRecord', () => {
  it('names what the conventions name, leaves nulls out, and keeps the rest under a name of ours', () => {
    const fields =
      '"event":"request.decided","method":"GET","scheme":"https","host":"a.example","port":8443,"path":"/p","query":"q=1","rule":null,' +
      '"client":{"name":"c","source":"192.0.2.1"},"timings":{"dns":1.5,"tls":null},"security_flags":["x"],"headers":[["a","b"]],"enforced":true'
    const [record] = records(1, fields) as [ShippedRecord]
    const { attributes } = logRecord(record)
    expect(attributes).toEqual({
      'log.record.uid': `${INSTANCE}-${record.seq}`,
      'mcp_egress.instance': INSTANCE,
      'mcp_egress.seq': record.seq,
      'mcp_egress.hash': expect.stringMatching(/^[0-9a-f]{64}$/),
      'http.request.method': 'GET',
      'url.scheme': 'https',
      'url.path': '/p',
      'url.query': 'q=1',
      'url.full': 'https://a.example:8443/p?q=1',
      'server.address': 'a.example',
      'server.port': 8443,
      'client.address': '192.0.2.1',
      'mcp_egress.client.name': 'c',
      'mcp_egress.timings.dns': 1.5,
      'mcp_egress.security_flags': ['x'],
      'mcp_egress.headers': ['["a","b"]'],
      'mcp_egress.enforced': true,
    })
  })
})
