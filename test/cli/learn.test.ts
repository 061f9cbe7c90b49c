// What a trail teaches: rules for what left, comments that say from what, and a word about all that is in no rule.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { learn as forge, learnCommand, newLesson, policyOf } from '../../src/cli/learn.ts'
import { yamlOf } from '../../src/cli/learn-yaml.ts'
import { segmentsOf } from '../../src/audit/segments.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { RequestCompleted, RequestDecided } from '../../src/core/record.ts'
import { COMPLETED, DECIDED } from '../support/audit-events.ts'
import { Fixture, HOSTILE, UNSAFE } from './audit-fixture.ts'
import { type Ended, run } from './capture.ts'

let fixture: Fixture
beforeEach(async () => {
  fixture = new Fixture()
  await fixture.open()
})
afterEach(() => fixture.remove())

type Decided = Partial<RequestDecided>
type Completed = Partial<RequestCompleted>
const ask = (decided: Decided = {}, completed: Completed = {}): Promise<string> =>
  fixture.request({ decided: { path: '/user', query: null, ...decided }, completed })
const observed = (decided: Decided = {}, completed: Completed = {}): Promise<string> =>
  ask({ decision: 'deny', enforced: false, reason: 'no_matching_rule', rule: null, ...decided }, completed)
const refused = (decided: Decided = {}): Promise<string> => fixture.denied({ host: 'api.github.com', ...decided })

async function learn(...flags: string[]): Promise<Ended> {
  await fixture.trail.close()
  return run(learnCommand, [...flags, fixture.path])
}

/** The configuration that it proposes, as it was parsed; it has to load. */
async function learned(...flags: string[]): Promise<Record<string, unknown>> {
  const { out, code } = await learn(...flags)
  expect(code).toBe(0)
  const file = join(fixture.folder, 'learned.yaml')
  writeFileSync(file, out)
  const loaded = loadConfig(file, { GITHUB_MCP_TOKEN: 't'.repeat(24) })
  expect(loaded.ok ? [] : loaded.problems).toEqual([])
  return parse(out) as Record<string, unknown>
}

const rules = async (...flags: string[]): Promise<unknown> => (await learned(...flags))['rules']
const READ = 'github-mcp-api-github-com-read'
const GITHUB = { hosts: ['api.github.com'] }

describe('learn', () => {
  it('writes a whole policy that says what it was learned from', async () => {
    await ask({ path: '/repos/acme/app/issues/7' })
    await observed({ path: '/repos/acme/app/issues/12' })
    await ask({ path: '/repos/acme/app/issues', method: 'POST' })
    await refused({ path: '/user/emails' })
    const { out, err, code } = await learn()
    expect(code).toBe(0)
    expect(out).toMatchInlineSnapshot(`
      "# learned from 3 requests, 2026-11-20T08:00:04.000Z to 2026-11-20T08:00:08.000Z: what left, and nothing else. Read it before it comes into force

      version: 1

      clients:
        # the addresses it asked from; if it has a token, write token: \${NAME} instead
        - name: github-mcp
          source: [172.30.0.5]

      rules:
        # 2 requests, 2026-11-20T08:00:04.000Z to 2026-11-20T08:00:06.000Z
        - id: github-mcp-api-github-com-read
          clients: [github-mcp]
          allow:
            hosts: [api.github.com]
            methods: [GET]
            paths:
              - /repos/acme/app/issues/* # 7, 12

        # 1 request, 2026-11-20T08:00:08.000Z
        - id: github-mcp-api-github-com-post
          clients: [github-mcp]
          allow:
            hosts: [api.github.com]
            methods: [POST]
            paths: [/repos/acme/app/issues]

      # in no rule:
      #   1 request refused, never left: no_matching_rule (--refused proposes rules for them)
      "
    `)
    expect(err).toBe('in no rule: 1 of the recorded requests; why, stands at the end\n')
  })

  it('has one rule for methods with the same paths, and none that pairs what was not seen', async () => {
    for (const path of ['/a', '/b']) for (const method of ['GET', 'HEAD']) await ask({ path, method })
    await ask({ path: '/a', method: 'DELETE' })
    expect(await rules()).toEqual([
      {
        id: 'github-mcp-api-github-com-delete',
        clients: ['github-mcp'],
        allow: { ...GITHUB, methods: ['DELETE'], paths: ['/a'] },
      },
      { id: READ, clients: ['github-mcp'], allow: { ...GITHUB, methods: ['GET', 'HEAD'], paths: ['/a', '/b'] } },
    ])
  })

  it.each<[string, Decided, Completed, object]>([
    ['another port', { port: 8443 }, {}, { ...GITHUB, ports: [8443], methods: ['GET'], paths: ['/user'] }],
    [
      'plain HTTP',
      { scheme: 'http', port: 80 },
      {},
      { ...GITHUB, schemes: ['http'], methods: ['GET'], paths: ['/user'] },
    ],
    [
      'a WebSocket by its answer',
      { path: '/socket' },
      { status: 101 },
      { ...GITHUB, methods: ['GET'], paths: ['/socket'], upgrade: ['websocket'] },
    ],
    [
      'a WebSocket by what it was refused for',
      { path: '/socket', decision: 'deny', enforced: false, reason: 'upgrade_denied' },
      {},
      { ...GITHUB, methods: ['GET'], paths: ['/socket'], upgrade: ['websocket'] },
    ],
    [
      '%2F',
      { path: '/@scope%2fname', decision: 'deny', enforced: false, reason: 'path_not_canonical' },
      {},
      { ...GITHUB, methods: ['GET'], paths: ['/@scope%2Fname'], encoded_slash: 'allow' },
    ],
    ['another spelling of a path', { path: '/%75ser' }, {}, { ...GITHUB, methods: ['GET'], paths: ['/user'] }],
    [
      'a literal address',
      { host: '2001:db8::1' },
      {},
      { hosts: ['[2001:db8::1]'], methods: ['GET'], paths: ['/user'] },
    ],
    ['TRACE', { method: 'TRACE' }, {}, { ...GITHUB, methods: ['TRACE'], paths: ['/user'] }],
  ])('knows %s', async (_what, decided, completed, allow) => {
    await ask(decided, completed)
    expect(await rules()).toMatchObject([{ allow }])
  })

  it('keeps what is upgraded or has a %2F out of the rule of what is not', async () => {
    await ask({ path: '/a' })
    await ask({ path: '/a%2Fb' })
    await ask({ path: '/c' }, { status: 101 })
    expect(await rules()).toMatchObject([
      { allow: { paths: ['/a'] } },
      { allow: { paths: ['/a%2Fb'], encoded_slash: 'allow' } },
      { allow: { paths: ['/c'], upgrade: ['websocket'] } },
    ])
  })

  it('passes through what was passed through, unless it was looked into as well', async () => {
    const spliced = { method: null, path: null, host: 'updates.vendor.example' }
    await ask(spliced)
    await ask({ ...spliced, host: 'both.example' })
    await ask({ host: 'both.example' })
    const { out } = await learn()
    expect(parse(out)).toMatchObject({
      rules: [
        { id: 'github-mcp-both-example-read', allow: { hosts: ['both.example'] } },
        { id: 'github-mcp-updates-vendor-example-passthrough', passthrough: { hosts: ['updates.vendor.example'] } },
      ],
    })
    expect(out).toContain('#   1 request passed through undecrypted, to where another rule looks into requests\n')
  })

  it.each<[string, Decided, Completed, string]>([
    ['a refusal', { decision: 'deny', reason: 'identity_mismatch' }, {}, 'refused, never left: identity_mismatch'],
    [
      'a refusal for no reason that there is',
      { decision: 'deny', reason: HOSTILE as never },
      {},
      'refused, never left: no known reason',
    ],
    [
      'what a rule denies',
      { decision: 'deny', enforced: false, reason: 'denied_by_rule' },
      {},
      'denied by a rule on purpose',
    ],
    [
      'what a body was denied for',
      { decision: 'deny', enforced: false, reason: 'body_rule' },
      {},
      'in spite of body_rule',
    ],
    [
      'what a forbidden address stopped',
      { decision: 'deny', enforced: false, reason: 'no_matching_rule' },
      { outcome: 'refused', reason: 'address_denied' },
      'refused on the way out: address_denied',
    ],
    ['a path with a *', { path: '/a*' }, {}, 'of a path with a * in it'],
    ['OPTIONS *', { method: 'OPTIONS', path: '*' }, {}, 'about the origin itself (OPTIONS *)'],
    ['a path with two readings', { path: '/a/../b' }, {}, 'of a path with more than one reading'],
    ['a path that is redacted whole', { path: 'hmac:0123456789abcdef' }, {}, 'of a path with more than one reading'],
    ['a path with a query', { path: '/a?b' }, {}, 'of a path with more than one reading'],
    ['a path that was cut', { path: `/${'a'.repeat(20_000)}` }, {}, 'cut in the trail'],
    ['a path that is too long for a rule', { path: `/${'a'.repeat(1_100)}` }, {}, 'of a path that no rule can name'],
    ['a method in small letters', { method: 'get' }, {}, 'by a method that no rule can name'],
    ['a method that is none', { method: 'G ET' }, {}, 'by a method that no rule can name'],
    [
      'a CONNECT that was refused',
      { decision: 'deny', reason: 'no_matching_rule', method: 'CONNECT', path: null },
      {},
      'no_matching_rule (--refused',
    ],
    ['a request without a path', { path: null }, {}, 'refused before it was a request'],
    ['a host that is none', { host: HOSTILE }, {}, 'without a proper host'],
    ['no host', { host: null }, {}, 'without a proper host'],
    ['no scheme', { scheme: null }, {}, 'neither http nor https'],
    ['no port', { port: null }, {}, 'without a port'],
    [
      'a client that no rule can name',
      { client: { name: HOSTILE, source: null } },
      {},
      'of a client without a proper name',
    ],
  ])('leaves out %s, and says so', async (_what, decided, completed, why) => {
    await ask(decided, completed)
    const { out } = await learn()
    expect(parse(out)).toEqual({ version: 1, rules: [] })
    expect(out).toMatch(/\n# in no rule:\n# {3}1 request [^\n]*\n$/)
    expect(out).toContain(why)
  })

  it('proposes what no rule allowed only where it is asked for, marked, last, and once', async () => {
    await refused({ path: '/user/emails' })
    await refused({ path: '/user' })
    await refused({ path: '/users/8' })
    await refused({ host: 'a.example', method: 'CONNECT', path: null })
    await ask({ path: '/user' })
    await ask({ path: '/users/7' })
    const { out } = await learn('--refused')
    expect(parse(out)).toMatchObject({
      rules: [
        { id: READ, allow: { paths: ['/user', '/users/*'] } },
        { id: `${READ}-refused`, allow: { paths: ['/user/emails'] } },
      ],
    })
    expect(out).toMatch(/# REFUSED when it was asked for[^\n]*\n {2}# 1 request, [^\n]*\n {2}- id: \S+-refused\n/)
    expect(out).toContain('1 request refused before it was a request')
  })

  it('shows at most three ids in the place of a *, long ones cut, and of what was redacted none', async () => {
    for (const id of [1, 2, 2, 3, 4]) await ask({ path: `/a/${id}` })
    await ask({ path: '/b/550e8400-e29b-41d4-a716-446655440000/7' })
    await ask({ path: '/c/hmac:0123456789abcdef/7' })
    const { out } = await learn()
    expect(out).toContain('        - /a/* # 1, 2, 3\n        - /b/*/* # 550e... 7\n        - /c/*/*\n')
  })

  it('makes one * of siblings only where it is asked for', async () => {
    for (const user of ['ann', 'bob', 'cy']) await ask({ path: `/users/${user}` })
    expect(await rules()).toMatchObject([{ allow: { paths: ['/users/ann', '/users/bob', '/users/cy'] } }])
    expect(await rules('--merge', '4')).toMatchObject([{ allow: { paths: { length: 3 } } }])
    expect(await rules('--merge', '3')).toMatchObject([{ allow: { paths: ['/users/*'] } }])
  })

  it('reads segments, compressed ones too, and joins their requests', async () => {
    const id = await fixture.request({ decided: { path: '/socket' }, completed: null })
    await fixture.rotate()
    await fixture.write({ ...COMPLETED, request_id: id, status: 101 })
    await fixture.trail.close()
    const files = segmentsOf(fixture.path).map(({ path }) => path)
    writeFileSync(`${files[0]}.gz`, gzipSync(readFileSync(files[0] ?? '')))
    const { out } = await run(learnCommand, [`${files[0]}.gz`, ...files.slice(1)])
    expect(parse(out)).toMatchObject({ rules: [{ allow: { paths: ['/socket'], upgrade: ['websocket'] } }] })
  })

  it('gives ids that fit, and that no other rule has', async () => {
    const host = `${'a'.repeat(60)}.${'b'.repeat(60)}.example`
    await ask({ host, path: '/1', method: 'POST' })
    await ask({ host, path: '/a', method: 'POST', port: 8443 })
    await ask({ host: '127.0.0.1', client: { name: 'anonymous', source: null }, scheme: 'http', port: 8080 })
    const ids = ((await rules()) as { id: string }[]).map(({ id }) => id)
    expect(ids).toEqual([
      '127-0-0-1-http-8080-read',
      `github-mcp-${'a'.repeat(43)}-post`,
      `github-mcp-${'a'.repeat(43)}-post-2`,
    ])
  })

  it('in JSON', async () => {
    await ask({ path: '/users/7' })
    await refused()
    const { out } = await learn('--json')
    expect(JSON.parse(out)).toEqual({
      policy: {
        version: 1,
        clients: [{ name: 'github-mcp', source: ['172.30.0.5'] }],
        rules: [{ id: READ, clients: ['github-mcp'], allow: { ...GITHUB, methods: ['GET'], paths: ['/users/*'] } }],
      },
      learned_from: [
        {
          rule: READ,
          requests: 1,
          first: '2026-11-20T08:00:04.000Z',
          last: '2026-11-20T08:00:04.000Z',
          refused: false,
          examples: { '/users/*': ['7'] },
        },
      ],
      left_out: { 'refused, never left: no_matching_rule (--refused proposes rules for them)': 1 },
    })
  })

  it('lets nothing of a trail out of its comments and scalars', async () => {
    for (const path of [
      '/a: b',
      '/a #b',
      "/a'b",
      '/a"b',
      '/a:',
      '/[x]',
      '/{x}',
      '/&a',
      '/!a',
      '/a,b',
      '/- x',
      '/%0a',
      '/\u2028',
      '/é',
      '/x\n- id: evil',
    ])
      await ask({ path })
    await ask({ path: HOSTILE, host: HOSTILE, method: HOSTILE, client: { name: HOSTILE, source: HOSTILE } })
    const { out } = await learn()
    expect(out).not.toMatch(UNSAFE)
    const all = parse(out) as { rules: { allow: { paths: string[] } }[] }
    expect(all.rules).toHaveLength(1)
    expect(all.rules[0]?.allow.paths).toEqual(['/!a', '/%5Bx%5D', '/%7Bx%7D', '/&a', '/a%22b', "/a'b", '/a,b', '/a:'])
  })

  it('lets no time of a forged record, and no name of a file, out of its comments', () => {
    const lesson = newLesson(null, null, false)
    for (const timestamp of [HOSTILE, '2026\nrules: []']) forge(lesson, { ...DECIDED, timestamp, path: '/user' }, null)
    const text = yamlOf(policyOf(lesson, HOSTILE))
    expect(text).not.toMatch(UNSAFE)
    expect(parse(text)).toMatchObject({ rules: [{ id: READ }] })
    expect(yamlOf(policyOf(newLesson(null, null, false), '\nrules: []'))).toMatch(/^# nothing to add: [^\n]*\n$/)
  })

  it.each([
    ['--merge', '1'],
    ['--merge', 'x'],
    ['--merge', '-3'],
  ])('takes no %s %s', async (...flags) => {
    await expect(run(learnCommand, [...flags, fixture.path])).rejects.toThrow(/whole number from 2 on/)
  })

  it('needs a trail', async () => {
    await expect(run(learnCommand, [])).rejects.toThrow(/missing required argument/)
    expect((await run(learnCommand, ['/nowhere.jsonl'])).code).toBe(1)
  })
})

describe('the clients', () => {
  const from = (name: string, source: string | null): Promise<string> => ask({ client: { name, source } })
  const clients = async (): Promise<unknown> => (await learned())['clients']

  it('are known by the addresses they were seen from', async () => {
    await from('github-mcp', '172.30.0.5')
    await from('github-mcp', '::ffff:172.30.0.6')
    await from('other', 'fe80::1%eth0')
    expect(await clients()).toEqual([
      { name: 'github-mcp', source: ['172.30.0.5', '172.30.0.6'] },
      { name: 'other', source: ['fe80::1'] },
    ])
  })

  it.each([
    ['anonymous', 'asked from the same address'],
    ['somebody', 'asked from the same address'],
  ])('need a token where %s %s', async (other) => {
    await from('github-mcp', '172.30.0.5')
    await refused({ client: { name: other, source: '172.30.0.5' } })
    expect(await clients()).toEqual([{ name: 'github-mcp', token: '${GITHUB_MCP_TOKEN}' }])
  })

  it('need a token where they have no address, each its own', async () => {
    await from('a-b', null)
    await from('a.b', null)
    await from('1', null)
    const { out, err } = await learn()
    expect(parse(out)).toMatchObject({
      clients: [
        { name: '1', token: '${CLIENT_1_TOKEN}' },
        { name: 'a-b', token: '${A_B_TOKEN}' },
        { name: 'a.b', token: '${A_B_TOKEN_2}' },
      ],
    })
    expect(err).toBe('set before the file is used: CLIENT_1_TOKEN, A_B_TOKEN, A_B_TOKEN_2\n')
  })

  it('are not everybody', async () => {
    await from('anonymous', '10.0.0.1')
    expect(await learned()).toMatchObject({ rules: [{ clients: ['anonymous'] }] })
    expect(await clients()).toBeUndefined()
  })
})

describe('with the present policy', () => {
  const PRESENT = `version: 1
clients:
  - { name: github-mcp, source: [172.30.0.5] }
rules:
  - { id: ${READ}, clients: [github-mcp], allow: { hosts: [api.github.com], methods: [GET], paths: ["/repos/**"] } }
  - { id: pinned, passthrough: { hosts: [updates.vendor.example] } }
  - { id: mail, allow: { hosts: [mail.example], methods: [POST] }, body: { json: [{ path: $.Bcc, must: be-absent }] } }
  - { id: never, deny: { hosts: [api.github.com], methods: [DELETE] } }
`
  let file: string
  beforeEach(() => {
    file = join(fixture.folder, 'present.yaml')
    writeFileSync(file, PRESENT)
  })
  const added = async (): Promise<string> => (await learn('-c', file)).out

  it('only what it does not allow is proposed, and stands beside it', async () => {
    await ask({ path: '/repos/acme/app' })
    await ask({ path: '/users/7' })
    await ask({ path: '/users/8', client: { name: 'new-mcp', source: '172.30.0.6' } })
    const out = await added()
    expect(out).toMatch(/^# add to \S+present\.yaml, which does not allow this: 2 requests, .*\n\nclients:/)
    expect(parse(out)).toEqual({
      clients: [{ name: 'new-mcp', source: ['172.30.0.6'] }],
      rules: [
        { id: `${READ}-2`, clients: ['github-mcp'], allow: { ...GITHUB, methods: ['GET'], paths: ['/users/*'] } },
        {
          id: 'new-mcp-api-github-com-read',
          clients: ['new-mcp'],
          allow: { ...GITHUB, methods: ['GET'], paths: ['/users/*'] },
        },
      ],
    })
    const [newClients, newRules] = ['clients:\n', 'rules:\n'].map((key) =>
      out.slice(out.indexOf(key) + key.length),
    ) as [string, string]
    const whole = PRESENT.replace(
      'clients:\n',
      `clients:\n${newClients.slice(0, newClients.indexOf('\nrules:'))}`,
    ).replace('rules:\n', `rules:\n${newRules}`)
    writeFileSync(file, whole)
    const again = await run(learnCommand, ['-c', file, fixture.path])
    expect([again.code, again.out]).toEqual([0, `# nothing to add: ${file} allows what left, or no rule could\n`])
  })

  it('what its body conditions would decide is not proposed', async () => {
    await ask({ host: 'mail.example', method: 'POST', path: '/send' })
    expect(await added()).toMatch(/^# nothing to add: /)
  })

  it.each<[string, Decided, string]>([
    ['what it denies on purpose', { method: 'DELETE' }, 'denied now, and no rule would change that: denied_by_rule'],
    ['addresses that it forbids', { host: '10.0.0.1' }, 'denied now, and no rule would change that: address_denied'],
    [
      'what was passed through to where it looks into requests',
      { method: null, path: null, host: 'api.github.com' },
      'passed through undecrypted, to where another rule looks into requests',
    ],
  ])('%s is left out', async (_what, decided, why) => {
    await ask(decided)
    const out = await added()
    expect(parse(out)).toBeNull()
    expect(out).toContain(why)
  })

  it('what it passes through is not proposed, what it does not is', async () => {
    const spliced = { method: null, path: null }
    await ask({ ...spliced, host: 'updates.vendor.example' })
    expect(await added()).toMatch(/^# nothing to add: /)
    await fixture.open()
    await ask({ ...spliced, host: 'other.vendor.example', client: { name: 'new-mcp', source: '172.30.0.6' } })
    expect(parse(await added())).toMatchObject({ rules: [{ passthrough: { hosts: ['other.vendor.example'] } }] })
  })

  it('a WebSocket and a %2F are proposed where only they are wanting', async () => {
    await ask({ path: '/repos/x' }, { status: 101 })
    await ask({ path: '/repos/a%2Fb' })
    expect(parse(await added())).toMatchObject({
      rules: [
        { allow: { paths: ['/repos/a%2Fb'], encoded_slash: 'allow' } },
        { allow: { paths: ['/repos/x'], upgrade: ['websocket'] } },
      ],
    })
  })

  it('a client there keeps its address', async () => {
    await ask({ client: { name: 'new-mcp', source: '172.30.0.5' } })
    expect(parse(await added())).toMatchObject({ clients: [{ name: 'new-mcp', token: '${NEW_MCP_TOKEN}' }] })
  })

  it('has to be one', async () => {
    writeFileSync(file, 'version: 2\n')
    await ask()
    expect((await learn('-c', file)).code).toBe(1)
  })
})

describe('messages of MCP', () => {
  const call = (method: string | null, named: { tool?: string; resource?: string } = {}, more: Decided = {}) =>
    ask({ method: 'POST', path: '/mcp', mcp: [{ method, tool: null, resource: null, id: '1', ...named }], ...more })

  it('are conditions where all requests have some', async () => {
    await call('initialize')
    await call(null)
    await call('tools/call', { tool: 'list_issues' })
    await call('tools/call', { tool: 'get_issue' })
    await call('resources/read', { resource: 'file:///docs/a' })
    await ask({ method: 'POST', path: '/oauth/token' })
    await ask({ method: 'GET', path: '/mcp' })
    expect(await rules()).toMatchObject([
      { allow: { methods: ['GET'], paths: ['/mcp'] } },
      {
        allow: { methods: ['POST'], paths: ['/mcp'] },
        mcp: {
          methods: ['initialize', 'resources/read', 'tools/call'],
          tools: ['get_issue', 'list_issues'],
          resources: ['$file:///docs/a'],
        },
      },
      { allow: { methods: ['POST'], paths: ['/oauth/token'] } },
    ])
    const loaded = loadConfig(join(fixture.folder, 'learned.yaml'), {})
    expect(loaded.ok && loaded.config.rules.map(({ mcp }) => mcp?.resources)).toContainEqual(['file:///docs/a'])
  })

  it('are none where some request has none', async () => {
    await call('tools/call', { tool: 'list_issues' })
    await ask({ method: 'POST', path: '/mcp' })
    expect(await rules()).toEqual([
      {
        id: 'github-mcp-api-github-com-post',
        clients: ['github-mcp'],
        allow: { ...GITHUB, methods: ['POST'], paths: ['/mcp'] },
      },
    ])
  })

  it('are none of another method than POST, by which no message is allowed', async () => {
    await call('ping', {}, { method: 'PUT' })
    const [rule] = (await rules()) as object[]
    expect(rule).not.toHaveProperty('mcp')
  })

  it('of two paths are not mixed', async () => {
    await call('tools/call', { tool: 'one' }, { path: '/1st' })
    await call('tools/call', { tool: 'two' }, { path: '/2nd' })
    expect(await rules()).toMatchObject([
      { allow: { paths: ['/1st'] }, mcp: { tools: ['one'] } },
      { allow: { paths: ['/2nd'] }, mcp: { tools: ['two'] } },
    ])
  })

  it.each([
    ['a glob', '*'],
    ['a glob in part', 'get_*'],
    ['redacted', 'hmac:0123456789abcdef'],
    ['a line break', 'a\nb'],
    ['no ASCII', 'é'],
    ['longer than any', 'x'.repeat(300)],
    ['what a reference can not be escaped in', '$file:/etc/passwd'],
  ])('with a name that is %s make no rule wider', async (_what, tool) => {
    await call('initialize')
    await call('tools/call', { tool })
    await call('tools/call')
    await call('resources/read', { resource: tool })
    await call('resources/read')
    const { out } = await learn()
    expect(parse(out)).toMatchObject({ rules: [{ mcp: { methods: ['initialize'] } }] })
    expect(out).not.toContain('tools:')
    expect(out).toContain('# 4 messages of MCP are not allowed: their names can not be written\n')
  })

  it('with the name of a variable do not read it', async () => {
    const names = ['${HOME}', '$${HOME}', 'a"b: # c']
    for (const tool of names) await call('tools/call', { tool })
    await call('resources/read', { resource: 'file:///${HOME}' })
    await learned()
    const loaded = loadConfig(join(fixture.folder, 'learned.yaml'), { HOME: '/root' })
    const mcp = loaded.ok ? loaded.config.rules[0]?.mcp : undefined
    expect([mcp?.tools, mcp?.resources]).toEqual([names.toSorted(), ['file:///${HOME}']])
  })

  it.each(['file:/etc/passwd', 'exec:/usr/bin/id'])('with the name %s read and run nothing', async (resource) => {
    await call('resources/read', { resource })
    await learned()
    const loaded = loadConfig(join(fixture.folder, 'learned.yaml'), {}, undefined, () => {
      throw new Error('a command was run')
    })
    expect(loaded.ok && loaded.config.rules[0]?.mcp?.resources).toEqual([resource])
  })

  it('that no rule can name leave their requests out', async () => {
    await call('tools/call', { tool: '*' })
    const { out } = await learn()
    expect(parse(out)).toEqual({ version: 1, rules: [] })
    expect(out).toContain('#   1 request of MCP, without a method that a rule can name\n')
  })

  it('beyond a hundred names are said to be left out', async () => {
    for (let number = 0; number < 102; number += 1) await call('tools/call', { tool: `tool${number}` })
    const { out } = await learn()
    expect((parse(out) as { rules: { mcp: { tools: string[] } }[] }).rules[0]?.mcp.tools).toHaveLength(100)
    expect(out).toContain('# 2 messages of MCP are not allowed')
  })
})

it('denied addresses that were reached stay reachable, each alone', async () => {
  await ask({}, { upstream_address: '10.20.0.5:443' })
  await ask({}, { upstream_address: '[fd00::1]:443' })
  await ask({ host: '192.168.0.7' }, { upstream_address: null })
  await ask({}, { upstream_address: '140.82.121.6:443' })
  await refused({ host: '10.0.0.66' })
  expect((await learned('--refused'))['upstream']).toEqual({ allow: ['10.20.0.5', '192.168.0.7', 'fd00::1'] })
})
