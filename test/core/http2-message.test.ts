import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseAuthority } from '../../src/core/address.ts'
import { ChunkedDecoder } from '../../src/core/chunked.ts'
import { parseRequestHead, type RawHeaders, serializeHead } from '../../src/core/http1.ts'
import {
  http2RequestFields,
  http2ResponseFields,
  readHttp2Request,
  readHttp2Response,
  readHttp2Trailers,
} from '../../src/core/http2-message.ts'
import { type ConnectionNames, readSubject } from '../../src/core/subject.ts'

const HOST = 'api.allowed.test'

interface Pseudo {
  readonly method?: string | null
  readonly scheme?: string | null
  readonly authority?: string | null
  readonly path?: string | null
}

/** The fields of a GET of `/p`, with other pseudo-fields, without those that are null, and with `fields` behind them. */
function request(fields: RawHeaders = [], pseudo: Pseudo = {}): string[] {
  const named = { method: 'GET', scheme: 'https', authority: HOST, path: '/p', ...pseudo }
  const block: string[] = []
  for (const [name, value] of Object.entries(named)) if (typeof value === 'string') block.push(`:${name}`, value)
  return [...block, ...fields]
}

const post = (fields: RawHeaders = []): string[] => request(fields, { method: 'POST' })

const TLS: ConnectionNames = { scheme: 'https', expected: parseAuthority(HOST, 443), port: 443, absolute: false }

/** What the exchange makes of it: a subject, or a refusal with its reason. */
function judged(fields: RawHeaders, names: ConnectionNames = TLS): object {
  const read = readHttp2Request(fields, true)
  return read.kind === 'bad' ? read : readSubject(names, read.head, read.framing)
}

describe('a request', () => {
  it('is the head that HTTP/1.1 would have made of it', () => {
    const fields = ['accept', '*/*', 'x-a', '1', 'x-a', '2', 'x-empty', '', 'te', 'trailers']
    expect(readHttp2Request(request(fields), true)).toEqual({
      kind: 'request',
      head: { method: 'GET', target: '/p', version: '1.1', headers: fields },
      framing: {
        kind: 'ok',
        body: { kind: 'none' },
        keepAlive: true,
        expectContinue: false,
        hostValue: HOST,
        upgrade: [],
      },
    })
  })

  it.each<[string, string[], boolean, object]>([
    ['has no body where the fields were all', post(), true, { kind: 'none' }],
    ['has none either where it says that it is empty', post(['content-length', '0']), true, { kind: 'none' }],
    ['has a body that only the end of the stream ends', post(), false, { kind: 'chunked' }],
    ['has a body of the declared length', post(['content-length', '5']), false, { kind: 'length', length: 5 }],
    ['may declare an empty body and end it later', post(['content-length', '0']), false, { kind: 'length', length: 0 }],
    [
      'of HEAD may do so too',
      request(['content-length', '0'], { method: 'HEAD' }),
      false,
      { kind: 'length', length: 0 },
    ],
    ['of GET may have a body', request(), false, { kind: 'chunked' }],
  ])('%s', (_name, fields, endStream, body) => {
    expect(readHttp2Request(fields, endStream)).toMatchObject({ kind: 'request', framing: { kind: 'ok', body } })
  })

  it('keeps a declared length among its headers', () => {
    const fields = ['content-length', '5', 'a', 'b']
    expect(readHttp2Request(post(fields), false)).toMatchObject({ head: { headers: fields } })
  })

  it('joins the crumbs of a cookie where the first one stands [C14]', () => {
    const crumbs = ['a', '1', 'cookie', 'a=1', 'b', '2', 'cookie', 'b=2', 'cookie', 'c=3']
    expect(readHttp2Request(request(crumbs), true)).toMatchObject({
      head: { headers: ['a', '1', 'cookie', 'a=1; b=2; c=3', 'b', '2'] },
    })
  })

  it('leaves out a crumb that is empty', () => {
    expect(readHttp2Request(request(['cookie', 'a=1', 'cookie', '']), true)).toMatchObject({
      head: { headers: ['cookie', 'a=1'] },
    })
  })

  it.each([
    ['100-continue', { kind: 'ok', expectContinue: true }],
    ['100-Continue', { kind: 'ok', expectContinue: true }],
    ['the-unexpected', { kind: 'refused', reason: 'expectation', code: 'UNKNOWN_EXPECTATION' }],
  ])('may expect %s', (expectation, framing) => {
    expect(readHttp2Request(post(['expect', expectation]), false)).toMatchObject({ kind: 'request', framing })
  })

  it.each(['trailers', 'Trailers'])('may say te: %s', (te) => {
    expect(readHttp2Request(request(['te', te]), true).kind).toBe('request')
  })

  it('takes pseudo-fields in any order', () => {
    const fields = [':path', '/p', ':authority', HOST, ':scheme', 'https', ':method', 'GET']
    expect(judged(fields)).toMatchObject({ kind: 'subject', subject: { method: 'GET', path: '/p' } })
  })
})

describe('a malformed request', () => {
  it.each<[string, string[], string]>([
    ['[C03] a request line in :path', request([], { path: '/a HTTP/1.1\r\nHost: evil\r\n\r\nGET /b' }), 'BAD_TARGET'],
    ['[C03] a space in :path', request([], { path: '/a b' }), 'BAD_TARGET'],
    ['[C04] :path without a slash', request([], { path: 'evil' }), 'BAD_TARGET'],
    ['[C04] an absolute URL in :path', request([], { path: 'http://evil/' }), 'BAD_TARGET'],
    ['an absolute URL of the very host in :path', request([], { path: `https://${HOST}/p` }), 'BAD_TARGET'],
    ['[C04] an empty :path', request([], { path: '' }), 'BAD_TARGET'],
    ['[C04] an asterisk with GET', request([], { path: '*' }), 'BAD_TARGET'],
    ['an asterisk and more with OPTIONS', request([], { method: 'OPTIONS', path: '*/' }), 'BAD_TARGET'],
    ['[C04] a NUL in :path', request([], { path: '/\0' }), 'BAD_TARGET'],
    ['[C05] a byte beyond ASCII in :path', request([], { path: '/\xff' }), 'BAD_TARGET'],
    ['a character that is no byte in :path', request([], { path: '/\u010a' }), 'BAD_TARGET'],
    ['[C06] a request line in :method', request([], { method: 'GET /evil HTTP/1.1' }), 'BAD_METHOD'],
    ['an empty :method', request([], { method: '' }), 'BAD_METHOD'],
    ['a :method of 65 letters', request([], { method: 'A'.repeat(65) }), 'BAD_METHOD'],
    ['[C08] :path twice', [...request(), ':path', '/q'], 'H2_PSEUDO_DUPLICATE'],
    ['[C08] :authority twice', [...request(), ':authority', HOST], 'H2_PSEUDO_DUPLICATE'],
    ['[C08] an unknown pseudo-field', [...request(), ':foo', 'bar'], 'H2_PSEUDO_UNKNOWN'],
    ['[C08] :status in a request', [':status', '200', ...request()], 'H2_PSEUDO_UNKNOWN'],
    ['[C08] all pseudo-fields behind a regular one', ['a', 'b', ...request()], 'H2_PSEUDO_MISPLACED'],
    ['[C08] CONNECT behind a regular field', ['a', 'b', ':method', 'CONNECT'], 'H2_PSEUDO_MISPLACED'],
    [
      '[C08] the last pseudo-field behind a regular one',
      request(['a', 'b', ':authority', 'x'], { authority: null }),
      'H2_PSEUDO_MISPLACED',
    ],
    ['no :method', request([], { method: null }), 'H2_PSEUDO_MISSING'],
    ['no :scheme', request([], { scheme: null }), 'H2_PSEUDO_MISSING'],
    ['no :path', request([], { path: null }), 'H2_PSEUDO_MISSING'],
    ['no fields at all', [], 'H2_PSEUDO_MISSING'],
    ['the scheme http over TLS', request([], { scheme: 'http' }), 'H2_SCHEME'],
    ['an empty scheme', request([], { scheme: '' }), 'H2_SCHEME'],
    ['another scheme', request([], { scheme: 'ftp' }), 'H2_SCHEME'],
    ['[C09] neither :authority nor Host', request([], { authority: null }), 'MISSING_HOST'],
    ['an empty :authority', request([], { authority: '' }), 'EMPTY_HOST'],
    ['an empty Host alone', request(['host', ''], { authority: null }), 'EMPTY_HOST'],
    [
      '[C09] two Hosts without :authority',
      request(['host', HOST, 'host', HOST], { authority: null }),
      'DUPLICATE_HOST',
    ],
    ['two Hosts beside :authority', request(['host', HOST, 'host', 'evil.test']), 'DUPLICATE_HOST'],
    ['a line of its own in :authority', request([], { authority: `${HOST}\r\nX: y` }), 'BAD_VALUE'],
    ['[C01] a field of its own in a value', request(['a', 'b\r\nTransfer-Encoding: chunked']), 'BAD_VALUE'],
    ['a space before a value', request(['a', ' b']), 'H2_VALUE_WHITESPACE'],
    ['a tab behind a value', request(['a', 'b\t']), 'H2_VALUE_WHITESPACE'],
    ['a value that is a space', request(['a', ' ']), 'H2_VALUE_WHITESPACE'],
    ['[C02] a name in upper case', request(['Accept', '*/*']), 'H2_UPPERCASE_NAME'],
    ['[C11] a length and no body', post(['content-length', '5']), 'H2_LENGTH_WITHOUT_BODY'],
    ['[C11] two lengths', post(['content-length', '0', 'content-length', '1']), 'DUPLICATE_CONTENT_LENGTH'],
    ['[C11] twice the same length', post(['content-length', '0', 'content-length', '0']), 'DUPLICATE_CONTENT_LENGTH'],
    ['a list of lengths', post(['content-length', '0, 0']), 'BAD_CONTENT_LENGTH'],
    ['a length with a sign', post(['content-length', '+0']), 'BAD_CONTENT_LENGTH'],
    ['an empty length', post(['content-length', '']), 'BAD_CONTENT_LENGTH'],
    ['[C12] transfer-encoding', post(['transfer-encoding', 'chunked']), 'H2_CONNECTION_FIELD'],
    ['[C12] connection', request(['connection', 'x-a']), 'H2_CONNECTION_FIELD'],
    ['[C12] upgrade', request(['upgrade', 'websocket']), 'H2_CONNECTION_FIELD'],
    ['[C12] te with a coding', request(['te', 'gzip']), 'H2_TE'],
    ['[C12] te with a coding beside trailers', request(['te', 'trailers, gzip']), 'H2_TE'],
    ['an empty te', request(['te', '']), 'H2_TE'],
    ['a length with an underscore', post(['content_length', '5']), 'UNDERSCORE_FRAMING'],
    ['[C15] CONNECT', [':method', 'CONNECT', ':authority', 'evil.test:443'], 'H2_CONNECT'],
    ['[C15] CONNECT with all pseudo-fields', request([], { method: 'CONNECT' }), 'H2_CONNECT'],
    ['[C16] websocket', request([], { method: 'CONNECT' }).concat(':protocol', 'websocket'), 'H2_EXTENDED_CONNECT'],
    ['[C16] connect-udp', request([], { method: 'CONNECT' }).concat(':protocol', 'connect-udp'), 'H2_EXTENDED_CONNECT'],
    ['[C16] :protocol without CONNECT', request().concat(':protocol', 'websocket'), 'H2_PSEUDO_UNKNOWN'],
  ])('%s', (_name, fields, code) => {
    const read = readHttp2Request(fields, true)
    expect(read).toMatchObject({ kind: 'bad', reason: 'malformed', code })
  })

  it.each(['HEAD', 'TRACE'])('has a body where %s has none [B01]', (method) => {
    const bad = { kind: 'bad', code: 'BODY_NOT_ALLOWED' }
    expect(readHttp2Request(request([], { method }), false)).toMatchObject(bad)
    expect(readHttp2Request(request(['content-length', '1'], { method }), false)).toMatchObject(bad)
  })

  it('is told with what could be read of it', () => {
    expect(readHttp2Request([':method', 'CONNECT', ':authority', 'evil.test:443'], true)).toEqual({
      kind: 'bad',
      reason: 'malformed',
      code: 'H2_CONNECT',
      method: 'CONNECT',
      path: null,
    })
    expect(readHttp2Request([':path', '/a b', ':x', ''], true)).toMatchObject({ method: null, path: '/a b' })
  })
})

describe('one name', () => {
  const TLS_8443: ConnectionNames = { ...TLS, expected: parseAuthority(`${HOST}:8443`, 443), port: 8443 }

  it.each<[string, string[], ConnectionNames?]>([
    [':authority alone', request()],
    ['[C09] Host alone', request(['host', HOST], { authority: null })],
    ['both, the same', request(['host', HOST])],
    ['both, one of them in another case', request(['host', 'API.allowed.test'])],
    ['both, one of them with the default port', request(['host', `${HOST}:443`])],
    [':authority with the port that was connected to', request([], { authority: `${HOST}:8443` }), TLS_8443],
  ])('accepts %s', (_name, fields, names) => {
    expect(judged(fields, names)).toMatchObject({
      kind: 'subject',
      subject: { host: { text: HOST }, path: '/p', target: '/p' },
      facts: { path: '/p' },
    })
  })

  it.each<[string, string[], string]>([
    ['[C10] :authority is not SNI', request([], { authority: 'evil.test' }), 'identity_mismatch'],
    ['[C09] Host alone is not SNI', request(['host', 'evil.test'], { authority: null }), 'identity_mismatch'],
    ['Host is not :authority', request(['host', 'evil.test']), 'identity_mismatch'],
    [':authority is not Host', request(['host', HOST], { authority: 'evil.test' }), 'identity_mismatch'],
    ['Host has another port', request(['host', `${HOST}:8443`]), 'identity_mismatch'],
    ['an empty Host beside :authority', request(['host', '']), 'malformed'],
    ['Host is a list', request(['host', `${HOST}, evil.test`]), 'host_not_canonical'],
    ['userinfo in :authority', request([], { authority: `user@${HOST}` }), 'host_not_canonical'],
    ['userinfo that looks like a host', request([], { authority: `${HOST}@evil.test` }), 'host_not_canonical'],
    ['userinfo beside Host', request(['host', HOST], { authority: `${HOST}@evil.test` }), 'host_not_canonical'],
    ['a path in :authority', request([], { authority: `${HOST}/evil` }), 'host_not_canonical'],
    ['a path in :authority beside Host', request(['host', HOST], { authority: `${HOST}/evil` }), 'host_not_canonical'],
    ['a query in :authority beside Host', request(['host', HOST], { authority: `${HOST}?` }), 'host_not_canonical'],
    ['two names for OPTIONS *', request(['host', 'evil.test'], { method: 'OPTIONS', path: '*' }), 'host_not_canonical'],
    ['dot segments', request([], { path: '/a/../b' }), 'path_not_canonical'],
    ['a fragment', request([], { path: '/a#b' }), 'malformed'],
  ])('refuses: %s', (_name, fields, reason) => {
    // An empty Host is no request at all; everything else is judged with what is known of it.
    expect(judged(fields)).toMatchObject({ reason })
  })

  it('keeps both names for the record', () => {
    expect(judged(request(['host', 'evil.test'], { path: '/p?q=1' }))).toMatchObject({
      kind: 'refused',
      facts: { method: 'GET', host: HOST, path: '/p', query: 'q=1', hostHeader: 'evil.test', url: HOST },
    })
  })

  it('takes OPTIONS * for the origin itself', () => {
    expect(judged(request([], { method: 'OPTIONS', path: '*' }))).toMatchObject({
      kind: 'subject',
      subject: { path: '*', target: '*' },
    })
  })

  it('names the fields that override method or path', () => {
    expect(judged(request(['x-http-method-override', 'DELETE']))).toMatchObject({
      subject: { overrideHeaders: ['x-http-method-override'] },
    })
  })
})

describe('a response', () => {
  it('is the head that HTTP/1.1 would have made of it', () => {
    expect(readHttp2Response([':status', '200', 'content-length', '5', 'set-cookie', 'a', 'set-cookie', 'b'])).toEqual({
      kind: 'response',
      head: {
        status: 200,
        statusText: 'OK',
        version: '1.1',
        headers: ['content-length', '5', 'set-cookie', 'a', 'set-cookie', 'b'],
      },
      length: 5,
    })
  })

  it.each<[string, string[], number | null]>([
    ['no length is declared', [':status', '200'], null],
    ['an empty body is declared', [':status', '200', 'content-length', '0'], 0],
    ['it is interim', [':status', '103', 'content-length', '5'], null],
    ['it is a 204', [':status', '204', 'content-length', '5'], null],
    ['it is a 304', [':status', '304', 'content-length', '5'], null],
    ['nobody knows the status', [':status', '599'], null],
  ])('%s: its length', (_name, fields, length) => {
    expect(readHttp2Response(fields)).toMatchObject({ kind: 'response', length })
  })

  it('loses the whitespace around values, as in HTTP/1.1', () => {
    expect(readHttp2Response([':status', '200', 'a', ' b\t', 'c', ' '])).toMatchObject({
      head: { headers: ['a', 'b', 'c', ''] },
    })
  })

  it.each<[string, string[], string]>([
    ['no :status', ['a', 'b'], 'H2_PSEUDO_MISSING'],
    ['an empty :status', [':status', ''], 'BAD_STATUS'],
    ['a :status with a reason', [':status', '200 OK'], 'BAD_STATUS'],
    ['a :status with a line of its own', [':status', '200\n'], 'BAD_STATUS'],
    ['a :status of the sixth class', [':status', '600'], 'BAD_STATUS'],
    ['a :status below 100', [':status', '099'], 'BAD_STATUS'],
    ['101', [':status', '101'], 'UNSOLICITED_101'],
    [':status twice', [':status', '200', ':status', '200'], 'H2_PSEUDO_DUPLICATE'],
    ['a pseudo-field of a request', [':status', '200', ':path', '/'], 'H2_PSEUDO_UNKNOWN'],
    [':status behind a field', ['a', 'b', ':status', '200'], 'H2_PSEUDO_MISPLACED'],
    [':status before and behind a field', [':status', '200', 'a', 'b', ':status', '200'], 'H2_PSEUDO_MISPLACED'],
    ['a name in upper case', [':status', '200', 'Server', 'x'], 'H2_UPPERCASE_NAME'],
    ['a line of its own in a value', [':status', '200', 'a', 'b\r\nc: d'], 'BAD_VALUE'],
    ['transfer-encoding', [':status', '200', 'transfer-encoding', 'chunked'], 'H2_CONNECTION_FIELD'],
    ['two lengths', [':status', '200', 'content-length', '1', 'content-length', '1'], 'DUPLICATE_CONTENT_LENGTH'],
    ['a length that is none', [':status', '200', 'content-length', '0x1'], 'BAD_CONTENT_LENGTH'],
  ])('is refused with %s', (_name, fields, code) => {
    expect(readHttp2Response(fields)).toEqual({ kind: 'bad', code })
  })
})

describe('trailers', () => {
  it('are the fields behind the body', () => {
    const fields = ['grpc-status', '0', 'grpc-message', '', 'x', ' y ']
    expect(readHttp2Trailers(fields)).toEqual({
      kind: 'trailers',
      trailers: ['grpc-status', '0', 'grpc-message', '', 'x', 'y'],
    })
    expect(readHttp2Trailers([])).toEqual({ kind: 'trailers', trailers: [] })
  })

  it.each<[string, string[], string]>([
    ['[C08] a pseudo-field', [':status', '200'], 'H2_PSEUDO_MISPLACED'],
    ['[C08] a pseudo-field behind others', ['a', 'b', ':path', '/'], 'H2_PSEUDO_MISPLACED'],
    ['a name in upper case', ['Grpc-Status', '0'], 'H2_UPPERCASE_NAME'],
    ['a line of its own in a value', ['a', 'b\r\nc: d'], 'BAD_VALUE'],
  ])('are refused with %s', (_name, fields, code) => {
    expect(readHttp2Trailers(fields)).toEqual({ kind: 'bad', code })
  })

  it.each([
    'transfer-encoding',
    'content-length',
    'host',
    'connection',
    'keep-alive',
    'proxy-connection',
    'proxy-authorization',
    'proxy-authenticate',
    'te',
    'trailer',
    'upgrade',
    'expect',
  ])('are refused with %s, in chunks and here alike', (name) => {
    const chunked = new ChunkedDecoder().push(Buffer.from(`0\r\n${name}: 1\r\n\r\n`, 'latin1'))
    expect(chunked).toMatchObject({ kind: 'bad', code: 'FORBIDDEN_TRAILER' })
    const code = readHttp2Trailers(['a', name, name, '1'])
    expect(['FORBIDDEN_TRAILER', 'H2_CONNECTION_FIELD']).toContain(code.kind === 'bad' && code.code)
  })

  it('may have a value that is the name of a forbidden one', () => {
    expect(readHttp2Trailers(['a', 'host']).kind).toBe('trailers')
  })
})

describe('what is written', () => {
  it('is a request with its pseudo-fields first', () => {
    const parts = { method: 'POST', scheme: 'https', authority: HOST, target: '/p?q', trailers: false } as const
    expect(http2RequestFields({ ...parts, headers: ['Host', 'x', 'X-A', '1', 'TE', 'trailers'] })).toEqual([
      ':method',
      'POST',
      ':scheme',
      'https',
      ':authority',
      HOST,
      ':path',
      '/p?q',
      'x-a',
      '1',
    ])
  })

  it('says that trailers are understood, where they are', () => {
    const parts = { method: 'POST', scheme: 'https', authority: HOST, target: '/', trailers: true } as const
    expect(http2RequestFields({ ...parts, headers: ['a', 'b'] }).slice(8)).toEqual(['a', 'b', 'te', 'trailers'])
  })

  it('is a response with its status first', () => {
    expect(http2ResponseFields(404, ['Content-Length', '5', 'Connection', 'close'])).toEqual([
      ':status',
      '404',
      'content-length',
      '5',
    ])
  })

  const name = fc
    .string({ unit: fc.constantFrom(...'abcXYZ019-_.!'.split('')), minLength: 1, maxLength: 12 })
    .map((text) => `x${text}`)
  const value = fc
    .string({ unit: fc.constantFrom(...'aB9 ,;="\t\xe9:/'.split('')), maxLength: 20 })
    .map((text) => text.trim())
  const headers = fc.array(fc.tuple(name, value), { maxLength: 12 }).map((pairs) => pairs.flat())
  const lowered = (sent: string[]): string[] => sent.map((text, index) => (index % 2 === 0 ? text.toLowerCase() : text))

  it('is read as the same request', () => {
    const method = fc.constantFrom('GET', 'POST', 'PATCH', 'PROPFIND')
    const target = fc.constantFrom('/', '/a/b?c=d', '/%2e', '/a%2Fb')
    fc.assert(
      fc.property(method, target, headers, fc.boolean(), (sentMethod, sentTarget, sent, trailers) => {
        const parts = { method: sentMethod, scheme: 'https', authority: HOST, target: sentTarget, trailers } as const
        expect(readHttp2Request(http2RequestFields({ ...parts, headers: sent }), true)).toMatchObject({
          kind: 'request',
          head: {
            method: sentMethod,
            target: sentTarget,
            headers: [...lowered(sent), ...(trailers ? ['te', 'trailers'] : [])],
          },
          framing: { hostValue: HOST },
        })
      }),
    )
  })

  it('is read as the same response and the same trailers', () => {
    fc.assert(
      fc.property(fc.integer({ min: 200, max: 599 }), headers, (status, sent) => {
        expect(readHttp2Response(http2ResponseFields(status, sent))).toMatchObject({
          kind: 'response',
          head: { status, headers: lowered(sent) },
        })
        expect(readHttp2Trailers(lowered(sent))).toEqual({ kind: 'trailers', trailers: lowered(sent) })
      }),
    )
  })
})

describe('whatever the fields', () => {
  const names = [':method', ':scheme', ':authority', ':path', ':protocol', ':status', ':x', 'host', 'cookie', 'te']
  const regular = ['content-length', 'transfer-encoding', 'connection', 'expect', 'a', 'A', '', 'a b', 'content_length']
  const values = ['GET', 'HEAD', 'CONNECT', 'https', 'http', HOST, 'evil.test', '/p', '*', '', '5', 'trailers', '200']
  const hostile = ['100-continue', ' x', '/a b', 'x\r\ny: z', '\xff', 'a@b', '0', 'chunked', 'OPTIONS', '/\0']
  const field = fc.tuple(fc.constantFrom(...names, ...regular), fc.constantFrom(...values, ...hostile))
  const valid = fc.constantFrom(request(), post(['content-length', '5']), request(['cookie', 'a', 'cookie', 'b']))
  const mutated = fc.tuple(valid, fc.array(field, { maxLength: 3 }), fc.nat({ max: 6 })).map(([block, extra, at]) => {
    const copy = [...block]
    copy.splice(Math.min(at * 2, copy.length), 0, ...extra.flat())
    return copy
  })
  const blocks = fc.oneof(
    mutated,
    fc.array(field, { maxLength: 8 }).map((pairs) => pairs.flat()),
  )

  it('nothing throws, and what is accepted is a request that HTTP/1.1 reads as the same one', () => {
    fc.assert(
      fc.property(blocks, fc.boolean(), (fields, endStream) => {
        readHttp2Response(fields)
        readHttp2Trailers(fields)
        const read = readHttp2Request(fields, endStream)
        if (read.kind === 'bad' || read.framing.kind !== 'ok') return
        const { method, target, headers } = read.head
        const bytes = serializeHead(`${method} ${target} HTTP/1.1`, ['host', read.framing.hostValue, ...headers])
        const again = parseRequestHead(bytes)
        expect(again).toMatchObject({ kind: 'head', bytes: bytes.length, head: { method, target } })
        expect(again.kind === 'head' && again.head.headers.slice(2)).toEqual(headers)
      }),
      { numRuns: 5_000 },
    )
  })

  it('a subject is always the host that the connection was opened for, whoever names another', () => {
    fc.assert(
      fc.property(blocks, (fields) => {
        const result = judged(fields)
        if (!('subject' in result)) return
        expect(result).toMatchObject({ subject: { host: { text: HOST } } })
        const named = fields.filter((_value, at) => [':authority', 'host'].includes(fields[at - 1] ?? ''))
        expect(new Set(named)).toEqual(new Set([HOST]))
      }),
      { numRuns: 5_000 },
    )
  })
})
