import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { scanTable, SUSPECT, suspicion } from '../../src/core/redact-scan.ts'
import { findKnown, knownSecrets, MIN_KNOWN_SECRET_LENGTH } from '../../src/core/redact-values.ts'

const SECRET = 'Correct-Horse/42'

function found(text: string, values: readonly string[] = [SECRET], folded = false): [string, string | undefined][] {
  const places: [string, string | undefined][] = []
  findKnown(text, knownSecrets(values), folded, (start, end, value) => places.push([text.slice(start, end), value]))
  return places
}

describe('a known secret', () => {
  it.each([
    ['as it is', SECRET],
    ['in hexadecimal digits', Buffer.from(SECRET).toString('hex')],
    ['in large ones', Buffer.from(SECRET).toString('hex').toUpperCase()],
  ])('is found %s', (_case, spelled) => {
    expect(found(`x${spelled}y`)).toEqual([[spelled, SECRET]])
    const { begins } = knownSecrets([SECRET])
    expect(suspicion(`x${spelled}y`, scanTable(begins)) & SUSPECT.known).not.toBe(0)
  })

  it('is found in every base64 text that holds it, wherever it stands in it', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 9 }),
        fc.uint8Array({ maxLength: 9 }),
        fc.constantFrom('base64', 'base64url'),
        fc.stringMatching(/^[ -~]{8,40}$/),
        (before, after, encoding, secret) => {
          const text = Buffer.concat([before, Buffer.from(secret), after]).toString(encoding)
          const places = found(text, [secret])
          expect(places.length).toBeGreaterThan(0)
          // With the digits it shares with its neighbours.
          expect(places[0]?.[0].length).toBeGreaterThanOrEqual(Math.floor((secret.length * 8) / 6))
        },
      ),
    )
  })

  it('is found escaped for JSON, with plus for space, and as bytes of UTF-8', () => {
    expect(found(JSON.stringify('say "it" now\\'), ['say "it" now\\'])).toEqual([
      ['say \\"it\\" now\\\\', 'say "it" now\\'],
    ])
    expect(found('p=two+words+here', ['two words here'])).toEqual([['two+words+here', 'two words here']])
    const umlauts = 'schlüssel-öffnen'
    expect(found(Buffer.from(umlauts).toString('latin1'), [umlauts])[0]?.[1]).toBe(umlauts)
    expect(found(umlauts, [umlauts])[0]?.[1]).toBe(umlauts)
  })

  it('that is long is found by its beginning, and taken as far as it goes', () => {
    const long = Array.from({ length: 300 }, (_, index) => `p${index}`).join('')
    expect(found(`x${long}y`, [long])).toEqual([[long, long]])
    expect(found(`x${long.slice(0, 600)}`, [long])).toEqual([[long.slice(0, 600), long]])
    expect(found(`x${long.slice(0, 400)}`, [long])).toEqual([])
  })

  it('in other letters is one in names alone', () => {
    expect(found(SECRET.toLowerCase())).toEqual([])
    expect(found(`${SECRET.toUpperCase()}.example`, [SECRET], true)).toEqual([[SECRET.toUpperCase(), SECRET]])
  })

  it('is one of several with the same beginning', () => {
    const values = ['hunter2-the-first', 'hunter2-the-second']
    expect(found('hunter2-the-second', values)).toEqual([['hunter2-the-second', 'hunter2-the-second']])
  })

  it(`of under ${MIN_KNOWN_SECRET_LENGTH} characters is none`, () => {
    expect(found('hunter2', ['hunter2'])).toEqual([])
    expect(knownSecrets(['hunter2']).begins).toEqual([])
    expect(found('', [SECRET])).toEqual([])
  })
})
