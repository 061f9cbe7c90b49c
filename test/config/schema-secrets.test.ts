import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'

const SECRET = 'Correct-Horse-Battery'
let file: string

beforeAll(() => {
  file = join(mkdtempSync(join(tmpdir(), 'mcp-egress-secrets-')), 'mcp-egress.yaml')
})
afterAll(() => rmSync(join(file, '..'), { recursive: true, force: true }))

function load(secrets: string, env: NodeJS.ProcessEnv = {}): ReturnType<typeof loadConfig> {
  writeFileSync(file, `version: 1\nsecrets:\n${secrets}\n`)
  return loadConfig(file, { DB_PASSWORD: SECRET, SHORT: 'seven77', LONG: SECRET.repeat(200), ...env })
}

const problemsOf = (secrets: string): unknown => {
  const loaded = load(secrets)
  return loaded.ok ? [] : loaded.problems.map(({ at, message, fix }) => ({ at, message, fix }))
}
const hashOf = (secrets: string, env: NodeJS.ProcessEnv = {}): string => {
  const loaded = load(secrets, env)
  return loaded.ok ? loaded.config.hash : JSON.stringify(loaded.problems)
}
const VALUE = '  - { name: db, value: "${DB_PASSWORD}", only_to: [] }'

describe('secrets', () => {
  it('are formats and values, each with the hosts that it may go to', () => {
    const loaded = load(`  - { match: github_token, only_to: ["**.github.com", 203.0.113.7] }
  - { match: any_token, only_to: [] }
${VALUE}`)
    expect(loaded.ok && loaded.config.secrets).toEqual([
      { name: 'github_token', value: null, onlyTo: ['**.github.com', '203.0.113.7'] },
      { name: 'any_token', value: null, onlyTo: [] },
      { name: 'db', value: SECRET, onlyTo: [] },
    ])
  })

  it.each<[string, string, string, RegExp, RegExp]>([
    [
      'an unknown format',
      '  - { match: zebra, only_to: [] }',
      'secrets[0].match',
      /not one of/,
      /github_token or .*any_token/,
    ],
    ['no hosts', '  - { match: any_token }', 'secrets[0].only_to', /is missing/, /add only_to: \[/],
    ['every host', '  - { match: any_token, only_to: ["*"] }', 'secrets[0].only_to[0]', /every host/, /name the hosts/],
    [
      'a host of strangers',
      '  - { match: any_token, only_to: ["**.com"] }',
      'secrets[0].only_to[0]',
      /anybody/,
      /example\.com/,
    ],
    [
      'both kinds',
      '  - { match: any_token, name: a, only_to: [] }',
      'secrets[0]',
      /a format or a value/,
      /name match, or/,
    ],
    ['neither kind', '  - { only_to: [] }', 'secrets[0]', /a format or a value/, /name match, or/],
    ['a name without a value', '  - { name: a, only_to: [] }', 'secrets[0]', /a format or a value/, /name and value/],
    [
      'the same format twice',
      '  - { match: npm_token, only_to: [] }\n  - { match: npm_token, only_to: [a.test] }',
      'secrets[1].match',
      /another entry is about npm_token/,
      /one only_to/,
    ],
    ['the same name twice', `${VALUE}\n${VALUE}`, 'secrets[1].name', /another entry is about db/, /rename/],
    ['no entry', '  []', 'secrets', /empty/, /./],
    [
      'an unknown member',
      '  - { match: any_token, only_to: [], hosts: [] }',
      'secrets[0].hosts',
      /unknown key/,
      /only_to/,
    ],
    [
      'a value that stands in the file',
      '  - { name: db, value: correct-horse, only_to: [] }',
      'secrets[0].value',
      /stands in the file/,
      /\$\{NAME\}/,
    ],
    [
      'a value that is a number',
      '  - { name: db, value: 12345678, only_to: [] }',
      'secrets[0].value',
      /stands in the file/,
      /./,
    ],
    ['a short value', '  - { name: db, value: "${SHORT}", only_to: [] }', 'secrets[0].value', /under 8/, /longer/],
    [
      'a long value',
      '  - { name: db, value: "${LONG}", only_to: [] }',
      'secrets[0].value',
      /longer than 4096/,
      /shorter/,
    ],
  ])('%s is refused with its place and the fix', (_case, secrets, at, message, fix) => {
    const problems = problemsOf(secrets)
    expect(problems).toContainEqual({ at, message: expect.stringMatching(message), fix: expect.stringMatching(fix) })
    // SECURITY: what is read from outside is in no message.
    expect(JSON.stringify(problems)).not.toMatch(/seven77|Horse-Battery/)
  })

  it('enter the hash, their values do not', () => {
    expect(hashOf(VALUE)).toMatch(/^[0-9a-f]{64}$/)
    expect(hashOf(VALUE, { DB_PASSWORD: 'another-password' })).toBe(hashOf(VALUE))
    expect(hashOf(VALUE.replace('[]', '[a.test]'))).not.toBe(hashOf(VALUE))
  })
})
