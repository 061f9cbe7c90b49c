// What `validate-config --audit` says of a policy after the traffic that there was.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { validateConfigCommand } from '../../src/cli/validate-config.ts'
import type { RequestDecided } from '../../src/core/record.ts'
import { Fixture } from './audit-fixture.ts'
import { type Ended, run } from './capture.ts'

let fixture: Fixture
beforeEach(async () => {
  fixture = new Fixture()
  await fixture.open()
})
afterEach(() => fixture.remove())

const GET = { method: 'GET', scheme: 'https', port: 443, path: '/', query: null, reason: null } as const
const asked = (host: string, more: Partial<RequestDecided> = {}, status = 200): Promise<string> =>
  fixture.request({ decided: { ...GET, host, decision: 'allow', rule: 'r', ...more }, completed: { status } })

async function validated(rules: readonly string[], ...flags: string[]): Promise<Ended> {
  await fixture.trail.close()
  const file = join(fixture.folder, 'mcp-egress.yaml')
  const lines = rules.map((rule) => `  - { ${rule} }\n`).join('')
  writeFileSync(file, `version: 1\nclients: [{ name: github-mcp, source: [172.30.0.5] }]\nrules:\n${lines}`)
  return run(validateConfigCommand, ['-c', file, '--json', ...flags, '--audit', fixture.path])
}

/** `line: place: message`. */
const warnings = ({ out }: Ended): string[] =>
  (JSON.parse(out) as { warnings: { line: number; at: string; message: string; fix: string }[] }).warnings.map(
    ({ line, at, message, fix }) => {
      expect(fix).not.toBe('')
      return `${line}: ${at}: ${message}`
    },
  )

const API = 'id: api, allow: { hosts: [api.example.com], methods: [GET], paths: ["/v1/**"] }'

describe('of a rule', () => {
  it('that nothing matched', async () => {
    await asked('api.example.com', { path: '/v1/a' })
    await asked('api.example.com', { path: '/v1/b', query: 'q=1' })
    const ended = await validated([API, 'id: old, allow: { hosts: [old.example.com] }'])
    expect(ended.code).toBe(0)
    expect(warnings(ended)).toEqual(['5: rules[1]: none of the 2 requests in the trail matched this rule'])
  })

  it.each<[string, Partial<RequestDecided>, number]>([
    ['of another method', { path: '/v1/a', method: 'POST' }, 200],
    ['of another path', { path: '/v2' }, 200],
    ['of another port', { path: '/v1/a', port: 8443 }, 200],
    ['of an upgrade', { path: '/v1/a' }, 101],
  ])('whose host was asked for by a request %s', async (_, more, status) => {
    await asked('api.example.com', more, status)
    expect(warnings(await validated([API]))).toEqual([
      '4: rules[0]: none of the 1 requests in the trail matched this rule',
    ])
  })

  it.each<[string, string, Partial<RequestDecided>, number]>([
    ['matched it', API, { path: '/v1/a' }, 200],
    ['matched it in another spelling', API, { path: '/%76%31/a' }, 200],
    ['was denied by another rule', API, { path: '/v1/a', decision: 'deny', reason: 'denied_by_rule' }, 403],
    ['may have matched it, redacted', API, { path: '/hmac:0123456789abcdef' }, 200],
    ['was a WebSocket', 'id: ws, allow: { hosts: [api.example.com], upgrade: [websocket] }', {}, 101],
    [
      'passed undecrypted',
      'id: pinned, passthrough: { hosts: [api.example.com] }',
      { method: null, scheme: null, path: null },
      200,
    ],
    ['passed undecrypted, and may have matched it', API, { method: null, scheme: null, path: null }, 200],
    [
      'left the body to decide',
      'id: mail, allow: { hosts: [api.example.com] }, body: { json: [{ path: $.Bcc, must: be-absent }] }',
      { method: 'POST' },
      200,
    ],
  ])('nothing where a request %s', async (_, rule, more, status) => {
    await asked('api.example.com', more, status)
    expect(warnings(await validated([rule]))).toEqual([])
  })

  it('nothing where it denies: that nothing came is as it should be', async () => {
    await asked('api.example.com', { path: '/v1/a' })
    expect(warnings(await validated([API, 'id: no, deny: { hosts: [evil.example] }']))).toEqual([])
  })

  it('nothing where its client asked, and said so to another', async () => {
    await asked('api.example.com')
    const ours = 'id: ours, clients: [github-mcp], allow: { hosts: [api.example.com] }'
    expect(warnings(await validated([ours]))).toEqual([])
  })

  it('made from a description, once, and only if no operation of it was asked for', async () => {
    const paths = '  /a: { get: { operationId: a, responses: {} } }\n  /b: { get: { operationId: b, responses: {} } }\n'
    writeFileSync(
      join(fixture.folder, 'api.yaml'),
      `openapi: 3.0.3\ninfo: { title: t, version: "1" }\nservers: [{ url: "https://api.example.com" }]\npaths:\n${paths}`,
    )
    await asked('api.example.com', { path: '/a' })
    const rules = [
      'id: one, openapi: { file: api.yaml, allow: [a, b] }',
      'id: other, openapi: { file: api.yaml, allow: [a, b], hosts: [api.example.com] }, audit: headers',
      'id: none, clients: [anonymous], openapi: { file: api.yaml, allow: [a, b] }, audit: body',
    ]
    expect(warnings(await validated(rules)).filter((line) => line.includes('none of'))).toEqual([
      '6: rules[2]: none of the 1 requests in the trail matched this rule',
    ])
  })
})

describe('of a host', () => {
  const denied = { decision: 'deny', reason: 'no_matching_rule', rule: null } as const

  it('written for names below, where only the apex was asked for', async () => {
    await asked('example.com', denied)
    expect(warnings(await validated(['id: r, allow: { hosts: ["*.example.com"] }']))).toEqual([
      '4: rules[0].allow.hosts[0]: *.example.com does not match example.com, which is what the trail asks for',
    ])
  })

  it('written for itself, where only names below it were asked for', async () => {
    await asked('a.b.example.com', denied)
    await asked('c.example.com', denied)
    expect(warnings(await validated(['id: r, allow: { hosts: [other.example, example.com] }']))).toEqual([
      '4: rules[0].allow.hosts[1]: example.com does not match a.b.example.com, and the trail asks only for names below it',
    ])
  })

  it.each<[string, readonly string[], readonly string[]]>([
    ['asked for in both forms', ['id: r, allow: { hosts: ["*.example.com"] }'], ['example.com', 'a.example.com']],
    ['whose apex another rule allows', ['id: r, allow: { hosts: ["*.example.com", example.com] }'], ['example.com']],
    ['that has both', ['id: r, allow: { hosts: ["**.example.com"] }'], ['example.com']],
    [
      'that another client asked for',
      ['id: r, clients: [anonymous], allow: { hosts: ["*.example.com"] }', 'id: s, allow: { hosts: [example.org] }'],
      ['example.com', 'example.org'],
    ],
    ['that is an address', ['id: r, allow: { hosts: [8.8.8.8] }'], ['8.8.8.8']],
  ])('nothing of one %s', async (_, rules, hosts) => {
    for (const host of hosts) await asked(host, denied)
    const said = warnings(await validated(rules)).filter((line) => line.includes('hosts['))
    expect(said).toEqual([])
  })
})

describe('of the trail', () => {
  it('that it has no requests', async () => {
    await fixture.write({ event: 'checkpoint', records: 0, key_id: null, signature: null })
    const ended = await validated([API])
    expect(ended.err).toBe('no request in the trail: nothing can be said of what it matches\n')
    expect(warnings(ended)).toEqual([])
  })

  it('nothing of bytes that were no request', async () => {
    await fixture.denied({ host: null, method: null, reason: 'malformed' } as never)
    await fixture.denied({ host: 'a b', path: '/\u202e' })
    const ended = await validated([API])
    expect(warnings(ended)).toEqual(['4: rules[0]: none of the 1 requests in the trail matched this rule'])
  })

  it('that its files can not be read', async () => {
    const file = join(fixture.folder, 'mcp-egress.yaml')
    writeFileSync(file, 'version: 1\n')
    const missing = join(fixture.folder, 'missing.jsonl')
    expect(await run(validateConfigCommand, ['-c', file, '--audit', missing])).toMatchObject({
      code: 1,
      message: expect.stringContaining('can not be read'),
    })
  })
})
