import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'

const SECRET = 'Correct-Horse-Battery'
const HELD = 'GITHUB_TOKEN_PLACEHOLDER'
let file: string

beforeAll(() => {
  file = join(mkdtempSync(join(tmpdir(), 'mcp-egress-inject-')), 'mcp-egress.yaml')
})
afterAll(() => rmSync(join(file, '..'), { recursive: true, force: true }))

const ENV = {
  TOKEN: SECRET,
  SHORT: 'seven77',
  LONG: SECRET.repeat(200),
  WIDE: 'Correct-Hörse-Battery',
  BLANK: 'Horse-Battery ',
  NESTED: `Horse-Battery-${HELD}`,
}

function load(inject: string, env: NodeJS.ProcessEnv = {}): ReturnType<typeof loadConfig> {
  const clients = 'clients:\n  - { name: robot, source: [10.0.0.1] }\n'
  writeFileSync(file, `version: 1\n${clients}inject:\n${inject}\n`)
  return loadConfig(file, { ...ENV, ...env })
}

/** One entry; what is given replaces what it has. */
const entry = (members: Record<string, string> = {}): string => {
  const all = { placeholder: HELD, value: '"${TOKEN}"', hosts: '[api.github.com]', ...members }
  return `  - { ${Object.entries(all)
    .map(([key, value]) => `${key}: ${value}`)
    .join(', ')} }`
}
const problemsOf = (inject: string): unknown => {
  const loaded = load(inject)
  return loaded.ok ? [] : loaded.problems.map(({ at, message, fix }) => ({ at, message, fix }))
}
const hashOf = (inject: string, env: NodeJS.ProcessEnv = {}): string => {
  const loaded = load(inject, env)
  return loaded.ok ? loaded.config.hash : JSON.stringify(loaded.problems)
}

describe('inject', () => {
  it('is placeholders, each with its secret, its hosts, and where and for whom it is put in', () => {
    const loaded = load(`${entry()}
${entry({ placeholder: 'another-placeholder-1', in: '[query, body]', clients: '[robot, anonymous]', hosts: '["**.github.com", 203.0.113.7]' })}
${entry({ placeholder: 'another-placeholder-2', headers: '[X-Odd]' })}`)
    const first = { placeholder: HELD, value: SECRET, hosts: ['api.github.com'], in: ['header'] }
    expect(loaded.ok && loaded.config.injections).toEqual([
      { ...first, headers: null, clients: null },
      {
        placeholder: 'another-placeholder-1',
        value: SECRET,
        hosts: ['**.github.com', '203.0.113.7'],
        in: ['query', 'body'],
        headers: null,
        clients: ['robot', 'anonymous'],
      },
      { ...first, placeholder: 'another-placeholder-2', headers: ['X-Odd'], clients: null },
    ])
  })

  it.each<[string, string, string, RegExp, RegExp]>([
    ['a short placeholder', entry({ placeholder: 'TOKEN' }), 'inject[0].placeholder', /is not a placeholder/, /16 to/],
    ['one with a dot', entry({ placeholder: 'GITHUB.PLACEHOLDER' }), 'inject[0].placeholder', /is not a/, /A-Z/],
    ['the same one twice', `${entry()}\n${entry()}`, 'inject[1].placeholder', /another entry holds/, /no part/],
    [
      'one within another',
      `${entry()}\n${entry({ placeholder: `MY_${HELD}` })}`,
      'inject[0].placeholder',
      /another entry holds/,
      /no part of each other/,
    ],
    [
      'a value that stands in the file',
      entry({ value: SECRET }),
      'inject[0].value',
      /stands in the file/,
      /\$\{NAME\}/,
    ],
    ['a value that is a number', entry({ value: '12345678' }), 'inject[0].value', /stands in the file/, /./],
    ['no value', entry({ value: 'null' }), 'inject[0].value', /is not a text/, /\$\{NAME\}/],
    ['a short value', entry({ value: '"${SHORT}"' }), 'inject[0].value', /under 8/, /longer/],
    ['a long value', entry({ value: '"${LONG}"' }), 'inject[0].value', /longer than 4096/, /shorter/],
    ['a value that is not ASCII', entry({ value: '"${WIDE}"' }), 'inject[0].value', /can not be put into/, /ASCII/],
    ['a value with a blank behind it', entry({ value: '"${BLANK}"' }), 'inject[0].value', /can not be put/, /blank/],
    [
      'a value with a placeholder',
      entry({ value: '"${NESTED}"' }),
      'inject[0].value',
      /holds a placeholder/,
      /no part/,
    ],
    ['no hosts', entry({ hosts: '[]' }), 'inject[0].hosts', /empty/, /./],
    ['every host', entry({ hosts: '["*"]' }), 'inject[0].hosts[0]', /every host/, /name the hosts/],
    ['a host of strangers', entry({ hosts: '["**.com"]' }), 'inject[0].hosts[0]', /anybody/, /example\.com/],
    ['the path', entry({ in: '[path]' }), 'inject[0].in[0]', /not one of/, /header or query or body/],
    ['nowhere', entry({ in: '[]' }), 'inject[0].in', /empty/, /./],
    [
      'fields, and not into fields',
      entry({ in: '[body]', headers: '[X-A]' }),
      'inject[0].headers',
      /names fields/,
      /add/,
    ],
    ['what is no field', entry({ headers: '["X A"]' }), 'inject[0].headers[0]', /no name of a field/, /X-Api-Key/],
    ['an unknown client', entry({ clients: '[robot, robto]' }), 'inject[0].clients[1]', /no client/, /robot/],
    ['an unknown member', entry({ mask: 'true' }), 'inject[0].mask', /unknown key/, /placeholder/],
    ['no entry', '  []', 'inject', /empty/, /./],
  ])('%s is refused with its place and the fix', (_case, inject, at, message, fix) => {
    const problems = problemsOf(inject)
    expect(problems).toContainEqual({ at, message: expect.stringMatching(message), fix: expect.stringMatching(fix) })
    // SECURITY: what is read from outside is in no message.
    expect(JSON.stringify(problems)).not.toMatch(/seven77|-Battery/)
  })

  it('a client that is unknown is told beside a fault elsewhere', () => {
    const problems = problemsOf(`${entry({ clients: '[robto]' })}\nrules: [{ allow: {} }]`)
    expect(JSON.stringify(problems)).toMatch(
      /rules\[0\].*inject\[0\]\.clients\[0\]|inject\[0\]\.clients\[0\].*rules\[0\]/,
    )
  })

  it('enters the hash, its values do not', () => {
    expect(hashOf(entry())).toMatch(/^[0-9a-f]{64}$/)
    expect(hashOf(entry(), { TOKEN: 'another-password' })).toBe(hashOf(entry()))
    expect(hashOf(entry({ hosts: '[github.com]' }))).not.toBe(hashOf(entry()))
    expect(hashOf(entry({ placeholder: 'another-placeholder-1' }))).not.toBe(hashOf(entry()))
  })
})
