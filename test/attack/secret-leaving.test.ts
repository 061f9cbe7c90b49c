// A token and a password on their way to a host that they do not belong to, in every place of a request and every disguise that is taken off.

import { randomBytes } from 'node:crypto'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Ask, type Bed, refusalOf, startBed, TOKEN as ROBOT_TOKEN, type Way } from '../doors/support/bed.ts'
import type { LabOptions } from '../support/lab.ts'
import { ok } from '../support/scripted-origin.ts'

const AWAY = 'away.allowed.test'
const HOME = 'home.allowed.test'
const LABELS = 'allowed-below.test'

// Put together at run time: no scanner of this repository should take it for real.
const TOKEN = ['gh', 'p_', 'aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5'].join('')
const PASSWORD = 'Correct/Horse+42 "staple"'

const OPTIONS: Partial<LabOptions> = {
  rules: `  - id: open
    allow: { hosts: [${AWAY}, ${HOME}, "**.${LABELS}"], ports: [PORT], schemes: [http, https] }
  - id: socket
    allow: { hosts: [${AWAY}], ports: [PORT], schemes: [http, https], paths: [/socket], upgrade: [websocket] }`,
  names: { [AWAY]: ['127.0.0.1'], [HOME]: ['127.0.0.1'], [`${TOKEN.toLowerCase()}.${LABELS}`]: ['127.0.0.1'] },
  env: { ROBOT_TOKEN, DB_PASSWORD: PASSWORD },
  extra: `secrets:
  - { match: github_token, only_to: ["**.${HOME}"] }
  - { name: db-password, value: "\${DB_PASSWORD}", only_to: [] }`,
}
const WAYS: readonly Way[] = [
  { door: 'connect', tls: true },
  { door: 'transparent', tls: true },
  { door: 'absolute', tls: false },
]

type Disguise = (secret: string) => string
const bytes = (secret: string, encoding: BufferEncoding): string => Buffer.from(secret, encoding).toString('latin1')
const coded =
  (encoding: BufferEncoding, before = ''): Disguise =>
  (secret) =>
    Buffer.from(before + secret + before).toString(encoding)
const packed = (body: Buffer): string => body.toString('latin1')
const escaped = (secret: string, escape: (code: string) => string): string =>
  Array.from(secret, (unit) => escape(unit.charCodeAt(0).toString(16).padStart(2, '0'))).join('')
const percent: Disguise = (secret) => escaped(secret, (code) => `%${code}`)
const inLines = (digits: string): string => digits.replaceAll(/.{19}/g, '$&\r\n')
const part = (head: string, value: string): string => `--X\r\n${head}\r\n\r\n${value}\r\n--X--\r\n`
const TEXT_PART = 'Content-Disposition: form-data; name="note"'
const isAscii = (text: string): boolean => /^[!-~ ]*$/.test(text)

/** What a request can be written with anywhere. */
const SPELLED: readonly [what: string, disguise: Disguise][] = [
  ['as it is', (secret) => secret],
  ['escaped with percent', percent],
  ['escaped with percent twice', (secret) => percent(secret).replaceAll('%', '%25')],
  ['in base64', coded('base64')],
  ['in base64 behind one byte', coded('base64', '1')],
  ['in base64 behind two bytes', coded('base64', '12')],
  ['in base64 for URLs', coded('base64url', '\xff\xfe')],
  ['in hexadecimal digits', coded('hex')],
  ['in large hexadecimal digits', (secret) => coded('hex')(secret).toUpperCase()],
]

const BODIES: readonly [what: string, disguise: Disguise, fields?: string][] = [
  ...SPELLED,
  ['as a member of JSON', (secret) => JSON.stringify({ note: secret })],
  ['as the name of a member', (secret) => JSON.stringify({ [secret]: 1 })],
  ['in JSON in JSON', (secret) => JSON.stringify({ note: percent(secret) })],
  ['escaped in JSON', (secret) => `{"note":"${escaped(secret, (code) => `\\u00${code}`)}"}`],
  [
    'partly escaped in JSON',
    (secret) =>
      `{"\\u006eote":"${escaped(secret.slice(0, 3), (code) => `\\u00${code}`)}${JSON.stringify(secret.slice(3)).slice(1)}}`,
  ],
  ['in a form', (secret) => new URLSearchParams({ a: '1', note: secret }).toString()],
  ['in a part of form data', (secret) => part(TEXT_PART, secret)],
  ['in the name of a file', (secret) => part(`${TEXT_PART}; filename="${secret}"`, 'x')],
  [
    'in a part in base64',
    (secret) => part(`${TEXT_PART}\r\nContent-Transfer-Encoding: base64`, inLines(coded('base64', 'mail ')(secret))),
  ],
  ['in UTF-16', (secret) => bytes(`\ufeff${secret}`, 'utf16le')],
  ['in UTF-16, big end first', (secret) => Buffer.from(`\ufeff${secret}`, 'utf16le').swap16().toString('latin1')],
  ['in gzip', (secret) => packed(gzipSync(secret)), 'Content-Encoding: gzip\r\n'],
  ['in deflate', (secret) => packed(deflateSync(secret)), 'Content-Encoding: deflate\r\n'],
  ['in brotli', (secret) => packed(brotliCompressSync(secret)), 'Content-Encoding: br\r\n'],
]

const SECRETS: readonly [name: string, secret: string][] = [
  ['github_token', TOKEN],
  ['db-password', PASSWORD],
]

const framed = (body: string, fields = ''): string => `${fields}Content-Length: ${body.length}\r\n`
const chunk = (data: string): string => `${data.length.toString(16)}\r\n${data}\r\n`
const CHUNKED = 'Transfer-Encoding: chunked\r\n'

/** Everything that reaches the origin, whole or not. */
function listenTo(bed: Bed, path: string): { heard: () => string; begun: Promise<void> } {
  const heard: string[] = []
  let rest = (): string => ''
  let begin: () => void = () => undefined
  const begun = new Promise<void>((resolve) => {
    begin = resolve
  })
  bed.origin.on(path, async (wire, asked) => {
    heard.push(asked.head)
    rest = () => wire.text
    begin()
    heard.push((await asked.body()).body)
    wire.write(ok('sent'))
  })
  return { heard: () => heard.join('') + rest(), begun }
}

describe.each(WAYS)('[J01] [J02] by $door', (way) => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed(way, OPTIONS)
  })
  afterAll(() => bed.close())

  let count = 0
  const newPath = (): string => `/leak-${(count += 1)}`
  /** What becomes of a request; `shown`: its path as recorded, '' for the last one that was. */
  const outcome = async (path: string, ask: Ask, shown = path): Promise<unknown> => {
    const before = bed.origin.connections()
    const answer = await bed.ask(path, { host: AWAY, ...ask })
    const { reason, rule } = refusalOf(answer)
    const record = bed.lab.recordsOf('request.decided').findLast((each) => shown === '' || each['path'] === shown)
    const fields = ['decision', 'enforced', 'rule', 'security_flags']
    const recorded = Object.fromEntries(fields.map((name) => [name, record?.[name]]))
    return { status: answer.status, reason, rule, recorded, connections: bed.origin.connections() - before }
  }
  /** Before anything of it left. */
  const denied = (name: string): unknown => {
    const rule = `secret:${name}`
    const recorded = { decision: 'deny', enforced: true, rule, security_flags: [rule] }
    return { status: 403, reason: 'denied_by_rule', rule, recorded, connections: 0 }
  }

  describe.each(SECRETS)('%s', (name, secret) => {
    it.each(SPELLED)('in a field %s', async (_what, disguise) => {
      expect(await outcome(newPath(), { fields: `X-Note: a ${disguise(secret)} b\r\n` })).toEqual(denied(name))
    })

    it.each(SPELLED)('in the query %s', async (_what, disguise) => {
      const path = newPath()
      const query = isAscii(disguise(secret)) ? disguise(secret).replaceAll(' ', '+').replaceAll('"', '%22') : ''
      expect(await outcome(`${path}?q=${query}`, {}, path)).toEqual(denied(name))
    })

    it.each(BODIES)('in a body %s', async (_what, disguise, fields = '') => {
      const body = disguise(secret)
      expect(await outcome(newPath(), { method: 'POST', body, fields: framed(body, fields) })).toEqual(denied(name))
    })

    it('in chunks that come at once', async () => {
      const body = `${Array.from(secret, chunk).join('')}0\r\n\r\n`
      expect(await outcome(newPath(), { method: 'POST', body, fields: CHUNKED })).toEqual(denied(name))
    })

    it('no part of it stands in an answer or in the trail', async () => {
      const answer = await bed.ask(newPath(), { host: AWAY, fields: `X-Note: ${secret}\r\n` })
      expect(refusalOf(answer).hint).toBe(
        name === 'github_token' ? `github_token may only go to **.${HOME}` : 'db-password may go nowhere',
      )
      expect(JSON.stringify(bed.lab.records())).not.toContain(secret)
      expect(JSON.stringify(bed.lab.records())).not.toContain(JSON.stringify(secret).slice(1, -1))
    })

    it.each([1, 3, 5, 8, 12, secret.length - 1])('split over chunks behind %i characters', async (at) => {
      const path = newPath()
      const { heard, begun } = listenTo(bed, path)
      const wire = await bed.open(AWAY)
      wire.write(bed.request(path, { method: 'POST', host: AWAY, fields: CHUNKED }) + chunk(`{"a":1}\n`))
      await begun
      wire.write(chunk(`x ${secret.slice(0, at)}`))
      wire.write(chunk(`${secret.slice(at)} y`) + '0\r\n\r\n')
      const answer = await wire.message()
      wire.socket.destroy()
      expect(refusalOf(answer)).toMatchObject({ reason: 'denied_by_rule', rule: `secret:${name}` })
      const { decided, completed } = await bed.attempt(path)
      expect(decided).toMatchObject({ decision: 'allow', rule: 'open', security_flags: [] })
      expect(completed).toMatchObject({
        outcome: 'refused',
        reason: 'denied_by_rule',
        status: 403,
        security_flags: [`secret:${name}`],
      })
      expect(heard()).not.toContain(secret.slice(0, 12))
      expect(heard()).not.toContain('0\r\n\r\n')
    })

    it('byte by byte, no more of it leaves than its first characters', async () => {
      const path = newPath()
      const { heard, begun } = listenTo(bed, path)
      const wire = await bed.open(AWAY)
      wire.socket.setNoDelay(true)
      wire.write(bed.request(path, { method: 'POST', host: AWAY, fields: CHUNKED }) + chunk('a '))
      await begun
      for (const unit of secret) wire.write(chunk(unit))
      const answer = await wire.message()
      wire.socket.destroy()
      expect(answer.status).toBe(403)
      await bed.attempt(path)
      const said = heard().replaceAll(/[\da-f]+\r\n([^]?)\r\n/g, '$1')
      // Of a token its public beginning, of a value three characters.
      expect(said).not.toContain(secret.slice(0, name === 'github_token' ? 5 : 4))
    })

    it('at the end of a long body', async () => {
      const path = newPath()
      const { heard, begun } = listenTo(bed, path)
      const filling = 'A long text without anything in it. '.repeat(4_000)
      const body = `${filling}${secret}`
      const wire = await bed.open(AWAY)
      wire.write(bed.request(path, { method: 'POST', host: AWAY, fields: framed(body) }) + filling)
      await begun
      wire.write(secret)
      const answer = await wire.message()
      wire.socket.destroy()
      expect(refusalOf(answer)).toMatchObject({ rule: `secret:${name}` })
      expect((await bed.attempt(path)).completed).toMatchObject({ outcome: 'refused', reason: 'denied_by_rule' })
      expect(heard()).not.toContain(secret.slice(0, 12))
    })
  })

  it.each([
    ['as a cookie', `Cookie: a=1; sid=${TOKEN}`],
    ['as credentials', `Authorization: Bearer ${TOKEN}`],
    [
      'as a user of Basic credentials',
      `Authorization: Basic ${Buffer.from(`${TOKEN}:x-oauth-basic`).toString('base64')}`,
    ],
    ['in the name of a field', `X-${TOKEN}: 1`],
    ['in the name of a field that has lost its case', `x-${TOKEN.toLowerCase()}: 1`],
  ])('a token %s', async (_what, field) => {
    expect(await outcome(newPath(), { fields: `${field}\r\n` })).toEqual(denied('github_token'))
  })

  it.each([
    ['as it is', (path: string) => `${path}/${TOKEN}`],
    ['escaped', (path: string) => `${path}/${percent(TOKEN)}`],
    ['in hexadecimal digits', (path: string) => `${path}/${coded('hex')(TOKEN)}`],
  ])('a token in the path %s', async (_what, spell) => {
    expect(await outcome(spell(newPath()), {}, '')).toEqual(denied('github_token'))
  })

  it('a token as a method', async () => {
    expect(await outcome(newPath(), { method: TOKEN })).toEqual(denied('github_token'))
  })

  it.each([
    ['as a label', `${TOKEN.toLowerCase().replaceAll('_', '_')}.${LABELS}`],
    ['in hexadecimal digits over two labels', `${coded('hex')(TOKEN).replace(/^.{60}/, '$&.')}.${LABELS}`],
  ])('a token in the name of a host %s', async (_what, host) => {
    expect(await outcome(newPath(), { host })).toEqual(denied('github_token'))
  })

  it('a token in the offer of a WebSocket', async () => {
    const fields = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: ${TOKEN}\r\n`
    expect(await outcome('/socket', { fields })).toEqual(denied('github_token'))
  })

  it.each([
    ['in a coding that nobody knows', 'aes128gcm', 'x'],
    ['in gzip that is none', 'gzip', 'x'],
    ['in gzip twice', 'gzip, gzip', packed(gzipSync(gzipSync('x')))],
    ['in gzip over the limit', 'gzip', packed(gzipSync('x'.repeat(2_000_000)))],
    ['in gzip that is itself over the limit', 'gzip', packed(gzipSync(randomBytes(1_100_000)))],
  ])('a body that can not be looked into is not let out: %s', async (_what, coding, body) => {
    expect(
      await outcome(newPath(), {
        method: 'POST',
        body,
        fields: framed(body, `Content-Encoding: ${coding}\r\n`),
      }),
    ).toEqual(denied('unreadable'))
  })

  it('a trailer, which would be dropped, is looked at all the same', async () => {
    const path = newPath()
    const { heard, begun } = listenTo(bed, path)
    const wire = await bed.open(AWAY)
    wire.write(bed.request(path, { method: 'POST', host: AWAY, fields: CHUNKED }) + chunk('a'))
    await begun
    wire.write(`0\r\nX-Note: ${TOKEN}\r\n\r\n`)
    expect((await wire.message()).status).toBe(403)
    wire.socket.destroy()
    expect(heard()).not.toContain('0\r\n')
    expect((await bed.attempt(path)).completed).toMatchObject({ outcome: 'refused' })
  })

  it.each([
    ['a body', { method: 'POST', body: TOKEN, fields: framed(TOKEN) }],
    ['credentials', { fields: `Authorization: Bearer ${TOKEN}\r\n` }],
  ])('a token goes where it belongs: %s', async (_what, ask) => {
    const path = newPath()
    const { heard } = listenTo(bed, path)
    expect(await bed.ask(path, { host: HOME, ...ask })).toMatchObject({ status: 200 })
    expect(heard()).toContain(TOKEN)
    expect((await bed.attempt(path)).decided).toMatchObject({ decision: 'allow', security_flags: [] })
  })

  it.each([
    ['that is small', 'task-force-with-many-hyphens-in-it and ghp_short\n', false],
    ['in chunks', `${'eyJ%u0067hp_ \\u00 %67hp_ xox sk- '.repeat(40)}ghp_`, true],
    [
      'that is long',
      Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * 7919 + (at >> 3)) % 251)).toString('latin1'),
      false,
    ],
  ])('an honest body arrives byte by byte: one %s', async (_what, body, chunked) => {
    const path = newPath()
    let received = ''
    bed.origin.on(path, async (wire, asked) => {
      received = (await asked.body()).body
      wire.write(ok('sent'))
    })
    const pieces = body.match(/[^]{1,997}/g) ?? []
    const sent = chunked ? `${pieces.map(chunk).join('')}0\r\n\r\n` : body
    const fields = chunked ? CHUNKED : framed(body)
    expect(await bed.ask(path, { method: 'POST', host: AWAY, body: sent, fields })).toMatchObject({ status: 200 })
    expect(received).toBe(body)
  })

  it('what only begins like a secret leaves with the end', async () => {
    const path = newPath()
    const { heard, begun } = listenTo(bed, path)
    const wire = await bed.open(AWAY)
    wire.write(bed.request(path, { method: 'POST', host: AWAY, fields: CHUNKED }) + chunk('a'))
    await begun
    wire.write(`${chunk(' ghp_abc')}0\r\n\r\n`)
    expect((await wire.message()).status).toBe(200)
    wire.socket.destroy()
    expect(heard()).toContain('a ghp_abc')
  })

  it('what only begins like a secret leaves with what follows it', async () => {
    const path = newPath()
    const { begun } = listenTo(bed, path)
    const wire = await bed.open(AWAY)
    wire.write(bed.request(path, { method: 'POST', host: AWAY, fields: CHUNKED }) + chunk(PASSWORD.slice(0, 9)))
    await begun
    wire.write(chunk(' is no password, ghp_no') + chunk('_t! token') + '0\r\n\r\n')
    expect((await wire.message()).status).toBe(200)
    wire.socket.destroy()
    expect(bed.origin.askedFor(path)).toHaveLength(1)
    expect((await bed.attempt(path)).completed).toMatchObject({ outcome: 'completed', bytes_sent: 41 })
  })
})

describe('in observe mode a secret is told and leaves', () => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed({ door: 'connect', tls: true }, { ...OPTIONS, mode: 'observe' })
  })
  afterAll(() => bed.close())

  it.each([
    ['in a field', '/observed-field', { fields: `X-Note: ${TOKEN}\r\n` }],
    ['in a body', '/observed-body', { method: 'POST', body: TOKEN, fields: framed(TOKEN) }],
    [
      'in a coding that nobody knows',
      '/observed-coding',
      { method: 'POST', body: TOKEN, fields: framed(TOKEN, 'Content-Encoding: x\r\n') },
    ],
  ])('%s', async (_what, path, ask) => {
    const { heard } = listenTo(bed, path)
    expect(await bed.ask(path, { host: AWAY, ...ask })).toMatchObject({ status: 200 })
    expect(heard()).toContain(TOKEN)
    const { decided } = await bed.attempt(path)
    const rule = path === '/observed-coding' ? 'secret:unreadable' : 'secret:github_token'
    expect(decided).toMatchObject({ decision: 'deny', enforced: false, rule, security_flags: [rule] })
  })

  it('in a body that streams', async () => {
    const path = '/observed-stream'
    const { heard, begun } = listenTo(bed, path)
    const wire = await bed.open(AWAY)
    wire.write(bed.request(path, { method: 'POST', host: AWAY, fields: CHUNKED }) + chunk('a'))
    await begun
    wire.write(chunk(TOKEN.slice(0, 20)) + chunk(TOKEN.slice(20)) + '0\r\n\r\n')
    expect((await wire.message()).status).toBe(200)
    wire.socket.destroy()
    expect(heard()).toContain(TOKEN)
    const { decided, completed } = await bed.attempt(path)
    expect(decided).toMatchObject({ decision: 'allow', security_flags: [] })
    expect(completed).toMatchObject({ outcome: 'completed', security_flags: ['secret:github_token'] })
  })
})
