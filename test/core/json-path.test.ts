import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseSteps, select } from '../../src/core/json-path.ts'
import { readJson } from '../../src/core/json-strict.ts'

const selected = (path: string, json: string): unknown => {
  const read = readJson(Buffer.from(json))
  const steps = parseSteps(path)
  if (read.kind !== 'ok' || steps === null) throw new Error('the test itself is wrong')
  return select(read.value, steps)
}

describe('paths into JSON', () => {
  it.each([
    ['$', []],
    ['$.Bcc', [{ kind: 'name', name: 'Bcc' }]],
    [
      '$._a1.é',
      [
        { kind: 'name', name: '_a1' },
        { kind: 'name', name: 'é' },
      ],
    ],
    ["$['max-tokens']", [{ kind: 'name', name: 'max-tokens' }]],
    ['$["it\'s"]', [{ kind: 'name', name: "it's" }]],
    ["$['']", [{ kind: 'name', name: '' }]],
    [
      '$.a[0][*].b',
      [{ kind: 'name', name: 'a' }, { kind: 'index', index: 0 }, { kind: 'all' }, { kind: 'name', name: 'b' }],
    ],
  ])('%s is understood', (path, steps) => {
    expect(parseSteps(path)).toEqual(steps)
  })

  it.each([
    '',
    'a',
    '.a',
    '$a',
    '$.',
    '$..a',
    '$.*',
    '$[-1]',
    '$[01]',
    '$[1:2]',
    '$[?@.a]',
    '$[a]',
    "$['a",
    "$['a\\'b']",
    '$.a b',
    '$.1',
    '$.a-b',
  ])('%j is refused', (path) => {
    expect(parseSteps(path)).toBeNull()
  })

  it.each([
    ['the root', '$', '1', [1]],
    ['a member', '$.a', '{"a":1}', [1]],
    ['a member that is null', '$.a', '{"a":null}', [null]],
    ['no member', '$.a', '{"b":1}', []],
    ['no member of a plain value', '$.a.b', '{"a":"b"}', []],
    ['no member of null', '$.a.b', '{"a":null}', []],
    ['an element', '$[1]', '[1,2]', [2]],
    ['no element', '$[2]', '[1,2]', []],
    ['no element of a plain value', '$[0]', '"abc"', []],
    ['all elements', '$[*]', '[1,2]', [1, 2]],
    ['all members', '$[*]', '{"a":1,"b":2}', [1, 2]],
    ['members of all elements', '$.to[*].mail', '{"to":[{"mail":"a"},{"mail":"b"},{}]}', ['a', 'b']],
    ['nothing certain where a list stands for an object', '$.Bcc', '[{"Bcc":"x"}]', null],
    ['nothing certain where an object stands for a list', '$.to[0]', '{"to":{"0":"x"}}', null],
    ['nothing certain with a second spelling of the name', '$.Bcc', '{"Bcc":1,"bcc":2}', null],
    ['nothing certain with another spelling of the name', '$.Bcc', '{"BCC":1}', null],
    ['nothing certain with the Kelvin sign for k', '$.key', '{"\u212aey":1}', null],
    ['nothing certain with the long s for s', '$.cost', '{"co\u017ft":1}', null],
    ['a name that only begins so', '$.key', '{"keys":1,"ke":2,"lock":3}', []],
    ['nothing certain with a letter that becomes two', '$.strasse', '{"stra\u00dfe":1}', null],
    ['nothing certain with a name beyond ASCII', '$.\u00e9', '{"\u00c9":1}', null],
    ['the name itself among others', '$.key', '{"lock":3,"key":1,"\u212bngstrom":2}', [1]],
    ['no prototype', '$.constructor', '{}', []],
  ])('selects %s', (_, path, json, expected) => {
    expect(selected(path, json)).toEqual(expected)
  })

  it('takes for another spelling what folds to the same, and nothing else', () => {
    const letters = fc.constantFrom(...'kKsSiIaZ\u212a\u017f\u00df\u0130\u0131\u03a3\u03c2\u03c3\u00e9-1'.split(''))
    const names = fc.string({ unit: letters, minLength: 1, maxLength: 4 })
    const folded = (name: string): string => name.toUpperCase().toLowerCase()
    let alike = 0
    fc.assert(
      fc.property(names, names, fc.boolean(), (name, other, same) => {
        const member = same ? (name === name.toUpperCase() ? name.toLowerCase() : name.toUpperCase()) : other
        fc.pre(member !== name)
        const found = select(new Map([[member, 1]]), [{ kind: 'name', name }])
        expect(found).toEqual(folded(member) === folded(name) ? null : [])
        if (found === null) alike += 1
      }),
      { numRuns: 2000 },
    )
    expect(alike).toBeGreaterThan(200)
  })
})
