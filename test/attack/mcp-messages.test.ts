// A call of a tool that no rule allows, to an allowed MCP server, in every disguise by which the server would read another message.

import { connect } from 'node:http2'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Bed, startBed, type Way } from '../doors/support/bed.ts'
import { httpsVia } from '../support/clients.ts'
import { ok } from '../support/scripted-origin.ts'

const MCP = 'mcp.allowed.test'
const PLAIN = 'plain.allowed.test'
const RULES = `  - id: issues
    allow: { hosts: [${MCP}], ports: [PORT], schemes: [http, https] }
    mcp:
      tools: ["list_*", get_issue]
      resources: ["$file:///docs/**", "resources://users/*"]
      rates: { ping: { requests: 2, per: hour } }
  - { id: plain, allow: { hosts: [${PLAIN}], ports: [PORT], schemes: [http, https] } }
`
const NAMES = { [MCP]: ['127.0.0.1'], [PLAIN]: ['127.0.0.1'] }

const JSON_TYPE = 'application/json'
const message = (method: string, params: string, id = '7'): string =>
  `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${params}}`
const call = (tool: string): string => message('tools/call', `{"name":"${tool}","arguments":{}}`)
const read = (uri: string): string => message('resources/read', JSON.stringify({ uri }))
const HONEST = call('get_issue')
const CAUGHT = call('execute')
const LIST = message('tools/list', '{}')

interface Sent {
  readonly what: string
  readonly body: string
  readonly type?: string | null
  readonly coding?: string
  readonly method?: string
  readonly fields?: string
  /** In pieces that end in the middle of everything. */
  readonly pieces?: boolean
}

const packed = (text: string): string => gzipSync(text).toString('latin1')
const utf16 = (text: string): string => Buffer.from(`\ufeff${text}`, 'utf16le').toString('latin1')

const ALLOWED: readonly Sent[] = [
  { what: 'a call', body: HONEST },
  { what: 'a call in pieces', body: HONEST, pieces: true },
  { what: 'a call in gzip', body: packed(HONEST), coding: 'gzip' },
  { what: 'a call that is escaped', body: HONEST.replace('get_issue', String.raw`\u0067et_issue`) },
  { what: 'a batch', body: `[${HONEST},${LIST}]` },
  { what: 'a resource', body: read('resources://users/7') },
  { what: 'a response', body: '{"jsonrpc":"2.0","id":1,"result":{"action":"decline"}}' },
  { what: 'the stream', body: '', method: 'GET', type: null, fields: 'Accept: text/event-stream\r\n' },
  { what: 'the end of a session', body: '', method: 'DELETE', type: null, fields: 'Mcp-Session-Id: 1\r\n' },
  { what: 'a call with its fields', body: HONEST, fields: 'Mcp-Method: tools/call\r\nMcp-Name: get_issue\r\n' },
]

const DENIED: readonly Sent[] = [
  { what: 'as it is', body: CAUGHT },
  { what: 'in pieces', body: CAUGHT, pieces: true },
  { what: 'in gzip', body: packed(CAUGHT), coding: 'gzip' },
  { what: 'with an escaped name', body: CAUGHT.replace('execute', String.raw`\u0065xecute`) },
  { what: 'with an escaped key', body: CAUGHT.replace('"name"', String.raw`"n\u0061me"`) },
  { what: 'in another case', body: call('GET_ISSUE') },
  { what: 'behind what is allowed', body: call('get_issue/../execute') },
  { what: 'behind NUL', body: call(String.raw`get_issue\u0000execute`) },
  { what: 'with a look-alike letter', body: call(String.raw`get_\u0456ssue`) },
  { what: 'second in a batch', body: `[${HONEST},${CAUGHT}]` },
  { what: 'first in a batch', body: `[${CAUGHT},${HONEST}]` },
  { what: 'last in a long batch', body: `[${Array<string>(99).fill(LIST).join(',')},${CAUGHT}]` },
  { what: 'in a batch that is too long', body: `[${Array<string>(100).fill(LIST).join(',')},${CAUGHT}]` },
  { what: 'in a nested batch', body: `[${HONEST},[${CAUGHT}]]` },
  { what: 'in an empty batch', body: '[]' },
  { what: 'in a second document', body: `${HONEST}\n${CAUGHT}` },
  { what: 'as a second method', body: HONEST.replace('"method"', '"method":"tools/call","method"') },
  { what: 'as a second name', body: HONEST.replace('"name"', '"name":"execute","name"') },
  { what: 'as a second name, escaped', body: HONEST.replace('"name"', String.raw`"n\u0061me":"execute","name"`) },
  { what: 'as a name in another case', body: HONEST.replace('"name"', '"Name":"execute","name"') },
  {
    what: 'as a URI with an i without its dot',
    body: message('resources/read', String.raw`{"uri":"file:///docs/a","ur\u0131":"file:///etc/passwd"}`),
  },
  { what: 'as a method in another case', body: LIST.replace('"params"', '"Method":"tools/call","params"') },
  { what: 'as parameters in another case', body: HONEST.replace('"id"', '"PARAMS":{"name":"execute"},"id"') },
  { what: 'with a member too many', body: HONEST.replace('"id"', '"tool":"execute","id"') },
  { what: 'in a list of parameters', body: message('tools/call', '["execute"]') },
  { what: 'with a number for a name', body: message('tools/call', '{"name":7}') },
  { what: 'without a name', body: message('tools/call', '{}') },
  { what: 'beside a result', body: HONEST.replace('"id"', '"result":{},"id"') },
  { what: 'as JSON-RPC 1.0', body: HONEST.replace('2.0', '1.0') },
  { what: 'without a version', body: HONEST.replace('"jsonrpc":"2.0",', '') },
  { what: 'with an id nobody reads alike', body: message('tools/list', '{}', '9007199254740993') },
  { what: 'with an id out of range', body: message('tools/list', '{}', '1e400') },
  { what: 'with no id', body: message('tools/list', '{}', 'null') },
  { what: 'behind a byte order mark', body: `\u00ef\u00bb\u00bf${HONEST}` },
  { what: 'in UTF-16', body: utf16(CAUGHT) },
  { what: 'in UTF-16 that says so', body: utf16(HONEST), type: `${JSON_TYPE}; charset=utf-16` },
  { what: 'behind a comment', body: HONEST.replace('"id"', '/*"id"*/"id"') },
  { what: 'too deep', body: message('tools/list', `{"a":${'['.repeat(100)}${']'.repeat(100)}}`) },
  { what: 'behind more than is looked at', body: HONEST.replace('{}', `{"a":"${'x'.repeat(1_100_000)}"}`) },
  { what: 'in gzip that says nothing', body: packed(HONEST) },
  { what: 'as text', body: HONEST, type: 'text/plain' },
  { what: 'as a form', body: HONEST, type: 'application/x-www-form-urlencoded' },
  { what: 'without a type', body: HONEST, type: null },
  { what: 'by PUT', body: HONEST, method: 'PUT' },
  { what: 'by DELETE', body: HONEST, method: 'DELETE' },
  { what: 'by GET', body: HONEST, method: 'GET' },
  { what: 'by nothing', body: '' },
  { what: 'in a field beside the message', body: HONEST, fields: 'Mcp-Method: tools/call\r\nMcp-Name: execute\r\n' },
  { what: 'in a field, encoded', body: HONEST, fields: 'Mcp-Name: =?base64?ZXhlY3V0ZQ==?=\r\n' },
  { what: 'in a second field', body: HONEST, fields: 'Mcp-Name: get_issue\r\nMcp-Name: execute\r\n' },
  { what: 'as another method', body: message('prompts/get', '{"name":"execute"}') },
  { what: 'as a method of later days', body: message('tools/call2', '{"name":"execute"}') },
  { what: 'as a resource nearby', body: read('file:///docs/../etc/passwd') },
  { what: 'as a resource nearby, escaped', body: read('file:///docs/%2e%2e/etc/passwd') },
  { what: 'as a resource nearby, escaped twice', body: read('file:///docs/%252e%252e/etc/passwd') },
  { what: 'as a resource nearby for who drops tabs', body: read('file:///docs/.\t./etc/passwd') },
  { what: 'as another resource', body: read('file:///etc/passwd') },
  {
    what: 'as a resource that is listened to',
    body: message(
      'subscriptions/listen',
      '{"notifications":{"resourceSubscriptions":["file:///docs/a","file:///etc/b"]}}',
    ),
  },
]

const PIECE = 7
const piecesOf = (body: string): readonly string[] => body.match(new RegExp(`[^]{1,${PIECE}}`, 'g')) ?? []
const inChunks = (body: string): string =>
  `${piecesOf(body)
    .map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`)
    .join('')}0\r\n\r\n`

const WAYS: readonly (Way & { readonly version: '1.1' | '2' })[] = [
  { door: 'connect', tls: true, version: '1.1' },
  { door: 'connect', tls: true, version: '2' },
  { door: 'transparent', tls: true, version: '1.1' },
  { door: 'absolute', tls: false, version: '1.1' },
]

describe.each(WAYS)('[G16] by $door, HTTP/$version', ({ version, ...way }) => {
  let bed: Bed
  const received: string[] = []
  beforeAll(async () => {
    bed = await startBed(way, { rules: RULES, names: NAMES })
    bed.origin.on('/mcp', async (wire, asked) => {
      received.push((await asked.body()).body)
      wire.write(ok('done'))
    })
  })
  afterAll(() => bed.close())

  const send = (sent: Sent, path: string, host: string = MCP): Promise<number> =>
    version === '2' ? sendFrames(sent, path, host) : sendLines(sent, path, host)

  const sendLines = async (sent: Sent, path: string, host: string): Promise<number> => {
    const { body, type = JSON_TYPE, coding, method = 'POST', fields = '', pieces = false } = sent
    const framing = pieces ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`
    const lines = [
      ...(type === null ? [] : [`Content-Type: ${type}`]),
      ...(coding === undefined ? [] : [`Content-Encoding: ${coding}`]),
      ...(body === '' && method !== 'POST' ? [] : [framing]),
    ]
    const head = `${fields}${lines.map((line) => `${line}\r\n`).join('')}`
    const answer = await bed.ask(path, { method, host, body: pieces ? inChunks(body) : body, fields: head })
    return (answer as { status: number }).status
  }

  const sendFrames = async (sent: Sent, path: string, host: string): Promise<number> => {
    const { body, type = JSON_TYPE, coding, method = 'POST', fields = '', pieces = false } = sent
    const socket = await httpsVia(bed.lab, bed.authority(host), { alpn: ['h2'] })
    const session = connect(`https://${bed.authority(host)}`, { createConnection: () => socket })
    const headers: Record<string, string | string[]> = { ':method': method, ':path': path }
    if (type !== null) headers['content-type'] = type
    if (coding !== undefined) headers['content-encoding'] = coding
    for (const line of fields.split('\r\n').slice(0, -1)) {
      const [name = '', value = ''] = line.split(': ')
      headers[name] = name in headers ? [headers[name] as string, value] : value
    }
    const stream = session.request(headers, { endStream: body === '' })
    const status = new Promise<number>((resolve, reject) => {
      stream.on('response', (answer) => resolve(answer[':status'] ?? 0))
      stream.on('error', reject)
    })
    // A refusal may come before the whole of a long body was taken.
    stream.on('close', () => session.destroy())
    for (const piece of pieces ? piecesOf(body) : [body]) if (piece !== '') stream.write(piece, 'latin1')
    if (body !== '') stream.end()
    const answered = await status
    stream.resume()
    session.destroy()
    return answered
  }

  it.each(ALLOWED.map((sent) => [sent.what, sent] as const))(
    'what is allowed goes out as it was sent: %s',
    async (_, sent) => {
      received.length = 0
      expect(await send(sent, '/mcp')).toBe(200)
      expect(received).toEqual([sent.body])
    },
  )

  it.each(DENIED.map((sent, at) => [sent.what, sent, at] as const))(
    'execute is not called: %s',
    async (_, sent, at) => {
      received.length = 0
      expect(await send(sent, `/mcp?${at}`)).toBe(403)
      expect(received).toEqual([])
      const refused = bed.lab.recordsOf('request.decided').find(({ query }) => query === String(at))
      expect(refused).toMatchObject({ decision: 'deny', enforced: true, reason: 'body_rule', rule: 'issues' })
    },
  )

  const decidedFor = (query: string): Record<string, unknown> | undefined =>
    bed.lab.recordsOf('request.decided').find((record) => record['query'] === query)

  it('the record names the call, and what of it no rule allows', () => {
    const at = (what: string): string => String(DENIED.findIndex((each) => each.what === what))
    expect(decidedFor(at('as it is'))).toMatchObject({
      mcp: [{ method: 'tools/call', tool: 'execute', resource: null, id: '7' }],
      security_flags: ['body_rule:mcp:tools/call:execute'],
    })
    expect(decidedFor(at('with an escaped name'))?.['mcp']).toMatchObject([{ tool: 'execute' }])
    expect(decidedFor(at('as another resource'))?.['mcp']).toMatchObject([{ resource: 'file:///etc/passwd' }])
    const long = decidedFor(at('last in a long batch'))
    expect(long).toMatchObject({ truncated: ['mcp'], security_flags: ['body_rule:mcp:tools/call:execute'] })
    expect(long?.['mcp']).toHaveLength(16)
  })

  it('no secret in a name, a URI, an id or a member reaches the trail [K18]', async () => {
    const secret = 'ghp_e2eDummyTokenThatMustNotBeWritten01'
    const bodies = [
      call(secret),
      read(`file:///x?token=${secret}`),
      message(secret, '{}', `"${secret}"`),
      HONEST.replace('"id"', `"${secret}":1,"id"`),
      call(`${'x'.repeat(240)}${secret}`),
      // A record would cut it in the middle of the secret.
      call(`${'x'.repeat(240)}${secret}${'x'.repeat(1_000)}`),
    ]
    for (const body of bodies) expect(await send({ what: '', body }, '/mcp?secret')).toBe(403)
    const told = JSON.stringify(bed.lab.recordsOf('request.decided').filter(({ query }) => query === 'secret'))
    expect(told).not.toContain(secret.slice(4, 12))
    expect(told.match(/hmac:/g)?.length).toBeGreaterThanOrEqual(bodies.length)
  })

  it('a rate of a method counts each message of a batch', async () => {
    const ping = message('ping', '{}')
    expect(await send({ what: '', body: `[${ping},${ping},${ping}]` }, '/mcp?rate')).toBe(429)
    expect(await send({ what: '', body: HONEST }, '/mcp')).toBe(200)
    expect(decidedFor('rate')).toMatchObject({ reason: 'rate_limited', rule: 'issues', mcp: [{}, {}, {}] })
  })

  describe('where no rule asks for it', () => {
    const SIGNS = 'Accept: application/json, text/event-stream\r\n'

    it('a message is recorded, and whatever is in it goes out', async () => {
      for (const [at, body] of [CAUGHT, `[${CAUGHT}]`, '{"method":1,"method":2}', 'no JSON'].entries()) {
        received.length = 0
        expect(await send({ what: '', body, fields: SIGNS }, `/mcp?plain${at}`, PLAIN)).toBe(200)
        expect(received).toEqual([body])
      }
      expect(decidedFor('plain0')).toMatchObject({ rule: 'plain', mcp: [{ tool: 'execute', id: '7' }] })
      expect(decidedFor('plain1')).toMatchObject({ mcp: [{ tool: 'execute' }], security_flags: [] })
      for (const at of [2, 3]) expect(decidedFor(`plain${at}`)).not.toHaveProperty('mcp')
    })

    it.each([
      ['a session', 'Mcp-Session-Id: 1\r\n', JSON_TYPE, true],
      ['a version', 'MCP-Protocol-Version: 2025-06-18\r\n', JSON_TYPE, true],
      ['one of the two answers', 'Accept: application/json\r\n', JSON_TYPE, false],
      ['both answers and another type', SIGNS, 'application/vnd.x+json', false],
      ['nothing', '', JSON_TYPE, false],
    ])('its head says what it is: %s', async (what, fields, type, recognized) => {
      expect(await send({ what, body: CAUGHT, fields, type }, `/mcp?${what.replaceAll(' ', '_')}`, PLAIN)).toBe(200)
      expect('mcp' in (decidedFor(what.replaceAll(' ', '_')) ?? {})).toBe(recognized)
    })
  })
})
