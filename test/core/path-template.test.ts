import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compilePathGlob, matchPathGlob } from '../../src/core/glob.ts'
import { coversTemplate, fewestTemplates, segmentsOf, templateOf } from '../../src/core/path-template.ts'

describe('a segment', () => {
  it.each([
    ['a number', '7'],
    ['a long number', '90071992547409931234'],
    ['a UUID', '550e8400-e29b-41d4-a716-446655440000'],
    ['a UUID in capitals', '550E8400-E29B-41D4-A716-446655440000'],
    ['a ULID', '01ARZ3NDEKTSV4RRFFQ69G5FAV'],
    ['a ULID in small letters', '01arz3ndektsv4rrffq69g5fav'],
    ['a short commit', 'a1b2c3d'],
    ['a SHA-256', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
    ['hexadecimal in capitals', 'DEADBEEF7'],
    ['a token of base64url', 'dQw4w9WgXcQ-Zk2LmN0_pR'],
    ['a token of 16 characters', 'aB3dE5fG7hJ9kL1m'],
  ])('that is %s becomes a *', (_what, id) => {
    expect(templateOf(`/v1/${id}/x`)).toEqual({ glob: '/v1/*/x', ids: [id] })
  })

  it.each([
    ['a name', 'acme'],
    ['a version', 'v2'],
    ['a date', '2026-01-02'],
    ['a number with a sign', '-7'],
    ['a number with a point', '1.5'],
    ['words of hexadecimal letters', 'facade'],
    ['a long word of hexadecimal letters', 'deadbeefcafe'],
    ['six digits of a commit', 'a1b2c3'],
    ['hexadecimal in two cases', 'aB1C2D3'],
    ['a UUID that is cut', '550e8400-e29b-41d4-a716-44665544000'],
    ['a UUID in braces', '%7B550e8400-e29b-41d4-a716-446655440000%7D'],
    ['a ULID that begins past its range', '81ARZ3NDEKTSV4RRFFQ69G5FAV'],
    ['a ULID of letters that Crockford leaves out', '01ARZ3NDEKTSV4RRFFQ69G5FAU'],
    ['a token of 15 characters', 'aB3dE5fG7hJ9kL1'],
    ['a token without a digit', 'dQwWgXcQZkLmNpRsTu'],
    ['a token without capitals', 'dqw4w9wgxcqzk2lmn0pr'],
    ['a token without small letters', 'DQW4W9WGXCQZK2LMN0PR'],
    ['the name of a method', 'BatchGetMessagesV2'],
    ['the name of a method with an underscore', 'ListUserSettings_V2beta1'],
    ['an escape', '%40scope'],
    ['nothing', ''],
    ['what only looks redacted', 'hmac:0123'],
  ])('that is %s stays', (_what, name) => {
    expect(templateOf(`/v1/${name}/x`)).toEqual({ glob: `/v1/${name}/x`, ids: [] })
  })

  it.each([
    ['whole', '/hooks/hmac:0123456789abcdef', '/hooks/*', [null]],
    ['in part', '/bot12:hmac:0123456789abcdef/send', '/bot12:*/send', [null]],
    ['twice in a row, which must not be **', '/x/hmac:0123456789abcdefhmac:fedcba9876543210/y', '/x/*/y', [null]],
    ['twice', '/hmac:0123456789abcdef-hmac:fedcba9876543210/7', '/*-*/*', [null, null, '7']],
  ])('that is redacted %s becomes a * there', (_what, path, glob, ids) => {
    expect(templateOf(path)).toEqual({ glob, ids })
  })

  it.each(['/a*b', '/*', '/a/**/7', '*'])('with a * of its own has no template: %s', (path) => {
    expect(templateOf(path)).toBeNull()
  })
})

describe('the fewest templates', () => {
  const deep = (depth: number): string[] => ['a', 'b'].map((end) => `/${'x/'.repeat(depth - 1)}${end}`)
  const wide = (depth: number): string[] => ['a', 'b'].map((start) => `/${start}${'/x'.repeat(depth)}`)
  const users = ['/users/ann', '/users/bob', '/users/cy']
  it.each<[string, string[], number | null, string[]]>([
    ['of siblings, by default', users, null, users],
    ['of siblings that are fewer than asked for', users, 4, users],
    ['of as many siblings as asked for', users, 3, ['/users/*']],
    ['of siblings in the middle', ['/u/a/x', '/u/b/x', '/u/a/y/z'], 2, ['/u/*/x', '/u/a/y/z']],
    ['of siblings at the end, before those in the middle', ['/u/a/x', '/u/b/x', '/u/a/y'], 2, ['/u/a/*', '/u/b/x']],
    ['of siblings beside a *, which does not count', ['/u/*', '/u/a'], 2, ['/u/*']],
    ['of siblings at two places', ['/a/x', '/a/y', '/b/x', '/b/y'], 2, ['/*/*']],
    ['of siblings of which one ends with a slash', ['/u/a', '/u/b', '/u/'], 2, ['/u/', '/u/*']],
    ['of paths of other lengths', ['/u/a', '/u/b/c'], 2, ['/u/a', '/u/b/c']],
    ['of siblings as deep as siblings are looked for', deep(31), 2, [`/${'x/'.repeat(30)}*`]],
    ['of siblings that are deeper', deep(32), 2, deep(32)],
    ['of siblings near the root of what is deeper', wide(31), 2, wide(31)],
    ['of siblings near the root', wide(30), 2, [`/*${'/x'.repeat(30)}`]],
    ['given twice', ['/a', '/a'], 2, ['/a']],
    ['of none', [], 2, []],
    ['of what another covers', ['/u/*', '/u/me', '/u/me/x'], null, ['/u/*', '/u/me/x']],
    ['of what covers nothing else', ['/bot1:*/x', '/bot2:*/x'], null, ['/bot1:*/x', '/bot2:*/x']],
  ])('%s', (_what, globs, siblings, fewest) => {
    expect(fewestTemplates(globs, siblings)).toEqual(fewest)
    expect(fewestTemplates(globs.toReversed(), siblings)).toEqual(fewest)
  })

  it.each([
    ['/a/*', '/a/b', true],
    ['/a/*', '/a/*', true],
    ['/a/*', '/a/bot1:*', true],
    ['/a/b', '/a/*', false],
    ['/a/*', '/a/', false],
    ['/a/*', '/a/b/c', false],
    ['/*/b', '/a/c', false],
  ])('%s covers %s: %s', (outer, inner, covers) => {
    expect(coversTemplate(segmentsOf(outer), segmentsOf(inner))).toBe(covers)
  })
})

const name = fc.constantFrom('users', 'acme', 'v1', 'x-y', '', 'a.b', '%2F', '%7E1')
const id = fc.oneof(
  fc.nat().map(String),
  fc.uuid(),
  fc.ulid(),
  fc.constantFrom('hmac:0123456789abcdef', 'bot1:hmac:0123456789abcdef', 'a1b2c3d4'),
)
const path = fc.array(fc.oneof(name, id), { minLength: 1, maxLength: 4 }).map((segments) => `/${segments.join('/')}`)
const matches = (glob: string, text: string): boolean => matchPathGlob(compilePathGlob(glob), text)

describe('for any paths', () => {
  it('each is matched by its template, which holds no **', () => {
    fc.assert(
      fc.property(path, (text) => {
        const { glob, ids } = templateOf(text) as NonNullable<ReturnType<typeof templateOf>>
        expect(matches(glob, text)).toBe(true)
        expect(glob).not.toContain('**')
        expect(glob.split('*').length - 1).toBe(ids.length)
      }),
    )
  })

  const paths = fc.array(path, { maxLength: 12 })
  const globsOf = (texts: readonly string[]): string[] => texts.map((text) => templateOf(text)?.glob ?? '')
  const allows = (globs: readonly string[], text: string): boolean => globs.some((glob) => matches(glob, text))

  it('the fewest match what all match', () => {
    fc.assert(
      fc.property(paths, fc.constantFrom(null, 2, 3), (texts, siblings) => {
        const fewest = fewestTemplates(globsOf(texts), siblings)
        for (const text of texts) expect([text, allows(fewest, text)]).toEqual([text, true])
      }),
    )
  })

  it('the fewest without merging match nothing else', () => {
    fc.assert(
      fc.property(paths, path, (texts, other) => {
        expect(allows(fewestTemplates(globsOf(texts), null), other)).toBe(allows(globsOf(texts), other))
      }),
    )
  })

  it('what covers matches all that the covered one matches', () => {
    fc.assert(
      fc.property(path, fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }), id, (text, stars, other) => {
        const inner = templateOf(text)?.glob ?? ''
        const outer = inner
          .split('/')
          .map((segment, at) => (at > 0 && stars[at] === true ? '*' : segment))
          .join('/')
        const matched = inner.replaceAll('*', other)
        expect(matches(inner, matched)).toBe(true)
        expect(coversTemplate(segmentsOf(outer), segmentsOf(inner))).toBe(matches(outer, matched))
      }),
    )
  })
})
