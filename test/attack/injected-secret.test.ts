// A secret that the workload holds a placeholder for: the origins it is for get it, and nobody else sees it, whatever the workload asks for.

import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Ask, type Bed, refusalOf, startBed, TOKEN as ROBOT_TOKEN, type Way } from '../doors/support/bed.ts'
import { assertAccounted } from '../support/accounting.ts'
import type { LabOptions } from '../support/lab.ts'
import { ok } from '../support/scripted-origin.ts'
import { handshake } from '../support/websocket.ts'

const HOME = 'home.allowed.test'
const AWAY = 'away.allowed.test'
const CAPPED = 'capped.allowed.test'
const HELD = 'GITHUB_TOKEN_PLACEHOLDER'
const REAL = 'g1t/hub+t0ken "42" & more'
const ROBOTS = 'ROBOT_KEY_PLACEHOLDER'
const ROBOTS_REAL = 'robots-only-7Yd0aPq'
const FIELD = 'FIELD_ONLY_PLACEHOLDER'
const FIELD_REAL = 'field-only-9Zk1bRs'

const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`

const inject = (value = `\${GITHUB_TOKEN}`): string => `inject:
  - { placeholder: ${HELD}, value: "${value}", hosts: [${HOME}, ${CAPPED}], in: [header, query, body] }
  - { placeholder: ${ROBOTS}, value: "\${ROBOT_KEY}", hosts: [${HOME}], clients: [robot] }
  - { placeholder: ${FIELD}, value: "\${FIELD_KEY}", hosts: [${HOME}], headers: [X-Odd] }`

const OPTIONS: Partial<LabOptions> = {
  rules: `  - id: open
    allow: { hosts: [${HOME}, ${AWAY}], ports: [PORT], schemes: [http, https], upgrade: [websocket] }
    audit: body
  - { id: trace, allow: { hosts: [${HOME}], ports: [PORT], methods: [TRACE] } }
  - { id: capped, allow: { hosts: [${CAPPED}], ports: [PORT] }, limits: { request_bytes: 60 } }
  - { id: never, deny: { hosts: [${AWAY}], paths: [/never] } }`,
  names: { [HOME]: ['127.0.0.1'], [AWAY]: ['127.0.0.1'], [CAPPED]: ['127.0.0.1'] },
  env: {
    ROBOT_TOKEN,
    GITHUB_TOKEN: REAL,
    ROBOT_KEY: ROBOTS_REAL,
    FIELD_KEY: FIELD_REAL,
    NEXT_TOKEN: 'the-next-one-8Xc',
  },
  extra: inject(),
}
const WAYS: readonly Way[] = [
  { door: 'connect', tls: true },
  { door: 'transparent', tls: true },
]
const PLAIN_WAYS: readonly Way[] = [
  { door: 'connect', tls: false },
  { door: 'transparent', tls: false },
  { door: 'absolute', tls: false },
]

const framed = (body: string, type: string, fields = ''): Ask => ({
  method: 'POST',
  body,
  fields: `Content-Type: ${type}\r\n${fields}Content-Length: ${body.length}\r\n`,
})
const JSON_TYPE = 'application/json'
const FORM = 'application/x-www-form-urlencoded'

/** Everything that a trail must not hold of a secret: as it is, and as forms, JSON and base64 write it. */
const spellings = (secret: string): string[] => [
  secret,
  JSON.stringify(secret).slice(1, -1),
  encodeURIComponent(secret),
  Buffer.from(secret).toString('base64').slice(0, -4),
]

function expectUnwritten(bed: Bed): void {
  const trail = readFileSync(bed.lab.trailFile, 'utf8')
  for (const secret of [REAL, ROBOTS_REAL, FIELD_REAL]) {
    for (const text of spellings(secret)) expect(trail).not.toContain(text)
  }
}

/** What the origin reads on that path: the head, and the body without its framing. */
function listenTo(bed: Bed, path: string): { head: string; body: string } {
  const heard = { head: '', body: '' }
  bed.origin.on(path, async (wire, asked) => {
    heard.head = asked.head
    heard.body = (await asked.body()).body
    wire.write(ok('sent'))
  })
  return heard
}

describe.each(WAYS)('by $door', (way) => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed(way, OPTIONS)
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    expectUnwritten(bed)
    await bed.close()
  })

  let count = 0
  const newPath = (): string => `/inject-${(count += 1)}`

  it.each<[where: string, field: string, expected: string]>([
    ['as a bearer', `Authorization: Bearer ${HELD}`, `Authorization: Bearer ${REAL}`],
    ['as a password', `Authorization: ${basic(`me:${HELD}`)}`, `Authorization: ${basic(`me:${REAL}`)}`],
    ['in a field of credentials', `X-Api-Key: ${HELD}`, `X-Api-Key: ${REAL}`],
    ['in a cookie', `Cookie: a=1; sid=${HELD}; b=2`, `Cookie: a=1; sid=${REAL}; b=2`],
    ['in the field that is named', `X-Odd: ${FIELD}`, `X-Odd: ${FIELD_REAL}`],
  ])('goes to the origin %s', async (_where, field, expected) => {
    const path = newPath()
    const heard = listenTo(bed, path)
    expect((await bed.ask(path, { host: HOME, fields: `X-A: 1\r\n${field}\r\nX-B: 2\r\n` })).status).toBe(200)
    expect(heard.head).toContain(`X-A: 1\r\n${expected}\r\nX-B: 2\r\n`)
    const name = field.includes(FIELD) ? FIELD : HELD
    expect(await bed.attempt(path)).toMatchObject({
      decided: { decision: 'allow', rule: 'open', security_flags: [`inject:${name}`] },
      completed: { outcome: 'completed', status: 200 },
    })
  })

  it('goes to the origin in the query, and the trail has the placeholder', async () => {
    const path = newPath()
    const heard = listenTo(bed, path)
    expect((await bed.ask(`${path}?a=1&note=${HELD}&b`, { host: HOME })).status).toBe(200)
    expect(heard.head).toContain(`GET ${path}?a=1&note=${encodeURIComponent(REAL)}&b HTTP/1.1\r\n`)
    expect(await bed.decided(path)).toMatchObject({ query: `a=1&note=${HELD}&b`, security_flags: [`inject:${HELD}`] })
  })

  it.each<[kind: string, type: string, body: string, read: (body: string) => unknown, expected: unknown]>([
    ['JSON', JSON_TYPE, `{"note":"é ${HELD}","n":1}`, (body) => JSON.parse(body), { note: `é ${REAL}`, n: 1 }],
    ['a form', FORM, `a=1&note=${HELD}`, (body) => new URLSearchParams(body).get('note'), REAL],
    ['text', 'text/xml; charset=utf-8', `<a>${HELD}</a>`, (body) => body, `<a>${REAL}</a>`],
  ])('goes to the origin in %s, whose length is right', async (_kind, type, body, read, expected) => {
    const path = newPath()
    const heard = listenTo(bed, path)
    const sent = Buffer.from(body).toString('latin1')
    expect((await bed.ask(path, { host: HOME, ...framed(sent, type) })).status).toBe(200)
    expect(read(Buffer.from(heard.body, 'latin1').toString())).toEqual(expected)
    expect(heard.head).toContain(`Content-Length: ${heard.body.length}\r\n`)
    const { decided, completed } = await bed.attempt(path)
    expect(decided).toMatchObject({ decision: 'allow', security_flags: [`inject:${HELD}`] })
    // Recorded is what the client sent, counted what the origin got.
    expect(completed).toMatchObject({ bytes_sent: heard.body.length, request_body: { bytes: sent.length } })
    expect(JSON.stringify(completed['request_body'])).toContain(HELD)
  })

  it('goes to the origin in chunks, also where the placeholder is spread over them', async () => {
    const path = newPath()
    const heard = listenTo(bed, path)
    const chunks = Array.from(`{"note":"${HELD}"}`.match(/.{1,7}/g) ?? [], (data) => `${data.length}\r\n${data}\r\n`)
    const fields = `Content-Type: ${JSON_TYPE}\r\nTransfer-Encoding: chunked\r\n`
    const body = `${chunks.join('')}0\r\n\r\n`
    expect((await bed.ask(path, { method: 'POST', host: HOME, fields, body })).status).toBe(200)
    expect(JSON.parse(heard.body)).toEqual({ note: REAL })
    expect(heard.head).toContain('Transfer-Encoding: chunked\r\n')
    expect(heard.head).not.toMatch(/content-length/i)
  })

  it('goes with the offer of a WebSocket, and not in a name that the answer repeats', async () => {
    const path = newPath()
    const heard = listenTo(bed, path)
    const fields = handshake({ Authorization: `Bearer ${HELD}`, 'Sec-WebSocket-Protocol': HELD })
    expect((await bed.ask(path, { host: HOME, fields })).status).toBe(200)
    expect(heard.head).toContain(`Authorization: Bearer ${REAL}\r\n`)
    expect(heard.head).toContain(`Sec-WebSocket-Protocol: ${HELD}\r\n`)
  })

  it('goes along when a request is sent again because its connection was closed', async () => {
    const [path, heads] = [newPath(), [] as string[]]
    bed.origin.on(path, (wire, asked) => {
      heads.push(asked.head)
      if (heads.length === 1) wire.socket.destroy()
      else wire.write(ok('sent'))
    })
    const wire = await bed.open(HOME)
    wire.write(bed.request('/warm', { host: HOME }))
    expect((await wire.message()).status).toBe(200)
    wire.write(bed.request(path, { host: HOME, fields: `X-Api-Key: ${HELD}\r\n` }))
    expect((await wire.message()).status).toBe(200)
    wire.socket.destroy()
    expect(heads.map((head) => head.includes(`X-Api-Key: ${REAL}\r\n`))).toEqual([true, true])
  })

  it.each<[what: string, ask: (path: string) => readonly [target: string, ask: Ask]]>([
    ['to another host', (path) => [`${path}?a=${HELD}`, { host: AWAY, fields: `Authorization: Bearer ${HELD}\r\n` }]],
    ['in a field that origins repeat', (path) => [path, { host: HOME, fields: `Idempotency-Key: ${HELD}\r\n` }]],
    ['in the name of a parameter', (path) => [`${path}?${HELD}=1`, { host: HOME }]],
    [
      'in a TRACE, whose answer is the request',
      (path) => [path, { method: 'TRACE', host: HOME, fields: `X-Api-Key: ${HELD}\r\n` }],
    ],
  ])('does not go %s: the placeholder does, and is told', async (_what, ask) => {
    const path = newPath()
    const heard = listenTo(bed, path)
    const [target, asked] = ask(path)
    expect((await bed.ask(target, asked)).status).toBe(200)
    expect(heard.head).toContain(HELD)
    expect(heard.head).not.toContain(REAL)
    expect(await bed.decided(path)).toMatchObject({ decision: 'allow', security_flags: [`placeholder:${HELD}`] })
  })

  it('what policy denies is told as well', async () => {
    const answer = await bed.ask('/never', { host: AWAY, fields: `X-Api-Key: ${HELD}\r\n` })
    expect(refusalOf(answer)).toMatchObject({ rule: 'never' })
    expect(await bed.decided('/never')).toMatchObject({ decision: 'deny', security_flags: [`placeholder:${HELD}`] })
  })

  it('does not go into a path', async () => {
    const path = `${newPath()}/${HELD}`
    const heard = listenTo(bed, path)
    expect((await bed.ask(path, { host: HOME })).status).toBe(200)
    expect(heard.head).toContain(`GET ${path} HTTP/1.1\r\n`)
  })

  it('does not go into a field beside the one that is named', async () => {
    const path = newPath()
    const heard = listenTo(bed, path)
    const fields = `Authorization: Bearer ${FIELD}\r\nX-Odd: ${FIELD}\r\n`
    expect((await bed.ask(path, { host: HOME, fields })).status).toBe(200)
    expect(heard.head).toContain(`Authorization: Bearer ${FIELD}\r\nX-Odd: ${FIELD_REAL}\r\n`)
    expect((await bed.decided(path))['security_flags']).toEqual([`inject:${FIELD}`, `placeholder:${FIELD}`])
  })

  it('does not go for a client that is not named', async () => {
    const path = newPath()
    const heard = listenTo(bed, path)
    expect((await bed.ask(path, { host: HOME, fields: `X-Api-Key: ${ROBOTS}\r\n` })).status).toBe(200)
    expect(heard.head).toContain(`X-Api-Key: ${ROBOTS}\r\n`)
    expect(await bed.decided(path)).toMatchObject({
      client: { name: 'anonymous' },
      security_flags: [`placeholder:${ROBOTS}`],
    })
  })

  it.skipIf(way.door !== 'connect')('goes for the client that is named', async () => {
    const path = newPath()
    const heard = listenTo(bed, path)
    const wire = await bed.open(HOME, `Proxy-Authorization: ${basic(`robot:${ROBOT_TOKEN}`)}\r\n`)
    wire.write(bed.request(path, { host: HOME, fields: `X-Api-Key: ${ROBOTS}\r\n` }))
    expect((await wire.message()).status).toBe(200)
    wire.socket.destroy()
    expect(heard.head).toContain(`X-Api-Key: ${ROBOTS_REAL}\r\n`)
  })

  it.each<[kind: string, type: string, body: string, fields?: string]>([
    ['in a part of form data', 'multipart/form-data; boundary=X', `--X\r\n\r\n${HELD}\r\n--X--\r\n`],
    ['of an unknown kind', 'application/octet-stream', HELD],
    ['that is packed', JSON_TYPE, gzipSync(`"${HELD}"`).toString('latin1'), 'Content-Encoding: gzip\r\n'],
    ['that says it is packed', JSON_TYPE, `"${HELD}"`, 'Content-Encoding: gzip\r\n'],
    ['without a placeholder', JSON_TYPE, '{ "a" : 1 }'],
  ])('a body %s goes as it is', async (_kind, type, body, fields) => {
    const path = newPath()
    const heard = listenTo(bed, path)
    expect((await bed.ask(path, { host: HOME, ...framed(body, type, fields) })).status).toBe(200)
    expect(heard.body).toBe(body)
    expect(await bed.decided(path)).toMatchObject({ decision: 'allow', security_flags: [] })
  })

  const long = 'x'.repeat(1_100_000)
  it.each<[what: string, name: string, ask: Ask]>([
    ['a body over the inspection limit', 'unreadable', framed(long, 'text/plain')],
    ['more placeholders than anybody needs in a head', HELD, { fields: `X-Api-Key: ${HELD.repeat(40)}\r\n` }],
    ['more placeholders than anybody needs in a body', HELD, framed(HELD.repeat(40), 'text/plain')],
  ])('%s is denied, and nothing leaves', async (_what, name, ask) => {
    const path = newPath()
    const before = bed.origin.connections()
    const answer = await bed.ask(path, { host: HOME, ...ask })
    expect([answer.status, refusalOf(answer)]).toMatchObject([
      403,
      { reason: 'denied_by_rule', rule: `inject:${name}` },
    ])
    expect(await bed.decided(path)).toMatchObject({
      decision: 'deny',
      enforced: true,
      rule: `inject:${name}`,
      security_flags: [`inject:${name}`],
    })
    expect(bed.origin.connections()).toBe(before)
  })

  it('a body that is over the limit of its rule never looks whole', async () => {
    const path = newPath()
    const body = `{"note":"${HELD}","b":"${'x'.repeat(60)}"}`
    const fields = `Content-Type: ${JSON_TYPE}\r\nTransfer-Encoding: chunked\r\n`
    const chunks = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
    const answer = await bed.ask(path, { method: 'POST', host: CAPPED, fields, body: chunks })
    expect([answer.status, refusalOf(answer).reason]).toEqual([413, 'request_too_large'])
    expect(bed.origin.askedFor(path)).toEqual([])
    expect((await bed.attempt(path)).completed).toMatchObject({ outcome: 'refused', reason: 'request_too_large' })
  })

  it('an origin that says it again is recorded without it', async () => {
    const path = newPath()
    bed.origin.on(path, (wire) => {
      wire.write(ok(`you said ${REAL}`, `X-Said: ${REAL}\r\nContent-Type: text/plain\r\n`))
    })
    // What is left to the workload: the answer is passed on as it came.
    expect((await bed.ask(path, { host: HOME, fields: `X-Api-Key: ${HELD}\r\n` })).body).toBe(`you said ${REAL}`)
    const { completed } = await bed.attempt(path)
    expect(JSON.stringify(completed['response_headers'])).toMatch(/"X-Said","hmac:[0-9a-f]{16}"/)
    expect(JSON.stringify(completed['response_body'])).toContain('you said hmac:')
  })

  it('the next request after a reload has the next secret, and the trail never had either', async () => {
    bed.lab.reload({
      ...OPTIONS,
      rules: (OPTIONS.rules ?? '').replaceAll('PORT', String(bed.origin.port)),
      extra: inject(`\${NEXT_TOKEN}`),
    })
    const path = newPath()
    const heard = listenTo(bed, path)
    expect((await bed.ask(path, { host: HOME, fields: `X-Api-Key: ${HELD}\r\n` })).status).toBe(200)
    expect(heard.head).toContain('X-Api-Key: the-next-one-8Xc\r\n')
    const hashes = bed.lab.recordsOf('config.loaded').map((record) => record['policy'])
    expect(hashes).toHaveLength(2)
    // The hash is in every record: a secret could be guessed from it.
    expect(hashes[1]).toBe(hashes[0])
    expect(readFileSync(bed.lab.trailFile, 'utf8')).not.toContain('the-next-one-8Xc')
  })

  it('what an answer says of a secret that a reload has replaced meanwhile is not written down', async () => {
    const path = newPath()
    const rules = (OPTIONS.rules ?? '').replaceAll('PORT', String(bed.origin.port))
    const reload = (extra: string): void => bed.lab.reload({ ...OPTIONS, rules, extra })
    reload(inject(`\${NEXT_TOKEN}`))
    bed.origin.on(path, async (wire) => {
      reload(inject())
      wire.write(ok('you said the-next-one-8Xc'))
    })
    const answer = await bed.ask(path, { host: HOME, fields: `X-Api-Key: ${HELD}\r\n` })
    expect(answer.body).toBe('you said the-next-one-8Xc')
    const { completed } = await bed.attempt(path)
    expect(JSON.stringify(completed['response_body'])).toContain('you said hmac:')
  })
})

describe.each(PLAIN_WAYS)('in clear by $door', (way) => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed(way, OPTIONS)
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    expectUnwritten(bed)
    await bed.close()
  })

  it.each<[where: string, query: string, ask: Ask]>([
    ['a field', '', { fields: `Authorization: Bearer ${HELD}\r\n` }],
    ['Basic credentials', '', { fields: `Authorization: ${basic(`me:${HELD}`)}\r\n` }],
    ['a query', `?note=${HELD}`, {}],
    ['a body', '', framed(`{"note":"${HELD}"}`, JSON_TYPE)],
  ])('with the placeholder in %s is denied, and nothing leaves', async (where, query, ask) => {
    const path = `/${where.replaceAll(' ', '-')}`
    const answer = await bed.ask(`${path}${query}`, { host: HOME, ...ask })
    expect([answer.status, refusalOf(answer)]).toMatchObject([
      403,
      {
        reason: 'denied_by_rule',
        rule: `inject:${HELD}`,
        hint: `${HELD} stands for a secret, which goes out over https only`,
      },
    ])
    expect(await bed.decided(path)).toMatchObject({ decision: 'deny', security_flags: [`inject:${HELD}`] })
    expect(bed.origin.connections()).toBe(0)
  })

  it('another host gets the placeholder', async () => {
    const heard = listenTo(bed, '/away')
    expect((await bed.ask('/away', { host: AWAY, fields: `X-Api-Key: ${HELD}\r\n` })).status).toBe(200)
    expect(heard.head).toContain(`X-Api-Key: ${HELD}\r\n`)
    expect((await bed.decided('/away'))['security_flags']).toEqual([`placeholder:${HELD}`])
  })
})

describe('in observe mode', () => {
  const observed = { ...OPTIONS, mode: 'observe' as const }

  it('what would be denied in clear leaves with its placeholder', async () => {
    const bed = await startBed({ door: 'absolute', tls: false }, observed)
    const heard = listenTo(bed, '/clear')
    expect((await bed.ask('/clear', { host: HOME, fields: `X-Api-Key: ${HELD}\r\n` })).status).toBe(200)
    expect(heard.head).toContain(`X-Api-Key: ${HELD}\r\n`)
    expect(await bed.decided('/clear')).toMatchObject({ decision: 'deny', enforced: false, rule: `inject:${HELD}` })
    await bed.close()
  })

  it('a body over the limit leaves as it is, byte by byte; no rule is needed for a secret to be put in', async () => {
    const bed = await startBed({ door: 'connect', tls: true }, { ...observed, rules: '' })
    const long = `${HELD} ${'x'.repeat(1_100_000)}`
    const heard = listenTo(bed, '/long')
    expect((await bed.ask('/long', { host: HOME, ...framed(long, 'text/plain') })).status).toBe(200)
    expect(heard.body).toBe(long)
    expect(await bed.decided('/long')).toMatchObject({ decision: 'deny', enforced: false, rule: 'inject:unreadable' })
    const short = listenTo(bed, '/short')
    expect((await bed.ask('/short', { host: HOME, ...framed(HELD, 'text/plain') })).status).toBe(200)
    expect(short.body).toBe(REAL)
    expectUnwritten(bed)
    await bed.close()
  })
})
