// A file of tokens makes clients, or says on which line it does not; no token is ever said.

import { createHash } from 'node:crypto'
import { chmodSync, chownSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { secretsOf } from '../../src/cli/in-force.ts'
import { type Config, loadConfig } from '../../src/config/load.ts'
import type { Problem } from '../../src/config/problem.ts'
import { identify } from '../../src/core/identity.ts'

const TOKEN = 'a-token-of-enough-characters'
const DIGEST = createHash('sha256').update(TOKEN).digest('hex')
const OTHER = 'another-token-of-enough-characters'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-tokens-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function load(tokens: string, more = '', mode = 0o600): ReturnType<typeof loadConfig> {
  const path = join(folder, 'clients.tokens')
  rmSync(path, { force: true })
  writeFileSync(path, tokens)
  chmodSync(path, mode)
  const file = join(folder, 'mcp-egress.yaml')
  writeFileSync(file, `version: 1\nidentity: { tokens: clients.tokens }\n${more}`)
  return loadConfig(file, { TOKEN: OTHER })
}

function configOf(tokens: string, more = ''): Config {
  const loaded = load(tokens, more)
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
  return loaded.config
}

function problemsOf(tokens: string, more = '', mode = 0o600): readonly Problem[] {
  const loaded = load(tokens, more, mode)
  return loaded.ok ? [] : loaded.problems
}

const nameBy = ({ identity }: Config, token: string): string | null => {
  const found = identify(identity, { source: null, credentials: `Bearer ${token}` })
  return found.kind === 'client' ? found.name : null
}

describe('a line of a token file', () => {
  it.each([
    ['a token', `robot:${TOKEN}\n`],
    ['its digest', `robot:sha256:${DIGEST}\n`],
    ['its digest in capitals', `robot:sha256:${DIGEST.toUpperCase()}`],
    ['beside comments and empty lines', `# who: ${OTHER}\n\n  robot:${TOKEN}  \n#x:y\n`],
    ['with the line ends of another system', `robot:${TOKEN}\r\n`],
    ['behind a byte order mark', `\ufeffrobot:${TOKEN}\n`],
  ])('makes a client: %s', (_, tokens) => {
    const config = configOf(tokens)
    expect(config.clients.map(({ name }) => name)).toEqual(['robot'])
    expect([nameBy(config, TOKEN), nameBy(config, OTHER)]).toEqual(['robot', null])
  })

  it('takes everything behind the first colon', () => {
    expect(nameBy(configOf(`robot:${TOKEN}:with:colons\n`), `${TOKEN}:with:colons`)).toBe('robot')
  })

  it('proves a client of the file, which rules may name', () => {
    const rules = 'rules: [{ id: a, clients: [robot, other], allow: { hosts: [a.example.com] } }]\n'
    const config = configOf(`other:${OTHER}\nrobot:${TOKEN}\n`, `clients: [{ name: robot }]\n${rules}`)
    expect(config.clients).toEqual([
      { name: 'robot', token: TOKEN },
      { name: 'other', token: OTHER },
    ])
    expect(config.policy.rules.get('a')?.clients).toEqual(new Set(['robot', 'other']))
  })

  it.each<[string, string, number, RegExp]>([
    ['no colon', `${TOKEN}\n`, 1, /does not begin with the name/],
    ['no name', `:${TOKEN}\n`, 1, /does not begin with the name/],
    ['a name that is none', `\nro bot:${TOKEN}\n`, 2, /does not begin with the name/],
    ['no token', 'robot:\n', 1, /"robot" the token is empty/],
    ['a token with a blank', `robot:${TOKEN} x\n`, 1, /visible ASCII/],
    ['a token beyond ASCII', `robot:${TOKEN}é\n`, 1, /visible ASCII/],
    ['a token that is too long', `robot:${'x'.repeat(5000)}\n`, 1, /too long/],
    ['a short token', 'robot:secret-15-chars\n'.replace('-chars', ''), 1, /under 16 characters/],
    ['a digest that is too short', `robot:sha256:${DIGEST.slice(1)}\n`, 1, /64 hexadecimal digits/],
    ['a name twice', `robot:${TOKEN}\n#\nrobot:${OTHER}\n`, 3, /"robot" stands on line 1 too/],
    ['a token twice', `a:${TOKEN}\nb:${TOKEN}\n`, 2, /the token is that of line 1 too/],
    ['a token, and its digest', `a:${TOKEN}\nb:sha256:${DIGEST}\n`, 2, /the token is that of line 1 too/],
    ['the name of everybody', `anonymous:${TOKEN}\n`, 1, /everybody without a name/],
  ])('is refused with its number, and without the token: %s', (_, tokens, line, message) => {
    const problems = problemsOf(tokens)
    expect(problems).toMatchObject([
      { line: 2, at: `identity.tokens.line ${line}`, message: expect.stringMatching(message) },
    ])
    expect(problems[0]?.fix).not.toBe('')
    for (const secret of [TOKEN, OTHER, DIGEST.slice(1), 'secret-15']) {
      expect(JSON.stringify(problems)).not.toContain(secret)
    }
  })

  it('is one of at most ten thousand', () => {
    const lines = Array.from({ length: 10_001 }, (_, index) => `c${index}:${TOKEN}-${index}\n`).join('')
    expect(problemsOf(lines)).toMatchObject([{ at: 'identity.tokens.line 10001', message: /more than 10000/ }])
  })

  it('every fault is told at once', () => {
    const problems = problemsOf(`a\nb:x\nc:${TOKEN}\nc:${OTHER}\n`, 'clients: [{ name: d }]\n')
    expect(problems.map(({ at }) => at)).toEqual([
      'identity.tokens.line 1',
      'identity.tokens.line 2',
      'identity.tokens.line 4',
      'clients[0].source',
    ])
  })
})

describe('clients of the configuration and of the token file', () => {
  it.each<[string, string, string, string]>([
    ['a client with a token', 'robot', '[{ name: robot, token: "${TOKEN}" }]', 'identity.tokens.line 1'],
    ['a client with a source', 'robot', '[{ name: robot, source: [10.0.0.1] }]', 'identity.tokens.line 1'],
    ['a client without a line', 'robot', '[{ name: other }]', 'clients[0].source'],
  ])('do not mix: %s', (_, name, clients, at) => {
    expect(problemsOf(`${name}:${TOKEN}\n`, `clients: ${clients}\n`)).toMatchObject([{ at }])
  })

  it('have no token in common', () => {
    const clients = 'clients: [{ name: other, token: "${TOKEN}" }]\n'
    expect(problemsOf(`robot:${OTHER}\n`, clients)).toMatchObject([
      { at: 'identity.tokens.line 1', message: 'the token is that of client "other" too' },
    ])
  })

  it('are not blamed where the token file is', () => {
    const loaded = loadConfig(join(folder, 'gone.yaml'), {})
    expect(loaded.ok).toBe(false)
    writeFileSync(join(folder, 'gone.yaml'), 'version: 1\nidentity: { tokens: nowhere }\nclients: [{ name: robot }]\n')
    const again = loadConfig(join(folder, 'gone.yaml'), {})
    expect(again.ok ? [] : again.problems).toMatchObject([
      { at: 'identity.tokens', message: 'the file "nowhere" can not be read' },
    ])
  })
})

describe('the file itself', () => {
  it.each([
    [0o644, /read by others/],
    [0o640, /read by others/],
    [0o604, /read by others/],
    [0o620, /changed by others/],
    [0o602, /changed by others/],
    [0o666, /changed by others/],
  ])('is refused with mode %o, and the fix is chmod', (mode, message) => {
    expect(problemsOf(`robot:${TOKEN}\n`, '', mode)).toMatchObject([
      { at: 'identity.tokens', message: expect.stringMatching(message), fix: `chmod 600 ${folder}/clients.tokens` },
    ])
  })

  it.each([0o600, 0o400])('is taken with mode %o', (mode) => {
    expect(problemsOf(`robot:${TOKEN}\n`, '', mode)).toEqual([])
  })

  it.skipIf(process.getuid?.() !== 0).each([
    [0o440, []],
    [0o640, []],
    [0o644, [{ at: 'identity.tokens' }]],
    [0o660, [{ at: 'identity.tokens' }]],
  ])('that somebody else hands to our group is taken as far as nobody else has a hand in it: %o', (mode, expected) => {
    const path = join(folder, 'handed.tokens')
    writeFileSync(path, `robot:${TOKEN}\n`)
    chownSync(path, 65_534, 0)
    chmodSync(path, mode)
    const file = join(folder, 'handed.yaml')
    writeFileSync(file, 'version: 1\nidentity: { tokens: handed.tokens }\n')
    const loaded = loadConfig(file, {})
    rmSync(path)
    expect(loaded.ok ? [] : loaded.problems).toMatchObject(expected)
  })

  it('is judged by what a link leads to', () => {
    writeFileSync(join(folder, 'open.tokens'), `robot:${TOKEN}\n`, { mode: 0o644 })
    symlinkSync('open.tokens', join(folder, 'link.tokens'))
    const file = join(folder, 'link.yaml')
    writeFileSync(file, 'version: 1\nidentity: { tokens: link.tokens }\n')
    const loaded = loadConfig(file, {})
    expect(loaded.ok ? [] : loaded.problems).toMatchObject([{ at: 'identity.tokens' }])
  })

  it.each([
    ['is too large', `# ${'x'.repeat(2 ** 20)}\n`, /over 1048576 bytes/],
    ['is no text', Buffer.from([0xff, 0xfe, 0x00]) as unknown as string, /not UTF-8/],
  ])('is refused where it %s', (_, tokens, message) => {
    expect(problemsOf(tokens)).toMatchObject([{ message: expect.stringMatching(message) }])
  })

  it('is looked at for changes, enters no hash, and its tokens are redacted', () => {
    const [one, two] = [configOf(`robot:${TOKEN}\n`), configOf(`robot:sha256:${DIGEST}\n`)]
    expect(one.files).toContain(join(folder, 'clients.tokens'))
    expect(one.hash).toBe(two.hash)
    expect(one.hash).toBe(configOf(`robot:${OTHER}\n`).hash)
    expect(secretsOf(one).values).toContain(TOKEN)
  })
})
