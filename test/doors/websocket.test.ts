// WebSockets through the proxy: whatever either side says arrives unchanged, and what became of it is in the trail.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { ProxyAgent, WebSocket as UndiciWebSocket } from 'undici'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { WebSocket } from 'ws'
import { assertAccounted } from '../support/accounting.ts'
import type { AuditRecord, LabOptions } from '../support/lab.ts'
import { assertTunnelsClosed } from '../support/websocket.ts'
import { HOST, type Way } from './support/bed.ts'
import { closing, message, startWebSocketBed, type WebSocketBed, webSocketRule } from './support/websocket-bed.ts'

const WAYS: Way[] = [
  { door: 'connect', tls: true },
  { door: 'transparent', tls: true },
  { door: 'connect', tls: false },
  { door: 'transparent', tls: false },
]
const TLS_CONNECT = WAYS[0] as Way
const LARGE = 16 * 1_024 * 1_024

let bed: WebSocketBed
afterEach(async () => {
  await assertAccounted(bed.lab)
  assertTunnelsClosed(bed.lab)
  await bed.close()
})

/** The one end in the trail. */
async function completed(): Promise<AuditRecord> {
  const [end] = await bed.lab.waitFor('request.completed', 1)
  return end as AuditRecord
}

function echo(origin: WebSocket): void {
  origin.on('message', (data, binary) => origin.send(data, { binary }))
}

async function closeNow(client: WebSocket): Promise<void> {
  client.close(1000)
  await closing(client)
}

describe.each(WAYS)('$door, tls $tls', (way) => {
  it('[P22] [P24] messages, a subprotocol and compression pass, and the trail has it all', async () => {
    bed = await startWebSocketBed(way, {}, { perMessageDeflate: { threshold: 0 }, handleProtocols: () => 'graphql-ws' })
    const { client, origin } = await bed.open('/socket', ['chat', 'graphql-ws'])
    expect([client.protocol, origin.protocol, client.extensions]).toEqual([
      'graphql-ws',
      'graphql-ws',
      'permessage-deflate',
    ])
    expect(await bed.lab.waitFor('tunnel.opened', 1)).toHaveLength(1)
    echo(origin)
    for (const said of ['hello', '', '\u{1f44b}'.repeat(1_000)]) {
      client.send(said)
      expect((await message(client)).toString()).toBe(said)
    }
    origin.close(3000, 'done')
    expect(await closing(client)).toEqual([3000, 'done'])
    const end = await completed()
    expect(end).toMatchObject({
      outcome: 'completed',
      reason: null,
      status: 101,
      upstream_address: `127.0.0.1:${bed.port}`,
    })
    const records = bed.lab.records().filter(({ request_id }) => request_id === end.request_id)
    expect(records.map(({ event }) => event)).toEqual([
      'request.decided',
      'tunnel.opened',
      'tunnel.closed',
      'request.completed',
    ])
    expect(records[0]).toMatchObject({ decision: 'allow', rule: 'chat', path: '/socket', method: 'GET' })
    expect(records[2]).toMatchObject({
      kind: 'websocket',
      frames_sent: 4,
      frames_received: 4,
      bytes_sent: end['bytes_sent'],
      bytes_received: end['bytes_received'],
    })
    expect(end['bytes_sent']).toBeGreaterThan(10)
  })

  it('16 MiB pass each way', async () => {
    bed = await startWebSocketBed(way, {}, { perMessageDeflate: false })
    const { client, origin } = await bed.open('/large')
    echo(origin)
    const large = Buffer.alloc(LARGE, 'abcdefg')
    client.send(large)
    expect((await message(client)).equals(large)).toBe(true)
    await closeNow(client)
    expect(await completed()).toMatchObject({ outcome: 'completed', bytes_sent: LARGE + 2, bytes_received: LARGE + 2 })
  })
})

describe('what a side says', () => {
  const start = async (options: Partial<LabOptions> = {}, path = '/socket'): ReturnType<WebSocketBed['open']> => {
    bed = await startWebSocketBed(TLS_CONNECT, options)
    return bed.open(path)
  }

  it('pings and pongs pass, both ways', async () => {
    const { client, origin } = await start()
    client.ping('there')
    expect(String((await once(client, 'pong'))[0])).toBe('there')
    origin.ping('back')
    expect(String((await once(origin, 'pong'))[0])).toBe('back')
    await closeNow(client)
    expect(await bed.lab.waitFor('tunnel.closed', 1)).toMatchObject([{ frames_sent: 3, frames_received: 3 }])
  })

  it.each([
    [1000, ''],
    [1001, 'leaving'],
    [1011, 'broken'],
    [3000, 'mine'],
    [4999, 'x'.repeat(123)],
  ])('a close with code %i passes, both ways', async (code, reason) => {
    const first = await start()
    const heard = closing(first.origin)
    first.client.close(code, reason)
    expect([await closing(first.client), await heard]).toEqual([
      [code, reason],
      [code, reason],
    ])
    const second = await bed.open('/socket')
    second.origin.close(code, reason)
    expect(await closing(second.client)).toEqual([code, reason])
    for (const end of await bed.lab.waitFor('request.completed', 2)) expect(end['outcome']).toBe('completed')
  })

  it('a client that is gone is gone for the origin', async () => {
    const { client, origin } = await start()
    const heard = closing(origin)
    client.terminate()
    expect((await heard)[0]).toBe(1006)
    expect(await completed()).toMatchObject({ outcome: 'completed', reason: null, status: 101 })
  })

  it('a client that is gone in the middle of a frame has aborted it', async () => {
    const { client, origin } = await start()
    const heard = closing(origin)
    const { _socket: socket } = client as unknown as { _socket: import('node:net').Socket }
    socket.write(Buffer.from('818500000000', 'hex'))
    socket.end('ab')
    expect((await heard)[0]).toBe(1006)
    expect(await completed()).toMatchObject({ outcome: 'client_aborted', reason: 'client_aborted', status: 101 })
  })

  it('an origin that is gone is gone for the client', async () => {
    const { client, origin } = await start()
    const heard = closing(client)
    const { _socket: socket } = origin as unknown as { _socket: { _parent: import('node:net').Socket } }
    socket._parent.resetAndDestroy()
    expect((await heard)[0]).toBe(1006)
    expect(await completed()).toMatchObject({ outcome: 'upstream_aborted', reason: 'upstream_unreachable' })
  })

  it('[P23] what the origin answers in place of a 101 arrives', async () => {
    const verifyClient = (_info: unknown, done: (ok: boolean, status: number, text: string) => void): void =>
      done(false, 401, 'who are you')
    bed = await startWebSocketBed(TLS_CONNECT, {}, { verifyClient })
    const connection = await bed.socket()
    const { WebSocket: Client } = await import('ws')
    const client = new Client(`wss://${HOST}:${bed.port}/private`, { createConnection: () => connection })
    client.on('error', () => undefined)
    const [, answer] = (await once(client, 'unexpected-response')) as [unknown, import('node:http').IncomingMessage]
    let body = ''
    for await (const part of answer) body += String(part)
    expect([answer.statusCode, body]).toEqual([401, 'who are you'])
    expect(await completed()).toMatchObject({ outcome: 'completed', status: 401 })
    expect(bed.lab.recordsOf('tunnel.opened')).toEqual([])
    client.terminate()
    connection.destroy()
  })
})

describe('limits of the rule', () => {
  it.each([
    ['request_bytes', 'request_too_large', [1009, 'mcp-egress: WS_LIMIT'], [1009, '']],
    ['response_bytes', 'response_too_large', [1009, 'mcp-egress: WS_LIMIT'], [1009, '']],
  ])('%s ends it', async (limit, reason, clientHears, originHears) => {
    bed = await startWebSocketBed(TLS_CONNECT, { rules: webSocketRule(`, limits: { ${limit}: 100 }`) })
    const { client, origin } = await bed.open('/socket')
    const heard = [closing(client), closing(origin)]
    echo(origin)
    client.send('x'.repeat(limit === 'request_bytes' ? 60 : 51))
    await message(client)
    client.send('x'.repeat(limit === 'request_bytes' ? 41 : 50))
    expect(await Promise.all(heard)).toEqual([clientHears, originHears])
    expect(await completed()).toMatchObject({ outcome: 'refused', reason, status: 101 })
    expect(bed.lab.recordsOf('request.malformed')).toHaveLength(limit === 'request_bytes' ? 1 : 0)
  })

  it.each([
    ['of the rule that allows it', HOST, { decision: 'allow', enforced: false, rule: 'chat' }],
    ['where no rule does', 'other.test', { decision: 'deny', enforced: false, reason: 'no_matching_rule' }],
  ])('do not hold in observe mode, %s', async (_name, host, decision) => {
    const rules = webSocketRule(', limits: { request_bytes: 10, response_bytes: 10 }').replace(HOST, host)
    bed = await startWebSocketBed(TLS_CONNECT, { mode: 'observe', rules })
    const { client, origin } = await bed.open('/socket')
    echo(origin)
    client.send('x'.repeat(100))
    await message(client)
    await closeNow(client)
    expect(await completed()).toMatchObject({ outcome: 'completed' })
    expect(bed.lab.recordsOf('request.decided')).toMatchObject([decision])
  })
})

describe('what is recorded of it', () => {
  const talk = async (level: string, compressed: boolean): Promise<AuditRecord> => {
    bed = await startWebSocketBed(
      TLS_CONNECT,
      { rules: webSocketRule(`, audit: ${level}`) },
      { perMessageDeflate: compressed ? { threshold: 0 } : false },
    )
    const { client, origin } = await bed.open('/socket')
    client.send('{"say":"hello"}')
    expect((await message(origin)).toString()).toBe('{"say":"hello"}')
    origin.send('{"password":"hunter2hunter2"}')
    await message(client)
    await closeNow(client)
    return completed()
  }

  it('the fields of the 101', async () => {
    const end = await talk('headers', false)
    const fields = end['response_headers'] as string[][]
    expect(fields.map(([name]) => name)).toContain('Sec-WebSocket-Accept')
    expect([end['request_body'], end['response_body']]).toEqual([undefined, undefined])
  })

  it('messages, without their masks and their secrets', async () => {
    const end = await talk('body', false)
    expect(end['request_body']).toMatchObject({
      bytes: 15,
      prefix: '{"say":"hello"}',
      encoding: 'text',
      truncated: false,
    })
    const sha256 = createHash('sha256').update('{"say":"hello"}').digest('hex')
    expect(end['request_body']).toHaveProperty('sha256', sha256)
    expect(end['response_body']).toMatchObject({ bytes: 29, redacted: true, sha256: null })
    expect(JSON.stringify(bed.lab.records())).not.toContain('hunter2')
  })

  it('[P24] of compressed ones how many bytes, and nothing that could not be searched', async () => {
    const end = await talk('body', true)
    expect(end['request_body']).toMatchObject({ prefix: null, encoding: null })
    expect(end['response_body']).toMatchObject({ prefix: null, encoding: null })
  })
})

describe('other clients', () => {
  beforeEach(async () => {
    bed = await startWebSocketBed(TLS_CONNECT, {}, { handleProtocols: () => 'mcp' })
    bed.server.on('connection', echo)
  })

  it('[P22] the WebSocket of undici, which is that of Node.js and of the browsers', async () => {
    const dispatcher = new ProxyAgent({
      uri: `http://127.0.0.1:${bed.lab.proxyPort}`,
      requestTls: { ca: bed.lab.ca },
    })
    const client = new UndiciWebSocket(`wss://${HOST}:${bed.port}/undici`, { protocols: ['mcp'], dispatcher })
    await once(client, 'open')
    expect(client.protocol).toBe('mcp')
    client.send('hello')
    const [{ data }] = (await once(client, 'message')) as [MessageEvent<unknown>]
    expect(data).toBe('hello')
    client.close(4000, 'enough')
    const [{ code, reason, wasClean }] = (await once(client, 'close')) as [CloseEvent]
    expect([code, reason, wasClean]).toEqual([4000, 'enough', true])
    await dispatcher.close()
    expect(await completed()).toMatchObject({ outcome: 'completed', status: 101 })
  })

  it('websockets of Python', async () => {
    const script = `
import asyncio, socket, ssl, sys
from websockets.client import connect
host, port, proxy, ca = sys.argv[1:]
async def main():
    tunnel = socket.create_connection(("127.0.0.1", int(proxy)))
    tunnel.sendall(f"CONNECT {host}:{port} HTTP/1.1\\r\\nHost: {host}:{port}\\r\\n\\r\\n".encode())
    assert tunnel.recv(1024).startswith(b"HTTP/1.1 200")
    context = ssl.create_default_context(cafile=ca)
    about = dict(sock=tunnel, ssl=context, server_hostname=host, subprotocols=["mcp"], max_size=None)
    async with connect(f"wss://{host}:{port}/python", **about) as client:
        large = bytes(range(256)) * 4096
        await client.send("hello")
        await client.send([large[:500000], large[500000:]])
        assert await client.recv() == "hello" and await client.recv() == large and client.subprotocol == "mcp"
        await asyncio.wait_for(await client.ping(), 5)
asyncio.run(main())
print("ok")
`
    const args = [HOST, String(bed.port), String(bed.lab.proxyPort), `${bed.lab.folder}/certs/ca.pem`]
    const { stdout } = await promisify(execFile)('/usr/bin/python3', ['-c', script, ...args], { timeout: 15_000 })
    expect(stdout).toBe('ok\n')
    expect(await completed()).toMatchObject({ outcome: 'completed', status: 101 })
  })
})
