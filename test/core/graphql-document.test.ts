import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_DEFINITIONS, readDocument } from '../../src/core/graphql-document.ts'
import { written } from './graphql-grammar.ts'

/** `query Name: a b` for each operation, or what is wrong. */
function read(document: string): readonly string[] | string {
  const result = readDocument(document)
  if (result.kind === 'bad') return result.why
  return result.operations.map(
    ({ operation, name, fields }) => `${operation} ${name ?? '-'}: ${[...fields].sort().join(' ')}`,
  )
}

describe('the operations of a document', () => {
  it.each([
    ['in short', '{ a b }', ['query -: a b']],
    [
      'of each type',
      'query Q { a } mutation M { b } subscription S { c }',
      ['query Q: a', 'mutation M: b', 'subscription S: c'],
    ],
    ['without a name', 'mutation { a }', ['mutation -: a']],
    ['named like a type', 'query mutation { a }', ['query mutation: a']],
    ['with a description', '"what it does" query Q { a }', ['query Q: a']],
    ['with variables', 'query Q("d" $a: [Int!]! = [1, 2] @d(x: {y: "}"}), $b: T) { a(x: $a) }', ['query Q: a']],
    ['with directives', 'query Q @a(b: $c) @d { a @include(if: $x) }', ['query Q: a']],
    ['with an alias that looks like another field', '{ viewer: deleteRepository }', ['query -: deleteRepository']],
    ['with fields of fields', '{ a(x: {y: [1, $z, ENUM, null]}) { b { c } } }', ['query -: a']],
    ['with a fragment', '{ ...F } fragment F on Q @d { a b { c } }', ['query -: a b']],
    ['with a described fragment', '"""d""" fragment F on Q { a } { ...F }', ['query -: a']],
    [
      'with a fragment in a fragment',
      '{ ...F z } fragment G on Q { b } fragment F on Q { a ...G }',
      ['query -: a b z'],
    ],
    ['with a fragment twice', '{ ...F ...G } fragment F on Q { ...G a } fragment G on Q { b }', ['query -: a b']],
    [
      'with a fragment of another operation',
      'query A { ...F } mutation B { b } fragment F on Q { a }',
      ['query A: a', 'mutation B: b'],
    ],
    ['with fragments written out', '{ ... { a } ... on Q { b } ... @d { c { no } ... { d } } }', ['query -: a b c d']],
    ['with a fragment below the root', '{ a { ...F } } fragment F on T { b }', ['query -: a']],
    ['with a word in a string', '{ a(x: """} mutation { b }""") }', ['query -: a']],
  ])('%s', (_what, document, expected) => {
    expect(read(document)).toEqual(expected)
  })
})

describe('refused is', () => {
  it.each([
    ['nothing', '', 'no operation'],
    ['a comment alone', '# { a }', 'no operation'],
    ['fragments alone', 'fragment F on Q { a }', 'no operation'],
    ['a schema', 'schema { query: Q }', 'a definition that is neither an operation nor a fragment'],
    ['a type', '{ a } type Q { a: Int }', 'a definition that is neither an operation nor a fragment'],
    ['an extension', 'extend type Q { a: Int }', 'a definition that is neither an operation nor a fragment'],
    ['a type of operation in another case', 'Query { a }', 'a definition that is neither an operation nor a fragment'],
    ['a description without a definition', '"d"', 'something else where a name belongs'],
    ['a description of the short form', '"d" { a }', 'something else where a name belongs'],
    ['an empty selection', '{ }', 'something else where a name belongs'],
    ['a selection without an end', '{ a', 'something else where a name belongs'],
    ['a selection that ends twice', '{ a } }', 'something else where a name belongs'],
    ['an operation without a selection', 'query Q', 'something else where { belongs'],
    ['variables of nothing', 'query Q() { a }', 'something else where $ belongs'],
    ['a variable without its type', 'query Q($a) { a }', 'something else where : belongs'],
    ['a list type without an end', 'query Q($a: [Int) { a }', 'something else where ] belongs'],
    ['a variable as a default', 'query Q($a: Int = $b) { a }', 'something else where a name belongs'],
    [
      'a variable in the directive of a variable',
      'query Q($a: Int @d(x: $b)) { a }',
      'something else where a name belongs',
    ],
    ['arguments of nothing', '{ a() }', 'something else where a name belongs'],
    ['an argument without a value', '{ a(b:) }', 'something else where a name belongs'],
    ['an alias of an alias', '{ a: b: c }', 'something else where a name belongs'],
    ['a directive without a name', '{ a @ }', 'something else where a name belongs'],
    ['a fragment called on', 'fragment on on Q { a } { b }', 'a fragment without a name'],
    ['a fragment on nothing', 'fragment F { a } { b }', 'something else where a name belongs'],
    ['a fragment with variables', 'fragment F($a: Int) on Q { a } { b }', 'something else where a name belongs'],
    ['a fragment with another word', 'fragment F of Q { a } { b }', 'a fragment without its type'],
    ['two fragments of one name', '{ ...F } fragment F on Q { a } fragment F on Q { b }', 'two fragments of one name'],
    ['a fragment that is not there', '{ ...F }', 'a fragment that is not there'],
    ['a fragment called like a prototype', '{ ...__proto__ }', 'a fragment that is not there'],
    ['a fragment that spreads itself', '{ ...F } fragment F on Q { a ...F }', 'a fragment that spreads itself'],
    [
      'fragments in a ring',
      '{ ...F } fragment F on Q { ...G } fragment G on Q { ...F }',
      'a fragment that spreads itself',
    ],
    ['what is no token', '{ a ? }', 'a character that begins no token'],
  ])('%s', (_what, document, why) => {
    expect(read(document)).toBe(why)
  })

  it.each([
    ['selections', (depth: number) => '{a'.repeat(depth) + '}'.repeat(depth)],
    ['fragments written out', (depth: number) => '{...'.repeat(depth - 1) + '{a}' + '}'.repeat(depth - 1)],
    ['lists', (depth: number) => `{a(b:${'['.repeat(depth)}1${']'.repeat(depth)})}`],
    ['types', (depth: number) => `query($a:${'['.repeat(depth - 1)}T${']'.repeat(depth - 1)}){a}`],
  ])('%s deeper than 64 levels', (_what, nested) => {
    expect(read(nested(63))).toHaveLength(1)
    expect(read(nested(66))).toBe('deeper than 64 levels')
    expect(read(nested(100_000))).toBe('deeper than 64 levels')
  })

  it('more definitions than any document has', () => {
    expect(read('{a}'.repeat(MAX_DEFINITIONS))).toHaveLength(MAX_DEFINITIONS)
    expect(read('{a}'.repeat(MAX_DEFINITIONS + 1))).toBe(`more than ${MAX_DEFINITIONS} definitions`)
    const fragments = Array.from({ length: MAX_DEFINITIONS }, (_, index) => `fragment F${index} on Q {a}`).join(' ')
    expect(read(`{a} ${fragments}`)).toBe(`more than ${MAX_DEFINITIONS} definitions`)
  })

  it('at the place where it is', () => {
    expect(readDocument('{ a ? }')).toEqual({ kind: 'bad', why: 'a character that begins no token', offset: 4 })
  })
})

it('fragments that fan out are each entered once', () => {
  const count = MAX_DEFINITIONS - 1
  const fragments = Array.from({ length: count }, (_, index) => {
    const all = Array.from({ length: count - index - 1 }, (_unused, step) => `...F${index + step + 1}`).join(' ')
    return `fragment F${index} on Q { f${index} ${all} }`
  })
  const started = performance.now()
  const result = readDocument(`{ ...F0 } ${fragments.join(' ')}`)
  expect(result.kind === 'ok' && result.operations[0]?.fields.size).toBe(count)
  expect(performance.now() - started).toBeLessThan(5_000)
})

describe('property', () => {
  it('a document by the grammar is read as what it was made of, however it is spaced', () => {
    fc.assert(
      fc.property(written, ({ grown, text }) => {
        expect(read(text)).toEqual(
          grown.operations.map(
            ({ operation, name, fields }) => `${operation} ${name ?? '-'}: ${[...new Set(fields)].sort().join(' ')}`,
          ),
        )
      }),
      { numRuns: 300 },
    )
  })

  it('one that ends early is none', () => {
    fc.assert(
      fc.property(written, ({ grown }) => {
        const cut = grown.tokens.slice(0, -1).join(' ')
        expect(readDocument(cut).kind).toBe('bad')
      }),
      { numRuns: 200 },
    )
  })

  it('any text is read or refused', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const result = readDocument(text)
        const within = result.kind === 'ok' ? result.operations.length > 0 : result.offset <= text.length
        expect(within).toBe(true)
      }),
    )
  })
})
