import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { BodyForm, InjectionPolicy, InjectionSpec, Recipient } from '../../src/core/injection.ts'
import { compileInjections } from '../../src/core/injection.ts'
import { type FilledHead, fillBody, fillHead, MAX_FILLED } from '../../src/core/injection-fill.ts'

const HELD = 'GITHUB_TOKEN_PLACEHOLDER'
const OTHER = 'OTHER_TOKEN_PLACEHOLDER'
/** It ends with the beginning of another placeholder, and has what forms, JSON and Basic credentials write otherwise. */
const REAL = 'r3al "v&l=ue\\ $& 100%:OTHER_TOKEN_'
const SPEC: InjectionSpec = {
  placeholder: HELD,
  value: REAL,
  hosts: ['api.github.com'],
  in: ['header', 'query', 'body'],
  headers: null,
  clients: null,
}
const RECIPIENT: Recipient = {
  client: 'github-mcp',
  scheme: 'https',
  method: 'POST',
  host: { kind: 'name', text: 'api.github.com' },
}
const OTHERS: InjectionSpec = { ...SPEC, placeholder: OTHER, value: 'another', hosts: ['other.test'] }

function compiled(spec: Partial<InjectionSpec> = {}): InjectionPolicy {
  const policy = compileInjections([{ ...SPEC, ...spec }, OTHERS])
  if (policy === null) throw new Error('there are none')
  return policy
}

function head(headers: string[], target = '/', spec: Partial<InjectionSpec> = {}, recipient = RECIPIENT): FilledHead {
  const filled = fillHead(compiled(spec), recipient, headers, target)
  if (filled === null) throw new Error('there is no placeholder in it')
  return filled
}

const basic = (pair: string): string => `Basic ${Buffer.from(pair).toString('base64')}`
const names = (...given: string[]): Set<string> => new Set(given)

describe('a field', () => {
  it.each<[string, string, string, string]>([
    ['has the value in place of the placeholder', 'X-Api-Key', HELD, REAL],
    ['keeps what stands around it', 'authorization', `Bearer ${HELD}`, `Bearer ${REAL}`],
    ['has it twice', 'X-Api-Key', `${HELD},${HELD}`, `${REAL},${REAL}`],
    ['has it in Basic credentials', 'Authorization', basic(`me:${HELD}`), basic(`me:${REAL}`)],
    [
      'has it as a user',
      'AUTHORIZATION',
      `bAsIc  ${basic(`${HELD}:`).slice(6)}`,
      `bAsIc  ${basic(`${REAL}:`).slice(6)}`,
    ],
    ['has it as the whole of Basic credentials', 'Authorization', `Basic ${HELD}`, `Basic ${REAL}`],
    [
      'keeps a placeholder that its value is about to complete',
      'X-Api-Key',
      `${HELD}PLACEHOLDER`,
      `${REAL}PLACEHOLDER`,
    ],
  ])('%s', (_case, name, value, expected) => {
    const { headers, filled, left, denial } = head(['X-A', '1', name, value])
    expect(headers).toEqual(['X-A', '1', name, expected])
    expect([filled, left, denial]).toEqual([names(HELD), names(), null])
  })

  it.each<[string, string, string, Partial<InjectionSpec>]>([
    ['that origins repeat', 'Idempotency-Key', HELD, {}],
    ['that is not the one named', 'Authorization', `Bearer ${HELD}`, { headers: ['X-Api-Key'] }],
    [
      'with Basic credentials that is not the one named',
      'Authorization',
      basic(`me:${HELD}`),
      { headers: ['X-Api-Key'] },
    ],
    ['where it is put into bodies only', 'Authorization', `Bearer ${HELD}`, { in: ['body'] }],
  ])('%s keeps the placeholder, which is told', (_case, name, value, spec) => {
    const { headers, filled, left, denial } = head([name, value], '/', spec)
    expect(headers).toEqual([name, value])
    expect([filled, left, denial]).toEqual([names(), names(HELD), null])
  })

  it('keeps the placeholder of another secret', () => {
    const { headers, filled, left } = head(['X-Api-Key', `${HELD} ${OTHER}`])
    expect(headers).toEqual(['X-Api-Key', `${REAL} ${OTHER}`])
    expect([filled, left]).toEqual([names(HELD), names(OTHER)])
  })

  it('of no request to another host, of no other client, and of no TRACE has it', () => {
    const value = ['Authorization', `Bearer ${HELD}`]
    const elsewhere: Recipient = { ...RECIPIENT, host: { kind: 'name', text: 'evil.test' } }
    for (const recipient of [elsewhere, { ...RECIPIENT, method: 'TRACE' }]) {
      const { headers, left, denial } = head(value, '/', {}, recipient)
      expect([headers, left, denial]).toEqual([value, names(HELD), null])
    }
    expect(head(value, '/', { clients: ['somebody-else'] }).headers).toEqual(value)
  })

  it('has its placeholder in its value: a name is never replaced', () => {
    const { headers } = head([HELD, HELD, 'X-Api-Key', HELD])
    expect(headers).toEqual([HELD, HELD, 'X-Api-Key', REAL])
  })
})

describe('the target', () => {
  const escaped = encodeURIComponent(REAL)
  it.each<[string, string, string]>([
    ['in a value', `/a?key=${HELD}`, `/a?key=${escaped}`],
    ['in each of several values', `/a?b=1&key=${HELD}&c=x${HELD}y&d`, `/a?b=1&key=${escaped}&c=x${escaped}y&d`],
    ['behind a second question mark', `/a?b=?&key=${HELD}`, `/a?b=?&key=${escaped}`],
    ['behind a second equals sign', `/a?b==${HELD}`, `/a?b==${escaped}`],
  ])('%s', (_case, target, expected) => {
    const filled = head(['X-A', '1'], target)
    expect([filled.target, filled.filled, filled.left]).toEqual([expected, names(HELD), names()])
    expect(filled.headers).toEqual(['X-A', '1'])
  })

  it.each<[string, string]>([
    ['in the path', `/${HELD}`],
    ['in the path behind an equals sign', `/a=${HELD}?b=1`],
    ['in the path without a query', `/a=${HELD}`],
    ['as a name', `/a?${HELD}=1`],
    ['as a name behind a value', `/a?b=1&${HELD}=1`],
    ['as all of the query', `/a?${HELD}`],
  ])('%s it stays, and is told', (_case, target) => {
    const filled = head([], target)
    expect([filled.target, filled.filled, filled.left]).toEqual([target, names(), names(HELD)])
  })
})

describe('a body', () => {
  function body(form: BodyForm, text: string): string {
    const filled = fillBody(compiled(), RECIPIENT, form, Buffer.from(text))
    if (filled === null) throw new Error('there is no placeholder in it')
    return filled.bytes.toString()
  }

  it('of JSON reads as before with the value in its strings', () => {
    const written = body('json', JSON.stringify({ note: `é ${HELD}`, list: [HELD], [HELD]: 1 }))
    expect(JSON.parse(written)).toEqual({ note: `é ${REAL}`, list: [REAL], [HELD]: 1 })
  })

  it.each([
    ['of a member', `{"${HELD}":1}`],
    ['of a member, twice', `{"${HELD}${HELD}":1}`],
    ['that goes on', String.raw`{"a ${HELD} \" : \\":1}`],
    ['before blanks', `{"${HELD}"\t\r\n :1}`],
  ])('of JSON keeps a placeholder in a name: %s', (_case, text) => expect(body('json', text)).toBe(text))

  it.each([
    ['that says what a name looks like', JSON.stringify([`${HELD}":`])],
    ['that goes on', JSON.stringify({ a: `${HELD} \\ "`, b: 1 })],
    ['twice', JSON.stringify({ a: `${HELD} ${HELD}`, [OTHER]: HELD })],
    ['without an end', `["${HELD}`],
  ])('of JSON has the value in a string %s', (_case, text) => {
    expect(body('json', text)).toBe(text.replaceAll(HELD, () => JSON.stringify(REAL).slice(1, -1)))
  })

  it('of JSON keeps a placeholder behind a backslash', () => {
    expect(body('json', `"\\${HELD}"`)).toBe(`"\\${HELD}"`)
  })

  it('of a form reads as before with the value in its values', () => {
    const written = body('form', `a=1&key=${HELD}&${HELD}=2`)
    expect([...new URLSearchParams(written)]).toEqual([
      ['a', '1'],
      ['key', REAL],
      [HELD, '2'],
    ])
  })

  it('of text has the value as it is, and every other byte as before', () => {
    const bytes = Buffer.concat([Buffer.from([0, 0xff, 0x80]), Buffer.from(`<a>${HELD}</a>`)])
    const filled = fillBody(compiled(), RECIPIENT, 'text', bytes)
    expect(filled?.bytes.toString('latin1')).toBe(`\0\xff\x80<a>${REAL}</a>`)
  })

  it('without a placeholder is not made anew', () => {
    expect(fillBody(compiled(), RECIPIENT, 'text', Buffer.from('hello'))).toBeNull()
  })
})

describe('a head without a placeholder is not made anew', () => {
  it.each<[string, string[], string]>([
    ['with short values', ['Accept', '*/*'], '/'],
    [
      'with long values',
      ['Accept', 'text/html, application/json', 'Authorization', `Bearer ${'x'.repeat(40)}`],
      '/a?b=c',
    ],
    ['with Basic credentials', ['Authorization', basic('me:a password of mine')], '/'],
    ['with a name that is one', [HELD, 'x'], '/'],
    ['with one in base64 in another field', ['X-Note', basic(`me:${HELD}`)], '/'],
  ])('%s', (_case, headers, target) => expect(fillHead(compiled(), RECIPIENT, headers, target)).toBeNull())
})

describe('what must not go out', () => {
  it('stays over plain HTTP, and is told', () => {
    const plain: Recipient = { ...RECIPIENT, scheme: 'http' }
    const { headers, target, filled, denial } = head(['X-Api-Key', HELD], `/?a=${HELD}`, {}, plain)
    expect([headers, target, filled]).toEqual([['X-Api-Key', HELD], `/?a=${HELD}`, names()])
    expect(denial).toEqual({ name: HELD, hint: `${HELD} stands for a secret, which goes out over https only` })
  })

  it('to a host that is not named goes over plain HTTP as over any other', () => {
    const elsewhere: Recipient = { ...RECIPIENT, scheme: 'http', host: { kind: 'name', text: 'evil.test' } }
    expect(head(['X-Api-Key', HELD], '/', {}, elsewhere)).toMatchObject({ denial: null, left: names(HELD) })
  })

  it.each([MAX_FILLED, MAX_FILLED + 1, MAX_FILLED + 9])('is put in %i times at most', (times) => {
    const { headers, denial } = head(['X-Api-Key', HELD.repeat(times)])
    expect(headers[1]?.split(REAL).length).toBe(MAX_FILLED + 1)
    expect(headers[1]?.includes(HELD)).toBe(times > MAX_FILLED)
    expect(denial?.hint).toBe(
      times > MAX_FILLED
        ? `${HELD} stands for a secret, which goes out at most 16 times in one head or body`
        : undefined,
    )
  })

  it('is counted over all fields and the target', () => {
    const fields = Array.from({ length: MAX_FILLED }, () => ['X-Api-Key', HELD]).flat()
    expect(head(fields, '/').denial).toBeNull()
    expect(head(fields, `/?a=${HELD}`).denial?.name).toBe(HELD)
  })

  it('where it stays is not counted', () => {
    expect(head(['X-Note', HELD.repeat(100)])).toMatchObject({ denial: null, left: names(HELD) })
  })
})

describe('whatever stands around placeholders', () => {
  const piece = fc.oneof(
    fc.constantFrom(HELD, OTHER, '&', '=', '"', '\\', '\\\\', '%', '{"a":"', '"}', 'OTHER_TOKEN_', 'PLACEHOLDER', 'n'),
    fc.string(),
  )
  const texts = fc.array(piece, { maxLength: 12 }).map((parts) => parts.join(''))

  it('a form has the same names in the same order, and only values that held one have changed', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const filled = fillBody(compiled(), RECIPIENT, 'form', Buffer.from(text))
        const before = Buffer.from(text).toString('latin1').split('&')
        const after = filled === null ? before : filled.bytes.toString('latin1').split('&')
        const shapes = (pairs: string[]): unknown[] => pairs.map((pair) => [pair.split('=')[0], pair.split('=').length])
        expect(shapes(after)).toEqual(shapes(before))
        const changed = after.filter((pair, at) => pair !== before[at] && before[at]?.includes(HELD) !== true)
        expect(changed).toEqual([])
      }),
    )
  })

  it('JSON that is valid stays JSON of the same shape', () => {
    fc.assert(
      fc.property(fc.array(texts, { maxLength: 4 }), (values) => {
        const text = JSON.stringify(values)
        const filled = fillBody(compiled(), RECIPIENT, 'json', Buffer.from(text))
        const read = JSON.parse(filled === null ? text : filled.bytes.toString()) as string[]
        expect(read.length).toBe(values.length)
        for (const [at, value] of values.entries()) {
          // Behind a backslash it stays, everywhere else nothing but it has changed.
          expect(read[at]?.split(HELD).join(REAL)).toBe(value.split(HELD).join(REAL))
        }
      }),
    )
  })
})
