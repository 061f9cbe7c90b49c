import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compileSecrets, type Guard, guardFor } from '../../src/core/secret.ts'
import { scanForSecrets } from '../../src/core/secret-scan.ts'

// Put together at run time: no scanner of this repository should take the samples for real.
const TOKEN = ['gh', 'p_', 'aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5'].join('')
const SECRET = 'Correct/Horse "42"'

function guardAt(host: string): Guard {
  const guard = guardFor(
    compileSecrets([
      { name: 'github_token', value: null, onlyTo: ['home.test'] },
      { name: 'db', value: SECRET, onlyTo: [] },
    ]),
    { kind: 'name', text: host },
  )
  if (guard === null) throw new Error('nothing is guarded')
  return guard
}
const AWAY = guardAt('away.test')
const HOME = guardAt('home.test')

const seen = (text: string, guard = AWAY, last = true): string | number => {
  const scanned = scanForSecrets(text, guard, last)
  return scanned.kind === 'leak' ? scanned.leak.name : scanned.begun
}
const percent = (text: string): string =>
  Array.from(text, (unit) => `%${unit.charCodeAt(0).toString(16).padStart(2, '0')}`).join('')
const unicode = (text: string): string =>
  Array.from(text, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')

describe('a text', () => {
  it.each<[string, string, string]>([
    ['a token', `a ${TOKEN} b`, 'github_token'],
    ['a value', `{"a":${JSON.stringify(SECRET)}}`, 'db'],
    ['the first of two', `${SECRET} ${TOKEN}`, 'db'],
    ['an escaped token', percent(TOKEN), 'github_token'],
    ['a token that is escaped twice', percent(percent(TOKEN)), 'github_token'],
    ['a token that is escaped once in this way and once in that', unicode(percent(TOKEN)), 'github_token'],
    ['a token of which one character is escaped', TOKEN.replace('E', '\\u0045'), 'github_token'],
    [
      'a token in base64 with its signs escaped',
      percent(Buffer.from(`??>${TOKEN}`).toString('base64')),
      'github_token',
    ],
    ['a token that is only a part of a long text', `${'lorem ipsum '.repeat(9_000)}${TOKEN}`, 'github_token'],
  ])('that holds %s', (_case, text, name) => {
    expect(seen(text)).toBe(name)
    expect(seen(text, AWAY, false)).toBe(name)
  })

  it.each([
    ['nothing', ''],
    ['two characters', 'gh'],
    ['what only begins like a token', 'ghp_ ghp_abc xox sk-'],
    ['no token behind other escapes', '\\n\\t%zz%'],
  ])('that holds %s', (_case, text) => {
    expect(seen(text)).toBe(text.length)
  })

  it('that holds a secret which may go there is clean, and another in it is found', () => {
    expect(seen(TOKEN, HOME)).toBe(TOKEN.length)
    expect(seen(`${TOKEN} ${SECRET}`, HOME)).toBe('db')
  })

  it('that is escaped more often than is looked through could hold anything', () => {
    expect(seen(`%${'25'.repeat(4)}61`)).toBe('unreadable')
    expect(seen(`%${'25'.repeat(3)}61`)).toBe(1 + 3 * 2 + 2)
  })

  it('is looked through in one pass, whatever it holds', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('g', 'h', 'p', '_', '%', '6', '7', '\\', 'u', '0'), maxLength: 400 }),
        (text) => {
          const begun = seen(text, AWAY, false)
          expect(typeof begun === 'string' || begun <= text.length).toBe(true)
        },
      ),
    )
  })
})

describe('where a secret begins that more could complete', () => {
  it.each<[string, string, string]>([
    ['nowhere', 'an ordinary text.', ''],
    ['at a token', 'a ghp_abc', 'ghp_abc'],
    ['at the first of two', 'ghp_abc', 'ghp_abc'],
    ['at a value', 'a Correct/', 'Correct/'],
    ['at an escaped token', 'a b%20%67hp_abc', '%67hp_abc'],
    ['at a token that is escaped twice', 'a%20 %2567hp_abc', '%2567hp_abc'],
    ['before an escape that is not whole', 'a ghp_abc%6', 'ghp_abc%6'],
    ['before an escape of JSON that is not whole', 'a ghp_abc\\u00', 'ghp_abc\\u00'],
    ['not at an escape alone', 'an escape %6', ''],
    ['not where something follows it', 'a ghp_abc and', ''],
  ])('%s', (_case, text, rest) => {
    expect(seen(text, AWAY, false)).toBe(text.length - rest.length)
    expect(seen(text)).toBe(text.length)
  })
})
