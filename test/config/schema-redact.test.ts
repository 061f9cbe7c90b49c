import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Config, loadConfig } from '../../src/config/load.ts'

const SECRET = 'Correct-Horse-Battery'
let file: string

beforeAll(() => {
  file = join(mkdtempSync(join(tmpdir(), 'mcp-egress-redact-')), 'mcp-egress.yaml')
})
afterAll(() => rmSync(join(file, '..'), { recursive: true, force: true }))

function load(text: string, env: NodeJS.ProcessEnv = { A_SECRET: SECRET }): ReturnType<typeof loadConfig> {
  writeFileSync(file, `version: 1\n${text}`)
  return loadConfig(file, env)
}

function configOf(text: string, env?: NodeJS.ProcessEnv): Config {
  const loaded = load(text, env)
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
  return loaded.config
}

function problemOf(text: string): { at: string; message: string; fix: string } | undefined {
  const loaded = load(text)
  return loaded.ok ? undefined : loaded.problems[0]
}

describe('audit.redact', () => {
  it('adds names, paths and values to what is secret anyway', () => {
    const { redact, bodyPrefix } = configOf(`audit:
  body_prefix: 16KiB
  redact: { parameters: [pin], headers: [X-Door], paths: ["/bot*/**"], values: ["\${A_SECRET}"] }
`).audit
    expect(bodyPrefix).toBe(16_384)
    expect(redact).toEqual({
      parameters: ['pin'],
      headers: ['X-Door'],
      paths: [{ segments: [{ head: 'bot', tail: '' }], rest: true }],
      values: [SECRET],
    })
  })

  it('is empty, and a body shows 1 KiB, unless something is said', () => {
    const { redact, bodyPrefix } = configOf('audit: { durability: os }\n').audit
    expect(redact).toEqual({ parameters: [], headers: [], paths: [], values: [] })
    expect(bodyPrefix).toBe(1_024)
    expect(configOf('audit: { body_prefix: 0 }\n').audit.bodyPrefix).toBe(0)
  })

  it.each([
    ['redact: { paths: ["/a/**"] }', 'audit.redact.paths[0]', /no \* says/, /\/bot\*\/\*\*/],
    ['redact: { parameters: ["a b"] }', 'audit.redact.parameters[0]', /is no name/, /without spaces/],
    ['redact: { headers: [] }', 'audit.redact.headers', /./, /./],
    ['redact: { secrets: [a] }', 'audit.redact.secrets', /./, /./],
    ['body_prefix: 17KiB', 'audit.body_prefix', /17KiB/, /1KiB/],
    ['body_prefix: much', 'audit.body_prefix', /much/, /1KiB/],
  ])('%s is refused with its place and the fix', (member, at, message, fix) => {
    expect(problemOf(`audit: { ${member} }\n`)).toMatchObject({
      at,
      message: expect.stringMatching(message) as string,
      fix: expect.stringMatching(fix) as string,
    })
  })

  it('a secret does not stand in the file, and not in what is said about it', () => {
    const problem = problemOf(`audit: { redact: { values: ["${SECRET}"] } }\n`)
    expect(problem).toMatchObject({ at: 'audit.redact.values[0]', message: 'a secret stands in the file' })
    expect(JSON.stringify(problem)).not.toContain(SECRET)
    const short = load('audit: { redact: { values: ["${A_SECRET}"] } }\n', { A_SECRET: 'abcdefg' })
    expect(short.ok).toBe(false)
    expect(JSON.stringify(short)).toMatch(/under 8 characters/)
    expect(JSON.stringify(short)).not.toContain('abcdefg')
  })

  it('a secret does not enter the hash, that there is one does', () => {
    const text = 'audit: { redact: { values: ["${A_SECRET}"] } }\n'
    expect(configOf(text).hash).toBe(configOf(text, { A_SECRET: 'quite-another-one' }).hash)
    expect(configOf(text).hash).not.toBe(configOf('').hash)
  })
})

describe('audit of a rule', () => {
  const rule = (member: string, kind = 'allow'): string =>
    `rules: [{ id: a, ${member}, ${kind}: { hosts: [a.example] } }]\n`

  it.each(['metadata', 'headers', 'body'])('is %s', (level) => {
    expect(configOf(rule(`audit: ${level}`)).rules[0]?.audit).toBe(level)
  })

  it('is nothing else, and nothing that can not be kept', () => {
    expect(problemOf(rule('audit: none'))).toMatchObject({ at: 'rules[0].audit' })
    expect(problemOf(rule('audit: body', 'deny'))).toMatchObject({ at: 'rules[0].audit' })
    expect(problemOf(rule('audit: headers', 'passthrough'))).toMatchObject({ at: 'rules[0].audit' })
  })
})
