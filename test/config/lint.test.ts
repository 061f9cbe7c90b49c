// What is legal and can hardly be meant is said; what may be meant is not.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { parse } from 'tldts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { lint } from '../../src/config/lint.ts'
import { SHARED_DOMAINS } from '../../src/config/lint-shared-domains.ts'
import { type Config, loadConfig } from '../../src/config/load.ts'
import { type Host, parseHost } from '../../src/core/address.ts'
import { compilePathGlob, matchPathGlob } from '../../src/core/glob.ts'
import { parseHostPattern } from '../../src/core/host-pattern.ts'
import { parseOriginForm } from '../../src/core/path.ts'
import { decide } from '../../src/core/policy.ts'
import { compileRule } from '../../src/core/rule-compile.ts'

const ENV = { A_TOKEN: 'a-token-of-some-length' }

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-lint-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function load(text: string): Config {
  const file = join(folder, 'mcp-egress.yaml')
  writeFileSync(file, text)
  const loaded = loadConfig(file, ENV)
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
  return loaded.config
}

/** Each as `place: message`, the place without its section. */
function lints(text: string): string[] {
  return lint(load(text)).map(({ place, message, fix }) => {
    expect(fix).not.toBe('')
    return `${place.slice(1).join('.')}: ${message}`
  })
}

const rules = (...lines: readonly string[]): string =>
  `version: 1\nclients:\n  - { name: a, source: [10.0.0.1] }\n  - { name: b, source: [10.0.0.2] }\nrules:\n${lines.map((line) => `  - { ${line} }\n`).join('')}`

describe('of rules beside each other', () => {
  it.each<[string, readonly string[], readonly string[]]>([
    [
      'an allow rule that a deny rule covers',
      ['id: r, allow: { hosts: [x.example.com], methods: [GET] }', 'id: no, deny: { hosts: ["**.example.com"] }'],
      ['0: unreachable: rule no denies all of its requests'],
    ],
    [
      'a passthrough rule that a deny rule covers',
      ['id: r, passthrough: { hosts: [x.example.com] }', 'id: no, deny: { hosts: ["*"] }'],
      ['0: unreachable: rule no denies all of its requests'],
    ],
    [
      'an allow rule whose hosts are denied by two',
      [
        'id: r, allow: { hosts: [x.example.com, y.example.com] }',
        'id: no-x, deny: { hosts: [x.example.com] }',
        'id: no-y, deny: { hosts: [y.example.com] }',
      ],
      ['0: unreachable: rules no-x and no-y deny all of its requests'],
    ],
    [
      'one host of two that is denied',
      ['id: r, allow: { hosts: [x.example.com, y.example.com] }', 'id: no, deny: { hosts: [y.example.com] }'],
      ['0.allow.hosts.1: y.example.com is never allowed here: rule no denies all of it'],
    ],
    [
      'one method that is denied',
      [
        'id: r, allow: { hosts: [x.example.com], methods: [GET, DELETE] }',
        'id: no, deny: { hosts: ["*"], methods: [DELETE] }',
      ],
      ['0.allow.methods.1: DELETE is never allowed here: rule no denies all of it'],
    ],
    [
      'a method of read-only that is denied',
      [
        'id: r, allow: { hosts: [x.example.com], access: read-only }',
        'id: no, deny: { hosts: ["*"], methods: [OPTIONS] }',
      ],
      ['0.allow.access: OPTIONS is never allowed here: rule no denies all of it'],
    ],
    [
      'one path that is denied',
      [
        'id: r, allow: { hosts: [x.example.com], paths: [/a, /admin/x] }',
        'id: no, deny: { hosts: ["*"], paths: ["/admin/**"] }',
      ],
      ['0.allow.paths.1: /admin/x is never allowed here: rule no denies all of it'],
    ],
    [
      'one client that is denied',
      ['id: r, clients: [a, b], allow: { hosts: [x.example.com] }', 'id: no, clients: [b], deny: { hosts: ["*"] }'],
      ['0.clients.1: b is never allowed here: rule no denies all of it'],
    ],
    [
      'body conditions that a wider rule does without',
      [
        'id: mail, allow: { hosts: [x.example.com], methods: [POST], paths: [/email] }, body: { json: [{ path: $.Bcc, must: be-absent }] }',
        'id: all, allow: { hosts: ["**.example.com"] }',
      ],
      ['0.body: its body conditions never count: rule all allows the same requests without them'],
    ],
    [
      'body conditions that a wider rule has fewer of',
      [
        'id: mail, allow: { hosts: [x.example.com] }, body: { json: [{ path: $.Bcc, must: be-absent }, { path: $.Cc, must: be-absent }] }',
        'id: all, allow: { hosts: ["**.example.com"] }, body: { json: [{ path: $.Cc, must: be-absent }] }',
      ],
      ['0.body: its body conditions never count: rule all allows the same requests with fewer of them'],
    ],
    [
      'body conditions that count for one path only',
      [
        'id: mail, allow: { hosts: [x.example.com], methods: [POST], paths: [/email, /batch] }, body: { json: [{ path: $.Bcc, must: be-absent }] }',
        'id: all, allow: { hosts: [x.example.com], paths: ["/b*"] }',
      ],
      ['0.allow.paths.1: its body conditions never count for /batch: rule all allows the same requests without them'],
    ],
    [
      'tools that another rule leaves open',
      [
        'id: tools, allow: { hosts: [x.example.com], methods: [POST] }, mcp: { tools: [list] }',
        'id: all, allow: { hosts: [x.example.com] }',
      ],
      ['0.mcp: its conditions on MCP never count: rule all allows the same requests without them'],
    ],
    [
      'a rule that stands there twice',
      ['id: r, allow: { hosts: [x.example.com] }', 'id: again, allow: { hosts: [x.example.com] }'],
      ['1: shadowed: rule r, earlier in the file, decides all of its requests'],
    ],
    [
      'a rate that never counts',
      [
        'id: r, allow: { hosts: [x.example.com] }',
        'id: slow, allow: { hosts: [x.example.com], methods: [GET] }, rate: { requests: 1, per: minute }',
      ],
      ['1: shadowed: rule r, earlier in the file, decides all of its requests, which leaves its rate without effect'],
    ],
    [
      'a rule for less than another one allows',
      ['id: read, allow: { hosts: [x.example.com], methods: [GET] }', 'id: all, allow: { hosts: ["**.example.com"] }'],
      ['0: without effect: rule all allows all of its requests, and more'],
    ],
    [
      'a deny rule for less than another one denies',
      ['id: no-a, deny: { hosts: [x.example.com], paths: [/a] }', 'id: no, deny: { hosts: [x.example.com] }'],
      ['0: without effect: rule no denies all of its requests, and more'],
    ],
    [
      'a rate of what is passed through',
      [
        'id: r, allow: { hosts: [x.example.com] }, rate: { requests: 1, per: minute }',
        'id: p, passthrough: { hosts: ["*.example.com"] }',
      ],
      ['0.rate: its rate does not count for what rule p passes through unseen, which is all of its hosts'],
    ],
  ])('%s', (_, lines, expected) => {
    expect(lints(rules(...lines))).toEqual(expected)
  })

  it.each<[string, readonly string[]]>([
    [
      'a deny rule for some of it',
      ['id: r, allow: { hosts: [x.example.com] }', 'id: no, deny: { hosts: ["*"], methods: [DELETE] }'],
    ],
    [
      'a deny rule for upgrades',
      ['id: r, allow: { hosts: [x.example.com] }', 'id: no, deny: { hosts: ["*"], upgrade: [websocket] }'],
    ],
    [
      'a more specific rule with a rate',
      [
        'id: all, allow: { hosts: ["**.example.com"] }',
        'id: slow, allow: { hosts: [x.example.com] }, rate: { requests: 1, per: minute }',
      ],
    ],
    [
      'a more specific rule that is spared a rate',
      [
        'id: free, allow: { hosts: [x.example.com] }',
        'id: slow, allow: { hosts: ["**.example.com"] }, rate: { requests: 1, per: minute }',
      ],
    ],
    [
      'a rate in the earlier rule',
      [
        'id: slow, allow: { hosts: [x.example.com], methods: [GET] }, rate: { requests: 1, per: minute }',
        'id: all, allow: { hosts: [x.example.com] }',
      ],
    ],
    [
      'conditions that one client is spared',
      [
        'id: mail, allow: { hosts: [x.example.com] }, body: { json: [{ path: $.Bcc, must: be-absent }] }',
        'id: all, clients: [a], allow: { hosts: [x.example.com] }',
      ],
    ],
    [
      'a rule for the same that records more',
      ['id: all, allow: { hosts: ["**.example.com"] }', 'id: seen, allow: { hosts: [x.example.com] }, audit: headers'],
    ],
    [
      'conditions on other kinds of bodies',
      [
        'id: json, allow: { hosts: [x.example.com] }, body: { json: [{ path: $.Bcc, must: be-absent }] }',
        'id: form, allow: { hosts: [x.example.com] }, body: { form: [{ field: Bcc, must: be-absent }] }',
      ],
    ],
    [
      'passthrough of one host of several',
      [
        'id: r, allow: { hosts: ["*.example.com"] }, rate: { requests: 1, per: minute }',
        'id: p, passthrough: { hosts: [x.example.com] }',
      ],
    ],
  ])('nothing of %s', (_, lines) => {
    expect(lints(rules(...lines))).toEqual([])
  })

  it('no rule that is called shadowed or unreachable ever decides', () => {
    const values = <T extends string>(...all: readonly T[]) => fc.subarray([...all], { minLength: 1, maxLength: 2 })
    const spec = fc.record({
      kind: fc.constantFrom('allow', 'allow', 'deny'),
      hosts: values('x.example.com', '"*.example.com"', '"**.example.com"'),
      methods: values('GET', 'POST'),
      paths: values('/a', '"/a/*"', '"/**"'),
      bcc: fc.boolean(),
    })
    let said = 0
    fc.assert(
      fc.property(fc.array(spec, { minLength: 2, maxLength: 4 }), (specs) => {
        const lines = specs.map(({ kind, hosts, methods, paths, bcc }, index) => {
          const body = bcc && kind === 'allow' ? ', body: { json: [{ path: $.Bcc, must: be-absent }] }' : ''
          return `id: r${index}, ${kind}: { hosts: [${hosts.join()}], methods: [${methods.join()}], paths: [${paths.join()}] }${body}`
        })
        const config = load(rules(...lines))
        const silent = lint(config).filter(
          ({ place, message }) => place.length === 2 && /^(?:unreachable|shadowed)/.test(message),
        )
        said += silent.length
        const ids = silent.map(({ place }) => `r${String(place[1])}`)
        for (const name of ['x.example.com', 'example.com', 'y.x.example.com']) {
          for (const method of ['GET', 'POST']) {
            for (const path of ['/a', '/a/b', '/c']) {
              const verdict = decide(config.policy, {
                client: 'a',
                scheme: 'https',
                method,
                host: parseHost(name) as Host,
                port: 443,
                path,
                encodedSlash: false,
                target: path,
                upgrade: null,
                overrideHeaders: [],
              })
              const rule =
                verdict.kind === 'permit'
                  ? verdict.permit.rule
                  : verdict.kind === 'needs-body'
                    ? verdict.candidates[0]?.rule
                    : verdict.rule
              expect(ids).not.toContain(rule)
            }
          }
        }
      }),
      { numRuns: 300 },
    )
    expect(said).toBeGreaterThan(30)
  })

  it('in seconds for two thousand rules of one host', () => {
    const many = Array.from(
      { length: 2_000 },
      (_, index) => `id: r${index}, allow: { hosts: [x.example.com], paths: [/p${index}] }`,
    )
    const config = load(rules(...many))
    const start = performance.now()
    expect(lint(config)).toEqual([])
    expect(performance.now() - start).toBeLessThan(5_000)
  })
})

describe('of one rule', () => {
  it.each<[string, string, string]>([
    [
      'a forbidden address',
      'allow: { hosts: [10.0.0.5] }',
      '0.allow.hosts.0: 10.0.0.5 is never allowed: it is a private address, and those are not dialled',
    ],
    [
      'a metadata service',
      'allow: { hosts: [169.254.169.254], schemes: [http] }',
      '0.allow.hosts.0: 169.254.169.254 is never allowed: it is a metadata address, and those are not dialled',
    ],
    [
      'CONNECT',
      'allow: { hosts: [x.example.com], methods: [CONNECT] }',
      '0.allow.methods.0: no request that is judged has the method CONNECT: what is inside the tunnel is judged',
    ],
    [
      'a star among the methods',
      'allow: { hosts: [x.example.com], methods: ["*"] }',
      '0.allow.methods.0: * is a method of its own here, and no wildcard',
    ],
    [
      'a method with a slip',
      'deny: { hosts: [x.example.com], methods: [DELTE] }',
      '0.deny.methods.0: DELTE is no common method',
    ],
    [
      'conditions on what has no body',
      'allow: { hosts: [x.example.com], access: read-only }, body: { json: [{ path: $.Bcc, must: be-absent }] }',
      '0.body: requests by GET and HEAD and OPTIONS have no body, and without one no condition holds: the rule allows nothing',
    ],
    [
      'MCP without POST',
      'allow: { hosts: [x.example.com], methods: [GET] }, mcp: { tools: [a] }',
      '0.mcp: its messages are sent by POST, not by GET',
    ],
    [
      'GraphQL without POST',
      'allow: { hosts: [x.example.com], methods: [PUT] }, graphql: { operations: [query] }',
      '0.graphql: its messages are sent by POST, not by PUT',
    ],
    [
      'a template of a router',
      'allow: { hosts: [x.example.com], paths: ["/users/:id/keys"] }',
      '0.allow.paths.0: a colon has no meaning in a path',
    ],
    [
      'the port of plain HTTP',
      'allow: { hosts: [x.example.com], ports: [80] }',
      '0.allow.ports.0: port 80 is opened for https alone',
    ],
    [
      'the port of HTTPS',
      'allow: { hosts: [x.example.com], schemes: [http], ports: [443] }',
      '0.allow.ports.0: port 443 is opened for http alone',
    ],
    [
      'an upgrade that is never carried',
      'allow: { hosts: [x.example.com], upgrade: [h2c] }',
      '0.allow.upgrade.0: h2c is never carried',
    ],
    [
      'a WebSocket without GET',
      'allow: { hosts: [x.example.com], methods: [POST], upgrade: [websocket] }',
      '0.allow.upgrade.0: a WebSocket is asked for by GET (RFC 6455 §4.1)',
    ],
    [
      'a value twice',
      'allow: { hosts: [x.example.com], paths: [/a, /b, /a] }',
      '0.allow.paths.2: /a stands in the list twice',
    ],
    [
      'domains of strangers',
      'allow: { hosts: ["**.amazonaws.com"] }',
      '0.allow.hosts.0: **.amazonaws.com reaches domains of several owners: anybody can have a name below some of its names',
    ],
  ])('%s', (_, rule, expected) => {
    expect(lints(rules(`id: r, ${rule}`))).toEqual([expected])
  })

  it.each([
    ['an address that is opened', 'allow: { hosts: [8.8.8.8] }'],
    ['a forbidden address that is denied', 'deny: { hosts: [10.0.0.5] }'],
    ['another method', 'allow: { hosts: [x.example.com], methods: [PROPFIND, PURGE] }'],
    [
      'conditions on POST',
      'allow: { hosts: [x.example.com], methods: [GET, POST] }, body: { json: [{ path: $.Bcc, must: be-absent }] }',
    ],
    ['MCP with any method', 'allow: { hosts: [x.example.com] }, mcp: { tools: [a] }'],
    ['custom verbs in paths', 'allow: { hosts: [x.example.com], paths: ["/v1/users:batchGet"] }'],
    ['both schemes', 'allow: { hosts: [x.example.com], schemes: [http, https], ports: [80, 443] }'],
    ['another port', 'allow: { hosts: [x.example.com], ports: [8080] }'],
    ['a WebSocket', 'allow: { hosts: [x.example.com], methods: [GET], upgrade: [websocket] }'],
    ['one label below shared names', 'allow: { hosts: ["*.amazonaws.com"] }'],
    ['shared names that are denied', 'deny: { hosts: ["**.amazonaws.com"] }'],
    ['domains of one owner', 'allow: { hosts: ["**.github.com"] }'],
  ])('nothing of %s', (_, rule) => {
    expect(lints(rules(`id: r, ${rule}`))).toEqual([])
  })

  it('of an API description, each at its operation', () => {
    writeFileSync(
      join(folder, 'api.yaml'),
      'openapi: 3.0.3\ninfo: { title: t, version: "1" }\nservers: [{ url: "https://x.example.com" }]\npaths:\n  /a: { get: { operationId: a, responses: {} } }\n',
    )
    const text = rules('id: api, openapi: { file: api.yaml, allow: [a] }', 'id: no, deny: { hosts: [x.example.com] }')
    const [found] = lint(load(text))
    expect(found).toMatchObject({
      place: ['rules', 0, 'openapi'],
      message: 'GET /a: unreachable: rule no denies all of its requests',
    })
  })
})

describe('of clients', () => {
  it.each<[string, string, readonly string[]]>([
    [
      'one that no rule is for',
      rules('id: r, clients: [a], allow: { hosts: [x.example.com] }', 'id: no, clients: [b], deny: { hosts: ["*"] }'),
      ['1.name: no rule allows client b anything'],
    ],
    [
      'one that can not say who it is',
      'version: 1\nlisten: { transparent: "127.0.0.1:15001" }\nclients: [{ name: a, token: "${A_TOKEN}" }]\nrules: [{ id: r, allow: { hosts: [x.example.com] } }]\n',
      ['0.token: nobody can say to be client a: credentials are taken by listen.proxy alone'],
    ],
    ['none without rules', 'version: 1\nclients: [{ name: a, source: [10.0.0.1] }]\n', []],
  ])('%s', (_, text, expected) => {
    expect(lints(text)).toEqual(expected)
  })
})

describe('what is left for no lint', () => {
  it('a path glob that no canonical path matches: none compiles', () => {
    const piece = fc.constantFrom('/', 'a', '.', '..', '*', '**', '%2F', '%41', '%', ';', '\\', 'b', '~')
    let kept = 0
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
        const text = `/${pieces.join('')}`
        let problems = 0
        const match = { hosts: ['x.example.com'], paths: [text], encodedSlash: true }
        compileRule({ id: 'r', kind: 'allow', match }, 0, new Set(), () => {
          problems += 1
        })
        if (problems > 0) return
        kept += 1
        const path = text.replaceAll('**', 'x').replaceAll('*', 'x')
        const parsed = parseOriginForm(path)
        expect(parsed).toMatchObject({ kind: 'ok', path })
        expect(matchPathGlob(compilePathGlob(text), path)).toBe(true)
      }),
      { numRuns: 3_000 },
    )
    expect(kept).toBeGreaterThan(200)
  })

  it('the shared names are those of the list that tldts brings: node scripts/shared-domains.mjs writes them', () => {
    const script = join(import.meta.dirname, '../../scripts/shared-domains.mjs')
    const code = `import(${JSON.stringify(script)}).then(({ sharedDomains }) => console.log(JSON.stringify(sharedDomains())))`
    expect(SHARED_DOMAINS).toEqual(JSON.parse(execFileSync(process.execPath, ['-e', code], { encoding: 'utf8' })))
    expect(SHARED_DOMAINS).toContain('core.windows.net')
  })

  it('a wildcard over a public suffix: it is an error', () => {
    for (const base of ['com', 'co.uk', 'github.io', 's3.amazonaws.com']) {
      expect(parseHostPattern(`**.${base}`, true).kind).toBe('bad')
      expect(parse(`x.${base}`, { allowPrivateDomains: true }).publicSuffix).toBe(base)
    }
  })
})
