// HTTP/2 origins that others wrote: node:http2 and nginx, under load, with large bodies and at their sessions' end.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createSecureServer, type ServerHttp2Stream } from 'node:http2'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bufferedBody } from '../../../src/proxy/body-queue.ts'
import type { BodyReader } from '../../../src/proxy/message.ts'
import {
  answered,
  type Asking,
  type Bench,
  Client,
  NAME,
  read,
  ScriptedBody,
  upstreamBench,
} from '../support/upstream-bench.ts'

const MIB = 1024 * 1024

let bench: Bench
const closing: (() => unknown)[] = []

beforeEach(() => {
  bench = upstreamBench()
})
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
  bench.close()
})

interface NodeOrigin {
  readonly port: number
  sessions(): number
}

async function nodeOrigin(onStream: (stream: ServerHttp2Stream, path: string) => void): Promise<NodeOrigin> {
  const server = createSecureServer({ ...bench.root.issue(NAME) })
  let sessions = 0
  server.on('session', (session) => {
    sessions += 1
    closing.push(() => session.destroy())
  })
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined)
    onStream(stream, String(headers[':path']))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(() => server.close())
  return { port: (server.address() as AddressInfo).port, sessions: () => sessions }
}

/** So many requests, so many at once. */
async function load(count: number, concurrency: number, asking: (index: number) => Asking): Promise<string[]> {
  const texts: string[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) {
      const index = next++
      const sent = answered(await bench.send(asking(index)))
      const { text, last } = await read(sent.body)
      expect([sent.head.status, last.kind]).toEqual([200, 'end'])
      texts[index] = text
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  return texts
}

/** Counted and hashed, not kept. */
async function digest(body: BodyReader): Promise<{ bytes: number; hash: string; last: string }> {
  const hash = createHash('sha256')
  for (let bytes = 0; ; ) {
    const part = await body.read()
    if (part.kind !== 'data') return { bytes, hash: hash.digest('hex'), last: part.kind }
    bytes += part.data.length
    hash.update(part.data)
  }
}

describe('node:http2', () => {
  it('answers 1,000 requests, 50 at a time, each its own, on one session', async () => {
    const { port, sessions } = await nodeOrigin((stream, path) => {
      stream.respond({ ':status': 200 })
      stream.end(path)
    })
    const texts = await load(1_000, 50, (index) => ({ port, target: `/${index}`, headers: ['X-N', String(index)] }))
    expect(texts).toEqual(Array.from({ length: 1_000 }, (_value, index) => `/${index}`))
    expect(sessions()).toBe(1)
  })

  it('sends and receives 16 MiB byte for byte', async () => {
    const { port } = await nodeOrigin((stream) => {
      stream.respond({ ':status': 200 })
      stream.pipe(stream)
    })
    const bytes = Buffer.alloc(16 * MIB)
    for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(at, at)
    const reader = new ScriptedBody()
    for (let at = 0; at < bytes.length; at += 100_000) reader.push(bytes.subarray(at, at + 100_000).toString('latin1'))
    reader.end()
    const sent = answered(await bench.send({ port, method: 'POST', body: { reader, length: null } }))
    const hash = createHash('sha256').update(bytes).digest('hex')
    expect(await digest(sent.body)).toEqual({ bytes: bytes.length, hash, last: 'end' })
  })

  it('[P5] is stopped by a client that does not read, while another downloads on the same session', async () => {
    let offered = 0
    const { port, sessions } = await nodeOrigin((stream, path) => {
      stream.respond({ ':status': 200 })
      if (path === '/quick') {
        stream.end(Buffer.alloc(4 * MIB))
        return
      }
      const more = (): void => {
        for (let going = true; going && !stream.destroyed; offered += 16_384) going = stream.write(Buffer.alloc(16_384))
      }
      stream.on('drain', more)
      more()
    })
    const client = new Client()
    const slow = answered(await bench.send({ port, client }))
    expect((await slow.body.read()).kind).toBe('data')
    const quick = answered(await bench.send({ port, target: '/quick' }))
    expect(await digest(quick.body)).toMatchObject({ bytes: 4 * MIB, last: 'end' })
    // What the window lets through, and what the origin itself buffers.
    expect(offered).toBeLessThan(MIB)
    expect(sessions()).toBe(1)
    client.leave()
  })

  it('[P8] hears within 100 ms that a client has gone', async () => {
    let closed: Promise<number> = Promise.resolve(0)
    const { port } = await nodeOrigin((stream) => {
      closed = once(stream, 'close').then(() => performance.now())
      stream.respond({ ':status': 200 })
      stream.write('x')
    })
    const client = new Client()
    await answered(await bench.send({ port, client })).body.read()
    const left = performance.now()
    client.leave()
    expect((await closed) - left).toBeLessThan(100)
  })

  it('[P1] has what it writes in pieces passed on in the turn it arrives', async () => {
    const streams: ServerHttp2Stream[] = []
    const { port } = await nodeOrigin((stream) => {
      stream.respond({ ':status': 200, 'content-type': 'text/event-stream' })
      streams.push(stream)
    })
    const { body } = answered(await bench.send({ port }))
    for (let event = 0; event < 20; event++) {
      const sent = performance.now()
      streams[0]?.write(`data: ${event}\n\n`)
      expect(await body.read()).toMatchObject({ data: Buffer.from(`data: ${event}\n\n`) })
      expect(performance.now() - sent).toBeLessThan(50)
    }
  })
})

/** False after 20 ms: nothing tells when nginx has begun to listen. */
async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const up = await once(socket, 'connect').then(
    () => true,
    () => false,
  )
  socket.destroy()
  if (!up) await new Promise((resolve) => setTimeout(resolve, 20))
  return up
}

const NGINX = spawnSync('nginx', ['-V']).stderr?.toString('latin1') ?? ''

describe.skipIf(!NGINX.includes('http_v2_module'))('nginx', () => {
  async function freePort(): Promise<number> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    await once(server, 'close')
    return port
  }

  async function nginx(server: string): Promise<number> {
    const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-nginx-'))
    const port = await freePort()
    const { key, cert } = bench.root.issue(NAME)
    writeFileSync(join(folder, 'key.pem'), key)
    writeFileSync(join(folder, 'cert.pem'), cert)
    writeFileSync(join(folder, 'blob'), Buffer.alloc(8 * MIB, 'nginx'))
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder};`)
    writeFileSync(
      join(folder, 'nginx.conf'),
      `daemon off; master_process off; pid ${folder}/pid; error_log stderr crit;
events { worker_connections 256; }
http { access_log off; ${temporary.join(' ')}
  server { listen 127.0.0.1:${port} ssl http2; ssl_certificate ${folder}/cert.pem; ssl_certificate_key ${folder}/key.pem;
    root ${folder}; ${server} } }
`,
    )
    const child: ChildProcess = spawn('nginx', ['-e', 'stderr', '-p', folder, '-c', join(folder, 'nginx.conf')], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    const ended = once(child, 'exit')
    closing.push(async () => {
      child.kill('SIGKILL')
      await ended
      rmSync(folder, { recursive: true, force: true })
    })
    for (let tries = 0; tries < 250 && child.exitCode === null; tries++) {
      if (await listens(port)) return port
    }
    throw new Error('nginx did not start')
  }

  it('that ends its session every 100 requests loses none of 1,000 uploads, 50 at a time', async () => {
    const port = await nginx('keepalive_requests 100; location / { return 200 "$request_method $http_x_n"; }')
    const texts = await load(1_000, 50, (index) => ({
      port,
      method: 'POST',
      headers: ['X-N', String(index), 'Content-Length', '5'],
      body: { reader: bufferedBody(Buffer.from('hello')), length: 5 },
    }))
    expect(texts).toEqual(Array.from({ length: 1_000 }, (_value, index) => `POST ${index}`))
  })

  it('is asked over more sessions than one where it takes 10 requests at once', async () => {
    const port = await nginx('http2_max_concurrent_streams 10; location / { return 200 "$http_x_n"; }')
    const texts = await load(300, 40, (index) => ({ port, headers: ['X-N', String(index)] }))
    expect(texts).toEqual(Array.from({ length: 300 }, (_value, index) => String(index)))
  })

  it('sends a file byte for byte, and its length', async () => {
    const port = await nginx('')
    const sent = answered(await bench.send({ port, target: '/blob' }))
    expect(sent.length).toBe(8 * MIB)
    const hash = createHash('sha256')
      .update(Buffer.alloc(8 * MIB, 'nginx'))
      .digest('hex')
    expect(await digest(sent.body)).toEqual({ bytes: 8 * MIB, hash, last: 'end' })
    const head = answered(await bench.send({ port, target: '/blob', method: 'HEAD' }))
    expect([head.length, (await read(head.body)).last.kind]).toEqual([0, 'end'])
  })
})
