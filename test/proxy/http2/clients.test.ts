// Clients that others wrote, over HTTP/2 through CONNECT and the transparent door: what they get, and what is recorded.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type IncomingHttpHeaders } from 'node:http2'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Bed, CAPPED, DENIED, HOST, INSPECTED, startBed } from '../../doors/support/bed.ts'
import { assertAccounted } from '../../support/accounting.ts'
import { httpsRedirected, httpsVia } from '../../support/clients.ts'
import { ok } from '../../support/scripted-origin.ts'

interface Answer {
  readonly headers: IncomingHttpHeaders & { ':status'?: number }
  readonly body: Buffer
  readonly trailers: IncomingHttpHeaders
}

async function answerOf(stream: ClientHttp2Stream): Promise<Answer> {
  const parts: Buffer[] = []
  let trailers: IncomingHttpHeaders = {}
  stream.on('data', (part: Buffer) => parts.push(part))
  stream.on('trailers', (fields: IncomingHttpHeaders) => {
    trailers = fields
  })
  const ended = once(stream, 'end')
  const [headers] = (await once(stream, 'response')) as [Answer['headers']]
  await ended
  return { headers, body: Buffer.concat(parts), trailers }
}

const chunk = (data: string): string => `${data.length.toString(16)}\r\n${data}\r\n`
const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'

/** Runs a program to its end. */
async function run(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ code: number | null; text: string }> {
  const child = spawn(command, args, { env: { PATH: '/usr/bin:/bin', ...env }, timeout: 15_000 })
  child.stdin.end()
  let text = ''
  for (const out of [child.stdout, child.stderr]) {
    out.setEncoding('utf8').on('data', (part: string) => {
      text += part
    })
  }
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, text }
}

describe('node:http2', () => {
  let bed: Bed
  let session: ClientHttp2Session
  beforeAll(async () => {
    bed = await startBed({ door: 'connect', tls: true })
    const socket = await httpsVia(bed.lab, bed.authority(), { alpn: ['h2'] })
    session = connect(`https://${bed.authority()}`, { createConnection: () => socket })
    await once(session, 'remoteSettings')
  })
  afterAll(async () => {
    session.close()
    await assertAccounted(bed.lab)
    await bed.close()
  })

  it('is told 100 streams, 64 KiB of header list and no extended CONNECT', () => {
    expect(session.remoteSettings).toMatchObject({
      maxConcurrentStreams: 100,
      maxHeaderListSize: 65_536,
      initialWindowSize: 262_144,
      enableConnectProtocol: false,
    })
  })

  it('gets an answer, whose record says h2', async () => {
    bed.origin.on('/hello', (wire) => wire.write(ok('hello', 'X-Answer: Yes\r\n')))
    const answer = await answerOf(session.request({ ':path': '/hello', 'x-asked': 'yes' }))
    expect(answer.headers).toMatchObject({ ':status': 200, 'content-length': '5', 'x-answer': 'Yes' })
    expect(answer.body.toString()).toBe('hello')
    expect(bed.origin.askedFor('/hello')[0]?.head).toBe(
      `GET /hello HTTP/1.1\r\nHost: ${bed.authority()}\r\nx-asked: yes\r\n\r\n`,
    )
    const { decided, completed } = await bed.attempt('/hello')
    expect(decided).toMatchObject({ decision: 'allow', protocol: 'h2', method: 'GET', host: HOST })
    expect(completed).toMatchObject({ outcome: 'completed', status: 200, bytes_received: 5 })
  })

  it('gets 403 for what no rule allows, on a stream of its own', async () => {
    const answer = await answerOf(session.request({ ':path': '/a/%2e%2e/b' }))
    expect(answer.headers[':status']).toBe(400)
    expect(JSON.parse(answer.body.toString())).toMatchObject({ reason: 'path_not_canonical' })
    const other = await answerOf(session.request({ ':path': '/x', ':authority': DENIED }))
    expect(other.headers[':status']).toBe(421)
    expect(session.closed).toBe(false)
  })

  it('uploads and downloads 4 MiB, with a length and without', async () => {
    const big = Buffer.alloc(4 * 1024 * 1024, 'abcdefgh')
    bed.origin.on('/echo', async (wire, asked) => {
      const { body } = await asked.body()
      wire.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`)
      wire.write(body)
    })
    for (const headers of [{ 'content-length': String(big.length) }, {}]) {
      const stream = session.request({ ':method': 'POST', ':path': '/echo', ...headers })
      stream.end(big)
      const answer = await answerOf(stream)
      expect(answer.body.equals(big)).toBe(true)
    }
  })

  it('gets trailers and an interim answer', async () => {
    bed.origin.on('/trailers', (wire) => {
      wire.write('HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n')
      wire.write(`${CHUNKED}${chunk('x')}0\r\nGrpc-Status: 0\r\n\r\n`)
    })
    const stream = session.request({ ':path': '/trailers' })
    const interim = once(stream, 'headers')
    const answer = await answerOf(stream)
    expect((await interim)[0]).toMatchObject({ ':status': 103, link: '</a.css>' })
    expect(answer.trailers).toMatchObject({ 'grpc-status': '0' })
  })

  it('gets 100 Continue once the request may proceed, and no sooner', async () => {
    const stream = session.request({ ':method': 'POST', ':path': '/continue', expect: '100-continue' })
    await once(stream, 'continue')
    stream.end('body')
    expect((await answerOf(stream)).headers[':status']).toBe(200)
    const capped = await httpsVia(bed.lab, bed.authority(CAPPED), { alpn: ['h2'] })
    const other = connect(`https://${bed.authority(CAPPED)}`, { createConnection: () => capped })
    const refused = other.request({
      ':method': 'POST',
      ':path': '/c',
      expect: '100-continue',
      'content-length': '5000',
    })
    let continued = false
    refused.once('continue', () => {
      continued = true
    })
    const answer = await answerOf(refused)
    expect([answer.headers[':status'], continued]).toEqual([413, false])
    refused.close()
    other.close()
  })

  it('reads an event as soon as it was sent', async () => {
    let next = (): void => undefined
    bed.origin.on('/events', async (wire) => {
      wire.write(CHUNKED)
      for (const event of ['one', 'two']) {
        wire.write(chunk(event))
        await new Promise<void>((resolve) => {
          next = resolve
        })
      }
      wire.write('0\r\n\r\n')
    })
    const stream = session.request({ ':path': '/events' })
    expect(String((await once(stream, 'data'))[0])).toBe('one')
    const second = once(stream, 'data')
    next()
    expect(String((await second)[0])).toBe('two')
    next()
    stream.resume()
    await once(stream, 'end')
  })

  it('sees an answer that broke off as broken, and the connection lives on', async () => {
    bed.origin.on('/broken', (wire) => {
      wire.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf')
      wire.socket.destroySoon()
    })
    const stream = session.request({ ':path': '/broken' })
    stream.on('data', () => undefined)
    const [error] = (await once(stream, 'error')) as [Error]
    expect(error.message).toContain('NGHTTP2_INTERNAL_ERROR')
    expect((await bed.attempt('/broken')).completed).toMatchObject({ outcome: 'upstream_aborted' })
    expect((await answerOf(session.request({ ':path': '/after' }))).headers[':status']).toBe(200)
  })

  it('is let go of when it cancels: the origin loses its connection, the record says so', async () => {
    let cut: Promise<unknown> = Promise.resolve()
    bed.origin.on('/cancelled', async (wire) => {
      cut = once(wire.socket, 'close')
      wire.write(`${CHUNKED}${chunk('x')}`)
      await cut
    })
    const stream = session.request({ ':path': '/cancelled' })
    await once(stream, 'data')
    stream.close(8)
    await cut
    expect((await bed.attempt('/cancelled')).completed).toMatchObject({ outcome: 'client_aborted' })
  })

  it('is served 1,000 requests, 50 at a time', async () => {
    let left = 1_000
    const worker = async (): Promise<void> => {
      while (left > 0) {
        left -= 1
        const answer = await answerOf(session.request({ ':path': '/many' }))
        expect(answer.headers[':status']).toBe(200)
      }
    }
    await Promise.all(Array.from({ length: 50 }, worker))
    expect(bed.origin.askedFor('/many')).toHaveLength(1_000)
  })

  it('reads the refusal of an upload that it is in the middle of', async () => {
    const socket = await httpsVia(bed.lab, bed.authority(INSPECTED), { alpn: ['h2'] })
    const inspected = connect(`https://${bed.authority(INSPECTED)}`, { createConnection: () => socket })
    const stream = inspected.request({ ':method': 'POST', ':path': '/up', 'content-type': 'application/json' })
    stream.end(Buffer.alloc(3 * 1024 * 1024, '{'))
    const answer = await answerOf(stream)
    expect(answer.headers[':status']).toBe(403)
    inspected.close()
  })

  it('sees GOAWAY in a drain, and the stream under way ends in order', async () => {
    const drained = await startBed({ door: 'transparent', tls: true })
    const tls = await httpsRedirected(drained.lab, HOST, { alpn: ['h2'] })
    const other = connect(`https://${drained.authority()}`, { createConnection: () => tls })
    let finish = (): void => undefined
    drained.origin.on('/slow', async (wire) => {
      wire.write(`${CHUNKED}${chunk('a')}`)
      await new Promise<void>((resolve) => {
        finish = resolve
      })
      wire.write(`${chunk('b')}0\r\n\r\n`)
    })
    const stream = other.request({ ':path': '/slow' })
    await once(stream, 'response')
    const goaway = once(other, 'goaway')
    const closing = drained.lab.close()
    expect((await goaway)[0]).toBe(0)
    finish()
    let text = ''
    stream.on('data', (part: Buffer) => {
      text += part.toString()
    })
    await once(stream, 'end')
    expect(text).toBe('ab')
    await closing
    await drained.origin.close()
    drained.root.close()
  })
})

describe('programs', () => {
  let bed: Bed
  let ca: string
  beforeAll(async () => {
    bed = await startBed({ door: 'connect', tls: true })
    ca = join(bed.lab.folder, 'test-ca.pem')
    writeFileSync(ca, bed.lab.ca)
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  it.skipIf(!existsSync('/usr/bin/curl'))('curl --http2 sends and receives', async () => {
    const url = `https://${bed.authority()}/curl`
    const proxy = `http://127.0.0.1:${bed.lab.proxyPort}`
    const args = ['-sS', '--http2', '-x', proxy, '--cacert', ca, '-d', 'a=b']
    const { code, text } = await run('/usr/bin/curl', [...args, '-w', ' %{http_version} %{response_code}', url])
    expect([code, text]).toEqual([0, 'ok 2 200'])
    expect((await bed.attempt('/curl')).decided).toMatchObject({ protocol: 'h2', method: 'POST' })
  })

  it.skipIf(!existsSync('/usr/bin/python3'))(
    'httpx over h2 sends, receives and reads a refusal of its upload',
    async () => {
      const script = `
import sys, httpx, ssl
context = ssl.create_default_context(cafile=sys.argv[1])
with httpx.Client(http2=True, verify=context, timeout=10) as client:
    print(client.get(sys.argv[2] + '/httpx').http_version, client.get(sys.argv[2] + '/httpx-2').text)
    print(client.post(sys.argv[2] + '/httpx-3', content=b'x' * 3000000).status_code)
    print(client.post(sys.argv[3] + '/httpx-4', content=b'{' * 3000000, headers={'content-type': 'application/json'}).status_code)
`
      const { text } = await run(
        '/usr/bin/python3',
        ['-c', script, ca, `https://${bed.authority()}`, `https://${bed.authority(INSPECTED)}`],
        { HTTPS_PROXY: `http://127.0.0.1:${bed.lab.proxyPort}` },
      )
      expect(text.split('\n')).toEqual(['HTTP/2 ok', '200', '403', ''])
    },
  )
})
