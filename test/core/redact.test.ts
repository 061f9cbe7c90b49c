import { Buffer } from 'node:buffer'
import { createHmac } from 'node:crypto'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createRedactor } from '../../src/core/redact.ts'
import { parseSecretPath } from '../../src/core/redact-paths.ts'

const KEY = Buffer.alloc(32, 7)
const redactor = createRedactor(KEY, { parameters: ['X-Tenant-Pin'], headers: ['X-Door-Code'] })

/** What stands in place of `secret`: computed here, not by the redactor. */
const mark = (secret: string): string =>
  `hmac:${createHmac('sha256', KEY).update(secret, 'latin1').digest('hex').slice(0, 16)}`

// Put together at run time: no scanner of this repository should take the samples for real.
const glue = (...parts: string[]): string => parts.join('')
const JWT = glue(
  'eyJ',
  'hbGciOiJIUzI1NiJ9',
  '.',
  'eyJzdWIiOiIxMjM0NTY3ODkwIn0',
  '.',
  'dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U',
)
const PEM = glue('-----BEGIN RSA ', 'PRIVATE KEY-----\nMIIEow', 'IBAAKCAQEA\n-----END RSA PRIVATE KEY-----')
const TOKENS: [name: string, token: string][] = [
  ['GitHub personal', glue('gh', 'p_', 'A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8')],
  ['GitHub OAuth', glue('gh', 'o_', 'A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8')],
  ['GitHub server', glue('gh', 's_', 'A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8')],
  ['GitHub fine-grained', glue('github', '_pat_', '11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVwXyZ0123456789')],
  ['Slack bot', glue('xox', 'b-', '123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx')],
  ['Slack user', glue('xox', 'p-', '123456789012-abcdef')],
  ['Stripe live', glue('sk', '_live_', '51HabcdefGHIJKLmnop')],
  ['Stripe restricted', glue('rk', '_live_', '51HabcdefGHIJKLmnop')],
  ['Stripe test', glue('sk', '_test_', '51HabcdefGHIJKLmnop')],
  ['AWS key id', glue('AK', 'IA', 'IOSFODNN7EXAMPLE')],
  ['AWS session key id', glue('AS', 'IA', 'IOSFODNN7EXAMPLE')],
  ['OpenAI', glue('s', 'k-', 'abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL')],
  ['OpenAI project', glue('s', 'k-proj-', 'abc_def-ghijklmnopqrstuvwxyz')],
  ['Anthropic', glue('s', 'k-ant-', 'api03-abc_def-ghijklmnopqrstuvwxyz')],
  ['Google API', glue('AI', 'za', 'SyA1234567890abcdefghijklmnopqrstuv')],
  ['Google OAuth', glue('ya', '29.', 'a0AfH6SMBx-abcdefghijk_lmnop')],
  ['SendGrid', glue('S', 'G.', 'ngeVfQFYQlKU0ufo8x5d1A.TwL2iGABf9DHoTf-09kqeF8tAmbihYzrnopKc-1s5cr')],
  ['npm', glue('np', 'm_', 'abcdefghijklmnopqrstuvwxyz0123456789')],
  ['GitLab', glue('glp', 'at-', 'abcdEFGH1234ijklMNOP')],
  ['JWT', JWT],
]
const tokens = fc.constantFrom(...TOKENS.map(([, token]) => token))

const encodeAll = (value: string): string =>
  value.replace(/[^]/g, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`)

describe('known token forms [K15]', () => {
  it.each(TOKENS)('%s', (_name, token) => {
    expect(redactor.path(`/a/${token}/b`)).toBe(`/a/${mark(token)}/b`)
    expect(redactor.query(`a=1&x=${token}&b=2`)).toBe(`a=1&x=${mark(token)}&b=2`)
    expect(redactor.text(`say ${token}, twice ${token}`)).toBe(`say ${mark(token)}, twice ${mark(token)}`)
    expect(redactor.headerValue('X-Anything', token)).toBe(mark(token))
  })

  it.each(TOKENS)('%s behind percent escapes, one layer to four', (_name, token) => {
    let encoded = token
    for (let layer = 1; layer <= 4; layer++) {
      encoded = encodeAll(encoded)
      expect(redactor.path(`/a/${encoded}/b`)).toBe(`/a/${mark(token)}/b`)
      expect(redactor.query(`x=${encoded}`)).toBe(`x=${mark(token)}`)
    }
    expect(redactor.path(`/a/${encodeAll(encoded)}`)).toMatch(/^hmac:[0-9a-f]{16}$/)
  })

  it.each([
    ['one escaped letter in the prefix', '/%67hp_A1b2C3d4E5f6G7h8I9j0', `/${mark('ghp_A1b2C3d4E5f6G7h8I9j0')}`],
    [
      'a Telegram bot: its number stays',
      '/bot123456:AAE-abcdefghijk_lmnop/sendMessage',
      `/bot123456:${mark('AAE-abcdefghijk_lmnop')}/sendMessage`,
    ],
    [
      'a Telegram bot with an escaped colon',
      '/bot123456%3AAAE-abcdefghijk_lmnop/sendMessage',
      `/bot123456%3A${mark('AAE-abcdefghijk_lmnop')}/sendMessage`,
    ],
    [
      'a Slack webhook: the workspace stays',
      '/services/T00000000/B00000000/XXXXXXXXabcdefgh',
      `/services/T00000000/B00000000/${mark('XXXXXXXXabcdefgh')}`,
    ],
    [
      'userinfo of a URL in a path',
      '/fetch/https://user:pa:ss@word@host/x',
      `/fetch/https://${mark('user:pa:ss@word')}@host/x`,
    ],
    [
      'userinfo behind a third slash',
      '/fetch/https:///user:pass@host/x',
      `/fetch/https:///${mark('user:pass')}@host/x`,
    ],
    ['a parameter in a path', '/a;token=abc/b', `/a;token=${mark('abc')}/b`],
    [
      'two tokens beside each other',
      '/AKIAIOSFODNN7EXAMPLE%2DAKIAIOSFODNN7EXAMPL2',
      `/${mark('AKIAIOSFODNN7EXAMPLE')}%2D${mark('AKIAIOSFODNN7EXAMPL2')}`,
    ],
  ])('path: %s', (_case, path, expected) => {
    expect(redactor.path(path)).toBe(expected)
  })

  it.each([
    ['Bearer credentials', 'Bearer abc.def~123+/==', `Bearer ${mark('abc.def~123+/==')}`],
    ['basic credentials in any case', 'x bASIC dXNlcjpwYXNz y', `x bASIC ${mark('dXNlcjpwYXNz')} y`],
    ['a private key', `a ${PEM} b`, `a ${mark(PEM)} b`],
    ['two private keys', `${PEM} ${PEM}`, `${mark(PEM)} ${mark(PEM)}`],
    ['a private key cut before its footer', PEM.slice(0, 50), mark(PEM.slice(0, 50))],
    ['a private key cut in its footer', PEM.slice(0, -3), mark(PEM.slice(0, -3))],
    ['a header line', 'Authorization: Digest a=b, c=d\r\nX: y', `Authorization: ${mark('Digest a=b, c=d')}\r\nX: y`],
    ['a header line that is not the first', 'X: y\nX-Api-Key:abc', `X: y\nX-Api-Key:${mark('abc')}`],
    ['a JSON member', '{"password": "a\\"b\'c", "n":1}', `{"password": "${mark('a\\"b\'c')}", "n":1}`],
    ['a JSON number', '{"secret":1234}', `{"secret":${mark('1234')}}`],
    ['an unfinished JSON member', '{"secret":"ab\\', `{"secret":"${mark('ab\\')}`],
    ['a parameter of a request line', 'GET /x?a=1&api_key=abc HTTP/1.1', `GET /x?a=1&api_key=${mark('abc')} HTTP/1.1`],
    ['a quoted word', 'password="two words" x', `password="${mark('two words')}" x`],
    [
      'characters beyond Latin-1',
      'password=\u2028',
      `password=hmac:${createHmac('sha256', KEY).update('\u2028').digest('hex').slice(0, 16)}`,
    ],
  ])('text: %s', (_case, text, expected) => {
    expect(redactor.text(text)).toBe(expected)
  })
})

describe('parameters named like secrets', () => {
  it.each([
    'access_token',
    'token',
    'api_key',
    'apikey',
    'api-key',
    'key',
    'secret',
    'password',
    'passwd',
    'pwd',
    'signature',
    'sig',
    'auth',
    'code',
    'client_secret',
    'refresh_token',
    'id_token',
    'X-Amz-Signature',
    'X-Amz-Security-Token',
    'X-Amz-Credential',
    'TOKEN',
    'user[password]',
    'password[]',
    'password[0]',
    'auth.token',
    'subscription-key',
    'x-tenant-pin',
  ])('%s', (name) => {
    expect(redactor.query(`a=1&${name}=hunter2;x?y&b=2`)).toBe(`a=1&${name}=${mark('hunter2;x?y')}&b=2`)
  })

  it.each([
    ['an escaped name', 'p%61ssword=hunter2', `p%61ssword=${mark('hunter2')}`],
    ['a twice escaped name', 'p%2561ssword=hunter2', `p%2561ssword=${mark('hunter2')}`],
    ['an escaped value: the fingerprint is of what it says', 'token=h%75nter2', `token=${mark('hunter2')}`],
    ['an escaped ampersand in the value', 'token=a%26b&c=d', `token=${mark('a&b')}&c=d`],
    ['equals signs in the value', 'token==a=b', `token=${mark('=a=b')}`],
    ['a URL in a value', 'u=https://h/?access_token=abc', `u=https://h/?access_token=${mark('abc')}`],
    [
      'an escaped URL in a value',
      'u=https%3A%2F%2Fh%2F%3Faccess_token%3Dabc&n=1',
      `u=https%3A%2F%2Fh%2F%3Faccess_token%3D${mark('abc')}&n=1`,
    ],
    ['userinfo of an escaped URL', 'u=https%3A%2F%2Fme%3Apw%40h%2F', `u=https%3A%2F%2F${mark('me:pw')}%40h%2F`],
    ['JSON in a value', 'q=%7B%22password%22%3A%22abc%22%7D', `q=%7B%22password%22%3A%22${mark('abc')}%22%7D`],
    ['every one of several', 'token=a&token=b', `token=${mark('a')}&token=${mark('b')}`],
  ])('%s', (_case, query, expected) => {
    expect(redactor.query(query)).toBe(expected)
  })

  it('gives one fingerprint for one value, whatever its name and spelling', () => {
    expect(redactor.query('token=ab%63')?.slice(6)).toBe(redactor.query('sig=abc')?.slice(4))
    expect(redactor.fingerprint('abc')).toBe(redactor.fingerprint(Buffer.from('abc')))
    expect(createRedactor(Buffer.alloc(32, 8)).fingerprint('abc')).not.toBe(redactor.fingerprint('abc'))
  })
})

describe('header fields [K16]', () => {
  it.each([
    ['AUTHORIZATION', 'Bearer abc', `Bearer ${mark('abc')}`],
    ['authorization', 'Digest username="x", response="y"', `Digest ${mark('username="x", response="y"')}`],
    ['authorization', 'justatoken', mark('justatoken')],
    ['Proxy-Authorization', 'Basic YTpi', `Basic ${mark('YTpi')}`],
    ['Cookie', 'a=1; b=2=3;c; d=', `a=${mark('1')}; b=${mark('2=3')};${mark('c')}; d=`],
    ['Set-Cookie', 'sid=abc; Path=/; HttpOnly', `sid=${mark('abc')}; Path=/; HttpOnly`],
    ['Set-Cookie', 'sid=abc', `sid=${mark('abc')}`],
    ['X-Api-Key', 'abc', mark('abc')],
    ['X-Postmark-Server-Token', 'abc', mark('abc')],
    ['X-Goog-Api-Key', 'abc', mark('abc')],
    ['x-door-code', '1', mark('1')],
    ['Location', 'https://me:pw@h/?token=abc#x', `https://${mark('me:pw')}@h/?token=${mark('abc#x')}`],
    ['Content-Type', 'text/plain; charset=utf-8', 'text/plain; charset=utf-8'],
  ])('%s: %s', (name, value, expected) => {
    expect(redactor.headerValue(name, value)).toBe(expected)
    expect(redactor.headerValue(name, expected)).toBe(expected)
  })
})

describe('evidence that stays [K17]', () => {
  it.each([
    ['/repos/acme/app/issues/123/comments'],
    ['/task-management-system-overview-of-2024'],
    ['/a%20b/50%/%zz'],
    ['/eyJustin.html'],
    ['/@scope//@scope/pkg'],
    ['/services/Team/Blog'],
    ['/v1/tokens:exchange'],
    ['/bot12:short'],
    ['/x//'],
  ])('path %s', (path) => {
    expect(redactor.path(path)).toBe(path)
  })

  it.each([
    ['page=2&per_page=100&state=open'],
    ['q=key:value&sort=asc'],
    ['tokenizer=a&author=b&keys=c'],
    ['token=&b='],
    [''],
  ])('query %s', (query) => {
    expect(redactor.query(query)).toBe(query)
  })

  it('keeps no query as none, and ordinary names and methods', () => {
    expect(redactor.query(null)).toBeNull()
    expect(redactor.text('api.github.com')).toBe('api.github.com')
    expect(redactor.text('time: 12:30 "a":1')).toBe('time: 12:30 "a":1')
  })
})

describe('properties', () => {
  const noise = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.constantFrom(
      '/',
      '//',
      '@',
      '&',
      ';',
      '?',
      '#',
      '=',
      ':',
      '"',
      '%',
      '%25',
      '%2',
      'token=',
      '"key":',
      'Bearer ',
      'sk-',
      'eyJ',
      'hmac:',
    ),
    fc.constantFrom(
      '-----BEGIN PRIVATE KEY',
      '-----END',
      '%3D',
      '%26',
      '%2F%2F',
      '%40',
      'bot123456:',
      '\n',
      'hmac:0123456789abcdef',
    ),
    tokens,
    tokens.map(encodeAll),
    tokens.map(encodeURIComponent).map(encodeURIComponent),
  )
  const text = fc.array(noise, { maxLength: 12 }).map((parts) => parts.join(''))
  const all = [
    (value: string) => redactor.path(value),
    (value: string) => redactor.query(value) as string,
    (value: string) => redactor.text(value),
  ]

  it('a redacted string is left alone', () => {
    fc.assert(
      fc.property(text, fc.constantFrom(...all), (value, redact) => {
        const once = redact(value)
        expect(redact(once)).toBe(once)
      }),
      { numRuns: 3_000 },
    )
  })

  it('no token survives, whatever stands around it', () => {
    fc.assert(
      fc.property(
        tokens,
        text,
        text,
        fc.constantFrom('/', '&x=', ' ', ',', '"', '%20'),
        fc.constantFrom(...all),
        (token, before, after, gap, redact) => {
          const out = redact(`${before}${gap}${token}${gap}${after}`)
          expect(out).not.toContain(token)
        },
      ),
      { numRuns: 3_000 },
    )
  })

  it('no value of a secret parameter survives', () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[A-Z]{12,30}$/),
        fc.string({ maxLength: 20 }),
        fc.boolean(),
        (value, before, encoded) => {
          const query = `${before}&client_secret=${encoded ? encodeAll(value) : value}&z=1`
          const out = redactor.query(query) as string
          expect(out).not.toContain(value)
          expect(out).not.toContain(encodeAll(value))
        },
      ),
    )
  })

  it.each([
    '//a',
    'Bearer ',
    '-----BEGIN ',
    'token=',
    '%25',
    'eyJa.',
    'eyJ',
    'bot12345:',
    '":',
    'sk-',
    '=',
    '[',
    '%',
    '"key":"',
    'services/T1/B1/',
    '\\',
    '\\u00',
    '\0',
    '<key>',
    'name="key"\n\n',
    '@',
    'a',
  ])('a megabyte of %s ends (quadratic time would not, within the time of a test)', (piece) => {
    const hostile = piece.repeat(1_048_576 / piece.length)
    for (const redact of all) expect(redact(hostile).length).toBeGreaterThan(0)
  })
})

describe('secrets that the configuration names [K16]', () => {
  const VALUE = 'Correct-Horse/42'
  const hooks = parseSecretPath('/hooks/*/**')
  const paths = hooks.kind === 'ok' ? [hooks.path] : []
  const named = createRedactor(KEY, { values: [VALUE], paths })
  const escaped = VALUE.replace(/[^]/g, (c) => `\\u00${c.charCodeAt(0).toString(16)}`)

  it.each([
    ['a path', named.path(`/a/${encodeURIComponent(VALUE)}/b`), `/a/${mark(VALUE)}/b`],
    ['a query', named.query(`a=${encodeAll(VALUE)}&b=1`), `a=${mark(VALUE)}&b=1`],
    ['a text', named.text(`say ${VALUE}.`), `say ${mark(VALUE)}.`],
    ['escapes of JSON', named.text(`"${escaped}"`), `"${mark(VALUE)}"`],
    ['base64', named.text(`x ${Buffer.from(VALUE).toString('base64')}`), `x ${mark(VALUE)}==`],
    ['a header', named.headerValue('X-Note', VALUE), mark(VALUE)],
    ['the name of a cookie', named.headerValue('Cookie', `${VALUE}=1`), `${mark(VALUE)}=${mark('1')}`],
    [
      'an attribute of one',
      named.headerValue('Set-Cookie', `a=1; Path=/${VALUE}`),
      `a=${mark('1')}; Path=/${mark(VALUE)}`,
    ],
    ['a host', named.name('correct-horse/42.evil.example'), `${mark(VALUE)}.evil.example`],
    ['a segment', named.path('/hooks/abc/d'), `/hooks/${mark('abc')}/d`],
    ['an escaped segment', named.path('/h%6foks/a%62c/d'), `/h%6foks/${mark('abc')}/d`],
    ['a segment of a URL', named.headerValue('Referer', 'https://h/hooks/abc/d'), `https://h/hooks/${mark('abc')}/d`],
  ])('%s', (_place, redacted, expected) => {
    expect(redacted).toBe(expected)
  })

  it('every spelling of a known secret has one fingerprint', () => {
    const spelled = [VALUE, encodeAll(VALUE), escaped, Buffer.from(VALUE).toString('hex')]
    expect(new Set(spelled.map((text) => named.text(`x ${text} y`)))).toEqual(new Set([`x ${mark(VALUE)} y`]))
  })
})

describe('names that may have lost their case', () => {
  it.each([
    ['api.github.com', 'api.github.com'],
    ['X-Request-Id', 'X-Request-Id'],
    ['akiaiosfodnn7example.evil.example', `${mark('akiaiosfodnn7example')}.evil.example`],
    [`${TOKENS[0]?.[1]}.evil.example`, `${mark(TOKENS[0]?.[1] as string)}.evil.example`],
  ])('%s', (name, expected) => {
    expect(redactor.name(name)).toBe(expected)
    expect(redactor.name(expected)).toBe(expected)
  })
})

it('a known secret is one with escapes around it and without', () => {
  const knowing = createRedactor(KEY, { values: ['Correct-Horse'] })
  expect(knowing.path('/a/Correct-Horse/b')).toBe(`/a/${mark('Correct-Horse')}/b`)
  expect(knowing.path('/a%20/Correct-Horse/b')).toBe(`/a%20/${mark('Correct-Horse')}/b`)
})

it('a path that nothing but its place makes suspicious', () => {
  const parsed = parseSecretPath('/door/*')
  const paths = parsed.kind === 'ok' ? [parsed.path] : []
  const knowing = createRedactor(KEY, { paths })
  expect(knowing.path('/door/quiet')).toBe(`/door/${mark('quiet')}`)
  expect(knowing.text('/door/quiet')).toBe(`/door/${mark('quiet')}`)
  expect(knowing.name('/door/quiet')).toBe(`/door/${mark('quiet')}`)
})

describe('names that come again', () => {
  it('answer the same, however many come between', () => {
    const secret = TOKENS[0]?.[1] as string
    const names = Array.from({ length: 300 }, (_, at) => `host-${at}.example`)
    for (const name of [...names, ...names]) {
      expect(redactor.name(name)).toBe(name)
      expect(redactor.name(`${secret}.evil.example`)).toBe(`${mark(secret)}.evil.example`)
    }
  })

  it('are looked at anew by a redactor that knows other secrets', () => {
    // In this name nothing but the whole secret, in another case, is suspicious.
    const name = 'majestic-wombat.example'
    expect(createRedactor(KEY).name(name)).toBe(name)
    const knowing = createRedactor(KEY, { values: ['Majestic-Wombat'] })
    expect([knowing.name(name), knowing.name(name)]).toEqual(Array(2).fill(`${mark('Majestic-Wombat')}.example`))
  })
})

describe('cost', () => {
  const costOf = (redact: () => unknown): number => {
    const started = performance.now()
    for (let round = 0; round < 20_000; round++) redact()
    return ((performance.now() - started) * 1_000) / 20_000
  }

  it('of a URL without anything suspicious is far from what a request costs', () => {
    const url = (): unknown => [
      redactor.path('/repos/acme/app/issues/123/comments'),
      redactor.query('state=open&page=2'),
    ]
    // Under a microsecond on a quiet machine; the bound is for a loaded one, and a tenth of one search for every form.
    expect(Math.min(...Array.from({ length: 10 }, () => costOf(url)))).toBeLessThan(5)
  })
})

it('refuses a key of another length', () => {
  expect(() => createRedactor(Buffer.alloc(16))).toThrow('a redaction key has 32 bytes, not 16')
})
