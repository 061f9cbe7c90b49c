import { describe, expect, it } from 'vitest'
import type { ReadBody } from '../../src/core/body.ts'
import { compileGraphql, graphqlFailure, readGraphql } from '../../src/core/graphql.ts'
import { readJson } from '../../src/core/json-strict.ts'
import type { GraphqlSpec, Subject } from '../../src/core/rule.ts'

const subject: Subject = {
  client: 'anonymous',
  scheme: 'https',
  method: 'POST',
  host: { kind: 'name', text: 'api.github.com' },
  port: 443,
  path: '/graphql',
  encodedSlash: false,
  target: '/graphql',
  upgrade: null,
  overrideHeaders: [],
}

function body(...queries: readonly string[]): ReadBody {
  const requests = queries.map((query) => ({ query }))
  const read = readJson(Buffer.from(JSON.stringify(requests.length === 1 ? requests[0] : requests)))
  if (read.kind !== 'ok') throw new Error('the test itself is wrong')
  return { kind: 'ok', content: { kind: 'json', value: read.value } }
}

function compile(spec: GraphqlSpec): ReturnType<typeof compileGraphql> {
  return compileGraphql(spec, (at, message) => {
    throw new Error(`${at}: ${message}`)
  })
}

const QUERIES = compile({ operations: ['query'] })
const NAMED = compile({ operations: ['query', 'mutation'], names: ['IssueList', 'Repo*'] })
const FIELDS = compile({ operations: ['query'], fields: ['viewer', 'repository*', '__typename'] })

describe('a request is allowed', () => {
  it.each([
    ['of a type that is named', QUERIES, ['{ a }']],
    ['of two operations of that type', QUERIES, ['query A { a } query B { b }']],
    ['in a batch', QUERIES, ['{ a }', '{ b }']],
    ['by its name', NAMED, ['query IssueList { a }', 'mutation Repo { b }', 'query RepoX { c }']],
    [
      'by the fields of its root',
      FIELDS,
      ['{ viewer { login } ...F __typename } fragment F on Query { repositoryOwner { x } }'],
    ],
  ])('%s', (_what, graphql, queries) => {
    expect(graphqlFailure(graphql, { subject, empty: false, read: body(...queries) })).toBeNull()
  })
})

describe('a request is refused', () => {
  it.each([
    ['of another type', QUERIES, ['mutation { a }'], 'add mutation to its graphql.operations', ['mutation']],
    [
      'with another type behind',
      QUERIES,
      ['query A { a } subscription B { b }'],
      'add subscription to its graphql.operations',
      ['subscription'],
    ],
    [
      'with another type in the batch',
      QUERIES,
      ['{ a }', 'mutation { b }'],
      'add mutation to its graphql.operations',
      ['mutation'],
    ],
    [
      'with one type twice',
      QUERIES,
      ['mutation A { a } mutation B { b }'],
      'add mutation to its graphql.operations',
      ['mutation'],
    ],
    [
      'by its name',
      NAMED,
      ['query Repo { a } query issueList { b }'],
      'add issueList to its graphql.names',
      ['name:issueList'],
    ],
    ['without a name', NAMED, ['{ a }'], 'the operation has no name', ['anonymous']],
    [
      'by a field',
      FIELDS,
      ['{ viewer { x } organization { y } }'],
      'add organization to its graphql.fields',
      ['field:organization'],
    ],
    [
      'by a field behind an alias',
      FIELDS,
      ['{ viewer: organization { y } }'],
      'add organization to its graphql.fields',
      ['field:organization'],
    ],
    [
      'by a field in a fragment',
      FIELDS,
      ['{ ...F } fragment F on Query { __schema { y } }'],
      'add __schema to its graphql.fields',
      ['field:__schema'],
    ],
    [
      'for all that is wrong',
      FIELDS,
      ['mutation { a b }'],
      'add mutation to its graphql.operations',
      ['mutation', 'field:a', 'field:b'],
    ],
    [
      'that is none',
      QUERIES,
      ['type A { a: B }'],
      'the query is not strict GraphQL: a definition that is neither an operation nor a fragment at offset 6',
      [],
    ],
  ])('%s', (_what, graphql, queries, why, flags) => {
    expect(graphqlFailure(graphql, { subject, empty: false, read: body(...queries) })).toEqual({
      why,
      flags: flags.map((flag) => `body_rule:graphql:${flag}`),
    })
  })

  it.each([
    ['by GET', { method: 'GET' }, 'GraphQL is sent by POST, not by GET'],
    ['by a method in lower case', { method: 'post' }, 'GraphQL is sent by POST, not by post'],
    [
      'with a query in the URL',
      { target: '/graphql?query=mutation%7Ba%7D' },
      'a request of GraphQL has no query string',
    ],
    ['with an empty query in the URL', { target: '/graphql?' }, 'a request of GraphQL has no query string'],
  ])('%s', (_what, changes, why) => {
    const asked = { subject: { ...subject, ...changes }, empty: false, read: body('{ a }') }
    expect(graphqlFailure(QUERIES, asked)).toEqual({ why, flags: [] })
  })

  it('with no more than 16 flags', () => {
    const many = Array.from({ length: 40 }, (_, index) => `f${index}`).join(' ')
    const failure = graphqlFailure(FIELDS, { subject, empty: false, read: body(`{ ${many} }`) })
    expect(failure?.flags).toHaveLength(16)
  })
})

describe('what is recorded', () => {
  it('are types and names, also of what is refused', () => {
    expect(readGraphql(body('query A { a } mutation { b }', 'subscription C { c }'))).toEqual([
      { operation: 'query', name: 'A' },
      { operation: 'mutation', name: null },
      { operation: 'subscription', name: 'C' },
    ])
  })

  it('is nothing of what can not be read', () => {
    expect(readGraphql({ kind: 'bad', why: 'the body is not strict JSON' })).toBeNull()
    expect(readGraphql(body('{ a'))).toBeNull()
  })
})

it('a body is read once, however many rules ask', () => {
  const { content } = body('{ a }') as Extract<ReadBody, { kind: 'ok' }>
  let looked = 0
  const read: ReadBody = {
    kind: 'ok',
    get content() {
      looked += 1
      return content
    },
  }
  const asked = { subject, empty: false, read }
  expect(graphqlFailure(QUERIES, asked)).toBeNull()
  const once = looked
  expect(once).toBeGreaterThan(0)
  expect(graphqlFailure(FIELDS, asked)?.why).toBe('add a to its graphql.fields')
  expect(readGraphql(read)).toHaveLength(1)
  expect(looked).toBe(once)
})

it('a glob that no name can match is a mistake, with its place', () => {
  const problems: string[] = []
  compileGraphql({ operations: ['query'], names: ['A', 'a-*'], fields: ['*', 'viewer.login'] }, (at, message, fix) =>
    problems.push(`${at}: ${message}; ${fix}`),
  )
  const fix = 'write letters, digits and _, and * for any of them'
  expect(problems).toEqual([
    `graphql.names[1]: no name of GraphQL is ever "a-*"; ${fix}`,
    `graphql.fields[1]: no name of GraphQL is ever "viewer.login"; ${fix}`,
  ])
})
