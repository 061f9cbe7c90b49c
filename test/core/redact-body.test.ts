import { Buffer } from 'node:buffer'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { createRedactor } from '../../src/core/redact.ts'
import { type BodyStart, SAMPLE_MARGIN, sampleBody, type SampledBody } from '../../src/core/redact-body.ts'

const VALUE = 'Correct-Horse-Battery'
const redactor = createRedactor(Buffer.alloc(32, 7), { values: [VALUE] })
const mark = (secret: string): string => redactor.fingerprint(secret)
const TOKEN = ['gh', 'p_', 'A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8'].join('')

function sampled(body: string | Buffer, about: Partial<BodyStart> = {}): SampledBody {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  return sampleBody({ bytes, limit: 1_024, whole: true, contentType: null, contentEncoding: null, ...about }, redactor)
}

describe('the beginning of a body', () => {
  it('of text is text', () => {
    expect(sampled('{"a":"é"}')).toEqual({ prefix: '{"a":"é"}', encoding: 'text', redacted: false, truncated: false })
    expect(sampled('')).toEqual({ prefix: '', encoding: 'text', redacted: false, truncated: false })
    expect(sampled('a', { contentEncoding: ' Identity' }).prefix).toBe('a')
  })

  it('of anything else is base64, of the bytes that remain when the secrets are replaced', () => {
    const binary = Buffer.concat([Buffer.from([0xff, 0xfe, 1]), Buffer.from(TOKEN), Buffer.from([0x80])])
    const shown = Buffer.concat([Buffer.from([0xff, 0xfe, 1]), Buffer.from(mark(TOKEN)), Buffer.from([0x80])])
    expect(sampled(binary)).toEqual({
      prefix: shown.toString('base64'),
      encoding: 'base64',
      redacted: true,
      truncated: false,
    })
    expect(sampled(Buffer.from('a\0b')).encoding).toBe('base64')
  })

  it('in UTF-16 hides nothing', () => {
    const { prefix, redacted } = sampled(Buffer.from(`say ${TOKEN} now`, 'utf16le'))
    expect(redacted).toBe(true)
    expect(Buffer.from(prefix as string, 'base64').toString('latin1')).toContain(mark(TOKEN))
  })

  it.each([
    ['JSON', '{"user":"me","password":"hunter2"}', `{"user":"me","password":"${mark('hunter2')}"}`],
    [
      'escaped JSON within JSON',
      '{"text":"{\\"password\\":\\"hunter2\\"}"}',
      `{"text":"{\\"password\\":\\"${mark('hunter2')}\\"}"}`,
    ],
    ['a token in unusual escapes', `"${TOKEN.replace('g', '\\u0067')}"`, `"${mark(TOKEN)}"`],
    ['a known secret', `a ${VALUE} b`, `a ${mark(VALUE)} b`],
    [
      'a known secret all in escapes',
      Array.from(VALUE, (c) => `\\u00${c.charCodeAt(0).toString(16)}`).join(''),
      mark(VALUE),
    ],
  ])('%s', (_case, body, prefix) => {
    expect(sampled(body)).toMatchObject({ prefix, redacted: true })
  })

  it('a form is read as one', () => {
    const form = 'user=me&password=two words&n=1'
    const type = 'Application/X-WWW-Form-Urlencoded; charset=utf-8'
    expect(sampled(form, { contentType: type }).prefix).toBe(`user=me&password=${mark('two words')}&n=1`)
    expect(sampled(form, { contentType: 'text/plain' }).prefix).toBe(`user=me&password=${mark('two')} words&n=1`)
  })

  it.each([
    ['a content coding', Buffer.from('x'), { contentEncoding: 'br' }],
    ['two content codings', Buffer.from('x'), { contentEncoding: '' }],
    ['gzip by its bytes', gzipSync(TOKEN), {}],
    ['a zip archive', Buffer.from('PK\u0003\u0004x'), {}],
    ['nothing asked for', Buffer.from('x'), { limit: 0 }],
  ])('what can not be searched is not shown: %s', (_case, bytes, about) => {
    expect(sampled(bytes, about)).toMatchObject({ prefix: null, encoding: null, redacted: false })
  })
})

describe('a body that is cut [K18]', () => {
  it('says so, and cuts no character in two', () => {
    const body = sampled(`${'a'.repeat(1_023)}éb`)
    expect(body).toEqual({ prefix: 'a'.repeat(1_023), encoding: 'text', redacted: false, truncated: true })
    expect(sampled('a', { whole: false }).truncated).toBe(true)
    expect(sampled('a'.repeat(1_024)).truncated).toBe(false)
  })

  const secrets: [string, string, string][] = [
    ['a token', TOKEN, mark(TOKEN)],
    ['a known secret', VALUE, mark(VALUE)],
    ['a member', '"password":"hunter2 hunter2 hunter2"', `"password":"${mark('hunter2 hunter2 hunter2')}`],
  ]
  it.each(secrets)('%s that the cut goes through is replaced whole, wherever the cut goes', (_case, secret, shown) => {
    for (let before = 1_024 - secret.length; before < 1_024; before++) {
      const { prefix } = sampled(`${'.'.repeat(before)}${secret} and more`)
      const rest = (prefix as string).slice(before)
      expect(shown.startsWith(rest) || rest.startsWith(shown) || rest === secret.slice(0, rest.length)).toBe(true)
      for (const part of ['C3d4E5f6', 'Horse', 'hunter2']) expect(prefix).not.toContain(part)
    }
  })

  it('a JSON Web Token that does not end within what is kept is replaced as well', () => {
    const start = Buffer.from(`${'.'.repeat(1_000)} eyJ${'a'.repeat(SAMPLE_MARGIN + 20)}`).subarray(
      0,
      1_024 + SAMPLE_MARGIN,
    )
    const { prefix, redacted } = sampled(start, { whole: false })
    expect(redacted).toBe(true)
    expect(prefix).toMatch(/^\.{1000} hmac:[0-9a-f]{16}$/)
  })
})
