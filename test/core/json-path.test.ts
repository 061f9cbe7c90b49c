import { Buffer } from 'node:buffer'
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
    ['no prototype', '$.constructor', '{}', []],
  ])('selects %s', (_, path, json, expected) => {
    expect(selected(path, json)).toEqual(expected)
  })
})
