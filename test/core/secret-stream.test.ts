import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compileSecrets, type Guard, guardFor } from '../../src/core/secret.ts'
import { MAX_HELD_BYTES, SecretStream } from '../../src/core/secret-stream.ts'

// Put together at run time: no scanner of this repository should take the samples for real.
const TOKEN = ['gh', 'p_', 'aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5'].join('')
const SECRET = 'Correct/Horse "42"'

const guard = guardFor(
  compileSecrets([
    { name: 'any_token', value: null, onlyTo: [] },
    { name: 'db', value: SECRET, onlyTo: [] },
  ]),
  { kind: 'name', text: 'away.test' },
) as Guard

/** What leaves of a body that comes in these parts, and the secrets that are told. */
function passed(parts: readonly string[], enforced = true, bounded = false): { out: string; leaks: string[] } {
  const stream = new SecretStream(guard, enforced)
  const leaks: string[] = []
  let out = ''
  for (const part of parts) {
    const step = stream.push(Buffer.from(part, 'latin1'), bounded)
    out += step.out.toString('latin1')
    if (step.leak === null) continue
    leaks.push(step.leak.name)
    if (enforced) return { out, leaks }
  }
  return { out: out + stream.end().toString('latin1'), leaks }
}

const cut = (text: string, lengths: readonly number[]): string[] => {
  const parts: string[] = []
  let at = 0
  for (const length of lengths) {
    parts.push(text.slice(at, at + length))
    at += length
  }
  return [...parts, text.slice(at)]
}
const units = (text: string): string[] => text.split('')
const percent = (text: string): string =>
  Array.from(text, (unit) => `%${unit.charCodeAt(0).toString(16).padStart(2, '0')}`).join('')
const coded = (encoding: BufferEncoding, before: string) => (text: string) =>
  Buffer.from(before + text).toString(encoding)

const DISGUISES: readonly [what: string, disguise: (secret: string) => string][] = [
  ['as it is', (secret) => secret],
  ['quoted', (secret) => JSON.stringify(secret)],
  ['escaped', percent],
  ['escaped twice', (secret) => percent(secret).replaceAll('%', '%25')],
  ['escaped for JSON', (secret) => percent(secret).replaceAll('%', '\\u00')],
  ['in base64', coded('base64', '')],
  ['in base64 behind one byte', coded('base64', 'x')],
  ['in base64 behind two bytes', coded('base64', 'xy')],
  ['in hexadecimal digits', coded('hex', '')],
  ['in UTF-16', (secret) => Buffer.from(secret, 'utf16le').toString('latin1')],
]

describe('a secret in a stream', () => {
  describe.each([
    ['a token', TOKEN, 'github_token', 12],
    ['a value', SECRET, 'db', 4],
  ])('%s', (_what, secret, name, begins) => {
    it.each(DISGUISES)('%s is found at every cut, and does not leave', (_case, disguise) => {
      const spelled = disguise(secret)
      for (let at = 1; at < spelled.length; at++) {
        const { out, leaks } = passed(['a text before it: ', spelled.slice(0, at), spelled.slice(at), ' and behind it'])
        expect(leaks).toEqual([name])
        expect(out.length).toBeLessThanOrEqual('a text before it: '.length + begins * 6)
        expect(out).not.toContain(spelled)
      }
    })

    it.each(DISGUISES)('%s is found byte by byte', (_case, disguise) => {
      const spelled = disguise(secret)
      const { out, leaks } = passed(units(`a: ${spelled} b`))
      expect(leaks).toEqual([name])
      expect(out.startsWith('a: ')).toBe(true)
      expect(out.length - 3).toBeLessThan(spelled.length / 2)
    })
  })

  it('a value shows three characters at most, a token what all of them begin with', () => {
    expect(passed(units(`a ${SECRET}`)).out).toBe('a Cor')
    expect(passed(units(`a ${TOKEN}`)).out).toBe('a ghp')
  })

  it('is found wherever a body is cut', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...DISGUISES.map(([, disguise]) => disguise)),
        fc.array(fc.nat(9), { maxLength: 30 }),
        fc.string({ unit: 'binary-ascii', maxLength: 40 }),
        (disguise, lengths, before) => {
          // What stands directly before it must not be of its own alphabet.
          const { out, leaks } = passed(cut(`${before.replaceAll(/[\\%]/g, '')}. ${disguise(TOKEN)}.`, lengths))
          expect(leaks).toEqual(['github_token'])
          expect(out).not.toContain(disguise(TOKEN))
        },
      ),
    )
  })
})

describe('an honest stream', () => {
  it('leaves as it is, however it is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('ghp_', 'ghp_abc', 'Correct/', '%67hp_', '\\u00', 'eyJ', ' ', 'x', '\0', '%'), {
          maxLength: 20,
        }),
        fc.array(fc.nat(9), { maxLength: 30 }),
        (words, lengths) => {
          const text = words.join(' ')
          expect(passed(cut(text, lengths))).toEqual({ out: text, leaks: [] })
        },
      ),
    )
  })

  it.each([
    ['nothing of an ordinary text', 'hello world', 'hello world'],
    ['what could become a token', 'hello ghp_abc', 'hello '],
    ['what could become a value', 'hello Correct', 'hello '],
    ['not its first three characters', 'hello Cor', 'hello Cor'],
    ['not what every token begins with', 'hello ghp', 'hello ghp'],
  ])('keeps back %s', (_case, text, out) => {
    const stream = new SecretStream(guard, true)
    expect(stream.push(Buffer.from(text), false).out.toString()).toBe(out)
    expect(stream.end().toString()).toBe(text.slice(out.length))
    expect(stream.end()).toHaveLength(0)
  })

  it('keeps nothing back behind which no secret goes on', () => {
    const stream = new SecretStream(guard, true)
    expect(stream.push(Buffer.from('hello ghp_abc'), true).out.toString()).toBe('hello ghp_abc')
    expect(stream.push(Buffer.from('de5fG7hI9jK1lM3nO5'), true)).toMatchObject({ leak: { name: 'github_token' } })
  })

  it('never keeps back more than a bound, nor the buffer that it came in', () => {
    const large = Buffer.alloc(1 << 16, 'a ')
    const stream = new SecretStream(guard, true)
    const first = Buffer.concat([large, Buffer.from('ghp_abc')])
    stream.push(first, false)
    first.fill('z')
    expect(stream.end().toString()).toBe('ghp_abc')
    // Line breaks in base64 say nothing, so any number of them could stand in one.
    const begun = `${Buffer.from(SECRET).toString('base64').slice(0, 8)}${'\r\n'.repeat(MAX_HELD_BYTES)}`
    const { out } = new SecretStream(guard, true).push(Buffer.from(begun), false)
    expect(out.length).toBe(begun.length - MAX_HELD_BYTES)
  })
})

describe('where nothing is enforced', () => {
  it('everything leaves, and each secret is told once', () => {
    const parts = [TOKEN.slice(0, 20), `${TOKEN.slice(20)} `, `${SECRET} `, TOKEN]
    expect(passed(parts, false)).toEqual({ out: parts.join(''), leaks: ['github_token', 'db'] })
    expect(guard.kept.includes(0)).toBe(false)
  })

  it('what can not be read is told once, and then there is nothing left to tell', () => {
    const deep = `%${'25'.repeat(6)}61`
    expect(passed([deep, deep, TOKEN], false)).toEqual({ out: deep + deep + TOKEN, leaks: ['unreadable'] })
  })
})
