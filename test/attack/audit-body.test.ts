// What a rule has recorded beside the metadata: header fields and bodies, redacted, bounded, and without holding anything up.

import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Bed, startBed, type Way } from '../doors/support/bed.ts'
import { ok } from '../support/scripted-origin.ts'

const WATCHED = 'watched.allowed.test'
const LISTED = 'listed.allowed.test'
const PLAIN = 'plain.allowed.test'
const JUDGED = 'judged.allowed.test'
const PREFIX = 100

const RULES = `  - { id: watched, audit: body, allow: { hosts: [${WATCHED}], ports: [PORT], schemes: [http, https] } }
  - { id: listed, audit: headers, allow: { hosts: [${LISTED}], ports: [PORT], schemes: [http, https] } }
  - { id: plain, allow: { hosts: [${PLAIN}], ports: [PORT], schemes: [http, https] } }
  - id: judged
    audit: body
    allow: { hosts: [${JUDGED}], ports: [PORT], schemes: [http, https] }
    body: { json: [{ path: $.Bcc, must: be-absent }] }
  - { id: closed, audit: headers, deny: { hosts: [${LISTED}], paths: ["/closed"] } }
`
const NAMES = Object.fromEntries([WATCHED, LISTED, PLAIN, JUDGED].map((name) => [name, ['127.0.0.1']]))
const sha256 = (text: string): string => createHash('sha256').update(text, 'latin1').digest('hex')

const WAYS: readonly Way[] = [
  { door: 'connect', tls: true },
  { door: 'transparent', tls: true },
  { door: 'absolute', tls: false },
]

describe.each(WAYS)('by $door', (way) => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed(way, { rules: RULES, names: NAMES, audit: `body_prefix: ${PREFIX}` })
    bed.origin.on('/said', async (wire, asked) => {
      const { body } = await asked.body()
      wire.write(ok(body.toUpperCase(), 'Content-Type: text/plain\r\nSet-Cookie: sid=abcdefgh; Path=/\r\n'))
    })
  })
  afterAll(() => bed.close())

  const post = (host: string, path: string, body: string, fields = ''): Promise<unknown> =>
    bed.ask(path, { method: 'POST', host, body, fields: `${fields}Content-Length: ${body.length}\r\n` })

  it('metadata is all, unless the rule says otherwise', async () => {
    await post(PLAIN, '/said?plain', 'hello')
    const [decided] = await bed.lab.waitFor('request.decided', 1)
    const [completed] = await bed.lab.waitFor('request.completed', 1)
    expect(decided).not.toHaveProperty('request_headers')
    for (const member of ['response_headers', 'request_body', 'response_body'])
      expect(completed).not.toHaveProperty(member)
  })

  it('headers: of the request with the decision, of the answer with the end, credentials sealed', async () => {
    await post(LISTED, '/said/listed', 'hello', 'X-A: 1\r\nx-a: 2\r\nAuthorization: Bearer abcdefgh\r\n')
    const { decided, completed } = await bed.attempt('/said/listed')
    const seal = expect.stringMatching(/^Bearer hmac:[0-9a-f]{16}$/) as unknown
    const fields = decided['request_headers'] as string[][]
    expect(fields.slice(-4)).toEqual([
      ['X-A', '1'],
      ['x-a', '2'],
      ['Authorization', seal],
      ['Content-Length', '5'],
    ])
    expect(fields[0]).toEqual(['Host', bed.authority(LISTED)])
    expect(completed['response_headers']).toEqual([['Content-Length', '2']])
    expect(completed).not.toHaveProperty('request_body')
    expect(completed).not.toHaveProperty('response_body')
  })

  it('headers of what is denied', async () => {
    await post(LISTED, '/closed', '', 'X-Why: exfiltration\r\n')
    const { decided, completed } = await bed.attempt('/closed')
    expect(decided).toMatchObject({ decision: 'deny', rule: 'closed' })
    expect(decided['request_headers']).toContainEqual(['X-Why', 'exfiltration'])
    expect(completed).not.toHaveProperty('response_headers')
  })

  it('body: both, whole where they are short', async () => {
    bed.origin.on('/short', async (wire, asked) => {
      await asked.body()
      wire.write(ok('"bye"', 'Content-Type: application/json\r\n'))
    })
    await post(WATCHED, '/short', '{"a":"h\u00c3\u00a9"}')
    const { completed } = await bed.attempt('/short')
    expect(completed).toMatchObject({
      outcome: 'completed',
      response_headers: [
        ['Content-Type', 'application/json'],
        ['Content-Length', '5'],
      ],
      request_body: {
        bytes: 11,
        sha256: sha256('{"a":"h\u00c3\u00a9"}'),
        prefix: '{"a":"h\u00e9"}',
        encoding: 'text',
        redacted: false,
        truncated: false,
      },
      response_body: { bytes: 5, sha256: sha256('"bye"'), prefix: '"bye"', encoding: 'text', truncated: false },
    })
  })

  it('[K18] body: of a long one its size, the hash of all of it, and its beginning', async () => {
    const long = 'abcdefghij'.repeat(20_000)
    bed.origin.on('/long', async (wire, asked) => {
      const { body } = await asked.body()
      wire.write(ok(body.toUpperCase()))
    })
    await post(WATCHED, '/long', long)
    const { completed } = await bed.attempt('/long')
    const about = { bytes: long.length, encoding: 'text', redacted: false, truncated: true }
    expect(completed['request_body']).toEqual({ ...about, sha256: sha256(long), prefix: long.slice(0, PREFIX) })
    const upper = long.toUpperCase()
    expect(completed['response_body']).toEqual({ ...about, sha256: sha256(upper), prefix: upper.slice(0, PREFIX) })
  })

  it('the hash of a body that holds a secret is not recorded: it would confirm a guess', async () => {
    bed.origin.on('/login', async (wire, asked) => {
      await asked.body()
      wire.write(ok('{"access_token":"hunter2"}'))
    })
    await post(WATCHED, '/login', '{"password":"hunter2"}')
    const { completed } = await bed.attempt('/login')
    const mark = expect.stringMatching(/^\{"(?:password|access_token)":"hmac:[0-9a-f]{16}"\}$/) as unknown
    expect(completed['request_body']).toMatchObject({ bytes: 22, sha256: null, prefix: mark, redacted: true })
    expect(completed['response_body']).toMatchObject({ bytes: 26, sha256: null, prefix: mark, redacted: true })
  })

  it('a body that a rule reads first is recorded as it was sent', async () => {
    bed.origin.on('/judged', async (wire, asked) => {
      await asked.body()
      wire.write(ok(''))
    })
    await post(JUDGED, '/judged', '{"To":"me"}', 'Content-Type: application/json\r\n')
    const { completed } = await bed.attempt('/judged')
    expect(completed['request_body']).toMatchObject({ bytes: 11, sha256: sha256('{"To":"me"}'), prefix: '{"To":"me"}' })
    expect(completed['response_body']).toMatchObject({ bytes: 0, sha256: sha256(''), prefix: '', truncated: false })
  })

  it('nothing waits for the record: each part goes on as it comes, both ways', async () => {
    bed.origin.on('/stream', async (wire) => {
      await wire.takeUntil('one')
      wire.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nuno\r\n')
      await wire.takeUntil('two')
      wire.write('3\r\ndos\r\n0\r\n\r\n')
    })
    const wire = await bed.open(WATCHED)
    const fields = 'Transfer-Encoding: chunked\r\n'
    wire.write(bed.request('/stream', { method: 'POST', host: WATCHED, fields, body: '3\r\none\r\n' }))
    await wire.takeUntil('uno')
    expect(bed.lab.records().filter((record) => record['path'] === '/stream')).toHaveLength(1)
    wire.write('3\r\ntwo\r\n0\r\n\r\n')
    await wire.takeUntil('dos')
    const { completed } = await bed.attempt('/stream')
    wire.socket.destroy()
    expect(completed).toMatchObject({
      request_body: { bytes: 6, sha256: sha256('onetwo'), prefix: 'onetwo' },
      response_body: { bytes: 6, sha256: sha256('unodos'), prefix: 'unodos' },
    })
  })

  it('of a body that broke off what passed is recorded', async () => {
    bed.origin.on('/broken', (wire) => {
      wire.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf')
      wire.socket.destroySoon()
    })
    const wire = await bed.open(WATCHED)
    wire.write(bed.request('/broken', { host: WATCHED }))
    await wire.closed()
    const { completed } = await bed.attempt('/broken')
    expect(completed).toMatchObject({ outcome: 'upstream_aborted', bytes_received: 4 })
    expect(completed['response_body']).toMatchObject({ bytes: 4, sha256: sha256('half'), prefix: 'half' })
    expect(completed).not.toHaveProperty('request_body')
  })

  it('what compression hides is counted and hashed, and not shown', async () => {
    bed.origin.on('/packed', async (wire, asked) => {
      await asked.body()
      wire.write(ok('\u001f\u008b\u0008packed', 'Content-Encoding: gzip\r\n'))
    })
    await bed.ask('/packed', { host: WATCHED })
    const { completed } = await bed.attempt('/packed')
    expect(completed['response_body']).toEqual({
      bytes: 9,
      sha256: sha256('\u001f\u008b\u0008packed'),
      prefix: null,
      encoding: null,
      redacted: false,
      truncated: false,
    })
  })
})
