import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { look, type Needle, needlesOfFormat, needlesOfValue, type Sight } from '../../src/core/secret-needle.ts'
import { NAMED_FORMATS } from '../../src/core/token-formats.ts'

// Put together at run time: no scanner of this repository should take the samples for real.
const TOKEN = ['gh', 'p_', 'aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5'].join('')
const JWT = ['eyJ', 'hbGciOiJIUzI1NiJ9', '.', 'eyJzdWIiOiIxMjM0In0', '.c2ln'].join('')
const TELEGRAM = ['123456789', ':', 'AAE', 'x'.repeat(32)].join('')

const formats = (name: string): Needle[] =>
  NAMED_FORMATS.filter((format) => format.name === name).flatMap((format) => needlesOfFormat(0, format))
const NEEDLES = new Map(
  ['github_token', 'json_web_token', 'telegram_bot_token', 'openai_key', 'private_key'].map((name) => [
    name,
    formats(name),
  ]),
)

/** The most that any needle sees anywhere. */
function sightOf(needles: readonly Needle[], text: string, last: boolean): Sight {
  const sights = needles.flatMap((needle) => Array.from(text, (_, at) => look(needle, text, at, last)))
  return sights.includes('found') ? 'found' : sights.includes('begun') ? 'begun' : 'absent'
}
const sight = (name: string, text: string, last = true): Sight => sightOf(NEEDLES.get(name) ?? [], text, last)

const wide = (text: string, big = false): string => {
  const bytes = Buffer.from(text, 'utf16le')
  return (big ? bytes.swap16() : bytes).toString('latin1')
}
const hex = (text: string): string => Buffer.from(text, 'latin1').toString('hex')
const base64 = (text: string): string => Buffer.from(text, 'latin1').toString('base64')

describe('a token', () => {
  it.each<[string, string, string]>([
    ['as it is', 'github_token', `a ${TOKEN} b`],
    ['in hexadecimal digits', 'github_token', `a note: ${hex(TOKEN)}`],
    ['in large hexadecimal digits', 'github_token', hex(TOKEN).toUpperCase()],
    ['in UTF-16', 'github_token', wide(`a ${TOKEN} b`)],
    ['in UTF-16, big end first', 'github_token', wide(`a ${TOKEN} b`, true)],
    ['in base64', 'github_token', `a note: "${base64(TOKEN)}"`],
    ['in base64 behind one byte', 'github_token', base64(`:${TOKEN}`)],
    ['in base64 behind two bytes', 'github_token', base64(`::${TOKEN}`)],
    ['in base64 in the middle', 'github_token', base64(`a longer text with ${TOKEN} inside`)],
    ['in base64 in lines', 'github_token', base64(`a longer text with ${TOKEN}`).replaceAll(/.{37}/g, '$&\r\n')],
    ['of JSON Web', 'json_web_token', `token=${JWT}`],
    ['of JSON Web in base64', 'json_web_token', base64(`user:${JWT}`)],
    ['of a bot, whose form looks back', 'telegram_bot_token', `"${TELEGRAM}"`],
    ['of a bot in base64', 'telegram_bot_token', base64(`the bot ${TELEGRAM}`)],
    ['of a bot in hexadecimal digits', 'telegram_bot_token', hex(TELEGRAM)],
    ['that is a key', 'private_key', '-----BEGIN RSA PRIVATE KEY-----'],
    ['that is a key in base64', 'private_key', base64('-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl')],
  ])('is found %s', (_case, name, text) => {
    expect(sight(name, text)).toBe('found')
    expect(sight(name, text, false)).toBe('found')
  })

  it.each<[string, string, string]>([
    ['that is too short', 'github_token', 'ghp_short'],
    ['in the middle of another word', 'openai_key', 'task-force-with-many-hyphens-in-its-name'],
    ['in the middle of another word, in base64', 'openai_key', base64('a task-force-with-many-hyphens-in-its-name ')],
    [
      'in the middle of another word, in hexadecimal digits',
      'openai_key',
      hex('task-force-with-many-hyphens-in-its-name'),
    ],
    ['of a bot without its number', 'telegram_bot_token', `:AA${'x'.repeat(32)}`],
    ['of UTF-16 that is none', 'github_token', 'g\0h\0p\0_\0ab\0c'],
    ['that is a certificate', 'private_key', '-----BEGIN CERTIFICATE-----'],
    ['in base64 whose beginning is missing', 'github_token', base64(`::${TOKEN}`).slice(3)],
    ['in base64 that is none', 'github_token', `"="${base64(`::${TOKEN}`).slice(5)}`],
  ])('is none %s', (_case, name, text) => {
    expect(sight(name, text)).toBe('absent')
  })

  it.each<[string, string, string, Sight]>([
    ['its beginning alone', 'github_token', 'a ghp_', 'begun'],
    ['some of it', 'github_token', 'a ghp_abcdef', 'begun'],
    ['some of it, and what ends it', 'github_token', 'a ghp_abcdef ', 'absent'],
    ['some of it, and more than it may have', 'github_token', `ghp_${'.a'.repeat(50)}`, 'absent'],
    ['some of it in hexadecimal digits', 'github_token', hex('ghp_abcdef'), 'begun'],
    ['some of it in base64', 'github_token', base64(' ghp_abcdef').replaceAll('=', ''), 'begun'],
    ['some of it in UTF-16', 'github_token', wide('ghp_abc'), 'begun'],
    ['some of it in UTF-16, less its last byte', 'github_token', wide('ghp_abc').slice(0, -1), 'begun'],
    ['a long header of JSON Web', 'json_web_token', `eyJhbGciOi${'a'.repeat(400)}`, 'begun'],
    ['a header of JSON Web that is too long', 'json_web_token', `eyJhbGciOi${'a'.repeat(700)}`, 'absent'],
    ['less than its beginning', 'github_token', 'the ghp', 'absent'],
  ])('%s, where more may follow', (_case, name, text, expected) => {
    expect(sight(name, text, false)).toBe(expected)
    expect(sight(name, text, true)).toBe('absent')
  })
})

describe('a known value', () => {
  const SECRET = 'Correct/Horse "42"'
  const needles = needlesOfValue(0, SECRET)

  it.each<[string, string]>([
    ['as it is', SECRET],
    ['quoted for JSON', JSON.stringify({ a: SECRET })],
    ['with plus for space', SECRET.replaceAll(' ', '+')],
    ['in hexadecimal digits', hex(SECRET)],
    ['in UTF-16', wide(SECRET)],
    ['in UTF-16, big end first', wide(SECRET, true)],
    ['in base64 in lines', base64(`x${SECRET}`).replaceAll(/.{9}/g, '$&\r\n')],
  ])('is found %s', (_case, text) => {
    expect(sightOf(needles, `.${text}.`, true)).toBe('found')
  })

  it('is found in every base64 text that holds it', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 9 }),
        fc.uint8Array({ maxLength: 9 }),
        fc.stringMatching(/^[ -~]{8,40}$/),
        (before, after, secret) => {
          const text = Buffer.concat([before, Buffer.from(secret), after]).toString('base64')
          expect(sightOf(needlesOfValue(0, secret), text, true)).toBe('found')
        },
      ),
    )
  })

  it('beyond ASCII is found in both orders of UTF-16', () => {
    const umlauts = 'schlüssel-öffnen-東京'
    expect(sightOf(needlesOfValue(0, umlauts), wide(`a${umlauts}b`), true)).toBe('found')
    expect(sightOf(needlesOfValue(0, umlauts), wide(`a${umlauts}b`, true), true)).toBe('found')
  })

  it.each<[number, Sight]>([
    [3, 'absent'],
    [4, 'begun'],
    [SECRET.length - 1, 'begun'],
    [SECRET.length, 'found'],
  ])('with %i characters of it at the end of a text', (length, expected) => {
    expect(sightOf(needles, `a ${SECRET.slice(0, length)}`, false)).toBe(expected)
    expect(sightOf(needles, `a ${SECRET.slice(0, length)}`, true)).toBe(expected === 'found' ? 'found' : 'absent')
  })

  it('that is long is found by its first 512 characters', () => {
    const long = Array.from({ length: 300 }, (_, at) => `p${at}`).join('')
    expect(sightOf(needlesOfValue(0, long), long.slice(0, 512), true)).toBe('found')
    expect(sightOf(needlesOfValue(0, long), long.slice(0, 511), true)).toBe('absent')
  })
})
