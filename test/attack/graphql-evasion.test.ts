// A mutation to a server of GraphQL of which only queries are allowed, in every disguise by which the proxy would see another operation.

import { brotliCompressSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Bed, refusalOf, startBed, type Way } from '../doors/support/bed.ts'
import { ok } from '../support/scripted-origin.ts'
import type { Message } from '../support/wire.ts'

const HOST = 'graph.allowed.test'
const RULES = `  - id: graph
    allow: { hosts: [${HOST}], ports: [PORT], schemes: [http, https], methods: [GET, POST], paths: [/graphql] }
    graphql: { operations: [query], names: [IssueList, "Repo*"], fields: [repository, viewer, "__typename"] }
`
const WAYS: readonly Way[] = [
  { door: 'connect', tls: true },
  { door: 'transparent', tls: true },
  { door: 'absolute', tls: false },
]

interface Asked {
  readonly what: string
  readonly body: string
  readonly type?: string | null
  readonly coding?: string
  readonly method?: string
  /** Behind the path. */
  readonly query?: string
  /** What the record says of it. */
  readonly flags?: readonly string[]
}

const latin1 = (bytes: Buffer): string => bytes.toString('latin1')
const sent = (query: string, more: object = {}): string => latin1(Buffer.from(JSON.stringify({ query, ...more })))
const HONEST =
  'query IssueList($first: Int = 10) { repository(owner: "acme", name: "app") { issues(first: $first) { id } } }'
const EVIL = 'mutation RepoDelete { deleteRepository(input: {id: 1}) { id } }'
const FOUND = ['body_rule:graphql:mutation', 'body_rule:graphql:field:deleteRepository']
const FIELD = ['body_rule:graphql:field:deleteRepository']

const ALLOWED: readonly Asked[] = [
  { what: 'as it is', body: sent(HONEST) },
  { what: 'with its name and variables', body: sent(HONEST, { operationName: 'IssueList', variables: { first: 5 } }) },
  { what: 'in gzip', body: latin1(gzipSync(sent(HONEST))), coding: 'gzip' },
  { what: 'in a batch', body: `[${sent(HONEST)},${sent('query RepoA { viewer { login } }')}]` },
  { what: 'with the word in a string', body: sent('query RepoA { repository(name: "} mutation { x }") { id } }') },
  {
    what: 'with the word in a block string',
    body: sent(`query RepoA { repository(name: """ "} ${EVIL} """) { id } }`),
  },
  { what: 'with the word in a comment', body: sent(`# ${EVIL}\r\nquery RepoA { viewer { login } }`) },
  { what: 'with a fragment', body: sent('query RepoA { ...F } fragment F on Query { viewer { login } }') },
  { what: 'behind a mark that GraphQL ignores', body: sent(`\ufeff${HONEST}`) },
]

const DENIED: readonly Asked[] = [
  { what: 'as it is', body: sent(EVIL), flags: FOUND },
  { what: 'behind a comment', body: sent(`# query IssueList { viewer }\n${EVIL}`), flags: FOUND },
  { what: 'behind a comment that a CR ends for some', body: sent(`${HONEST} # \r${EVIL}`) },
  { what: 'behind a comment that U+2028 ends for some', body: sent(`${HONEST} # \u2028${EVIL}`) },
  {
    what: 'behind a block string that is none',
    body: sent(`query RepoA { repository(name: """a\\""") { id } } ${EVIL} #"""`),
  },
  {
    what: 'behind a string of four quotes',
    body: sent(`query RepoA { repository(name: """a"""") { id } } ${EVIL} #"`),
  },
  { what: 'behind the query', body: sent(`${HONEST} ${EVIL}`), flags: FOUND },
  { what: 'before the query', body: sent(`${EVIL} ${HONEST}`), flags: FOUND },
  { what: 'by its operationName', body: sent(`${HONEST} ${EVIL}`, { operationName: 'RepoDelete' }), flags: FOUND },
  { what: 'while another is named', body: sent(`${HONEST} ${EVIL}`, { operationName: 'IssueList' }), flags: FOUND },
  { what: 'by the operationName of nothing', body: sent(HONEST, { operationName: 'RepoDelete' }) },
  { what: 'in a batch', body: `[${sent(HONEST)},${sent(EVIL)}]`, flags: FOUND },
  { what: 'in a batch in a batch', body: `[[${sent(EVIL)}]]` },
  { what: 'in an empty batch', body: '[]' },
  {
    what: 'as an alias of what is allowed',
    body: sent('query RepoA { viewer: deleteRepository { id } }'),
    flags: FIELD,
  },
  {
    what: 'in a fragment',
    body: sent('query RepoA { ...F } fragment F on Query { deleteRepository { id } }'),
    flags: FIELD,
  },
  {
    what: 'in a fragment of a fragment',
    body: sent('query RepoA { ...F } fragment F on Q { ...G } fragment G on Q { deleteRepository }'),
    flags: FIELD,
  },
  {
    what: 'in a fragment that is there twice',
    body: sent('query RepoA { ...F } fragment F on Q { viewer } fragment F on Q { deleteRepository }'),
  },
  { what: 'in a fragment that is not there', body: sent('query RepoA { ...F }') },
  {
    what: 'in a fragment that is written out',
    body: sent('query RepoA { ... on Q { ... { deleteRepository } } }'),
    flags: FIELD,
  },
  { what: 'under a directive', body: sent('query RepoA { deleteRepository @skip(if: true) { id } }'), flags: FIELD },
  {
    what: 'as the schema',
    body: sent('query RepoA { __schema { types { name } } }'),
    flags: ['body_rule:graphql:field:__schema'],
  },
  { what: 'without a name', body: sent('{ viewer { login } }'), flags: ['body_rule:graphql:anonymous'] },
  {
    what: 'by another name',
    body: sent('query IssueLists { viewer { x } }'),
    flags: ['body_rule:graphql:name:IssueLists'],
  },
  {
    what: 'as a subscription',
    body: sent('subscription RepoA { viewer { x } }'),
    flags: ['body_rule:graphql:subscription'],
  },
  { what: 'as a type', body: sent(`${HONEST} type RepoA { viewer: Int }`) },
  { what: 'with a type of operation in another case', body: sent('Mutation RepoA { viewer }') },
  { what: 'escaped in JSON', body: sent(EVIL).replace('mutation', '\\u006dutation'), flags: FOUND },
  { what: 'with its key escaped', body: sent(EVIL).replace('query', '\\u0071uery'), flags: FOUND },
  { what: 'with its key a second time', body: `{"query":"{viewer}",${sent(EVIL).slice(1)}` },
  { what: 'with its key a second time, escaped', body: `{"\\u0071uery":"{viewer}",${sent(EVIL).slice(1)}` },
  { what: 'with its key in another case', body: sent(EVIL).replace('query', 'Query') },
  { what: 'with its key beside the other in another case', body: sent(HONEST, { QUERY: EVIL }) },
  { what: 'in a member of its own', body: sent(HONEST, { mutation: EVIL }) },
  { what: 'behind a zero', body: sent(`${HONEST}\0${EVIL}`) },
  { what: 'behind a zero in a comment', body: sent(`# \0\n${HONEST}`) },
  { what: 'behind a zero in a string', body: sent('query RepoA { repository(name: "\0") { id } }') },
  { what: 'as a stored document', body: '{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"ab"}}}' },
  {
    what: 'as a stored document beside a query',
    body: sent(HONEST, { extensions: { persistedQuery: { version: 1 } } }),
  },
  { what: 'as a stored document by its id', body: '{"id":"1","variables":{}}' },
  { what: 'in the URL', body: sent(HONEST), query: `?query=${encodeURIComponent(EVIL)}` },
  { what: 'with its operationName in the URL', body: sent(HONEST), query: '?operationName=RepoDelete' },
  {
    what: 'in the URL alone, by GET',
    body: '',
    type: null,
    method: 'GET',
    query: `?query=${encodeURIComponent(EVIL)}`,
  },
  { what: 'by GET, with a body', body: sent(HONEST), method: 'GET' },
  { what: 'without a body', body: '', type: null },
  { what: 'in gzip', body: latin1(gzipSync(sent(EVIL))), coding: 'gzip', flags: FOUND },
  { what: 'in brotli', body: latin1(brotliCompressSync(sent(EVIL))), coding: 'br', flags: FOUND },
  { what: 'in gzip that says nothing', body: latin1(gzipSync(sent(HONEST))) },
  { what: 'behind a byte order mark', body: `\u00ef\u00bb\u00bf${sent(HONEST)}` },
  { what: 'as application/graphql', body: HONEST, type: 'application/graphql' },
  { what: 'as text', body: sent(HONEST), type: 'text/plain' },
  { what: 'as a form', body: `query=${encodeURIComponent(EVIL)}`, type: 'application/x-www-form-urlencoded' },
  {
    what: 'as the upload of a file',
    body: `--X\r\nContent-Disposition: form-data; name="operations"\r\n\r\n${sent(HONEST)}\r\n--X--\r\n`,
    type: 'multipart/form-data; boundary=X',
  },
  { what: 'too deep', body: sent(`query RepoA { viewer ${'{a'.repeat(100)}${'}'.repeat(100)} }`) },
]

describe.each(WAYS)('[J01] [J02] by $door', (way) => {
  let bed: Bed
  const received: string[] = []
  beforeAll(async () => {
    bed = await startBed(way, { rules: RULES, names: { [HOST]: ['127.0.0.1'] } })
    bed.origin.on('/graphql', async (wire, asked) => {
      received.push((await asked.body()).body)
      wire.write(ok('{"data":{}}'))
    })
  })
  afterAll(() => bed.close())

  const send = async ({
    body,
    type = 'application/json',
    coding,
    method = 'POST',
    query = '',
  }: Asked): Promise<Message> => {
    received.length = 0
    const fields = [
      ...(type === null ? [] : [`Content-Type: ${type}`]),
      ...(coding === undefined ? [] : [`Content-Encoding: ${coding}`]),
      `Content-Length: ${body.length}`,
    ]
    return await bed.ask(`/graphql${query}`, {
      method,
      host: HOST,
      body,
      fields: `${fields.join('\r\n')}\r\n`,
    })
  }

  it.each(ALLOWED.map((asked) => [asked.what, asked] as const))(
    'a query goes out as it was sent: %s',
    async (_what, asked) => {
      expect(await send(asked)).toMatchObject({ status: 200 })
      expect(received).toEqual([asked.body])
    },
  )

  it.each(DENIED.map((asked) => [asked.what, asked] as const))('nothing else does: %s', async (_what, asked) => {
    expect(await send(asked)).toMatchObject({ status: 403 })
    expect(received).toEqual([])
    const refused = bed.lab.recordsOf('request.decided').at(-1)
    expect(refused).toMatchObject({ decision: 'deny', enforced: true, reason: 'body_rule', rule: 'graph' })
    expect(refused?.['security_flags']).toEqual(asked.flags ?? [])
  })

  it('the client is told what is missing, and the record which operations were asked for', async () => {
    const answer = await send({ what: '', body: sent(`${HONEST} ${EVIL}`) })
    expect(refusalOf(answer)).toMatchObject({
      rule: 'graph',
      hint: 'rule graph: add mutation to its graphql.operations',
    })
    expect(bed.lab.recordsOf('request.decided').at(-1)?.['graphql']).toEqual([
      { operation: 'query', name: 'IssueList' },
      { operation: 'mutation', name: 'RepoDelete' },
    ])
  })
})
