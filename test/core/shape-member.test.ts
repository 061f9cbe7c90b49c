import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseSteps } from '../../src/core/json-path.ts'
import {
  clipMember,
  fieldMember,
  MAX_MEMBER_LENGTH,
  type MemberStep,
  nameStep,
  parseMember,
  stepText,
} from '../../src/core/shape-member.ts'

describe('a name is written', () => {
  it.each([
    ['as it is', 'Bcc', '.Bcc'],
    ['with a digit in it', '_a1', '._a1'],
    ['beyond ASCII', 'größe', '.größe'],
    ['in quotes where it begins with a digit', '1a', "['1a']"],
    ['in quotes where it has a blank', 'a b', "['a b']"],
    ['in quotes where it is nothing', '', "['']"],
    ['in quotes where it looks like a path', 'a.b[*]', "['a.b[*]']"],
    ['in quotes where it looks like any name', '*', "['*']"],
    ['with a quote in it', "it's", String.raw`['it\'s']`],
    ['with a backslash in it', 'a\\', String.raw`['a\\']`],
    ['with a zero in it', 'a\0', "['a\0']"],
  ])('%s', (_what, name, written) => {
    expect(nameStep(name)).toBe(written)
    expect(parseMember(`$${written}`)).toEqual({ kind: 'json', steps: [{ name }] })
  })
})

describe('a member is read', () => {
  it.each<[string, string, readonly MemberStep[]]>([
    ['of the whole body', '$', []],
    ['of an object', '$.a.b', [{ name: 'a' }, { name: 'b' }]],
    ['of objects in a list', '$.a[*].b', [{ name: 'a' }, '[*]', { name: 'b' }]],
    ['of lists in a list', '$[*][*].b', ['[*]', '[*]', { name: 'b' }]],
    ['of a map', '$.a.*.b', [{ name: 'a' }, '.*', { name: 'b' }]],
  ])('%s', (_what, text, steps) => {
    expect(parseMember(text)).toEqual({ kind: 'json', steps })
  })

  it.each(['form:Bcc', 'multipart:a b', 'form:', 'form:*', 'form:$.a'])('of a form: %s', (text) => {
    expect(parseMember(text)).toEqual({ kind: 'field', text })
  })

  it.each([
    ['nothing', ''],
    ['a name alone', 'Bcc'],
    ['a kind of body that there is not', 'xml:Bcc'],
    ['a name that is not to be quoted', "$['Bcc']"],
    ['double quotes', '$["a b"]'],
    ['a quote without its end', "$['a b]"],
    ['an unknown escape', String.raw`$['\n']`],
    ['an index', '$[0]'],
    ['a name that has to be quoted', '$.1'],
    ['a dot at the end', '$.a.'],
    ['something behind', '$.a b'],
    ['more than there is room for', `$.${'a'.repeat(MAX_MEMBER_LENGTH - 1)}`],
  ])('not %s', (_what, text) => {
    expect(parseMember(text)).toBeNull()
  })

  it('up to its longest', () => {
    expect(parseMember(`$.${'a'.repeat(MAX_MEMBER_LENGTH - 2)}`)).not.toBeNull()
  })
})

it('what is too long is cut, and stays too long', () => {
  const endless = 'a'.repeat(1_000_000)
  expect(nameStep(endless)).toHaveLength(MAX_MEMBER_LENGTH + 2)
  expect(fieldMember('form', endless)).toHaveLength(MAX_MEMBER_LENGTH + 6)
  expect(fieldMember('multipart', 'Bcc')).toBe('multipart:Bcc')
  expect(clipMember(`$${nameStep(endless)}`)).toMatch(/^\$\.a{253}…$/)
})

const steps = fc.array(
  fc.oneof(
    fc.string({ unit: 'binary', maxLength: 12 }).map((name) => ({ name })),
    fc.constantFrom<MemberStep>('[*]', '.*', { name: '*' }, { name: '[*]' }, { name: "'" }, { name: '\\' }),
  ),
  { maxLength: 6 },
)
const written = (path: readonly MemberStep[]): string => `$${path.map(stepText).join('')}`

describe('property', () => {
  it('what is written is read as what it was', () => {
    fc.assert(
      fc.property(steps, (path) => {
        fc.pre(written(path).length <= MAX_MEMBER_LENGTH)
        expect(parseMember(written(path))).toEqual({ kind: 'json', steps: path })
      }),
    )
  })

  it('what is read is written as what it was', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc
        .array(fc.constantFrom('$', '.', 'a', '1', "['", "']", '\\', '[*]', '.*', ' ', "'"))
        .map((all) => `$${all.join('')}`),
    )
    fc.assert(
      fc.property(text, (given) => {
        const member = parseMember(given)
        fc.pre(member?.kind === 'json')
        expect(written(member.steps)).toBe(given)
      }),
      { numRuns: 1_000 },
    )
  })

  it('a condition of a rule can name it, if it has neither a quote nor a backslash', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 20 }), (name) => {
        fc.pre(!/['\\]/.test(name))
        expect(parseSteps(`$${nameStep(name)}`)).toEqual([{ kind: 'name', name }])
      }),
    )
  })
})
