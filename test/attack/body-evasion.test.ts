// One member too many in a call to an allowed host, in every disguise by which the proxy would read another body than the origin does.

import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Bed, startBed, type Way } from '../doors/support/bed.ts'
import { ok } from '../support/scripted-origin.ts'

const MAIL = 'mail.allowed.test'
const RULES = `  - id: send-mail
    allow: { hosts: [${MAIL}], ports: [PORT], schemes: [http, https], methods: [POST] }
    body:
      json: [{ path: $.Bcc, must: be-absent }, { path: $.From, must: match, value: "*@acme.example" }]
      form: [{ field: Bcc, must: be-absent }, { field: From, must: match, value: "*@acme.example" }]
      multipart: [{ field: Bcc, must: be-absent }, { field: From, must: match, value: "*@acme.example" }]
`
const WAYS: readonly Way[] = [
  { door: 'connect', tls: true },
  { door: 'transparent', tls: true },
  { door: 'absolute', tls: false },
]

const JSON_TYPE = 'application/json'
const FORM_TYPE = 'application/x-www-form-urlencoded'
const PARTS_TYPE = 'multipart/form-data; boundary=X'
const utf16 = (text: string): string => Buffer.from(`\ufeff${text}`, 'utf16le').toString('latin1')
const packed = (bytes: Buffer): string => bytes.toString('latin1')
const part = (name: string, value: string, more = ''): string =>
  `--X\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`
const parts = (...given: readonly string[]): string => `${given.join('')}--X--\r\n`

const FROM = '"From":"me@acme.example"'
const HONEST = `{${FROM},"To":"you@b.example"}`
const CAUGHT = `{${FROM},"Bcc":"x@evil.test"}`
const ours = part('From', 'me@acme.example')

interface Body {
  readonly what: string
  readonly type: string | null
  readonly body: string
  readonly coding?: string
  /** In chunks that end in the middle of everything. */
  readonly chunked?: boolean
}

const ALLOWED: readonly Body[] = [
  { what: 'JSON', type: JSON_TYPE, body: HONEST },
  { what: 'JSON in chunks', type: JSON_TYPE, body: HONEST, chunked: true },
  { what: 'JSON in gzip', type: JSON_TYPE, body: packed(gzipSync(HONEST)), coding: 'gzip' },
  { what: 'JSON in gzip in chunks', type: JSON_TYPE, body: packed(gzipSync(HONEST)), coding: 'gzip', chunked: true },
  { what: 'JSON in deflate', type: JSON_TYPE, body: packed(deflateSync(HONEST)), coding: 'deflate' },
  { what: 'JSON in brotli', type: JSON_TYPE, body: packed(brotliCompressSync(HONEST)), coding: 'br' },
  { what: 'a form', type: FORM_TYPE, body: 'From=me%40acme.example&To=you%40b.example' },
  { what: 'form data', type: PARTS_TYPE, body: parts(ours, part('To', 'you@b.example')) },
]

const DENIED: readonly Body[] = [
  { what: 'as it is', type: JSON_TYPE, body: CAUGHT },
  { what: 'in chunks', type: JSON_TYPE, body: CAUGHT, chunked: true },
  { what: 'in another case', type: JSON_TYPE, body: `{${FROM},"bCC":"x"}` },
  {
    what: 'with a K that is a Kelvin sign for somebody',
    type: JSON_TYPE,
    body: `{${FROM},"\\u212A":1,"B\\u0063c":"x"}`,
  },
  { what: 'escaped', type: JSON_TYPE, body: `{${FROM},"\\u0042\\u0063c":"x"}` },
  { what: 'as null', type: JSON_TYPE, body: `{${FROM},"Bcc":null}` },
  { what: 'with From a second time', type: JSON_TYPE, body: `{${FROM},"From":"x@evil.test"}` },
  { what: 'in a list of one', type: JSON_TYPE, body: `[${CAUGHT}]` },
  { what: 'behind a comment', type: JSON_TYPE, body: `{${FROM}/*,*/,"Bcc":"x"}` },
  { what: 'in a second document', type: JSON_TYPE, body: `${HONEST}\n${CAUGHT}` },
  { what: 'behind a byte order mark', type: JSON_TYPE, body: `\u00ef\u00bb\u00bf${HONEST}` },
  { what: 'in UTF-16', type: JSON_TYPE, body: utf16(CAUGHT) },
  { what: 'in UTF-16 that says so', type: `${JSON_TYPE}; charset=utf-16`, body: utf16(HONEST) },
  { what: 'in UTF-7', type: `${JSON_TYPE}; charset=utf-7`, body: HONEST },
  { what: 'with a number nobody reads alike', type: JSON_TYPE, body: `{"From":1e400}` },
  { what: 'too deep', type: JSON_TYPE, body: `{${FROM},"a":${'['.repeat(100)}${']'.repeat(100)}}` },
  { what: 'in gzip', type: JSON_TYPE, body: packed(gzipSync(CAUGHT)), coding: 'gzip' },
  { what: 'in gzip that says nothing', type: JSON_TYPE, body: packed(gzipSync(HONEST)) },
  { what: 'in gzip twice', type: JSON_TYPE, body: packed(gzipSync(gzipSync(HONEST))), coding: 'gzip, gzip' },
  { what: 'in deflate without its header', type: JSON_TYPE, body: packed(deflateRawSync(HONEST)), coding: 'deflate' },
  { what: 'behind gzip', type: JSON_TYPE, body: packed(gzipSync(HONEST)) + CAUGHT, coding: 'gzip' },
  {
    what: 'in a second member of gzip',
    type: JSON_TYPE,
    body: packed(gzipSync(HONEST)) + packed(gzipSync(CAUGHT)),
    coding: 'gzip',
  },
  { what: 'in a coding nobody knows', type: JSON_TYPE, body: HONEST, coding: 'aes128gcm' },
  { what: 'behind a bomb', type: JSON_TYPE, body: packed(gzipSync(`${HONEST}${' '.repeat(900_000)}`)), coding: 'gzip' },
  { what: 'as text', type: 'text/plain', body: HONEST },
  { what: 'without a type', type: null, body: HONEST },
  { what: 'as two types', type: `${JSON_TYPE}, text/plain`, body: HONEST },
  { what: 'as a form', type: FORM_TYPE, body: 'From=me%40acme.example&Bcc=x' },
  { what: 'as a form, escaped', type: FORM_TYPE, body: 'From=me%40acme.example&%42cc=x' },
  { what: 'as a form, in a list of PHP', type: FORM_TYPE, body: 'From=me%40acme.example&bcc%5B%5D=x' },
  { what: 'as a form, behind a semicolon', type: FORM_TYPE, body: 'From=me%40acme.example;Bcc=x' },
  { what: 'as a form, From a second time', type: FORM_TYPE, body: 'From=me%40acme.example&From=x%40evil.test' },
  { what: 'as a form of JSON', type: FORM_TYPE, body: CAUGHT },
  { what: 'as JSON of a form', type: JSON_TYPE, body: 'From=me%40acme.example' },
  { what: 'as form data', type: PARTS_TYPE, body: parts(ours, part('Bcc', 'x')) },
  { what: 'as a file', type: PARTS_TYPE, body: parts(ours, part('Bcc', 'x', '; filename="a"')) },
  {
    what: 'in a part behind a bare LF',
    type: PARTS_TYPE,
    body: parts(part('From', 'me@acme.example\n--X\nContent-Disposition: form-data; name="Bcc"\n\nx')),
  },
  { what: 'in the preamble', type: PARTS_TYPE, body: part('Bcc', 'x').replace('--X', '--Y') + parts(ours) },
  { what: 'in the epilogue', type: PARTS_TYPE, body: parts(ours) + part('Bcc', 'x') },
  { what: 'in a second name of a part', type: PARTS_TYPE, body: parts(part('From"; name="Bcc', 'me@acme.example')) },
  { what: 'with another boundary', type: `${PARTS_TYPE}; boundary=Y`, body: parts(ours) },
  { what: 'without a boundary', type: 'multipart/form-data', body: parts(ours) },
]

const CHUNK = 7
const inChunks = (body: string): string => {
  const pieces = body.match(new RegExp(`[^]{1,${CHUNK}}`, 'g')) ?? []
  return `${pieces.map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`).join('')}0\r\n\r\n`
}

describe.each(WAYS)('[J01] [J02] [J03] by $door', (way) => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed(way, { rules: RULES, names: { [MAIL]: ['127.0.0.1'] } })
    bed.origin.on('/mail', async (wire, asked) => {
      received.push((await asked.body()).body)
      wire.write(ok('sent'))
    })
  })
  afterAll(() => bed.close())

  const received: string[] = []
  const send = async ({ type, body, coding, chunked = false }: Body, path: string): Promise<number> => {
    const fields = [
      ...(type === null ? [] : [`Content-Type: ${type}`]),
      ...(coding === undefined ? [] : [`Content-Encoding: ${coding}`]),
      chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`,
    ]
    const sent = chunked ? inChunks(body) : body
    const answer = await bed.ask(path, { method: 'POST', host: MAIL, body: sent, fields: `${fields.join('\r\n')}\r\n` })
    return (answer as { status: number }).status
  }

  it.each(ALLOWED.map((body) => [body.what, body] as const))(
    'an honest mail goes out as it was sent: %s',
    async (_what, body) => {
      received.length = 0
      expect(await send(body, '/mail')).toBe(200)
      expect(received).toEqual([body.body])
    },
  )

  it.each(DENIED.map((body, at) => [body.what, body, at] as const))('a copy does not: %s', async (_what, body, at) => {
    received.length = 0
    const path = `/mail?${at}`
    expect(await send(body, path)).toBe(403)
    expect(received).toEqual([])
    const refused = bed.lab.recordsOf('request.decided').find(({ query }) => query === String(at))
    expect(refused).toMatchObject({ decision: 'deny', enforced: true, reason: 'body_rule', rule: 'send-mail' })
  })

  it('the record names the member', () => {
    const [first] = bed.lab.recordsOf('request.decided').filter(({ query }) => query === '0')
    expect(first?.['security_flags']).toEqual(['body_rule:$.Bcc'])
  })
})
