// One request and its answer: which bytes arrive on either side.

import { gzipSync } from 'node:zlib'
import { expect, it } from 'vitest'
import { ok } from '../support/scripted-origin.ts'
import { valuesOf } from '../support/wire.ts'
import { type Bed, refusalOf, TOKEN, type Way } from './support/bed.ts'

const KIB = 1_024

export function messageCases(way: Way, bed: () => Bed): void {
  it('[P13] a request arrives with its fields in order, case and number as sent, Host first', async () => {
    const { origin, request, open, authority } = bed()
    const fields = [
      'X-First: 1\r\n',
      'aCCept: */*\r\n',
      'x-dup: b\r\nX-DUP: a\r\nX-dup: b\r\n',
      'Cookie: a=1\r\nCookie: b=2\r\n',
      'X-Latin1: caf\u00e9\r\n',
      'X-Empty: \r\n',
      'content-LENGTH: 2\r\n',
      'Authorization: Bearer abc\r\n',
    ].join('')
    const host = `Host: ${authority()}\r\n`
    const wire = await open()
    const spelled = request('/fields?q=%7e', { method: 'POST', fields, body: 'hi' })
    wire.write(spelled.replace(host, '').replace('\r\n\r\nhi', `\r\nhOsT: ${authority()}\r\n\r\nhi`))
    expect((await wire.message()).status).toBe(200)
    wire.socket.destroy()
    expect(origin.askedFor('/fields')[0]?.head).toBe(`POST /fields?q=%7e HTTP/1.1\r\n${host}${fields}\r\n`)
  })

  it('[P13] an answer arrives with its fields in order, case and number as sent, and its own reason phrase', async () => {
    const { origin, open, request } = bed()
    const head = [
      'HTTP/1.1 203 As it was, \u00e9\r\n',
      'sErver: x\r\n',
      'Set-Cookie: a=1; Path=/\r\nset-cookie: b=2\r\nSet-Cookie: a=1; Path=/\r\n',
      'X-Request-ID: theirs\r\n',
      'Content-Length: 2\r\n',
      'X-Last: \r\n\r\n',
    ].join('')
    origin.on('/answer-fields', (wire) => wire.write(`${head}hi`))
    const wire = await open()
    wire.write(request('/answer-fields'))
    expect(await wire.head()).toBe(head)
    expect(await wire.take(2)).toBe('hi')
    wire.socket.destroy()
  })

  it.each<[string, string, string]>([
    ['HEAD with a Content-Length', 'HEAD', '200 OK\r\nContent-Length: 5'],
    ['HEAD of a chunked answer', 'HEAD', '200 OK\r\nTransfer-Encoding: chunked'],
    ['HEAD without either', 'HEAD', '200 OK\r\nX-A: 1'],
    ['204', 'GET', '204 No Content\r\nX-A: 1'],
    ['204 with a Content-Length', 'GET', '204 No Content\r\nContent-Length: 0'],
    ['304', 'GET', '304 Not Modified\r\nETag: "a"'],
    ['304 with a Content-Length', 'GET', '304 Not Modified\r\nContent-Length: 5'],
    ['an empty 200', 'GET', '200 OK\r\nContent-Length: 0'],
  ])('[P14] %s has no body and the next answer follows', async (name, method, head) => {
    const { origin, open, request } = bed()
    const path = `/bodyless/${name.replaceAll(' ', '-')}`
    origin.on(path, (wire) => wire.write(`HTTP/1.1 ${head}\r\n\r\n`))
    const wire = await open()
    wire.write(request(path, { method }))
    const first = await wire.message(method === 'HEAD')
    const kept = head.split('\r\n').filter((line) => !line.startsWith('Transfer-Encoding'))
    expect([first.startLine, ...first.fields.map((field) => field.join(': '))]).toEqual([
      `HTTP/1.1 ${kept[0]}`,
      ...kept.slice(1),
    ])
    wire.write(request('/after'))
    expect((await wire.message()).body).toBe('ok')
    wire.socket.destroy()
  })

  it('[P10] early hints arrive before the answer, in order, without what is between us and the origin', async () => {
    const { origin, open, request } = bed()
    let finish: () => void = () => undefined
    const finished = new Promise<void>((resolve) => {
      finish = resolve
    })
    origin.on('/hints', async (wire) => {
      wire.write('HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n')
      wire.write('HTTP/1.1 102 Processing\r\nContent-Length: 7\r\nAlt-Svc: h3=":443"\r\n\r\n')
      wire.write('HTTP/1.1 100 Continue\r\n\r\n')
      await finished
      wire.write(ok('hinted'))
    })
    const wire = await open()
    wire.write(request('/hints'))
    expect(await wire.head()).toBe('HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n')
    expect(await wire.head()).toBe('HTTP/1.1 102 Processing\r\n\r\n')
    finish()
    expect((await wire.message()).body).toBe('hinted')
    wire.socket.destroy()
  })

  it('[P10] early hints are nothing for an HTTP/1.0 client', async () => {
    const { origin, ask } = bed()
    origin.on('/hints-1.0', (wire) => wire.write(`HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n${ok('final')}`))
    const answer = await ask('/hints-1.0', { version: '1.0' })
    expect([answer.status, answer.body]).toEqual([200, 'final'])
  })

  it('[P10] a flood of interim answers is 502', async () => {
    const { origin, open, request, attempt } = bed()
    origin.on('/flood', (wire) => wire.write('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(1_000)))
    const wire = await open()
    wire.write(request('/flood'))
    let answer = await wire.message()
    let hints = 0
    for (; answer.status === 103; hints++) answer = await wire.message()
    wire.socket.destroy()
    expect([answer.status, refusalOf(answer).reason]).toEqual([502, 'upstream_malformed'])
    expect(hints).toBeLessThan(100)
    expect((await attempt('/flood')).completed).toMatchObject({ outcome: 'failed', reason: 'upstream_malformed' })
  })

  it('[P11] trailers of a chunked answer arrive', async () => {
    const { origin, ask } = bed()
    const trailers = 'Grpc-Status: 0\r\nX-Checksum: abc\r\nx-checksum: def\r\n'
    origin.on('/trailers', (wire) =>
      wire.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n${trailers}\r\n`),
    )
    const answer = await ask('/trailers')
    expect(answer.body).toBe('hello')
    expect(answer.trailers.map((field) => `${field.join(': ')}\r\n`).join('')).toBe(trailers)
  })

  it('[P12] trailers of a request are dropped and their names recorded', async () => {
    const { origin, ask, attempt } = bed()
    const bodies: unknown[] = []
    origin.on('/request-trailers', async (wire, asked) => {
      bodies.push(await asked.body())
      wire.write(ok('ok'))
    })
    const body = '5\r\nhello\r\n0\r\nx-amz-checksum-crc32: sOO8/Q==\r\nX-Other: s3cr3t\r\n\r\n'
    const fields = 'Trailer: x-amz-checksum-crc32\r\nTransfer-Encoding: chunked\r\n'
    expect((await ask('/request-trailers', { method: 'PUT', fields, body })).status).toBe(200)
    expect(bodies).toEqual([{ body: 'hello', trailers: [] }])
    const { completed } = await attempt('/request-trailers')
    expect(completed['security_flags']).toEqual(['trailer_dropped:x-amz-checksum-crc32', 'trailer_dropped:X-Other'])
    expect(JSON.stringify(completed)).not.toContain('s3cr3t')
  })

  it('[P15] an offer of h2c is refused, and nothing is asked of the origin', async () => {
    const { origin, ask } = bed()
    const offer = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n'
    const answer = await ask('/h2c', { fields: offer })
    expect([answer.status, refusalOf(answer).reason]).toEqual([403, 'upgrade_denied'])
    expect(origin.askedFor('/h2c')).toEqual([])
  })

  it('an unsolicited 101 is 502 and its connection is not used again', async () => {
    const { origin, ask } = bed()
    origin.on('/101', (wire) => wire.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n'))
    const answer = await ask('/101')
    expect([answer.status, refusalOf(answer).reason]).toEqual([502, 'upstream_malformed'])
    await ask('/after-101')
    expect(origin.askedFor('/after-101')[0]?.connection).not.toBe(origin.askedFor('/101')[0]?.connection)
  })

  it('[P42] proxy fields and fields that Connection names stay here; credentials and cookies go on all the same', async () => {
    const { origin, ask } = bed()
    const credentials = `Basic ${Buffer.from(`robot:${TOKEN}`).toString('base64')}`
    const fields = [
      'Connection: x-hop, authorization, cookie, keep-alive\r\n',
      'X-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Connection: keep-alive\r\n',
      `Proxy-Authorization: ${credentials}\r\n`,
      'Authorization: Bearer abc\r\nCookie: a=1\r\n',
    ].join('')
    expect((await ask('/hop-by-hop', { fields })).status).toBe(200)
    expect(origin.askedFor('/hop-by-hop')[0]?.fields.slice(1)).toEqual([
      ['Authorization', 'Bearer abc'],
      ['Cookie', 'a=1'],
    ])
  })

  it('[P42] hop-by-hop fields of an answer stay here, and so does the invitation to another way', async () => {
    const { origin, ask } = bed()
    const fields = [
      'Connection: x-hop, set-cookie\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\n',
      'Proxy-Authenticate: Basic\r\nAlt-Svc: h3=":443"\r\nSet-Cookie: a=1\r\n',
    ].join('')
    origin.on('/answer-hop-by-hop', (wire) => wire.write(ok('', fields)))
    const answer = await ask('/answer-hop-by-hop')
    expect(answer.fields).toEqual([
      ['Set-Cookie', 'a=1'],
      ['Content-Length', '0'],
    ])
  })

  it('[P43] a compressed body is not touched, not even a broken one', async () => {
    const { origin, ask } = bed()
    const bytes = gzipSync('hello '.repeat(1_000)).subarray(0, -4).toString('latin1')
    origin.on('/gzip', (wire) => wire.write(ok(bytes, 'Content-Encoding: gzip\r\n')))
    const answer = await ask('/gzip', { fields: 'Accept-Encoding: gzip, br\r\n' })
    expect(answer.body).toBe(bytes)
    expect(valuesOf(answer, 'content-encoding')).toEqual(['gzip'])
    expect(origin.askedFor('/gzip')[0]?.fields).toContainEqual(['Accept-Encoding', 'gzip, br'])
  })

  it('[P44] a range is asked for and answered untouched', async () => {
    const { origin, ask } = bed()
    const partial = 'HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/10\r\nContent-Length: 3\r\n\r\ncde'
    origin.on('/range', (wire) => wire.write(partial))
    const answer = await ask('/range', { fields: 'Range: bytes=2-4\r\nIf-Range: "v1"\r\n' })
    expect([answer.status, answer.body, ...valuesOf(answer, 'content-range')]).toEqual([206, 'cde', 'bytes 2-4/10'])
    expect(origin.askedFor('/range')[0]?.fields.slice(1)).toEqual([
      ['Range', 'bytes=2-4'],
      ['If-Range', '"v1"'],
    ])
  })

  it('[P45] 40 KiB of fields pass both ways', async () => {
    const { origin, ask } = bed()
    const large = 'a'.repeat(40 * KIB)
    origin.on('/large', (wire) => wire.write(ok('ok', `X-Large: ${large}\r\n`)))
    const answer = await ask('/large', { fields: `X-Large: ${large}\r\n` })
    expect(valuesOf(answer, 'x-large')).toEqual([large])
    expect(origin.askedFor('/large')[0]?.fields).toContainEqual(['X-Large', large])
  })

  it('[P45] 70 KiB of fields are 431, and nothing of them leaves', async () => {
    const { origin, ask, lab } = bed()
    const malformed = lab.recordsOf('request.malformed').length
    const answer = await ask('/too-large', { fields: `X-Large: ${'a'.repeat(70 * KIB)}\r\n` })
    expect([answer.status, refusalOf(answer).reason]).toEqual([431, 'header_too_large'])
    expect(origin.askedFor('/too-large')).toEqual([])
    await lab.waitFor('request.malformed', malformed + 1)
  })

  it('[P45] an answer with 70 KiB of fields is 502', async () => {
    const { origin, ask } = bed()
    origin.on('/answer-too-large', (wire) => wire.write(ok('', `X-Large: ${'a'.repeat(70 * KIB)}\r\n`)))
    const answer = await ask('/answer-too-large')
    expect([answer.status, refusalOf(answer).reason]).toEqual([502, 'upstream_malformed'])
  })

  it.each([
    ['Content-Length beside Transfer-Encoding', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['two Content-Lengths', 'Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!'],
    ['a coding over the chunks', 'Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
    ['a field without a colon', 'Content-Length: 0\r\nnonsense\r\n\r\n'],
  ])('an answer with %s is 502 and its connection is not used again', async (name, rest) => {
    const { origin, ask } = bed()
    const path = `/bad-framing/${name.replaceAll(' ', '-')}`
    origin.on(path, (wire) => wire.write(`HTTP/1.1 200 OK\r\n${rest}`))
    const answer = await ask(path)
    expect([answer.status, refusalOf(answer).reason]).toEqual([502, 'upstream_malformed'])
    await ask(`${path}/after`)
    expect(origin.askedFor(`${path}/after`)[0]?.connection).not.toBe(origin.askedFor(path)[0]?.connection)
  })

  it('an HTTP/1.0 client gets a chunked answer unchunked, and the end of the connection as its end', async () => {
    const { origin, open, request } = bed()
    origin.on('/1.0', (wire) => wire.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n'))
    const wire = await open()
    wire.write(request('/1.0', { version: '1.0', fields: 'Connection: keep-alive\r\n' }))
    const answer = await wire.message()
    expect(answer.fields).toEqual([['Connection', 'close']])
    expect([answer.body, await wire.closed()]).toEqual(['hi', 'end'])
    wire.socket.destroy()
    expect(origin.askedFor('/1.0')[0]?.startLine).toBe('GET /1.0 HTTP/1.1')
  })

  it('an HTTP/1.0 client that asks for it keeps its connection', async () => {
    const { open, request } = bed()
    const wire = await open()
    for (const path of ['/1.0/one', '/1.0/two']) {
      wire.write(request(path, { version: '1.0', fields: 'Connection: keep-alive\r\n' }))
      expect((await wire.message()).fields).toContainEqual(['Connection', 'keep-alive'])
    }
    wire.write(request('/1.0/three', { version: '1.0' }))
    expect((await wire.message()).fields).toContainEqual(['Connection', 'close'])
    expect(await wire.closed()).toBe('end')
    wire.socket.destroy()
  })

  it.skipIf(way.door === 'absolute')('[P37] the URL as a target means the same as its path', async () => {
    const { origin, open, authority } = bed()
    const scheme = way.tls ? 'https' : 'http'
    const wire = await open()
    wire.write(`GET ${scheme}://${authority()}/absolute?a=1 HTTP/1.1\r\nHost: ${authority()}\r\n\r\n`)
    expect((await wire.message()).status).toBe(200)
    wire.socket.destroy()
    expect(origin.askedFor('/absolute')[0]?.startLine).toBe('GET /absolute?a=1 HTTP/1.1')
  })
}
