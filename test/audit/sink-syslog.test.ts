// Syslog: the message as RFC 5424 has it, and what a real rsyslog writes, over TCP and TLS, also when it dies.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { parseShipped, type Delivery, type ShippedRecord } from '../../src/audit/sink-record.ts'
import { message, syslogDestination } from '../../src/audit/sink-syslog.ts'
import { reach, type TlsFiles } from '../../src/audit/sink-tls.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'
import { rsyslogPossible, startRsyslog, type Rsyslog } from './support/rsyslog.ts'
import { INSTANCE, sinkTrail } from './support/sink-trail.ts'
import { until } from './support/until.ts'

const trail = sinkTrail()
const records = (count: number, fields?: string): ShippedRecord[] =>
  trail.write(count, fields).map((line) => parseShipped(line) as ShippedRecord)
const NEVER = new AbortController().signal
const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})
afterAll(() => trail.close())

const NAMES = async (name: string): Promise<readonly string[]> => {
  if (name === 'logs.example') return ['127.0.0.1']
  throw new Error(`${name} is unknown`)
}

function send(
  transport: 'tcp' | 'tls',
  port: number,
  batch: readonly ShippedRecord[],
  options: { host?: string; files?: TlsFiles; signal?: AbortSignal; roots?: string[] } = {},
): Promise<Delivery> {
  const { host = '127.0.0.1', files = {}, signal = NEVER, roots = [] } = options
  const destination = syslogDestination(
    { transport, host, port },
    reach(files, () => roots, NAMES),
  )
  return destination.deliver(batch, signal)
}

describe('message', () => {
  it.each([
    ['"event":"request.decided","decision":"deny"', '<108>1'],
    ['"event":"request.decided","decision":"allow"', '<110>1'],
    ['"event":"request.completed","outcome":"failed"', '<107>1'],
    ['"event":"request.decided","path":"/,\\"decision\\":\\"deny\\"","decision":"allow"', '<110>1'],
  ])('of %s has its severity', (fields, start) => {
    const [record] = records(1, fields) as [ShippedRecord]
    const event = record.event
    expect(message(record, 'host')).toBe(
      `${start} ${record.timestamp} host mcp-egress ${process.pid} ${event} ` +
        `[mcp-egress@32473 instance="${INSTANCE}" seq="${record.seq}"] ${record.text}`,
    )
  })
})

describe.skipIf(!rsyslogPossible)('rsyslog', () => {
  let root: TestRoot
  let folder: string
  let tlsFiles: Required<TlsFiles>
  beforeAll(() => {
    root = createTestRoot()
    folder = mkdtempSync(join(tmpdir(), 'mcp-egress-syslog-'))
    const own = root.issue('sender.example')
    tlsFiles = { ca: root.file, cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') }
    writeFileSync(tlsFiles.cert, own.cert)
    writeFileSync(tlsFiles.key, own.key)
  })
  afterAll(() => {
    root.close()
    rmSync(folder, { recursive: true, force: true })
  })

  async function server(secure: boolean, mutual = false): Promise<Rsyslog> {
    const tls = secure ? { ca: root.pem, mutual, ...root.issue('logs.example') } : null
    const started = await startRsyslog(tls)
    closing.push(() => started.close())
    return started
  }

  it.each([['tcp'], ['tls']] as const)('over %s writes every record as it was sent', async (transport) => {
    const rsyslog = await server(transport === 'tls')
    const batch = [
      ...records(300),
      ...records(2, `"event":"request.decided","decision":"deny","path":"/${'x'.repeat(60_000)}"`),
      ...records(1, '"event":"tls.rejected","sni":"\\u001b[2J\\u202e%d%s\\\\n"'),
    ]
    const options = { host: 'logs.example', files: { ca: root.file } }
    expect(await send(transport, rsyslog.port, batch, options)).toEqual({ kind: 'accepted' })
    await until('all of it', () => rsyslog.received().length === batch.length, 20_000)
    expect(rsyslog.received()).toEqual(
      batch.map(({ text, seq, event, severity }) => ({
        severity: { error: 'err', warning: 'warning', info: 'info' }[severity],
        app: 'mcp-egress',
        id: event,
        data: `[mcp-egress@32473 instance="${INSTANCE}" seq="${seq}"]`,
        text,
      })),
    )
  })

  it('that asks for a certificate gets the one that is configured', async () => {
    const rsyslog = await server(true, true)
    const batch = records(3)
    expect(await send('tls', rsyslog.port, batch, { host: 'logs.example', files: tlsFiles })).toEqual({
      kind: 'accepted',
    })
    await until('all of it', () => rsyslog.received().length === 3, 20_000)
  })

  it.each([
    ['another name', { host: '127.0.0.1', own: true }, /IP: 127\.0\.0\.1 is not in the cert|does not match/],
    ['a CA that is not believed', { host: 'logs.example', own: false }, /certificate/],
  ])('with %s is sent nothing', async (_name, { host, own }, why) => {
    const rsyslog = await server(true)
    const options = own ? { host, files: { ca: root.file } } : { host }
    const delivery = await send('tls', rsyslog.port, records(1), options)
    expect(delivery).toMatchObject({ kind: 'failed', why: expect.stringMatching(why) })
    expect(rsyslog.received()).toEqual([])
  })

  it('that does not read has taken nothing, and what it then reads is sent again', async () => {
    const rsyslog = await server(false)
    await rsyslog.kill('SIGSTOP')
    const batch = records(20)
    const delivery = await send('tcp', rsyslog.port, batch, { signal: AbortSignal.timeout(300) })
    expect(delivery).toMatchObject({ kind: 'failed', why: expect.stringContaining('not read everything') })
    await rsyslog.kill('SIGKILL')
    expect(await send('tcp', rsyslog.port, batch)).toMatchObject({ kind: 'failed' })
    await rsyslog.restart()
    expect(await send('tcp', rsyslog.port, batch)).toEqual({ kind: 'accepted' })
    await until('all of it', () => rsyslog.received().length >= 20, 20_000)
    expect(new Set(rsyslog.received().map(({ text }) => text)).size).toBe(20)
  })

  it('over TLS that does not read has taken nothing either', async () => {
    const rsyslog = await server(true)
    await rsyslog.kill('SIGSTOP')
    const options = { host: 'logs.example', files: { ca: root.file } }
    expect(await send('tls', rsyslog.port, records(1), { ...options, signal: AbortSignal.timeout(300) })).toMatchObject(
      {
        kind: 'failed',
      },
    )
    await rsyslog.kill('SIGCONT')
  })
})

describe('a server that', () => {
  async function listen(onConnection: (socket: Socket) => void): Promise<number> {
    const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => undefined)
      onConnection(socket)
    })
    const sockets = new Set<Socket>()
    server.on('connection', (socket: Socket) => sockets.add(socket))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    closing.push(() => {
      for (const socket of sockets) socket.destroy()
      server.close()
    })
    return (server.address() as AddressInfo).port
  }

  it('closes before it has read is sent it again', async () => {
    const port = await listen((socket) => socket.end())
    const big = records(100, `"event":"checkpoint","padding":"${'x'.repeat(40_000)}"`)
    expect(await send('tcp', port, big)).toMatchObject({ kind: 'failed' })
  })

  it('resets in the middle is sent it again', async () => {
    const port = await listen((socket) => socket.once('data', () => socket.resetAndDestroy()))
    expect(await send('tcp', port, records(5))).toMatchObject({ kind: 'failed' })
  })

  it('reads and never closes is sent it again', async () => {
    const port = await listen((socket) => socket.resume())
    expect(await send('tcp', port, records(5), { signal: AbortSignal.timeout(200) })).toMatchObject({
      kind: 'failed',
      why: expect.stringContaining('does not close'),
    })
  })

  it('is not there, or has no address, is a failure', async () => {
    const port = await listen(() => undefined)
    await closing.pop()?.()
    expect(await send('tcp', port, records(1))).toMatchObject({
      kind: 'failed',
      why: expect.stringContaining('ECONNREFUSED'),
    })
    expect(await send('tcp', port, records(1), { host: 'nowhere.example' })).toMatchObject({
      kind: 'failed',
      why: 'nowhere.example is unknown',
    })
    expect(await send('tcp', port, records(1), { signal: AbortSignal.abort() })).toMatchObject({ kind: 'failed' })
  })
})
