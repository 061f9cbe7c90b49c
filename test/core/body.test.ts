import { Buffer } from 'node:buffer'
import { describe, expect, it } from 'vitest'
import { BODY_INSPECTION_LIMIT, compileCondition, type InspectedBody, readBody, unmet } from '../../src/core/body.ts'
import { readJson } from '../../src/core/json-strict.ts'
import type { BodyCondition } from '../../src/core/rule.ts'

const condition = (path: string, must: BodyCondition['must'], value?: unknown): BodyCondition =>
  value === undefined ? { path, must } : { path, must, value }

const holds = (json: string, wanted: BodyCondition): boolean => {
  const compiled = compileCondition(wanted)
  const read = readJson(Buffer.from(json))
  if (compiled.kind !== 'ok' || read.kind !== 'ok') throw new Error('the test itself is wrong')
  return unmet([compiled.condition], read.value) === null
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

  it('names the first condition that does not hold', () => {
    const conditions = [condition('$.a', 'be-present'), condition('$.b', 'match', 'x*')].map((wanted) => {
      const compiled = compileCondition(wanted)
      if (compiled.kind !== 'ok') throw new Error('refused')
      return compiled.condition
    })
    expect(unmet(conditions, new Map([['b', 'y']]))).toBe('$.a must be-present')
    expect(
      unmet(
        conditions,
        new Map([
          ['a', 1],
          ['b', 'y'],
        ] as [string, string | number][]),
      ),
    ).toBe('$.b must match "x*"')
  })
})

describe('bodies that can be inspected', () => {
  const body = (changes: Partial<InspectedBody>): InspectedBody => ({
    bytes: Buffer.from('{}'),
    complete: true,
    contentType: 'application/json',
    contentEncoding: null,
    ...changes,
  })

  it.each([
    ['application/json', {}],
    ['a +json type', { contentType: 'application/vnd.api+json' }],
    ['a +json type of another tree', { contentType: 'model/gltf+json' }],
    ['upper case and UTF-8', { contentType: 'Application/JSON; Charset="UTF-8"' }],
    ['another parameter', { contentType: 'application/ld+json;profile="http://x.test/y"; v=1' }],
    ['identity', { contentEncoding: ' Identity' }],
    ['exactly the limit', { bytes: Buffer.from(`"${'a'.repeat(BODY_INSPECTION_LIMIT - 2)}"`) }],
  ])('%s', (_, changes) => {
    expect(readBody(body(changes)).kind).toBe('ok')
  })

  it.each([
    ['no type', { contentType: null }, /Content-Type/],
    ['text/plain', { contentType: 'text/plain' }, /Content-Type/],
    ['a type that only ends alike', { contentType: 'application/xjson' }, /Content-Type/],
    ['two types', { contentType: 'application/json, text/plain' }, /Content-Type/],
    ['UTF-16', { contentType: 'application/json; charset=utf-16' }, /Content-Type/],
    ['UTF-7', { contentType: 'application/json; charset=utf-8; charset=utf-7' }, /Content-Type/],
    ['a parameter that cannot be read', { contentType: 'application/json; charset' }, /Content-Type/],
    ['gzip left to undo', { contentEncoding: 'gzip' }, /Content-Encoding/],
    ['an unknown encoding', { contentEncoding: 'identity, x' }, /Content-Encoding/],
    ['more to come', { complete: false }, /inspection limit/],
    ['one byte over the limit', { bytes: Buffer.alloc(BODY_INSPECTION_LIMIT + 1, 0x20) }, /inspection limit/],
    ['nothing', { bytes: Buffer.alloc(0) }, /strict JSON: expected a value at offset 0/],
    ['a member twice', { bytes: Buffer.from('{"a":1,"a":2}') }, /twice/],
  ])('not %s', (_, changes, why) => {
    const result = readBody(body(changes))
    expect(result.kind === 'bad' && result.why).toMatch(why)
  })
})
