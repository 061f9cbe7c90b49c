import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compilePathGlob, compileValueGlob, matchPathGlob, matchValueGlob } from '../../src/core/glob.ts'

const matches = (glob: string, path: string): boolean => matchPathGlob(compilePathGlob(glob), path)

describe('path globs', () => {
  it.each([
    ['a literal matches itself', '/user', '/user', true],
    ['a literal does not match with a slash added [D17]', '/allowed', '/allowed/', false],
    ['a literal with a slash does not match without it [D17]', '/allowed/', '/allowed', false],
    ['a literal is no prefix [D17]', '/repo', '/repo-evil', false],
    ['a literal is case-sensitive [D12]', '/secret', '/SECRET', false],
    ['a glob is case-sensitive [D12]', '/secret/*', '/Secret/a', false],
    ['* matches within a segment', '/repos/*/issues', '/repos/app/issues', true],
    ['* needs at least one character', '/repos/*', '/repos/', false],
    ['* needs at least one character between literals', '/a*b', '/ab', false],
    ['* does not cross a slash', '/repos/*', '/repos/a/b', false],
    ['* can share its segment with literals', '/v*/items', '/v12/items', true],
    ['two * in one segment', '/a*b*c', '/axbxbxc', true],
    ['two * need one character each', '/*a*', '/aa', false],
    ['** after a slash matches the slash alone', '/a/**', '/a/', true],
    ['** after a slash matches all below', '/a/**', '/a/b/c', true],
    ['** after a slash does not match the folder itself', '/a/**', '/a', false],
    ['** after a slash is no prefix match [D17]', '/repo/**', '/repo-evil/x', false],
    ['** needs no character', '/a**', '/a', true],
    ['** crosses slashes between literals', '/a/**/z', '/a/b/c/z', true],
    ['** between slashes keeps both of them', '/a/**/z', '/a/z', false],
    ['head and tail do not overlap', '/ab**ba', '/aba', false],
    ['* after **', '/**/*.json', '/a/b/c.json', true],
    ['* after ** still needs a character', '/**/*.json', '/a/b/.json', false],
    ['a literal between wildcards is found at any place', '/**/x/*', '/x/x/y/x/z', true],
    ['a literal between wildcards has to be there', '/**/x/*', '/a/b/y/z', false],
    ['%2F is no slash to *', '/pkg/*', '/pkg/@scope%2Fname', true],
    ['nothing but the asterisk-form is the asterisk-form', '/**', '*', false],
  ])('%s', (_, glob, path, expected) => {
    expect(matches(glob, path)).toBe(expected)
  })

  const glob = fc
    .array(fc.constantFrom('a', 'b', '/', '*', '**'), { maxLength: 8 })
    .map((parts) => `/${parts.join('')}`)
  const path = fc.array(fc.constantFrom('a', 'b', '/'), { maxLength: 9 }).map((parts) => `/${parts.join('')}`)

  it('agrees with a recursive reference', () => {
    fc.assert(
      fc.property(glob, path, (pattern, text) => {
        expect(matches(pattern, text)).toBe(reference(pattern.split(/(\*\*|\*)/), text))
      }),
      { numRuns: 3000 },
    )
  })

  it('ends where backtracking would not within the time of a test', () => {
    const text = `/${'a'.repeat(8000)}`
    expect(matches(`/${'**a*'.repeat(60)}b`, text)).toBe(false)
    expect(matches(`/${'a*'.repeat(60)}**b*`, text)).toBe(false)
  })
})

function reference([piece, ...rest]: readonly string[], text: string): boolean {
  if (piece === undefined) return text === ''
  if (piece !== '*' && piece !== '**') return text.startsWith(piece) && reference(rest, text.slice(piece.length))
  for (let length = piece === '*' ? 1 : 0; length <= text.length; length += 1) {
    if (piece === '*' && text.slice(0, length).includes('/')) return false
    if (reference(rest, text.slice(length))) return true
  }
  return false
}

describe('value globs', () => {
  it.each([
    ['without a star, the value itself', 'a@b', 'a@b', true],
    ['without a star, nothing longer', 'a@b', 'a@bc', false],
    ['a star at the start', '*@acme.example', 'me@acme.example', true],
    ['a star matches no character too', '*@acme.example', '@acme.example', true],
    ['what follows the tail counts', '*@acme.example', 'me@acme.example.evil.test', false],
    ['a star at the end', 'gpt-*', 'gpt-5', true],
    ['a star crosses slashes', 'a*z', 'a/b/z', true],
    ['pieces in order', 'a*b*c', 'a1b2c', true],
    ['pieces out of order', 'a*b*c*d', 'a1c2b3d', false],
    ['a piece may not reach into the tail', '*ab*b', 'ab', false],
    ['a piece may not overlap the tail', 'x*ab*bc', 'xabc', false],
    ['head and tail do not overlap', 'aba*ba', 'aba', false],
    ['several stars are one', 'a**b', 'ab', true],
    ['case counts', '*@ACME.example', 'me@acme.example', false],
  ])('%s', (_, glob, value, expected) => {
    expect(matchValueGlob(compileValueGlob(glob), value)).toBe(expected)
  })

  it('agrees with a recursive reference', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 8 })
    const value = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 9 })
    fc.assert(
      fc.property(text, value, (pattern, input) => {
        const expected = reference(
          pattern.split(/(\*+)/).map((piece) => (piece.startsWith('*') ? '**' : piece)),
          input,
        )
        expect(matchValueGlob(compileValueGlob(pattern), input)).toBe(expected)
      }),
      { numRuns: 3000 },
    )
  })
})
