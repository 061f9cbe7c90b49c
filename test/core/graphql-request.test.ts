import { describe, expect, it } from 'vitest'
import type { ReadBody } from '../../src/core/body.ts'
import { MAX_BATCH, readRequests } from '../../src/core/graphql-request.ts'
import { readJson } from '../../src/core/json-strict.ts'

function body(value: unknown): ReadBody {
  const parsed = readJson(Buffer.from(JSON.stringify(value)))
  if (parsed.kind !== 'ok') throw new Error('the test itself is wrong')
  return { kind: 'ok', content: { kind: 'json', value: parsed.value } }
}

/** Names of the operations, or what is wrong. */
function read(value: unknown): readonly (string | null)[] | string {
  const result = readRequests(body(value))
  return result.kind === 'bad' ? result.why : result.operations.map(({ name }) => name)
}

const A = 'query A { a }'
const STORED = 'it asks for a stored document: send the query itself'
const NO_OBJECT = 'its variables or extensions are no object'
const UNKNOWN = (name: string): string => `the member "${name}" is none of query, operationName, variables, extensions`

describe('the operations of a body', () => {
  it.each([
    ['a query alone', { query: A }, ['A']],
    ['all members', { query: A, operationName: 'A', variables: { b: 1 }, extensions: { c: 2 } }, ['A']],
    ['members of nothing', { query: A, operationName: null, variables: null, extensions: null }, ['A']],
    ['an empty operationName', { query: A, operationName: '' }, ['A']],
    ['two operations, one of which is named', { query: `${A} mutation B { b }`, operationName: 'A' }, ['A', 'B']],
    ['an anonymous operation', { query: '{ a }' }, [null]],
    ['a batch', [{ query: A }, { query: 'query B { b } query C { c }' }], ['A', 'B', 'C']],
    ['a batch of one', [{ query: A }], ['A']],
  ])('%s', (_what, value, expected) => {
    expect(read(value)).toEqual(expected)
  })
})

describe('refused is', () => {
  it.each<[string, unknown, string]>([
    ['a text', A, 'the body is no request of GraphQL'],
    ['nothing', null, 'the body is no request of GraphQL'],
    ['an object without a query', {}, 'it has no query'],
    ['a query that is nothing', { query: null }, 'it has no query'],
    ['a query that is a list', { query: [A] }, 'it has no query'],
    [
      'a query that is none',
      { query: 'select a' },
      'the query is not strict GraphQL: a definition that is neither an operation nor a fragment at offset 8',
    ],
    ['a query in another case', { Query: A }, UNKNOWN('Query')],
    ['a query a second time in another case', { query: A, QUERY: 'mutation { b }' }, UNKNOWN('QUERY')],
    ['a member called like a prototype', { query: A, ['__proto__x']: 1 }, UNKNOWN('__proto__x')],
    ['a mutation beside the query', { query: A, mutation: 'mutation { b }' }, UNKNOWN('mutation')],
    ['variables that are text', { query: A, variables: '{"a":1}' }, NO_OBJECT],
    ['variables that are a list', { query: A, variables: [] }, NO_OBJECT],
    ['extensions that are text', { query: A, extensions: '{}' }, NO_OBJECT],
    [
      'an operationName of another operation',
      { query: A, operationName: 'B' },
      'its operationName is that of no operation',
    ],
    ['an operationName that is a number', { query: A, operationName: 1 }, 'its operationName is that of no operation'],
    [
      'an operationName that is a list',
      { query: A, operationName: ['A'] },
      'its operationName is that of no operation',
    ],
    ['a stored document', { extensions: { persistedQuery: { version: 1, sha256Hash: 'ab' } } }, STORED],
    ['a stored document beside a query', { query: A, extensions: { persistedQuery: {} } }, STORED],
    ['a stored document in another case', { query: A, extensions: { PersistedQuery: {} } }, STORED],
    ['a stored document by id', { id: 'ab' }, STORED],
    ['a stored document by documentId', { documentId: 'ab', variables: {} }, STORED],
    ['a stored document by doc_id', { query: A, doc_id: '1' }, STORED],
    ['an empty batch', [], `a list of no, or more than ${MAX_BATCH}, requests`],
    [
      'a batch with one that is none',
      [{ query: A }, { query: '' }],
      'the query is not strict GraphQL: no operation at offset 0',
    ],
    ['a batch in a batch', [[{ query: A }]], 'the body is no request of GraphQL'],
    ['a batch with nothing in it', [{ query: A }, null], 'the body is no request of GraphQL'],
  ])('%s', (_what, value, why) => {
    expect(read(value)).toBe(why)
  })

  it('a batch of more requests than any', () => {
    expect(read(Array.from({ length: MAX_BATCH }, () => ({ query: A })))).toHaveLength(MAX_BATCH)
    expect(read(Array.from({ length: MAX_BATCH + 1 }, () => ({ query: A })))).toBe(
      `a list of no, or more than ${MAX_BATCH}, requests`,
    )
  })

  it('what is no JSON', () => {
    expect(readRequests({ kind: 'bad', why: 'the body is not strict JSON' })).toEqual({
      kind: 'bad',
      why: 'the body is not strict JSON',
    })
    expect(readRequests({ kind: 'ok', content: { kind: 'form', fields: [{ name: 'query', value: A }] } })).toEqual({
      kind: 'bad',
      why: 'GraphQL is read from JSON only',
    })
  })
})
