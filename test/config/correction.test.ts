// Thirty slips and more, each answered with the text to write in its place.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { VALUE_CORRECTIONS } from '../../src/config/correction-value.ts'
import { loadConfig } from '../../src/config/load.ts'
import { formatProblem } from '../../src/config/problem.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-slips-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What is printed under the line: `place: fix`, or the fix alone where there is no place. */
function fixes(text: string): string[] {
  const file = join(folder, 'mcp-egress.yaml')
  writeFileSync(file, text)
  const loaded = loadConfig(file, {})
  if (loaded.ok) return ['valid']
  return loaded.problems.map((problem) => {
    const printed = formatProblem(problem, loaded.lines, null)
    expect(printed).toMatch(/\n {4}\d \| .*\n {6}\| +\^\n {2}fix: \S/)
    return `${problem.at}: ${problem.fix}`
  })
}

/** One rule; what stands in it. */
const rule = (text: string): string =>
  `version: 1\nclients: [{ name: github-mcp, source: [10.0.0.1] }]\nrules:\n  - id: a\n    ${text}\n`
const allow = (text: string, beside = ''): string => rule(`allow: { ${text} }${beside === '' ? '' : `\n    ${beside}`}`)
const HOST = 'hosts: [a.example.com]'

describe('a slip in', () => {
  it.each<[string, string, string]>([
    ['the name of a matcher', allow(`${HOST}, method: [GET]`), 'rules[0].allow.method: did you mean methods?'],
    ['hosts', allow('host: a.example.com'), 'rules[0].allow.host: did you mean hosts?'],
    [
      'encoded_slash',
      allow(`${HOST}, encodedSlash: allow`),
      'rules[0].allow.encodedSlash: did you mean encoded_slash?',
    ],
    ['rules', 'version: 1\nrule: []\n', 'rule: did you mean rules?'],
    ['a matcher beside the kind', allow(HOST, 'methods: [GET]'), 'rules[0].methods: move it into allow'],
    [
      'a setting among the matchers',
      allow(`${HOST}, rate: {}`),
      'rules[0].allow.rate: move it out of allow, beside it',
    ],
    [
      'a rule outside of one',
      'version: 1\ndeny: [a.example.com]\n',
      'deny: write it in a rule: rules: [{ id: api, deny: { hosts: ["**.example.com"] } }]',
    ],
    [
      'what passthrough sees',
      rule(`passthrough: { ${HOST}, paths: [/a] }`),
      'rules[0].passthrough.paths: remove it: passthrough never sees a request, only the name of the host',
    ],
    ['two kinds at once', allow(HOST, `deny: { ${HOST} }`), 'rules[0]: make it 2 rules, each with an id of its own'],
    ['no kind', rule('audit: headers'), 'rules[0]: add allow: { hosts: [api.example.com] }'],
    ['a text for a list', allow('hosts: a.example.com'), 'rules[0].allow.hosts: write ["a.example.com"]'],
    ['a text for methods', allow(`${HOST}, methods: "get, post"`), 'rules[0].allow.methods: write [GET, POST]'],
    ['a list for a value', allow(HOST, 'audit: [body]'), 'rules[0].audit: write body'],
    [
      'a list for a text',
      'version: 1\nrules: [{ id: [a], allow: { hosts: [a.example.com] } }]\n',
      'rules[0].id: write a',
    ],
    ['true for a map', rule('allow: true'), 'rules[0].allow: write { hosts: [api.example.com] }'],
    ['true for a list', allow(`${HOST}, upgrade: true`), 'rules[0].allow.upgrade: write [websocket]'],
    ['a host for a map', rule('allow: a.example.com'), 'rules[0].allow: write { hosts: [a.example.com] }'],
    [
      'hosts for a map',
      rule('allow: ["*.example.com", b.example.com]'),
      'rules[0].allow: write { hosts: ["*.example.com", b.example.com] }',
    ],
    ['rules by name', 'version: 1\nrules: { api: {} }\n', 'rules: write each as an entry of a list: - id: api'],
    [
      'clients by name',
      'version: 1\nclients: { mail: {} }\n',
      'clients: write each as an entry of a list: - name: mail',
    ],
    [
      'a rule that is a word',
      'version: 1\nrules: [allow]\n',
      'rules[0]: write { id: api, allow: { hosts: [api.example.com] } }',
    ],
    ['a number for a rate', allow(HOST, 'rate: 30'), 'rules[0].rate: write { requests: 30, per: minute }'],
    [
      'a number for the rate of a method',
      allow(HOST, 'mcp: { tools: [a], rates: { tools/call: 30 } }'),
      'rules[0].mcp.rates.tools/call: write { requests: 30, per: minute }',
    ],
    ['no operations', allow(HOST, 'graphql: {}'), 'rules[0].graphql.operations: add operations: [query]'],
    [
      'no hosts of a secret',
      'version: 1\nsecrets: [{ match: github_token }]\n',
      'secrets[0].only_to: add only_to: ["**.github.com"]',
    ],
    ['a path for the shapes', 'version: 1\nshapes: a.json\n', 'shapes: write { path: shapes.json }'],
    ['no version', 'rules: []\n', 'version: add version: 1'],
    ['no hosts', rule('allow: { methods: [GET] }'), 'rules[0].allow.hosts: add hosts: [api.example.com]'],
    [
      'no value',
      allow(HOST, 'body: { json: [{ path: $.a, must: match }] }'),
      'rules[0].body.json[0].value: add value: a text',
    ],
    ['mode', 'version: 1\nmode: Enforced\n', 'mode: write enforce'],
    [
      'a reason',
      'version: 1\ntests: [{ request: "GET https://a.example.com/", expect: deny, reason: no_match_rule }]\n',
      'tests[0].reason: write no_matching_rule',
    ],
    ['what nobody can guess', 'version: 1\nmode: x\n', 'mode: write enforce or observe'],
    [
      'must',
      allow(HOST, 'body: { json: [{ path: $.a, must: absent }] }'),
      'rules[0].body.json[0].must: write be-absent',
    ],
    [
      'the path of a member',
      allow(HOST, 'body: { json: [{ path: a.b, must: be-absent }] }'),
      'rules[0].body.json[0]: write path: $.a.b',
    ],
    [
      'a body',
      allow(HOST, 'body: [{ path: $.a, must: be-absent }]'),
      'rules[0].body: write { json: [...] } around the list',
    ],
    ['a rate', allow(HOST, 'rate: 100/s'), 'rules[0].rate: write { requests: 100, per: second }'],
    ['the unit of a rate', allow(HOST, 'rate: { requests: 60, per: min }'), 'rules[0].rate.per: write minute'],
    ['a number in quotes', allow(`${HOST}, ports: ["8443"]`), 'rules[0].allow.ports[0]: write 8443, without quotes'],
    ['one port', allow(`${HOST}, ports: "8443"`), 'rules[0].allow.ports: write [8443]'],
    ['a client', allow(HOST, 'clients: [github]'), 'rules[0].clients[0]: did you mean github-mcp?'],
    [
      'a rule of a test',
      `${allow(HOST)}tests: [{ request: "GET https://a.example.com/", expect: allow, rule: b }]\n`,
      'tests[0].rule: known: a',
    ],
    [
      'a client of a test',
      `${allow(HOST)}tests: [{ client: github_mcp, request: "GET https://a.example.com/", expect: allow }]\n`,
      'tests[0].client: did you mean github-mcp?',
    ],
    [
      'how a client is known',
      'version: 1\nclients: [{ name: a }]\n',
      'clients[0].source: write source: [172.30.0.5], or token: ${NAME}, and not both',
    ],
    [
      'the classes that are denied',
      'version: 1\nupstream: { deny: [private] }\n',
      'upstream.deny: write [metadata, private]',
    ],
    ['a listener', 'version: 1\nlisten: { proxy: 3128 }\n', 'listen.proxy: write 127.0.0.1:3128'],
    ['a secret', 'version: 1\nadmin: { token: $ADMIN_TOKEN }\n', 'admin.token: write ${ADMIN_TOKEN}'],
    ['a switch', 'version: 1\naudit: { compress: yes }\n', 'audit.compress: write true'],
    [
      'an address with its prefix',
      'version: 1\nclients: [{ name: a, source: [10.20.0.1/16] }]\n',
      'clients[0].source[0]: write 10.20.0.0/16',
    ],
    [
      'an entry of openapi',
      rule('openapi: { file: a.yaml, allow: issues/get }'),
      'rules[0].openapi.allow: write ["issues/get"]',
    ],
    ['something far from everything', 'version: 1\nzzzz: 1\n', 'zzzz: known here: version'],
  ])('%s', (_, text, expected) => {
    const [first = ''] = fixes(text).filter((line) => line.startsWith(expected.slice(0, expected.indexOf(': '))))
    expect(first.slice(0, expected.endsWith('version') ? expected.length : undefined)).toBe(expected)
  })

  it('a misspelt key is not a missing one as well', () => {
    expect(fixes(allow('host: a.example.com'))).toEqual(['rules[0].allow.host: did you mean hosts?'])
  })

  it('an action of another product', () => {
    expect(fixes(rule(`action: deny\n    ${HOST}`))).toEqual([
      'rules[0]: add allow: { hosts: [api.example.com] }',
      'rules[0].action: write deny: { hosts: ["**.example.com"] } in its place',
      'rules[0].hosts: move it into allow',
    ])
  })
})

describe('a line that is no YAML:', () => {
  it.each<[string, string, string]>([
    ['a tab', 'version: 1\nrules:\n\t- id: a\n', ': indent with spaces'],
    ['no colon', 'version: 1\nmode enforce\n', ': write mode: enforce'],
    ['no blank', 'version: 1\nmode:enforce\n', ': write mode: enforce'],
    ['no colon before a brace', rule('allow { hosts: [a.example.com] }'), ': write allow: {'],
    [
      'no closing bracket',
      rule('allow: { hosts: [a.example.com }'),
      ': write ] where it ends, and check the indentation',
    ],
    ['no closing brace', rule('allow: { hosts: [a.example.com]'), ': write } where it ends, and check the indentation'],
    ['a key twice', allow(HOST, `allow: { ${HOST} }`), ': keep one of the two'],
    ['a star without quotes', allow('hosts: [*.example.com]'), ': write "*.example.com"'],
    ['two stars without quotes', allow('hosts: [**.example.com]'), ': write "**.example.com"'],
    [
      'an alias',
      'version: 1\nca: { directory: &a certs }\naudit: { path: *a }\n',
      ': write the value out, so that each rule can be read by itself',
    ],
    [
      'what nobody can guess',
      'version: 1\n"mode: enforce\n',
      ': check the indentation, the quotes and the brackets around here',
    ],
  ])('%s', (_, text, expected) => {
    expect(fixes(text)).toEqual([expected])
  })
})

const SLIPS: readonly (readonly [string, string])[] = [
  ['rules.hosts', 'https://API.example.com/v1'],
  ['rules.hosts', '*example.com'],
  ['rules.paths', '/repos/{owner}/x'],
  ['rules.paths', '^/v1/.*$'],
  ['rules.paths', '/bücher und'],
  ['rules.request_bytes', '1.5mb'],
  ['rules.request_bytes', '10k'],
  ['listen.proxy', '::1:3128'],
  ['listen.proxy', ':3128'],
  ['clients.source', '2001:db8::1/32'],
  ['clients.source', '10.20.30.40/12'],
  ['shutdown.grace', '5 minutes'],
]

describe('a value', () => {
  it.each<[string, string, string | null]>([
    ['rules.hosts', 'https://API.example.com/v1?x=1', 'write api.example.com, and beside hosts paths: [/v1]'],
    [
      'rules.hosts',
      'http://api.example.com:8080',
      'write api.example.com, and beside hosts schemes: [http], ports: [8080]',
    ],
    ['rules.hosts', 'api.example.com.', 'write api.example.com'],
    ['rules.hosts', 'api.example.com:443', 'write api.example.com'],
    [
      'rules.hosts',
      '.example.com',
      'write "*.example.com" for one label more, "**.example.com" for it and all below it',
    ],
    [
      'rules.hosts',
      '*example.com',
      'write "*.example.com" for one label more, "**.example.com" for it and all below it',
    ],
    [
      'rules.hosts',
      'api*.example.com',
      'write "*.example.com" for one label more, "**.example.com" for it and all below it',
    ],
    ['rules.hosts', 'a.*.com', null],
    ['rules.hosts', '*.com', null],
    ['rules.hosts', '*.example.*', null],
    ['rules.hosts', '10.0.0.0/8', 'write the addresses one by one: a host is no block of them'],
    ['rules.hosts', 'user:secret@api.example.com', null],
    ['rules.paths', 'repos/acme', 'write /repos/acme'],
    ['rules.paths', '/repos/{owner}/{repo}', 'write "/repos/*/*"'],
    ['rules.paths', 'https://api.example.com/v1/a?b=c', 'write /v1/a'],
    ['rules.paths', '^/v1/.*$', 'write "/v1/**"'],
    ['rules.paths', '^/v1/[^/]+/x$', 'write "/v1/*/x"'],
    ['rules.paths', '/a//b', 'write /a/b'],
    ['rules.paths', '/***', 'write "/**"'],
    ['rules.paths', '/bücher und', 'write /b%C3%BCcher%20und'],
    ['rules.paths', '/%7euser', 'write /~user'],
    ['rules.paths', '/a/../b', null],
    ['rules.paths', '/\ud800', null],
    ['rules.paths', '/a', null],
    ['rules.methods', 'get', 'write GET'],
    ['rules.methods', 'GET|POST', 'write GET, POST, each as its own entry'],
    ['rules.methods', 'G@T', null],
    ['rules.methods', 'g'.repeat(1_025), null],
    ['rules.ports', '443', 'write 443, without quotes'],
    ['rules.ports', 'https', null],
    ['rules.schemes', 'HTTPS://', 'write https'],
    ['rules.schemes', 'ftp', null],
    ['rules.upgrade', 'WebSocket', 'write websocket'],
    ['rules.upgrade', 'H2C', null],
    ['rules.request_bytes', '1mb', 'write 1MB'],
    ['rules.request_bytes', '10k', 'write 10KB'],
    ['rules.request_bytes', '2 mib', 'write 2MiB'],
    ['rules.request_bytes', '1.5GB', 'write 1500MB'],
    ['rules.request_bytes', '1.5MiB', null],
    ['rules.request_bytes', '1MB', null],
    ['rules.request_bytes', 'much', null],
    ['clients.source', '2001:db8::1/32', 'write 2001:db8::/32'],
    ['clients.source', '10.0.0.1/33', null],
    ['clients.source', 'localhost', null],
    ['tests.request', 'https://a.example.com/', 'write "GET https://a.example.com/"'],
    ['tests.request', 'get a.example.com/x', 'write "GET https://a.example.com/x"'],
    ['tests.request', 'GET', null],
    ['shutdown.grace', '8', 'write 8s'],
    ['shutdown.grace', '5 minutes', 'write 5m'],
    ['shutdown.grace', '100msec', 'write 100ms'],
    ['shutdown.grace', '11m', null],
    ['shutdown.grace', 'soon', null],
    ['rules.id', 'my rule!', 'write my-rule'],
    ['rules.id', '!', null],
    ['clients.token', '{{ env.A_TOKEN }}', 'write ${A_TOKEN}'],
    ['clients.token', '%A_TOKEN%', 'write ${A_TOKEN}'],
    ['clients.token', 'hunter2', null],
    ['clients.token', '$hunter2', null],
    ['audit.sign', 'off', 'write false'],
    ['audit.sign', 'maybe', null],
    ['listen.proxy', 'localhost:3128', 'write 127.0.0.1:3128'],
    ['listen.proxy', ':3128', 'write 127.0.0.1:3128'],
    ['listen.proxy', '*:3128', 'write 0.0.0.0:3128'],
    ['listen.proxy', '::1:3128', 'write "[::1]:3128"'],
    ['listen.proxy', 'http://127.0.0.1:3128/', 'write 127.0.0.1:3128'],
    ['listen.proxy', 'proxy.example.com:3128', null],
    ['listen.proxy', '127.0.0.1:99999', null],
  ])('of %s: %s', (name, written, expected) => {
    expect(VALUE_CORRECTIONS.get(name)?.(written)).toBe(expected)
  })

  it('of any length and form is answered, and nothing of a secret is repeated', () => {
    const isSound = (name: string, written: string): boolean => {
      const fix = VALUE_CORRECTIONS.get(name)?.(written) ?? null
      if (fix === null) return true
      return written.length <= 1_024 && (!name.endsWith('.token') || /^write \$\{[A-Z0-9_]+\}$/.test(fix))
    }
    const texts = fc.string({ unit: 'binary', maxLength: 2_000 })
    const all = fc.property(fc.constantFrom(...VALUE_CORRECTIONS.keys()), texts, isSound)
    expect(() => fc.assert(all, { numRuns: 2_000 })).not.toThrow()
  })

  it.each(
    [
      ['rules.hosts', (text: string) => allow(`hosts: [${text}]`)],
      ['rules.paths', (text: string) => allow(`${HOST}, paths: [${text}]`)],
      ['rules.request_bytes', (text: string) => allow(HOST, `limits: { request_bytes: ${text} }`)],
      ['listen.proxy', (text: string) => `version: 1\nlisten: { proxy: ${text} }\n`],
      ['clients.source', (text: string) => `version: 1\nclients: [{ name: a, source: [${text}] }]\n`],
      ['shutdown.grace', (text: string) => `version: 1\nshutdown: { grace: ${text} }\n`],
    ].flatMap(([name, file]) =>
      SLIPS.filter(([of]) => of === name).map(
        ([, written]) => [name, written, file] as [string, string, (text: string) => string],
      ),
    ),
  )('of %s that is written as the fix says is right: %s', (name, written, file) => {
    const fix = VALUE_CORRECTIONS.get(name)?.(written) ?? ''
    const [, text = ''] = /^write ("[^"]*"|[^\s,]+)/.exec(fix) ?? []
    expect(fixes(file(text))).toEqual(['valid'])
  })
})
