// What is said of a body that a rule does not allow: the first reason in words, and every member that is wrong.

import { describe, expect, it } from 'vitest'
import type { ReadBody } from '../../src/core/body.ts'
import { bodyFailure, hintForFailure, type Inspected } from '../../src/core/body-failure.ts'
import { readJson } from '../../src/core/json-strict.ts'
import type { Subject } from '../../src/core/rule.ts'
import { compileRule } from '../../src/core/rule-compile.ts'

const rule = compileRule(
  {
    id: 'mail',
    kind: 'allow',
    match: { hosts: ['api.postmarkapp.com'] },
    body: {
      json: [
        { path: '$.Bcc', must: 'be-absent' },
        { path: '$.From', must: 'match', value: '*@acme.example' },
      ],
    },
  },
  0,
  new Set(['anonymous']),
  (_at, message) => {
    throw new Error(message)
  },
)
const subject: Subject = {
  client: 'anonymous',
  scheme: 'https',
  method: 'POST',
  host: { kind: 'name', text: 'api.postmarkapp.com' },
  port: 443,
  path: '/email',
  encodedSlash: false,
  target: '/email',
  upgrade: null,
  overrideHeaders: [],
}
const inspected = (read: ReadBody): Inspected => ({ subject, empty: false, read })
const parsed = (text: string): Inspected => {
  const read = readJson(Buffer.from(text))
  if (read.kind !== 'ok') throw new Error('the test itself is wrong')
  return inspected({ kind: 'ok', content: { kind: 'json', value: read.value } })
}

describe('a body', () => {
  it.each([
    ['that holds all conditions', '{"From":"me@acme.example"}', null],
    [
      'with one member too many',
      '{"From":"me@acme.example","Bcc":"x"}',
      { why: '$.Bcc must be-absent', flags: ['body_rule:$.Bcc'] },
    ],
    [
      'with two members wrong',
      '{"From":"me@evil.test","Bcc":"x"}',
      { why: '$.Bcc must be-absent', flags: ['body_rule:$.Bcc', 'body_rule:$.From'] },
    ],
  ])('%s', (_what, text, expected) => {
    expect(bodyFailure(rule, parsed(text))).toEqual(expected)
  })

  it.each([
    ['a form', 'form', 'forms'],
    ['form data', 'multipart', 'form data'],
  ] as const)('that is %s is not allowed by a rule about JSON', (_what, kind, named) => {
    expect(bodyFailure(rule, inspected({ kind: 'ok', content: { kind, fields: [] } }))).toEqual({
      why: `it says nothing of bodies that are ${named}`,
      flags: [],
    })
  })

  it('that can not be read is none of whose members are known', () => {
    expect(bodyFailure(rule, inspected({ kind: 'bad', why: 'the body is not JSON' }))).toEqual({
      why: 'the body is not JSON',
      flags: [],
    })
  })

  it.each([
    ['gone', undefined],
    ['without conditions now', { ...rule, inspection: null }],
  ])('is not allowed by a rule that is %s', (_what, now) => {
    expect(bodyFailure(now, parsed('{}'))).toEqual({
      why: 'the rule has changed in the meantime',
      flags: [],
    })
  })

  it('is named with its rule in the hint', () => {
    expect(hintForFailure('mail', { why: '$.Bcc must be-absent', flags: [] })).toBe('rule mail: $.Bcc must be-absent')
  })
})
