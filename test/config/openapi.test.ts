// Rules from an API description: each operation that a rule names is allowed, and no request beside.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testCommand } from '../../src/cli/test-policy.ts'
import { judgeRequest } from '../../src/config/judge-request.ts'
import { type Config, loadConfig } from '../../src/config/load.ts'
import { MAX_DESCRIPTION_BYTES } from '../../src/config/openapi.ts'
import { asYaml, largeDescription } from '../support/openapi.ts'

const GITHUB = `
openapi: 3.0.3
info: { title: issues, version: "1" }
servers: [{ url: https://api.github.com }]
paths:
  /repos/{owner}/{repo}/issues:
    get: { operationId: issues/list-for-repo, tags: [issues] }
    post: { operationId: issues/create, tags: [issues] }
  /repos/{owner}/{repo}/issues/{issue_number}:
    get: { operationId: issues/get, tags: [issues] }
    patch: { operationId: issues/update, tags: [issues] }
  /repos/{owner}/{repo}/issues/comments:
    get: { operationId: issues/list-comments-for-repo, tags: [comments] }
  /repos/{owner}/{repo}/zipball/{ref}.zip:
    get: { tags: [archives] }
  /files/*:
    get: { operationId: files/any }
  /search?type=issues:
    get: { operationId: search/issues }
`

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-openapi-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** The file of one rule with this `openapi`, and more lines at its end. */
function write(openapi: string, more = '', description = GITHUB): string {
  writeFileSync(join(folder, 'api.yaml'), description)
  const file = join(folder, 'mcp-egress.yaml')
  writeFileSync(file, `version: 1\nrules:\n  - id: api\n    openapi: ${openapi}\n${more}`)
  return file
}

function load(openapi: string, more = '', description = GITHUB): Config {
  const loaded = loadConfig(write(openapi, more, description), {})
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
  return loaded.config
}

/** `line:column place: message; fix`. */
function problemsOf(openapi: string, more = '', description = GITHUB): readonly string[] {
  const loaded = loadConfig(write(openapi, more, description), {})
  if (loaded.ok) return []
  return loaded.problems.map(({ line, column, at, message, fix }) => `${line}:${column} ${at}: ${message}; ${fix}`)
}

const allows = (config: Config, request: string): boolean => {
  const [method = '', url = ''] = request.split(' ')
  return judgeRequest(config, 'anonymous', method, url).decision === 'allow'
}

const ISSUES = 'https://api.github.com/repos/a/b/issues'
const EVERY = [
  `GET ${ISSUES}`,
  `POST ${ISSUES}`,
  `GET ${ISSUES}/7`,
  `PATCH ${ISSUES}/7`,
  `GET ${ISSUES}/comments`,
  'GET https://api.github.com/repos/a/b/zipball/v1.zip',
  'DELETE https://api.github.com/repos/a/b/issues/7',
  'POST https://api.github.com/repos/a/b/issues/7',
  'GET https://api.github.com/repos/a/b/c/issues',
  'GET https://api.github.com/user',
  'GET https://api.github.com:8443/repos/a/b/issues',
  'GET http://api.github.com/repos/a/b/issues',
  'GET https://evil.example/repos/a/b/issues',
]

describe('what is allowed is what is named', () => {
  it.each([
    ['an operation', '[issues/list-for-repo]', [0]],
    ['two, and not what each has with the other', '[issues/create, issues/get]', [1, 2]],
    ['one whose path takes that of another, without the other', '[issues/get]', [2]],
    ['one whose path takes that of another, with the other', '[issues/get, issues/list-comments-for-repo]', [2, 4]],
    ['those of a name with a star', '["issues/list*"]', [0, 4]],
    ['those of a tag', '["tag:issues"]', [0, 1, 2, 3]],
    ['those of a tag with a star', '["tag:*s", issues/get]', [0, 1, 2, 3, 4, 5]],
    ['a request as described', '["GET /repos/{owner}/{repo}/zipball/{ref}.zip"]', [5]],
    ['the same one twice', '[issues/get, "tag:comments", "issues/get*"]', [2, 4]],
    ['those that read', '["issues/*"], access: read-only', [0, 2, 4]],
    ['those of the server that is named', '[issues/get], hosts: [api.github.com, "**.github.example"]', [2]],
  ])('%s', (_, allow, expected) => {
    const config = load(`{ file: api.yaml, allow: ${allow} }`)
    expect(EVERY.filter((request) => allows(config, request))).toEqual(expected.map((index) => EVERY[index]))
  })

  it('a rule for each, with an id of its own and with whatever else the rule says', () => {
    const config = load(
      '{ file: api.yaml, allow: [issues/get, "tag:archives"] }',
      '    clients: [anonymous]\n    rate: { requests: 60, per: minute }\n    limits: { request_bytes: 1MiB }\n    body: { json: [{ path: $.a, must: be-absent }] }\n    audit: headers\n    encoded_slash: allow\n',
    )
    const common = {
      clients: ['anonymous'],
      rate: { requests: 60, per: 'minute' },
      limits: { requestBytes: 2 ** 20, responseBytes: null },
      body: { json: [{ path: '$.a', must: 'be-absent' }] },
      audit: 'headers',
      kind: 'allow',
    }
    const match = { hosts: ['api.github.com'], methods: ['GET'], encodedSlash: true }
    expect(config.rules).toEqual([
      {
        ...common,
        id: 'api:issues/get',
        match: {
          ...match,
          paths: ['/repos/*/*/issues/*'],
          notPaths: ['/repos/*/*/issues/comments'],
        },
      },
      {
        ...common,
        id: 'api:GET:/repos/{owner}/{repo}/zipball/{ref}.zip',
        match: { ...match, paths: ['/repos/*/*/zipball/*.zip'] },
      },
    ])
    expect(config.origins).toEqual([
      { index: 0, operation: 'GET /repos/{owner}/{repo}/issues/{issue_number}' },
      { index: 0, operation: 'GET /repos/{owner}/{repo}/zipball/{ref}.zip' },
    ])
  })

  it('servers of an operation come before those of its path, those before the others, and each pair stays a pair', () => {
    const config = load(
      '{ file: api.yaml, allow: ["*"] }',
      '',
      `openapi: 3.1.0
servers: [{ url: https://root.example.com/v1 }]
paths:
  /a/{x}: { get: { operationId: a } }
  /b:
    servers: [{ url: https://path.example.com/v2 }, { url: "https://path.example.com:8443" }]
    get: { operationId: b }
    put: { operationId: c, servers: [{ url: "http://{host}/v3", variables: { host: { default: op.example.com } } }] }
`,
    )
    expect(config.rules.map(({ id, match }) => [id, match])).toEqual([
      ['api:a', { hosts: ['root.example.com'], methods: ['GET'], paths: ['/v1/a/*'] }],
      ['api:b', { hosts: ['path.example.com'], methods: ['GET'], paths: ['/v2/b'] }],
      ['api:b@2', { hosts: ['path.example.com'], methods: ['GET'], paths: ['/b'], ports: [8443] }],
      ['api:c', { hosts: ['op.example.com'], methods: ['PUT'], paths: ['/v3/b'], schemes: ['http'] }],
    ])
  })

  it('of a path that is described elsewhere in the file, and of no callback', () => {
    const config = load(
      '{ file: api.yaml, allow: ["*"], hosts: [api.example.com] }',
      '',
      `openapi: 3.1.0
paths:
  /a: { $ref: "#/components/pathItems/a%7Eb~1c", summary: beside it }
  x-internal: { get: { operationId: internal } }
components:
  pathItems:
    a~b/c: { $ref: "#/components/pathItems/d" }
    d: { get: { operationId: d, callbacks: { done: { /hook: { post: { operationId: hook } } } } }, trace: { operationId: t } }
webhooks:
  done: { post: { operationId: hook } }
`,
    )
    expect(config.rules.map(({ id, match }) => [id, match])).toEqual([
      ['api:d', { hosts: ['api.example.com'], methods: ['GET'], paths: ['/a'] }],
    ])
  })

  it.each([
    [
      'host, base path and schemes',
      'host: "api.example.com:8443"\nbasePath: /v1/\nschemes: [http, https]',
      ['https://api.example.com:8443/v1/a'],
    ],
    ['no schemes', 'host: api.example.com', ['https://api.example.com/a']],
    ['http alone', 'host: api.example.com\nschemes: [http, ws]', ['http://api.example.com/a']],
    [
      'a base path without its slash, which is no part of the host',
      'host: api.example.com\nbasePath: .evil.example',
      ['https://api.example.com/.evil.example/a'],
    ],
  ])('in Swagger 2.0 with %s', (_, head, expected) => {
    const config = load(
      '{ file: api.yaml, allow: [a] }',
      '',
      `swagger: "2.0"\n${head}\npaths:\n  /a: { get: { operationId: a }, put: { operationId: b, schemes: [http] } }\n`,
    )
    const urls = ['https', 'http'].flatMap((scheme) =>
      ['', ':8443'].flatMap((port) =>
        ['', '/v1', '/.evil.example'].map((base) => `${scheme}://api.example.com${port}${base}/a`),
      ),
    )
    expect(urls.filter((url) => allows(config, `GET ${url}`))).toEqual(expected)
  })

  it('in Swagger 2.0 by the schemes of an operation', () => {
    const text = 'swagger: 2.0\nhost: a.example.com\npaths: { /a: { get: { operationId: a, schemes: [http] } } }\n'
    const config = load('{ file: api.yaml, allow: [a] }', '', text)
    expect(config.rules[0]?.match).toMatchObject({ hosts: ['a.example.com'], schemes: ['http'] })
  })

  it('whatever a name in it would mean elsewhere', () => {
    const text =
      'openapi: 3.0.0\nservers: [{ url: https://a.example.com }]\npaths: { /a: { get: { operationId: __proto__, tags: [constructor] } }, /b: { get: { operationId: "rm -rf ${HOME} \\"\\n" } } }\n'
    expect(load('{ file: api.yaml, allow: ["*"] }', '', text).rules.map(({ id }) => id)).toEqual([
      'api:__proto__',
      'api:rm%20-rf%20%24{HOME}%20%22%0A',
    ])
    expect(problemsOf('{ file: api.yaml, allow: [constructor, "tag:toString"] }', '', text)).toHaveLength(2)
  })
})

const described = (paths: readonly string[], operation: object = {}): string =>
  JSON.stringify({
    openapi: '3.0.0',
    servers: [{ url: 'https://a.example.com' }],
    paths: Object.fromEntries(paths.map((path) => [path, { get: operation }])),
  })
const numbered = (count: number): readonly string[] => Array.from({ length: count }, (_, index) => `/${index}`)

describe('what is wrong is said where it stands in our file', () => {
  it.each([
    [
      'an operation that is misspelt',
      '[issues/gett]',
      /^4:40 rules\[0\]\.openapi\.allow\[0\]: no operation is called "issues\/gett"; did you mean issues\/get\?$/,
    ],
    [
      'an operation like nothing',
      '[issues/get, gizmo]',
      /^4:52 rules\[0\]\.openapi\.allow\[1\]: no operation is called "gizmo"; write an operationId/,
    ],
    ['a star that matches nothing', '["isues/*"]', /no operation is called "isues\/\*"; did you mean issues\//],
    ['a tag that nothing has', '["tag:isues"]', /no operation has the tag "isues"; did you mean tag:issues\?$/],
    [
      'a request that is not described',
      '["GET /repos/{owner}/{repo}/issue"]',
      /GET \/repos\/\{owner\}\/\{repo\}\/issue is not described; did you mean GET \/repos\/\{owner\}\/\{repo\}\/issues or/,
    ],
    ['a request in other letters', '["get /repos/{owner}/{repo}/issues"]', /no operation is called "get \/repos/],
    [
      'access that leaves nothing',
      '[issues/create], access: read-only',
      /allow\[0\]: access: read-only leaves nothing of "issues\/create"; remove/,
    ],
    ['a literal star in the path', '[files/any]', /allow\[0\]: GET \/files\/\*: rules can not tell a literal \*/],
    [
      'a query in the path',
      '[issues/get, search/issues]',
      /allow\[1\]: GET \/search\?type=issues: rules do not look at the query/,
    ],
    [
      'a host that no server has',
      '[issues/get], hosts: [api.gitlab.com]',
      /allow\[0\]: GET .*: api\.github\.com is not among the hosts that the rule names; add it/,
    ],
    [
      'hosts of anybody',
      '[issues/get], hosts: ["*.com"]',
      /^4:61 rules\[0\]\.openapi\.hosts\[0\]: "\*\.com": anybody can have a name/,
    ],
    ['an empty list', '[]', /rules\[0\]\.openapi\.allow: is empty/],
    ['an unknown key', '[issues/get], paths: [/a]', /rules\[0\]\.openapi\.paths: unknown key/],
  ])('%s', (_, allow, expected) => {
    const problems = problemsOf(`{ file: api.yaml, allow: ${allow} }`)
    expect(problems).toHaveLength(1)
    expect(problems[0]).toMatch(expected)
  })

  it.each([
    [
      'that is not there',
      '{ file: nowhere.yaml, allow: [a] }',
      GITHUB,
      /file: "nowhere\.yaml" can not be read as UTF-8 text of at most 16 MiB; correct the path/,
    ],
    [
      'that is none',
      '{ file: mcp-egress.yaml, allow: [a] }',
      GITHUB,
      /is not an API description of a version known here; name a description/,
    ],
    [
      'of a version to come',
      '{ file: api.yaml, allow: [a] }',
      'openapi: 4.0.0\npaths: { /a: { get: { operationId: a } } }',
      /a version known here/,
    ],
    [
      'of 3.2',
      '{ file: api.yaml, allow: [a] }',
      'openapi: 3.2.0\npaths: { /a: { get: { operationId: a } } }',
      /a version known here/,
    ],
    ['without operations', '{ file: api.yaml, allow: [a] }', 'openapi: 3.0.0\npaths: {}', /describes no operation/],
    ['that is a list', '{ file: api.yaml, allow: [a] }', '[1, 2]', /a version known here/],
    ['that is empty', '{ file: api.yaml, allow: [a] }', '', /a version known here/],
    [
      'that is not YAML',
      '{ file: api.yaml, allow: [a] }',
      'openapi: 3.0.0\n\tpaths:',
      /"api\.yaml" line 2: not valid YAML/,
    ],
    ['that is not JSON', '{ file: api.yaml, allow: [a] }', '{ "openapi": "3.0.0",\n "paths": }', /line 2: not JSON/],
    [
      'with a key twice',
      '{ file: api.yaml, allow: [a] }',
      'openapi: 3.0.0\npaths: { /a: { get: {}, get: {} } }',
      /line 2: not valid YAML/,
    ],
    [
      'with a member twice',
      '{ file: api.yaml, allow: [a] }',
      '{"openapi":"3.0.0","openapi":"3.1.0"}',
      /line 1: not JSON/,
    ],
    [
      'of two documents',
      '{ file: api.yaml, allow: [a] }',
      'openapi: 3.0.0\n---\nopenapi: 3.1.0',
      /line 2: more than one YAML document/,
    ],
    [
      'nested without end',
      '{ file: api.yaml, allow: [a] }',
      `openapi: 3.0.0\npaths: ${'['.repeat(20_000)}${']'.repeat(20_000)}`,
      /line 2: nested deeper than 64 levels/,
    ],
    [
      'in JSON nested without end',
      '{ file: api.yaml, allow: [a] }',
      `{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`,
      /line 1: not JSON: .*deep/,
    ],
    [
      'with aliases of aliases',
      '{ file: api.yaml, allow: [a] }',
      [
        'a: &a [x,x,x,x,x,x,x,x,x]',
        ...'bcd'
          .split('')
          .map((key, index) => `${key}: &${key} [${Array.from({ length: 9 }, () => `*${'abc'[index]}`).join()}]`),
      ].join('\n'),
      /its aliases stand for too much/,
    ],
    ['with an alias of nothing', '{ file: api.yaml, allow: [a] }', 'openapi: *a', /line 1: /],
    [
      'that leads elsewhere',
      '{ file: api.yaml, allow: [a] }',
      'openapi: 3.0.0\npaths: { /a: { $ref: "./a.yaml" } }',
      /"api\.yaml" \/a: its \$ref "\.\/a\.yaml" leads out of the file; bundle/,
    ],
    [
      'that leads to the net',
      '{ file: api.yaml, allow: [a] }',
      'openapi: 3.0.0\npaths: { /a: { $ref: "https://evil.example/a#/x" } }',
      /leads out of the file/,
    ],
    [
      'that leads nowhere',
      '{ file: api.yaml, allow: [a] }',
      'openapi: 3.0.0\npaths: { /a: { $ref: "#/components/x" } }',
      /leads nowhere/,
    ],
    [
      'that leads by a bad escape',
      '{ file: api.yaml, allow: [a] }',
      'openapi: 3.0.0\npaths: { /a: { $ref: "#/%zz" } }',
      /leads nowhere/,
    ],
    [
      'that leads in a circle',
      '{ file: api.yaml, allow: [a] }',
      'openapi: 3.0.0\npaths: { /a: { $ref: "#/paths/~1b" }, /b: { $ref: "#/paths/~1a" } }',
      /\/a: more than 16 \$ref/,
    ],
    [
      'with operations beside a $ref',
      '{ file: api.yaml, allow: [a] }',
      'openapi: 3.0.0\npaths: { /a: { $ref: "#/x", get: {} } }\nx: {}',
      /operations stand beside its \$ref/,
    ],
    [
      'without a server',
      '{ file: api.yaml, allow: [a] }',
      'openapi: 3.0.0\npaths: { /a: { get: { operationId: a } } }',
      /allow\[0\]: GET \/a: the description does not say which host serves it; name them: hosts/,
    ],
    [
      'with one id for two',
      '{ file: api.yaml, allow: [a] }',
      'openapi: 3.0.0\npaths: { /a: { get: { operationId: a } }, /b: { put: { operationId: a } } }',
      /2 operations are called "a"; write which: "GET \/a" or "PUT \/b"/,
    ],
  ])(
    'a description %s',
    (_, openapi, description, expected) => {
      const problems = problemsOf(openapi, '', description)
      expect(problems).toHaveLength(1)
      expect(problems[0]).toMatch(expected)
    },
    5_000,
  )

  it('an operationId with a star in it is that one', () => {
    const text = described(['/a'], { operationId: 'a*' }).replace(
      '"paths":{',
      '"paths":{"/b":{"get":{"operationId":"ab"}},',
    )
    const ids = (allow: string): readonly string[] =>
      load(`{ file: api.yaml, allow: ["${allow}"] }`, '', text).rules.map(({ id }) => id)
    expect(ids('a*')).toEqual(['api:a%2A'])
    expect(ids('*')).toEqual(['api:ab', 'api:a%2A'])
  })

  it('an alias in it is read', () => {
    const text =
      'openapi: 3.0.0\nservers: [{ url: https://a.example.com }]\npaths: { /a: &a { get: {} }, /b: *a, /c: { self: &c { of: *c } } }\n'
    expect(load('{ file: api.yaml, allow: ["GET /b"] }', '', text).rules[0]?.match.paths).toEqual(['/b'])
  })

  it('of two with one id, the one that is named by its request', () => {
    const text =
      'openapi: 3.0.0\nservers: [{ url: https://a.example.com }]\npaths: { /a: { get: { operationId: a } }, /b: { put: { operationId: a } } }\n'
    expect(load('{ file: api.yaml, allow: ["PUT /b"] }', '', text).rules.map(({ id }) => id)).toEqual(['api:PUT:/b'])
  })

  it('what policy has against an operation, and against what else the rule says', () => {
    const text =
      'openapi: 3.0.0\nservers: [{ url: https://a.example.com }]\npaths: { "/a%2Fb": { get: {} }, /c: { get: {} } }\n'
    const more = '    clients: [nobody]\n    body: { json: [{ path: a, must: be-absent }] }\n'
    expect(problemsOf('{ file: api.yaml, allow: ["GET /a%2Fb", "GET /c"] }', more, text)).toEqual([
      expect.stringMatching(
        /^4:14 rules\[0\]\.openapi: GET \/a%2Fb: "\/a%2Fb": the rule refuses paths with %2F; add encoded_slash/,
      ),
      expect.stringMatching(/^5:15 rules\[0\]\.clients\[0\]: no client is named "nobody"; /),
      expect.stringMatching(/^6:20 rules\[0\]\.body\.json\[0\]: /),
    ])
  })

  it('of the right rule, behind one that is misshapen and one that stands for many', () => {
    const more =
      '  - id: broken\n    allow: { hosts: a.example.com }\n  - id: next\n    openapi: { file: api.yaml, allow: [issues/gett] }\n  - id: last\n    allow: { hosts: [Upper.example.com] }\n'
    const problems = problemsOf('{ file: api.yaml, allow: ["issues/*"] }', more)
    expect(problems.map((problem) => problem.split(': ')[0])).toEqual([
      '6:21 rules[1].allow.hosts',
      '8:40 rules[2].openapi.allow[0]',
      '10:22 rules[3].allow.hosts[0]',
    ])
  })

  it('an id that another rule has', () => {
    const more = '  - id: api\n    allow: { hosts: [a.example.com] }\n'
    expect(problemsOf('{ file: api.yaml, allow: [issues/get] }', more)).toEqual([
      '3:9 rules[0].id: another rule is called "api"; give each rule its own id',
    ])
  })

  it('a rule that is an allow rule as well', () => {
    expect(problemsOf('{ file: api.yaml, allow: [issues/get] }', '    allow: { hosts: [a.example.com] }\n')).toEqual([
      expect.stringMatching(/^3:\d+ rules\[0\]: a rule allows, denies or passes through; /),
    ])
  })

  it('a path that takes in too many others', () => {
    const openapi = '{ file: api.yaml, allow: ["GET /{x}"] }'
    expect(load(openapi, '', described(['/{x}', ...numbered(256)])).rules[0]?.match.notPaths).toHaveLength(256)
    expect(problemsOf(openapi, '', described(['/{x}', ...numbered(257)]))).toEqual([
      expect.stringMatching(
        /GET \/\{x\}: its path takes in more than 256 that are described as other operations; take it out/,
      ),
    ])
  })

  it('more operations than a description may have', () => {
    const openapi = '{ file: api.yaml, allow: ["GET /0"] }'
    expect(load(openapi, '', described(numbered(10_000))).rules).toHaveLength(1)
    expect(problemsOf(openapi, '', described(numbered(10_001)))).toEqual([
      expect.stringContaining('describes more than 10000 operations; cut it down'),
    ])
  })

  it('an operationId that is no name any more', () => {
    const id = (length: number): string => 'x'.repeat(length)
    const openapi = '{ file: api.yaml, allow: ["x*"] }'
    expect(load(openapi, '', described(['/a'], { operationId: id(256) })).rules[0]?.id).toBe(`api:${id(256)}`)
    expect(problemsOf(openapi, '', described(['/a'], { operationId: id(257) }))).toHaveLength(1)
  })

  it('more rules than a file may have', () => {
    const text = JSON.stringify({
      openapi: '3.0.0',
      servers: Array.from({ length: 50 }, (_, index) => ({ url: `https://a.example.com/v${index}` })),
      paths: Object.fromEntries(Array.from({ length: 201 }, (_, index) => [`/${index}`, { get: {} }])),
    })
    const everything = '{ file: api.yaml, allow: ["GET /0", "tag:*"] }'
    expect(problemsOf(everything, '', text)).toEqual([expect.stringMatching(/no operation has the tag/)])
    const tagged = text.replaceAll('"get":{}', '"get":{"tags":["t"]}')
    expect(problemsOf(everything, '', tagged)).toEqual([
      expect.stringMatching(/rules\[0\]\.openapi\.allow: with this the rules are more than 10000; name fewer/),
    ])
  })
})

describe('tests of the file', () => {
  const run = async (file: string): Promise<string> => {
    const report: string[] = []
    const command = testCommand({ out: (line) => report.push(line), err: () => undefined, colour: false })
    await command.parseAsync(['-c', file], { from: 'user' }).catch(() => undefined)
    return report.join('')
  }
  const tests = (rule: string): string =>
    `tests:\n  - { request: "GET ${ISSUES}/7", expect: allow, rule: "${rule}" }\n  - { request: "GET ${ISSUES}/comments", expect: deny }\n`

  it.each([
    ['the rule as written', 'api', '2 passed, 0 failed'],
    ['one of its operations', 'api:issues/get', '2 passed, 0 failed'],
    ['another operation', 'api:issues/list-for-repo', '1 passed, 1 failed'],
  ])('name %s', async (_, rule, expected) => {
    expect(await run(write('{ file: api.yaml, allow: [issues/get, issues/list-for-repo] }', tests(rule)))).toContain(
      expected,
    )
  })

  it.each([
    [
      'no operation of the rule',
      'api:issues/gett',
      /^6:\d+ tests\[0\]\.rule: no rule is named "api:issues\/gett"; did you mean api:issues\/get\?/,
    ],
    ['an operation that is not allowed', 'api:issues/create', /no rule is named/],
    ['no rule', 'app', /no rule is named "app"; .*\bapi\b/],
  ])('can not name %s', (_, rule, expected) => {
    const problems = problemsOf('{ file: api.yaml, allow: [issues/get] }', tests(rule))
    expect(problems).toHaveLength(1)
    expect(problems[0]).toMatch(expected)
  })

  it('are not blamed for a description that can not be read', () => {
    const problems = problemsOf('{ file: nowhere.yaml, allow: [issues/get] }', tests('api:issues/get'))
    expect(problems).toEqual([expect.stringContaining('nowhere.yaml')])
  })
})

describe('the description', () => {
  it('enters the hash of the configuration as far as it is allowed', () => {
    const hash = (description: string): string => load('{ file: api.yaml, allow: [issues/get] }', '', description).hash
    const before = hash(GITHUB)
    expect(hash(`${GITHUB}\n# a comment\n`)).toBe(before)
    expect(hash(GITHUB.replace('{issue_number}', '{number}'))).toBe(before)
    expect(hash(GITHUB.replace('/issues/{issue_number}', '/issue/{issue_number}'))).not.toBe(before)
    expect(hash(GITHUB.replace('api.github.com', 'api.github.example'))).not.toBe(before)
    expect(hash(GITHUB.replace('/issues/comments', '/issues/remarks'))).not.toBe(before)
  })

  it('has a bound', () => {
    const text = `${GITHUB}#${' '.repeat(MAX_DESCRIPTION_BYTES)}`
    expect(problemsOf('{ file: api.yaml, allow: [issues/get] }', '', text)).toEqual([
      expect.stringContaining('at most 16 MiB'),
    ])
  })

  it.each([
    ['JSON', JSON.stringify(largeDescription(1000)), 1_000],
    ['YAML', asYaml(largeDescription(1000)), 8_000],
  ])('of 1,000 operations in %s is read in time', (_, text, limit) => {
    // Of this process alone: whatever else the machine does meanwhile is not in it.
    const before = process.cpuUsage()
    const config = load('{ file: api.yaml, allow: ["*"] }', '', text)
    const { user, system } = process.cpuUsage(before)
    expect(config.rules).toHaveLength(1000)
    expect((user + system) / 1000).toBeLessThan(limit)
  })
})

describe('docs/openapi.md', () => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/openapi.md'), 'utf8')
  const blocks = [...page.matchAll(/^```yaml\n(.*?)^```/gms)].map(([, text]) => text ?? '')

  it('shows a description and a configuration that pass the tests they bring', async () => {
    const [description = '', configuration = ''] = blocks
    writeFileSync(join(folder, 'github.yaml'), description)
    const file = join(folder, 'docs.yaml')
    writeFileSync(file, configuration)
    const loaded = loadConfig(file, {})
    expect(loaded.ok ? [] : loaded.problems).toEqual([])
    expect(loaded.ok && loaded.config.tests.length).toBeGreaterThan(3)
    const report: string[] = []
    const command = testCommand({ out: (line) => report.push(line), err: () => undefined, colour: false })
    await command.parseAsync(['-c', file], { from: 'user' }).catch(() => undefined)
    expect(report.join('')).toContain(', 0 failed')
  })
})
