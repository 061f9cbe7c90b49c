// Conditions one by one, and which of several fail.

import { Buffer } from 'node:buffer'
import { describe, expect, it } from 'vitest'
import { compileCondition, unmet } from '../../src/core/body-condition.ts'
import type { Field } from '../../src/core/form-field.ts'
import { readJson } from '../../src/core/json-strict.ts'
import type { BodyCondition } from '../../src/core/rule.ts'

const condition = (path: string, must: BodyCondition['must'], value?: unknown): BodyCondition =>
  value === undefined ? { path, must } : { path, must, value }

const holds = (json: string, wanted: BodyCondition): boolean => {
  const compiled = compileCondition(wanted)
  const read = readJson(Buffer.from(json))
  if (compiled.kind !== 'ok' || read.kind !== 'ok') throw new Error('the test itself is wrong')
  return unmet([compiled.condition], { kind: 'json', value: read.value })?.length === 0
}

describe('body conditions', () => {
  it.each([
    ['be-absent: absent', '{"To":1}', condition('$.Bcc', 'be-absent'), true],
    ['be-absent: there', '{"Bcc":"x"}', condition('$.Bcc', 'be-absent'), false],
    ['be-absent: there as null', '{"Bcc":null}', condition('$.Bcc', 'be-absent'), false],
    ['be-absent: there in another case', '{"bcc":"x"}', condition('$.Bcc', 'be-absent'), false],
    ['be-absent: there inside a list', '[{"Bcc":"x"}]', condition('$.Bcc', 'be-absent'), false],
    ['be-present: there', '{"a":null}', condition('$.a', 'be-present'), true],
    ['be-present: absent', '{}', condition('$.a', 'be-present'), false],
    ['match: matches', '{"From":"me@acme.example"}', condition('$.From', 'match', '*@acme.example'), true],
    ['match: does not', '{"From":"me@evil.test"}', condition('$.From', 'match', '*@acme.example'), false],
    ['match: no string', '{"From":["me@acme.example"]}', condition('$.From', 'match', '*'), false],
    ['match: absent', '{}', condition('$.From', 'match', '*'), false],
    ['match: all of several', '{"to":["a@x","b@x"]}', condition('$.to[*]', 'match', '*@x'), true],
    ['match: one of several does not', '{"to":["a@x","b@y"]}', condition('$.to[*]', 'match', '*@x'), false],
    ['be-in: listed', '{"m":"a"}', condition('$.m', 'be-in', ['a', 1, null, true]), true],
    ['be-in: listed null', '{"m":null}', condition('$.m', 'be-in', ['a', null]), true],
    ['be-in: of another type', '{"m":"1"}', condition('$.m', 'be-in', [1]), false],
    ['be-in: not listed', '{"m":"b"}', condition('$.m', 'be-in', ['a']), false],
    ['be-in: absent', '{}', condition('$.m', 'be-in', ['a']), false],
    [
      'be-in: a number that was rounded',
      '{"m":9007199254740993}',
      condition('$.m', 'be-in', [9007199254740992]),
      false,
    ],
    ['be-at-most: a number', '{"n":10}', condition('$.n', 'be-at-most', 10), true],
    ['be-at-most: a larger number', '{"n":10.5}', condition('$.n', 'be-at-most', 10), false],
    ['be-at-most: a string by code points', '{"n":"😀😀"}', condition('$.n', 'be-at-most', 2), true],
    ['be-at-most: a longer string', '{"n":"abc"}', condition('$.n', 'be-at-most', 2), false],
    ['be-at-most: a list by elements', '{"n":[1,2]}', condition('$.n', 'be-at-most', 2), true],
    ['be-at-most: a longer list', '{"n":[1,2,3]}', condition('$.n', 'be-at-most', 2), false],
    ['be-at-most: an object has no size', '{"n":{}}', condition('$.n', 'be-at-most', 2), false],
    ['be-at-most: null has no size', '{"n":null}', condition('$.n', 'be-at-most', 2), false],
    ['be-at-most: absent', '{}', condition('$.n', 'be-at-most', 2), false],
    ['be-of-type: string', '{"v":"a"}', condition('$.v', 'be-of-type', 'string'), true],
    ['be-of-type: number', '{"v":1.5}', condition('$.v', 'be-of-type', 'number'), true],
    ['be-of-type: integer', '{"v":1}', condition('$.v', 'be-of-type', 'integer'), true],
    ['be-of-type: no integer', '{"v":1.5}', condition('$.v', 'be-of-type', 'integer'), false],
    ['be-of-type: boolean', '{"v":false}', condition('$.v', 'be-of-type', 'boolean'), true],
    ['be-of-type: null', '{"v":null}', condition('$.v', 'be-of-type', 'null'), true],
    ['be-of-type: null is no object', '{"v":null}', condition('$.v', 'be-of-type', 'object'), false],
    ['be-of-type: object', '{"v":{}}', condition('$.v', 'be-of-type', 'object'), true],
    ['be-of-type: array', '{"v":[]}', condition('$.v', 'be-of-type', 'array'), true],
    ['be-of-type: an array is no object', '{"v":[]}', condition('$.v', 'be-of-type', 'object'), false],
    ['be-of-type: absent', '{}', condition('$.v', 'be-of-type', 'string'), false],
  ])('%s', (_, json, wanted, expected) => {
    expect(holds(json, wanted)).toBe(expected)
  })

  it.each([
    ['a bad path', condition('$..a', 'be-absent'), /not a path/],
    ['be-absent with a value', condition('$.a', 'be-absent', 1), /takes no value/],
    ['be-present with a value', condition('$.a', 'be-present', 1), /takes no value/],
    ['match without a string', condition('$.a', 'match', 1), /needs a string/],
    ['be-in without a list', condition('$.a', 'be-in', 'a'), /needs a list/],
    ['be-in with nothing', condition('$.a', 'be-in', []), /needs a list/],
    ['be-in with a list inside', condition('$.a', 'be-in', [[1]]), /needs a list/],
    ['be-at-most without a number', condition('$.a', 'be-at-most', '1'), /needs a number/],
    ['be-at-most infinity', condition('$.a', 'be-at-most', Number.POSITIVE_INFINITY), /needs a number/],
    ['be-of-type of no type', condition('$.a', 'be-of-type', 'date'), /needs the name/],
  ])('refuses %s', (_, wanted, why) => {
    const result = compileCondition(wanted)
    if (result.kind !== 'bad') throw new Error('accepted')
    expect(result.why).toMatch(why)
    expect(result.fix).not.toBe('')
  })

  it('names the conditions that do not hold', () => {
    const conditions = [condition('$.a', 'be-present'), condition('$.b', 'match', 'x*')].map((wanted) => {
      const compiled = compileCondition(wanted)
      if (compiled.kind !== 'ok') throw new Error('refused')
      return compiled.condition
    })
    const texts = (value: Map<string, string | number>): string[] =>
      (unmet(conditions, { kind: 'json', value }) ?? []).map(({ text }) => text)
    expect(texts(new Map([['b', 'y']]))).toEqual(['$.a must be-present', '$.b must match "x*"'])
    expect(
      texts(
        new Map<string, string | number>([
          ['a', 1],
          ['b', 'y'],
        ]),
      ),
    ).toEqual(['$.b must match "x*"'])
  })
})

describe('conditions on fields', () => {
  const compiled = (path: string, must: BodyCondition['must'], value?: unknown): ReturnType<typeof compileCondition> =>
    compileCondition({ in: 'form', ...condition(path, must, value) })
  const holdsFor = (fields: readonly Field[], result: ReturnType<typeof compileCondition>): boolean => {
    if (result.kind !== 'ok') throw new Error('refused')
    return unmet([result.condition], { kind: 'form', fields })?.length === 0
  }
  const to = { name: 'To', value: 'a@acme.example' }

  it.each([
    ['be-absent: absent', [to], compiled('Bcc', 'be-absent'), true],
    ['be-absent: there', [to, { name: 'Bcc', value: '' }], compiled('Bcc', 'be-absent'), false],
    ['be-absent: a look-alike is there', [to, { name: 'bcc[]', value: 'x' }], compiled('Bcc', 'be-absent'), false],
    ['match: all of several', [to, to], compiled('To', 'match', '*@acme.example'), true],
    [
      'match: not all of several',
      [to, { name: 'To', value: 'x@evil.test' }],
      compiled('To', 'match', '*@acme.example'),
      false,
    ],
    [
      'match: a look-alike beside it',
      [to, { name: 'to', value: 'x@evil.test' }],
      compiled('To', 'match', '*@acme.example'),
      false,
    ],
    ['match: a file', [{ name: 'To', value: 7 }], compiled('To', 'match', '*'), false],
    ['be-at-most: characters', [to], compiled('To', 'be-at-most', 14), true],
    ['be-at-most: bytes of a file', [{ name: 'file', value: 15 }], compiled('file', 'be-at-most', 14), false],
    ['be-in', [to], compiled('To', 'be-in', ['a@acme.example']), true],
  ])('%s', (_what, fields, result, expected) => {
    expect(holdsFor(fields, result)).toBe(expected)
  })

  it('say nothing of JSON, nor those of JSON of a form', () => {
    const [json, form] = [compileCondition(condition('$.a', 'be-absent')), compiled('a', 'be-absent')]
    if (json.kind !== 'ok' || form.kind !== 'ok') throw new Error('refused')
    expect(unmet([json.condition], { kind: 'form', fields: [] })).toBeNull()
    expect(unmet([form.condition], { kind: 'json', value: null })).toBeNull()
    expect(unmet([form.condition], { kind: 'multipart', fields: [] })).toBeNull()
    // Asked all the same, neither holds.
    expect([
      json.condition.meets({ kind: 'form', fields: [] }),
      form.condition.meets({ kind: 'json', value: null }),
    ]).toEqual([false, false])
  })
})
