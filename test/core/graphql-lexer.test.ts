import { describe, expect, it } from 'vitest'
import { advance, fail, MAX_NAME_LENGTH, MAX_TOKENS, startLexer } from '../../src/core/graphql-lexer.ts'

/** All tokens up to the end, or up to what is none and why. */
function tokens(document: string): readonly string[] {
  const seen: string[] = []
  for (const lexer = startLexer(document); ; advance(lexer)) {
    if (lexer.kind === 'bad') return [...seen, `bad: ${lexer.why}`]
    if (lexer.kind === 'end') return seen
    seen.push(lexer.kind === 'name' ? lexer.name : lexer.kind)
  }
}

const last = (document: string): string => tokens(document).at(-1) ?? 'nothing'

describe('a document is taken apart', () => {
  it.each([
    ['nothing', '', []],
    ['punctuators', '{}()[]:=!$@...', ['{', '}', '(', ')', '[', ']', ':', '=', '!', '$', '@', '...']],
    ['names', 'query _a A9 __typename', ['query', '_a', 'A9', '__typename']],
    ['names that touch punctuators', 'a{b(c:$d)}', ['a', '{', 'b', '(', 'c', ':', '$', 'd', ')', '}']],
    ['whole numbers', '0 -0 12 -7', ['number', 'number', 'number', 'number']],
    ['other numbers', '0.5 -1.25e10 6E-3 1e+2', ['number', 'number', 'number', 'number']],
    ['what is ignored', '\ufeff a,\t,b\r\nc\rd\ne,,', ['a', 'b', 'c', 'd', 'e']],
    ['comments', '# { "\na # }\r\nb #', ['a', 'b']],
    ['one comment after another', '#a\n#b\n  #c\nd', ['d']],
    ['an empty string', '""', ['string']],
    ['a string of what means something outside of it', '"{ } # mutation" a', ['string', 'a']],
    ['a string of all escapes', String.raw`"\" \\ \/ \b \f \n \r \t A" a`, ['string', 'a']],
    ['a scalar value in braces', String.raw`"\u{41} \u{1F600} \u{10FFFF}" a`, ['string', 'a']],
    ['a surrogate pair', String.raw`"\ud83d\ude00" a`, ['string', 'a']],
    ['two surrogate pairs', String.raw`"\ud83d\ude00x\ud83d\ude00" a`, ['string', 'a']],
    ['a string beyond ASCII', '"é \u2028 😀" a', ['string', 'a']],
    ['an empty block string', '"""""" a', ['string', 'a']],
    ['a block string of what means something outside', '"""} # mutation { " "" \\ \n""" a', ['string', 'a']],
    ['a block string with its own end escaped', '"""a \\""" } b""" c', ['string', 'c']],
    ['a block string that begins with its own end escaped', '"""\\"""a""" c', ['string', 'c']],
    ['a backslash before an escaped end', '"""\\\\""" } """ c', ['string', 'c']],
    ['a block string between two others', '"a""""b""""c" d', ['string', 'string', 'string', 'd']],
  ])('%s', (_what, document, expected) => {
    expect(tokens(document)).toEqual(expected)
  })
})

describe('refused is', () => {
  const COMMENT = 'bad: a comment that not all readers end at the same place'
  const STRING = 'bad: a string without an end, or with an unknown escape'
  const BLOCK = 'bad: a block string without an end, or with a control character'
  const PAIR = 'bad: half of a surrogate pair'
  const NUMBER = 'bad: a number that runs into something'
  const NOTHING = 'bad: a character that begins no token'

  it.each([
    ['a comment that a CR ends for some', '# a\rb', COMMENT],
    ['a comment that U+2028 ends for some', '# a\u2028b', COMMENT],
    ['a comment that U+2029 ends for some', '# a\u2029b', COMMENT],
    ['a comment that U+0085 ends for some', '# a\u0085b', COMMENT],
    ['a comment with a vertical tab', '# a\vb', COMMENT],
    ['a comment with a zero', '# a\0b', COMMENT],
    ['a string without an end', '"a', STRING],
    ['a string over the end of its line', '"a\nb"', STRING],
    ['a string over a CR', '"a\rb"', STRING],
    ['a string with a zero', '"a\0b"', STRING],
    ['a string that ends in a backslash', '"a\\', STRING],
    ['a string with an escape of JavaScript', String.raw`"\x41"`, STRING],
    ['a string with three digits of four', String.raw`"\u041"`, STRING],
    ['a scalar value of nothing', String.raw`"\u{}"`, STRING],
    ['a scalar value too large', String.raw`"\u{110000}"`, STRING],
    ['half of a pair in braces', String.raw`"\u{d83d}"`, STRING],
    ['the other half of a pair in braces', String.raw`"\u{dfff}"`, STRING],
    ['the first half of a pair at the end', String.raw`"\ud83d"`, PAIR],
    ['the first half of a pair before text', String.raw`"\ud83d a"`, PAIR],
    ['the first half of a pair twice', String.raw`"\ud83d\ud83d"`, PAIR],
    ['the first half of a pair before another escape', String.raw`"\ud83d\n"`, PAIR],
    ['the second half of a pair alone', String.raw`"\ude00"`, PAIR],
    ['a block string without an end', '"""a', BLOCK],
    ['a block string whose end is escaped', '"""a\\"""', BLOCK],
    ['a block string with a zero', '"""a\0b"""', BLOCK],
    ['a number with a zero before it', '007', NUMBER],
    ['a number before a name', '1a', NUMBER],
    ['a number before a dot', '1.a', NUMBER],
    ['a number of two dots', '1.2.3', NUMBER],
    ['a number without its exponent', '1e', NUMBER],
    ['a minus', '- 1', NOTHING],
    ['two dots', '..', NOTHING],
    ['a type system of its own', '&', NOTHING],
    ['a zero', 'a \0', NOTHING],
    ['a form feed', 'a\fb', NOTHING],
    ['a blank that is none here', 'a\u00a0b', NOTHING],
    ['a name beyond ASCII', 'é', NOTHING],
  ])('%s', (_what, document, expected) => {
    expect(last(document)).toBe(expected)
  })

  it('a name longer than any', () => {
    expect(last('a'.repeat(MAX_NAME_LENGTH))).toBe('a'.repeat(MAX_NAME_LENGTH))
    expect(last('a'.repeat(MAX_NAME_LENGTH + 1))).toBe('bad: a name that is too long')
  })

  it('a document of more tokens than any', () => {
    // The end is one too.
    expect(tokens('a '.repeat(MAX_TOKENS - 1))).toHaveLength(MAX_TOKENS - 1)
    expect(last('a '.repeat(MAX_TOKENS))).toBe(`bad: more than ${MAX_TOKENS} tokens`)
  })
})

it('what is bad stays bad for its first reason, and where it was', () => {
  const lexer = startLexer('a ? b')
  advance(lexer)
  expect(lexer).toMatchObject({ kind: 'bad', at: 2 })
  advance(lexer)
  fail(lexer, 'something else')
  expect(lexer).toMatchObject({ kind: 'bad', at: 2, why: 'a character that begins no token' })
})

it.each([
  ['comments', '#\n'.repeat(400_000)],
  ['blanks', ' ,'.repeat(400_000)],
  ['escaped ends of a block', `"""${'\\"""'.repeat(200_000)}`],
  ['escapes', `"${'\\\\'.repeat(400_000)}`],
  ['digits', '1'.repeat(800_000)],
  ['digits behind a dot', `1.${'1'.repeat(800_000)}e`],
])('a body of nothing but %s takes no longer than its length', (_what, document) => {
  const started = performance.now()
  tokens(document)
  expect(performance.now() - started).toBeLessThan(5_000)
})
