// Documents by the grammar of GraphQL, at random, with what is known of each because it was made of it.

import fc from 'fast-check'

export interface Grown {
  readonly tokens: readonly string[]
  readonly operations: readonly {
    readonly operation: string
    readonly name: string | null
    readonly fields: readonly string[]
  }[]
}

/** A selection set: how it is written, and what it asks for at its own level. */
interface Selections {
  readonly tokens: readonly string[]
  readonly fields: readonly string[]
  readonly spreads: readonly number[]
}

const FRAGMENTS = 4
const names = fc.constantFrom('a', 'b1', '_c', '__typename', 'query', 'mutation', 'on', 'fragment', 'true', 'null')
const fragmentName = (index: number): string => `F${index}`
const flat = (parts: readonly (readonly string[])[]): string[] => parts.flat()
const maybe = (part: fc.Arbitrary<readonly string[]>): fc.Arbitrary<readonly string[]> =>
  fc.oneof(fc.constant<readonly string[]>([]), part)
const several = (part: fc.Arbitrary<readonly string[]>, least: number): fc.Arbitrary<readonly string[]> =>
  fc.array(part, { minLength: least, maxLength: 3 }).map(flat)

const scalars = fc.constantFrom(
  '0',
  '-12',
  '1.5e3',
  '"a } \\" #"',
  '""',
  '"""block " } \\""" { #"""',
  'true',
  'null',
  'ENUM',
  '"\\u0041"',
)

const values = (constant: boolean): fc.Arbitrary<readonly string[]> =>
  fc.letrec<{ value: readonly string[] }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 2 },
      scalars.map((text) => [text]),
      constant ? fc.constant(['"c"']) : names.map((name) => ['$', name]),
      several(tie('value'), 0).map((items) => ['[', ...items, ']']),
      several(
        fc.tuple(names, tie('value')).map(([name, value]) => [name, ':', ...value]),
        0,
      ).map((members) => ['{', ...members, '}']),
    ),
  })).value

const argumentsOf = (constant: boolean): fc.Arbitrary<readonly string[]> =>
  several(
    fc.tuple(names, values(constant)).map(([name, value]) => [name, ':', ...value]),
    1,
  ).map((members) => ['(', ...members, ')'])

const directives = (constant: boolean): fc.Arbitrary<readonly string[]> =>
  several(
    fc.tuple(names, maybe(argumentsOf(constant))).map(([name, given]) => ['@', name, ...given]),
    0,
  )

const types = fc.letrec<{ type: readonly string[] }>((tie) => ({
  type: fc
    .tuple(
      fc.oneof(
        { maxDepth: 2 },
        names.map((name) => [name]),
        tie('type').map((type) => ['[', ...type, ']']),
      ),
      maybe(fc.constant(['!'])),
    )
    .map(flat),
})).type

const description = maybe(fc.constantFrom(['"what it is"'], ['"""{ mutation }"""']))

const variables = several(
  fc
    .tuple(description, names, types, maybe(values(true).map((value) => ['=', ...value])), directives(true))
    .map(([said, name, type, value, given]) => [...said, '$', name, ':', ...type, ...value, ...given]),
  1,
).map((given) => ['(', ...given, ')'])

/** Spreads only fragments from `first` on, so that none spreads itself. */
const selectionsFrom = (first: number): fc.Arbitrary<Selections> =>
  fc.letrec<{ set: Selections; one: Selections }>((tie) => ({
    set: fc.array(tie('one'), { minLength: 1, maxLength: 3 }).map((all) => ({
      tokens: ['{', ...all.flatMap(({ tokens }) => tokens), '}'],
      fields: all.flatMap(({ fields }) => fields),
      spreads: all.flatMap(({ spreads }) => spreads),
    })),
    one: fc.oneof(
      { maxDepth: 3 },
      fc
        .tuple(maybe(names.map((alias) => [alias, ':'])), names, maybe(argumentsOf(false)), directives(false))
        .map(([alias, name, given, marked]) => ({
          tokens: [...alias, name, ...given, ...marked],
          fields: [name],
          spreads: [],
        })),
      first >= FRAGMENTS
        ? fc.constant({ tokens: ['a'], fields: ['a'], spreads: [] })
        : fc.tuple(fc.integer({ min: first, max: FRAGMENTS - 1 }), directives(false)).map(([index, marked]) => ({
            tokens: ['...', fragmentName(index), ...marked],
            fields: [],
            spreads: [index],
          })),
      fc.tuple(names, tie('set')).map(([name, { tokens }]) => ({
        tokens: [name, ...tokens],
        fields: [name],
        spreads: [],
      })),
      fc
        .tuple(maybe(names.map((type) => ['on', type])), directives(false), tie('set'))
        .map(([on, marked, { tokens, fields, spreads }]) => ({
          tokens: ['...', ...on, ...marked, ...tokens],
          fields,
          spreads,
        })),
    ),
  })).set

const operations = fc
  .tuple(
    description,
    fc.constantFrom('query', 'mutation', 'subscription'),
    maybe(names.map((name) => [name])),
    maybe(variables),
    directives(false),
    selectionsFrom(0),
  )
  .map(([said, operation, name, given, marked, set]) => ({
    tokens: [...said, operation, ...name, ...given, ...marked, ...set.tokens],
    operation,
    name: name[0] ?? null,
    set,
  }))
const shorthand = selectionsFrom(0).map((set) => ({ tokens: set.tokens, operation: 'query', name: null, set }))

const fragments = fc
  .tuple(
    ...Array.from({ length: FRAGMENTS }, (_, index) =>
      fc.tuple(description, names, directives(false), selectionsFrom(index + 1)).map(([said, on, marked, set]) => ({
        tokens: [...said, 'fragment', fragmentName(index), 'on', on, ...marked, ...set.tokens],
        set,
      })),
    ),
  )
  .map((all) => all)

function fieldsOf(set: Selections, defined: readonly { readonly set: Selections }[]): string[] {
  const hidden = set.spreads.flatMap((index) => {
    const fragment = defined[index]
    return fragment === undefined ? [] : fieldsOf(fragment.set, defined)
  })
  return [...set.fields, ...hidden]
}

/** A document of operations, and of fragments before and behind them. */
const documents: fc.Arbitrary<Grown> = fc
  .tuple(fc.array(fc.oneof(operations, shorthand), { minLength: 1, maxLength: 3 }), fragments, fc.nat(FRAGMENTS))
  .map(([asked, defined, before]) => ({
    tokens: [...defined.slice(0, before), ...asked, ...defined.slice(before)].flatMap(({ tokens }) => tokens),
    operations: asked.map(({ operation, name, set }) => ({ operation, name, fields: fieldsOf(set, defined) })),
  }))

/** What may stand between two tokens. */
const BETWEEN = [' ', '\n', '\r\n', ',', '\t', '\ufeff', ' # } mutation { "\n', ' #"""\r\n'] as const

/** Of every document, how it may be written. */
export const written: fc.Arbitrary<{ readonly grown: Grown; readonly text: string }> = fc
  .tuple(documents, fc.array(fc.constantFrom(...BETWEEN), { minLength: 1, maxLength: 8 }))
  .map(([grown, between]) => ({
    grown,
    text: grown.tokens.map((token, at) => token + (between[at % between.length] ?? ' ')).join(''),
  }))
