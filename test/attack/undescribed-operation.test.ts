// An operation that a rule does not name, asked for by way of one that it does: by path, by method, by spelling, by number.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exchangeOn, type HttpAnswer, httpsVia, reasonOf } from '../support/clients.ts'
import { type Lab, startLab } from '../support/lab.ts'
import { createTestRoot, type Origin, startOrigin, type TestRoot } from '../support/origins.ts'

const API = 'api.allowed.test'
const OTHER = 'evil.test'

let root: TestRoot
let origin: Origin
let lab: Lab
let folder: string

/** The description, with `more` servers. */
function describeApi(more: readonly string[] = []): void {
  const servers = [`https://${API}:${origin.port}/v1`, ...more].map((url) => ({ url }))
  const paths = {
    '/issues': { get: { operationId: 'issues/list' }, post: { operationId: 'issues/create' } },
    '/issues/{id}': { get: { operationId: 'issues/get' }, delete: { operationId: 'issues/delete' } },
    '/issues/comments': { get: { operationId: 'issues/list-comments' } },
    '/issues/{id}.json': { get: { operationId: 'issues/export' } },
    '/{kind}/latest': { get: { operationId: 'latest' } },
  }
  writeFileSync(join(folder, 'api.json'), JSON.stringify({ openapi: '3.1.0', servers, paths }))
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-description-'))
  root = createTestRoot()
  origin = await startOrigin(root, API)
  describeApi()
  lab = await startLab({
    root,
    rules: `  - id: api
    openapi: { file: ${folder}/api.json, allow: [issues/get, issues/create], hosts: [${API}] }
    rate: { requests: 4, per: hour }
`,
    names: { [API]: ['127.0.0.1'], [OTHER]: ['127.0.0.1'] },
  })
})

afterAll(async () => {
  await lab.close()
  await origin.close()
  root.close()
  rmSync(folder, { recursive: true, force: true })
})

async function ask(method: string, path: string, fields = '', host = API): Promise<HttpAnswer> {
  const socket = await httpsVia(lab, `${host}:${origin.port}`)
  try {
    const length = method === 'POST' ? 'Content-Length: 0\r\n' : ''
    return await exchangeOn(
      socket,
      `${method} ${path} HTTP/1.1\r\nHost: ${host}:${origin.port}\r\n${length}${fields}\r\n`,
    )
  } finally {
    socket.destroy()
  }
}

describe('an operation that is not named', () => {
  it.each([
    ['by its own path, which the named one takes in', 'GET', '/v1/issues/comments', '', 'no_matching_rule'],
    ['by its path, escaped', 'GET', '/v1/issues/%63omments', '', 'no_matching_rule'],
    ['by its path, with a query', 'GET', '/v1/issues/comments?id=7', '', 'no_matching_rule'],
    ['by a part of a segment', 'GET', '/v1/issues/7.json', '', 'no_matching_rule'],
    ['by a path that is as much its own', 'GET', '/v1/issues/latest', '', 'no_matching_rule'],
    ['by the method of one and the path of another', 'POST', '/v1/issues/7', '', 'no_matching_rule'],
    ['by the path of one and the method of another', 'GET', '/v1/issues', '', 'no_matching_rule'],
    ['by another method', 'DELETE', '/v1/issues/7', '', 'no_matching_rule'],
    [
      'by a header that replaces the method',
      'GET',
      '/v1/issues/7',
      'X-HTTP-Method-Override: DELETE\r\n',
      'override_header',
    ],
    ['outside of the base path', 'GET', '/issues/7', '', 'no_matching_rule'],
    ['by dots', 'GET', '/v1/issues/7/../comments', '', 'path_not_canonical'],
    ['by an escaped slash', 'GET', '/v1/issues/7%2f..%2fcomments', '', 'path_not_canonical'],
    ['by a parameter of the segment', 'GET', '/v1/issues/comments;x', '', 'path_not_canonical'],
  ])('is not reached %s', async (_, method, path, fields, reason) => {
    const before = origin.seen.length
    expect(reasonOf(await ask(method, path, fields))).toBe(reason)
    expect(origin.seen).toHaveLength(before)
  })

  it('is not reached on a host that a new version of the description brings', async () => {
    describeApi([`https://${OTHER}:${origin.port}/v1`])
    lab.reload({})
    expect(reasonOf(await ask('GET', '/v1/issues/7', '', OTHER))).toBe('no_matching_rule')
  })
})

it('the rate of a rule is not multiplied by its operations', async () => {
  const statuses: number[] = []
  for (const [method, path] of [
    ['GET', '/v1/issues/7'],
    ['POST', '/v1/issues'],
  ] as const) {
    for (let count = 0; count < 3; count += 1) statuses.push((await ask(method, path)).status)
  }
  expect(statuses).toEqual([200, 200, 200, 200, 429, 429])
  const rules = lab.recordsOf('request.decided').flatMap(({ decision, rule }) => (decision === 'allow' ? [rule] : []))
  expect(rules).toEqual(['api:issues/get', 'api:issues/get', 'api:issues/get', 'api:issues/create'])
})
