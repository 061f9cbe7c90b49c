import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { scanTable, SUSPECT, suspicion } from '../../src/core/redact-scan.ts'
import { findFoldedTokens, findTokens, findUserinfo } from '../../src/core/redact-tokens.ts'

// Put together at run time: no scanner of this repository should take the samples for real.
const glue = (...parts: string[]): string => parts.join('')
const LETTERS = 'abcdefGHIJKLmnopqrSTUVWXyz0123456789'
const HEX = '0123456789abcdef0123456789abcdef'

const FORMS: [name: string, token: string][] = [
  ...['p', 'o', 'u', 's', 'r'].map((kind): [string, string] => [`GitHub gh${kind}_`, glue('gh', kind, '_', LETTERS)]),
  ['GitHub fine-grained', glue('github', '_pat_', LETTERS)],
  ...['b', 'p', 'a', 'e', 'r', 's'].map((kind): [string, string] => [
    `Slack xox${kind}`,
    glue('xox', kind, '-12-ab', LETTERS),
  ]),
  ['Slack configuration', glue('xox', 'e.xox', 'p-1-', LETTERS)],
  ['Slack app', glue('xa', 'pp-1-', LETTERS)],
  ...['sk', 'rk', 'pk'].flatMap((kind): [string, string][] => [
    [`Stripe ${kind} live`, glue(kind, '_live_', LETTERS)],
    [`Stripe ${kind} test`, glue(kind, '_test_', LETTERS)],
  ]),
  ['Stripe webhook', glue('wh', 'sec_', LETTERS)],
  ['AWS access key id', glue('AK', 'IA', 'IOSFODNN7EXAMPLE')],
  ['AWS session key id', glue('AS', 'IA', 'IOSFODNN7EXAMPLE')],
  ['OpenAI', glue('s', 'k-', LETTERS)],
  ['OpenAI project', glue('s', 'k-proj-', LETTERS)],
  ['Anthropic', glue('s', 'k-ant-', 'api03-', LETTERS)],
  ['Google API', glue('AI', 'za', LETTERS)],
  ['Google OAuth', glue('ya', '29.', LETTERS)],
  ['Google client secret', glue('GOC', 'SPX-', LETTERS)],
  ...['pat', 'ptt', 'dt', 'rt', 'soat', 'cbt', 'oas', 'ft', 'imt', 'agent'].map((kind): [string, string] => [
    `GitLab gl${kind}-`,
    glue('gl', kind, '-', LETTERS),
  ]),
  ['npm', glue('np', 'm_', LETTERS)],
  ['PyPI', glue('py', 'pi-', 'AgEIcHlwaS5vcmc', LETTERS)],
  ['Hugging Face', glue('h', 'f_', LETTERS)],
  ['SendGrid', glue('S', 'G.', 'ngeVfQFYQlKU0ufo8x5d1A', '.', 'TwL2iGABf9DHoTf-09kqeF8tAmbihYzrnopKc-1s5cr')],
  ['Twilio', glue('S', 'K', HEX)],
  ['Brave', glue('B', 'SA', LETTERS)],
  ['Groq', glue('gs', 'k_', LETTERS)],
  ['Notion', glue('nt', 'n_', LETTERS)],
  ['Replicate', glue('r', '8_', LETTERS)],
  ['xAI', glue('xa', 'i-', LETTERS)],
  ['Perplexity', glue('pp', 'lx-', LETTERS)],
  ['Tavily', glue('tv', 'ly-', LETTERS)],
  ['Figma', glue('fi', 'gd_', LETTERS)],
  ['Linear', glue('lin', '_api_', LETTERS)],
  ['DigitalOcean', glue('dop', '_v1_', HEX)],
  ['Shopify', glue('sh', 'pat_', HEX)],
]

type Find = (text: string) => string[]
const foundBy =
  (find: (text: string, add: (start: number, end: number) => void) => void): Find =>
  (text) => {
    const found: string[] = []
    find(text, (start, end) => found.push(text.slice(start, end)))
    return found
  }
const tokens = foundBy((text, add) => findTokens(text, false, add))
const cutTokens = foundBy((text, add) => findTokens(text, true, add))
const folded = foundBy(findFoldedTokens)
const userinfo = foundBy(findUserinfo)

const table = scanTable([])
const suspected = (text: string): boolean => (suspicion(text, table) & SUSPECT.token) !== 0

describe('known forms [K15]', () => {
  it.each(FORMS)('%s', (_name, token) => {
    expect(tokens(`a ${token} b`)).toEqual([token])
    expect(suspected(`/${token}`)).toBe(true)
  })

  it.each([
    ['a Telegram bot in a path', `/bot123456:AAE${LETTERS}/x`, `AAE${LETTERS}`],
    ['a Telegram bot on its own', `"123456789:AAE${LETTERS}"`, `AAE${LETTERS}`],
    ['a Slack webhook', '/services/T0/B0/XXXXXXXXabcdefgh', 'XXXXXXXXabcdefgh'],
    ['Bearer credentials', 'bEARER\tabc.def~123', 'abc.def~123'],
    ['Basic credentials', 'BASIC dXNlcjpwYXNz', 'dXNlcjpwYXNz'],
    [
      'credentials of a WebSocket',
      glue('base64url.', 'bearer.', 'authorization.k8s.io.', 'Zm9vYmFyYmF6'),
      'Zm9vYmFyYmF6',
    ],
  ])('%s: what says whose it is stays', (_name, text, secret) => {
    expect(tokens(text)).toEqual([secret])
    expect(suspected(text)).toBe(true)
  })

  it.each([
    'task-management-system-overview-of-2024',
    'disk-usage',
    'desk-reservations-for-2024-and-beyond',
    '/robots.txt/bottom/both',
    'asking-about-SKU0123456789abcdef0123456789abcdef',
    'BSAC',
    'xBSA-0123456789012345678901234567',
    'ghp_short',
    '12345:AAE0123456789012345678901234567890',
  ])('no token: %s', (text) => {
    expect(tokens(text)).toEqual([])
  })

  const secret = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'
  const id = glue('AK', 'IA', 'IOSFODNN7EXAMPLE')
  it.each([
    ['behind its id', `${id}:${secret}`],
    ['in a path behind its id', `/${id}/${secret}/x`],
    ['before its id', `{"a":"${secret}","b":"${id}"}`],
  ])('a secret access key %s', (_case, text) => {
    expect(tokens(text).join(' ')).toContain(secret)
    expect(tokens(text)).toContain(id)
  })

  it('forty characters far from any id, or more than forty, are no secret access key', () => {
    expect(tokens(`${id} ${'. '.repeat(100)}${secret}`)).toEqual([id])
    expect(tokens(`${id}:${secret}x`)).toEqual([id])
  })
})

describe('what has a shape of its own', () => {
  const jwt = glue('ey', 'JhbGci.', 'eyJzdWIi.', 'c2ln')
  it.each([
    ['a JSON Web Token', `a ${jwt} b`, [jwt]],
    ['two dots and no header', 'a.b.c', []],
    [
      'a private key',
      'x -----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY----- y',
      ['-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----'],
    ],
    ['a certificate', '-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----', []],
  ])('%s', (_case, text, found) => {
    expect(tokens(text)).toEqual(found)
  })

  it('a JSON Web Token that is cut off is one where the text is', () => {
    expect(tokens('a eyJhbGci')).toEqual([])
    expect(cutTokens('a eyJhbGci')).toEqual(['eyJhbGci'])
    expect(cutTokens('eyJustin was here')).toEqual([])
  })

  it.each([
    ['https://me:pw@h/x', ['me:pw']],
    ['https://h/x@y', ['']],
    ['//a@b@c/', ['a@b']],
    ['/x//', ['']],
  ])('userinfo of %s', (text, found) => {
    expect(userinfo(text)).toEqual(found)
  })
})

describe('forms that lost their case', () => {
  const kept = new Set(['GitHub', 'Slack', 'Stripe', 'AWS', 'OpenAI', 'Anthropic', 'Google', 'npm', 'PyPI', 'Hugging'])
  it.each(FORMS.filter(([name]) => kept.has(name.split(' ')[0] as string) && !/webhook|configuration/.test(name)))(
    '%s as a label of a host',
    (_name, token) => {
      const lower = token.toLowerCase()
      expect(folded(`${lower}.evil.example`).join('')).toMatch(/.{16}/)
      expect(folded(`${lower}.evil.example`)[0]?.startsWith(lower.slice(0, 20))).toBe(true)
    },
  )

  it('a JSON Web Token as labels of a host, and the zone stays', () => {
    const lower = glue('ey', 'jhbgcioijiuzi1nij9.', `ey${LETTERS.toLowerCase()}`, `.${LETTERS.toLowerCase()}`)
    expect(folded(`${lower}.evil.example`)).toEqual([lower])
  })

  it.each([
    'asiapacificsoutheast.example.com',
    'asiapacificsoutheast1.example.com',
    'pypi-mirror-of-the-company.example.com',
    'sg.api-singapore-one-two-three-four.example.com',
    'sk-regional-services-of-slovakia.example.com',
    'eyjafjallajokull-volcano-observatory.example.is',
    'bsa-building-society-association.example.uk',
    'aizawa-and-sons-fine-woodworking-tokyo.example.jp',
    'desk-0123456789-0123456789-0123456789.example.com',
    'api.github.com',
  ])('a host: %s', (host) => {
    expect(folded(host)).toEqual([])
  })
})

describe('time', () => {
  it('a hostile text of any repeated part is searched in time that grows with it', () => {
    const parts = [
      'AKIA',
      'AKIAIOSFODNN7EXAMPLE',
      'eyJ',
      'eyJa.',
      '-----BEGIN PRIVATE KEY',
      'sk-',
      '//a@',
      'SK0',
      'bot12345:',
    ]
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...parts), { minLength: 1, maxLength: 4 }), (chosen) => {
        const text = chosen.join('').repeat(200_000 / chosen.join('').length)
        expect(tokens(text).length).toBeLessThanOrEqual(text.length)
        expect(folded(text).length).toBeLessThanOrEqual(text.length)
      }),
      { numRuns: 20 },
    )
  })
})
