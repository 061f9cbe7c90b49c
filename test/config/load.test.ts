// A configuration loads whole or not at all, and says everything that is wrong with it.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Config, findConfig, loadConfig, type Overrides } from '../../src/config/load.ts'
import type { Problem } from '../../src/config/problem.ts'

const FIXTURES = join(import.meta.dirname, '../fixtures/config')
const TOKEN = '0123456789abcdef0123'
const ENV = { A_TOKEN: TOKEN, GITHUB_MCP_TOKEN: TOKEN }

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-config-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function write(text: string, name = 'mcp-egress.yaml'): string {
  const file = join(folder, name)
  writeFileSync(file, text)
  return file
}

function load(text: string, overrides?: Overrides, env: NodeJS.ProcessEnv = ENV): Config {
  const loaded = loadConfig(write(text), env, overrides)
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
  return loaded.config
}

function problemsOf(text: string, overrides?: Overrides, env: NodeJS.ProcessEnv = ENV): readonly Problem[] {
  const loaded = loadConfig(write(text), env, overrides)
  return loaded.ok ? [] : loaded.problems
}

describe('a file that is wrong is refused', () => {
  const files = readdirSync(join(FIXTURES, 'reject'))

  it.each(files)('[D29, D30] %s', (name) => {
    const file = join(FIXTURES, 'reject', name)
    const expected = [...readFileSync(file, 'utf8').matchAll(/^# expect (.*)$/gm)].map(([, line]) => line)
    const loaded = loadConfig(file, ENV)
    const problems = loaded.ok ? [] : loaded.problems
    expect(expected.length).toBeGreaterThan(0)
    expect(problems.map(({ line, column, at, message }) => `${line}:${column} ${at}: ${message}`)).toEqual(expected)
    expect(problems.map(({ fix }) => fix)).not.toContain('')
  })

  it('because it is not there', () => {
    const loaded = loadConfig(join(folder, 'nowhere.yaml'), ENV)
    expect(loaded).toMatchObject({ ok: false, problems: [{ line: null, message: 'there is no such file' }] })
  })

  it('because it is not UTF-8', () => {
    const file = join(folder, 'latin1.yaml')
    writeFileSync(file, Buffer.from('version: 1 # \xe9\n', 'latin1'))
    const loaded = loadConfig(file, ENV)
    expect(loaded.ok ? '' : loaded.problems[0]?.message).toMatch('UTF-8')
  })

  it('whatever is done to the text of a good one, without a crash', () => {
    const good = readFileSync(join(FIXTURES, 'accept/contract-example.yaml'), 'utf8')
    const cut = fc.tuple(fc.nat(good.length), fc.nat(20), fc.string({ maxLength: 8 }))
    fc.assert(
      fc.property(cut, ([at, length, inserted]) => {
        const loaded = loadConfig(write(good.slice(0, at) + inserted + good.slice(at + length)), ENV)
        if (loaded.ok) return
        expect(loaded.problems.length).toBeGreaterThan(0)
        for (const { line } of loaded.problems) {
          expect(line === null || (line >= 1 && line <= loaded.lines.length)).toBe(true)
        }
      }),
      { numRuns: 150 },
    )
  })
})

describe('a file that is right', () => {
  it('is the example of the contract', () => {
    const file = join(FIXTURES, 'accept/contract-example.yaml')
    const loaded = loadConfig(file, ENV)
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
    const { config, warnings } = loaded
    expect(config.rules.map(({ id, kind }) => `${kind} ${id}`)).toEqual([
      'allow github-read',
      'allow chat',
      'allow send-mail',
      'deny never-delete',
      'passthrough pinned-client',
    ])
    expect(config.rules[0]?.limits).toEqual({ requestBytes: 2 ** 20, responseBytes: 50 * 2 ** 20 })
    expect(config.clients).toEqual([
      { name: 'postmark-mcp', source: ['172.30.0.5'] },
      { name: 'github-mcp', token: TOKEN },
    ])
    expect(config.upstream.trust).toEqual(['system', join(FIXTURES, 'accept/extra-ca.pem')])
    expect(config.upstream.addresses.allow).toEqual([{ base: [10, 20, 0, 0], prefix: 16 }])
    expect(warnings.map(({ at, line }) => ({ at, line }))).toEqual([{ at: 'upstream.trust[1]', line: 41 }])
  })

  it('has the defaults of the contract where it says nothing', () => {
    expect(load('version: 1\n')).toMatchObject({
      mode: 'enforce',
      folder,
      listen: {
        proxy: [{ kind: 'tcp', host: '127.0.0.1', port: 3128 }],
        transparent: [
          { kind: 'tcp', host: '127.0.0.1', port: 15_001 },
          { kind: 'tcp', host: '::1', port: 15_001 },
        ],
        gateway: [],
        admin: [{ kind: 'tcp', host: '127.0.0.1', port: 9901 }],
      },
      caDirectory: join(folder, 'certs'),
      clients: [],
      rules: [],
      upstream: {
        trust: ['system'],
        addresses: { deny: new Set(['metadata', 'loopback', 'link-local', 'private']), allow: [] },
      },
      audit: { path: join(folder, 'logs/audit.jsonl'), durability: 'os' },
      admin: { token: null },
      shutdownGraceMs: 8000,
      tests: [],
    })
  })

  it('may be JSON', () => {
    expect(load('{"version":1,"mode":"observe","rules":[]}').mode).toBe('observe')
  })

  it('listens only on what it names, once it names anything', () => {
    const { listen } = load('version: 1\nlisten: { gateway: ["0.0.0.0:443", "[::]:443"], admin: unix:run/a.sock }\n')
    expect(listen).toEqual({
      proxy: [],
      transparent: [],
      gateway: [
        { kind: 'tcp', host: '0.0.0.0', port: 443 },
        { kind: 'tcp', host: '::', port: 443 },
      ],
      dns: [],
      admin: [{ kind: 'unix', path: join(folder, 'run/a.sock') }],
    })
  })

  it('has a name server that answers with unrouted addresses, or behind a gateway with its own', () => {
    const rate = { requests: 50, per: 'second', burst: 200 }
    const plain = load('version: 1\nlisten: { transparent: "127.0.0.1:15001", dns: ["127.0.0.1:0", "[::1]:0"] }\n')
    expect(plain.listen.dns).toEqual([
      { kind: 'tcp', host: '127.0.0.1', port: 0 },
      { kind: 'tcp', host: '::1', port: 0 },
    ])
    expect(plain.dns).toEqual({ answers: 'own', addresses: ['198.18.0.1', '2001:2::1'], rate })
    const behind = load('version: 1\nlisten: { gateway: "0.0.0.0:443", dns: "0.0.0.0:53" }\n')
    expect(behind.dns).toEqual({ answers: 'own', addresses: 'reached', rate })
  })

  it('has a name server as it is asked for', () => {
    const listen = 'listen: { transparent: "127.0.0.1:15001", dns: "127.0.0.1:53" }'
    const set = 'addresses: [10.0.0.2], rate: { questions: 5, per: minute }'
    expect(load(`version: 1\n${listen}\ndns: { ${set} }\n`).dns).toEqual({
      answers: 'own',
      addresses: ['10.0.0.2'],
      rate: { requests: 5, per: 'minute' },
    })
    const resolved = load(`version: 1\n${listen}\ndns: { answers: resolved }\n`)
    expect(resolved.dns.answers).toBe('resolved')
    expect(resolved.hash).not.toBe(load(`version: 1\n${listen}\n`).hash)
  })

  it('may have any number of listeners on port 0', () => {
    const { listen } = load('version: 1\nlisten: { proxy: ["127.0.0.1:0", "127.0.0.1:0"], admin: "127.0.0.1:0" }\n')
    expect([...listen.proxy, ...listen.admin].map((address) => address.kind === 'tcp' && address.port)).toEqual([
      0, 0, 0,
    ])
  })

  it('counts relative paths from its folder', () => {
    const { caDirectory, audit, upstream } = load(
      'version: 1\nca: { directory: ../ca }\naudit: { path: /var/a.jsonl, durability: sync }\nupstream: { trust: [x.pem] }\n',
    )
    expect(caDirectory).toBe(join(folder, '../ca'))
    expect(audit).toEqual({
      path: '/var/a.jsonl',
      durability: 'sync',
      rotate: { size: 256 * 2 ** 20, age: 86_400_000 },
      compress: true,
      checkpoints: { every: 60_000, records: 1_000, sign: true, sink: null },
      redact: { parameters: [], headers: [], paths: [], values: [] },
      bodyPrefix: 1_024,
      sinks: [],
    })
    expect(upstream.trust).toEqual([join(folder, 'x.pem')])
  })

  it('may say encoded_slash in the rule or among its matchers', () => {
    const [a, b] = load(
      'version: 1\nrules:\n  - { id: a, encoded_slash: allow, allow: { hosts: [a.example.com] } }\n  - { id: b, allow: { hosts: [b.example.com], encoded_slash: allow } }\n',
    ).rules
    expect([a?.match.encodedSlash, b?.match.encodedSlash]).toEqual([true, true])
  })
})

describe('secrets', () => {
  it('come from the environment or from a file beside the configuration, less its line break', () => {
    write(`${TOKEN}-file\r\n`, 'admin.token')
    const config = load(
      'version: 1\nclients: [{ name: a, token: "${A_TOKEN}" }]\nadmin: { token: "file:admin.token" }\n',
    )
    expect(config.clients[0]?.token).toBe(TOKEN)
    expect(config.admin.token).toBe(`${TOKEN}-file`)
  })

  it.each([
    ['two lines', 'one-secret\nanother-secret\n', 'admin.token: the value holds a control character'],
    ['nothing', '\n', 'admin.token: the file "admin.token" is empty'],
    ['too much', 'x'.repeat(70_000), 'admin.token: the file "admin.token" can not be read'],
  ])('are refused from a file of %s', (_, content, expected) => {
    write(content, 'admin.token')
    const problems = problemsOf('version: 1\nadmin: { token: "file:admin.token" }\n')
    expect(problems.map(({ at, message }) => `${at}: ${message}`)).toEqual([expected])
  })

  it('are warned of where they are short', () => {
    const loaded = loadConfig(write('version: 1\nadmin: { token: "${SHORT}" }\n'), { SHORT: 'abc' })
    expect(loaded.ok && loaded.warnings).toMatchObject([{ at: 'admin.token', line: 2 }])
  })

  it('of two clients may not be the same', () => {
    const text = 'version: 1\nclients:\n  - { name: a, token: "${A_TOKEN}" }\n  - { name: b, token: "${A_TOKEN}" }\n'
    const [problem] = problemsOf(text)
    expect(problem).toMatchObject({ line: 4, at: 'clients[1].token' })
    expect(JSON.stringify(problem)).not.toContain(TOKEN)
  })
})

describe('the hash', () => {
  const hash = (text: string, overrides?: Overrides, env?: NodeJS.ProcessEnv): string => load(text, overrides, env).hash

  it('is the same for the same meaning, however it is written', () => {
    const written =
      'version: 1\nmode: enforce\nrules:\n  - { id: a, allow: { hosts: [a.example.com], methods: [GET] } }\n'
    const json = '{"rules":[{"allow":{"methods":["GET"],"hosts":["a.example.com"]},"id":"a"}],"version":1}'
    expect(hash(written)).toMatch(/^[0-9a-f]{64}$/)
    expect(hash(json)).toBe(hash(written))
    expect(hash('version: 1\naudit: { durability: os }\n')).toBe(hash('version: 1\n'))
  })

  it.each([
    ['a rule', 'version: 1\nrules:\n  - { id: a, allow: { hosts: [a.example.com] } }\n'],
    ['the mode', 'version: 1\nmode: observe\n'],
    ['an address that may be dialled', 'version: 1\nupstream: { allow: [10.0.0.0/8] }\n'],
    ['that there is a token', 'version: 1\nadmin: { token: "${A_TOKEN}" }\n'],
  ])('changes with %s', (_, text) => {
    expect(hash(text)).not.toBe(hash('version: 1\n'))
  })

  it('changes with the command line', () => {
    const plain = hash('version: 1\n')
    expect(hash('version: 1\n', { allow: ['a.example.com'], observe: false })).not.toBe(plain)
    expect(hash('version: 1\n', { allow: [], observe: true })).toBe(hash('version: 1\nmode: observe\n'))
  })

  it('tells nothing of a secret', () => {
    const text = 'version: 1\nclients: [{ name: a, token: "${A_TOKEN}" }]\nadmin: { token: "${B_TOKEN}" }\n'
    const one = hash(text, undefined, { A_TOKEN: TOKEN, B_TOKEN: TOKEN })
    expect(hash(text, undefined, { A_TOKEN: 'another-token-of-a', B_TOKEN: 'another-token-of-b' })).toBe(one)
  })
})

describe('the command line', () => {
  it('adds a rule for each host', () => {
    const { rules } = load('version: 1\n', { allow: ['a.example.com', '[::1]', 'a.example.com'], observe: false })
    expect(rules).toEqual([
      { id: 'allow-a.example.com', kind: 'allow', match: { hosts: ['a.example.com'] } },
      { id: 'allow-___1_', kind: 'allow', match: { hosts: ['[::1]'] } },
    ])
  })

  it('is refused by the name of its option, beside what is wrong in the file', () => {
    const text = 'version: 1\nrules:\n  - { id: a, allow: { hosts: [A.example.com] } }\n'
    expect(problemsOf(text, { allow: ['*.com', 'B.example.com'], observe: true })).toMatchObject([
      { at: '--allow *.com', line: null },
      { at: '--allow B.example.com', line: null, fix: 'write b.example.com' },
      { at: 'rules[0].allow.hosts[0]', line: 3 },
    ])
  })

  it('works without a file, on the defaults and from the working directory', () => {
    const loaded = loadConfig(null, {}, { allow: ['a.example.com'], observe: true })
    expect(loaded.ok && loaded.config).toMatchObject({
      file: null,
      folder: process.cwd(),
      mode: 'observe',
      rules: [{ id: 'allow-a.example.com' }],
    })
  })
})

describe('the file to use', () => {
  it('is the one asked for, from the working directory', () => {
    expect(findConfig('some.yaml', '/srv')).toBe('/srv/some.yaml')
  })

  it('is mcp-egress.yaml if it is there, and none else', () => {
    const here = join(folder, 'here')
    mkdirSync(here)
    expect(findConfig(undefined, here)).toBeNull()
    writeFileSync(join(here, 'mcp-egress.yaml'), 'version: 1\n')
    expect(findConfig(undefined, here)).toBe(join(here, 'mcp-egress.yaml'))
  })
})
